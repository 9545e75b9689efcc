"""Prepared data in another run: what preparation would have made, and nothing that is not equal."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from s2s.data.preparation.prepare import fingerprints_of, is_prepared, open_splits, prepare
from s2s.data.preparation.share import share_prepared
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe

RECIPE = """\
task: translation
data: {kind: generated, corpus: dates, pairs: 200, held_out: 12, filters: {max_dropped: 1.0}}
tokenizer: {kind: character}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    prepare(load_recipe(), Path("one"))


def share(recipe: Recipe, target: str = "two") -> tuple[str, ...]:
    fingerprints = fingerprints_of(recipe, open_splits(recipe), Path(target))
    return share_prepared(Path("one"), Path(target), fingerprints)


def content(folder: str) -> dict[str, bytes]:
    root = Path(folder)
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def inodes(folder: str) -> set[int]:
    return {path.stat().st_ino for path in Path(folder).rglob("*") if path.is_file()}


def test_what_is_shared_is_what_preparation_makes() -> None:
    recipe = load_recipe()
    assert share(recipe) == ("tokenizer", "data")
    assert is_prepared(recipe, Path("two"))
    assert content("two") == content("one") and inodes("two") == inodes("one")
    assert share(recipe) == ()
    assert not list(Path().rglob(".tmp-*"))


def test_other_filters_share_the_tokenizer_and_other_data_nothing() -> None:
    filters = load_recipe(None, ["data.filters.max_length=20"])
    assert share(filters) == ("tokenizer",)
    assert prepare(filters, Path("two")).redone == ("data",)
    assert share(load_recipe(None, ["data.pairs=201"]), "three") == ()
    assert not Path("three").exists()


def test_data_of_another_tokenizer_do_not_stay() -> None:
    other = load_recipe(None, ["seed=2"])
    prepare(other, Path("two"))
    assert share(load_recipe()) == ("tokenizer", "data")
    assert content("two") == content("one")


def test_preparing_or_deleting_one_leaves_the_other() -> None:
    before = content("one")
    share(load_recipe())
    prepare(load_recipe(), Path("two"), force=True)
    assert content("one") == before
    assert not inodes("one") & inodes("two")
    prepare(load_recipe(None, ["data.pairs=150"]), Path("two"))
    assert content("one") == before
    share(load_recipe(), "three")
    shutil.rmtree("one")
    assert content("three") == before


def test_without_links_files_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*unused: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    Path("one/features").mkdir()
    Path("one/features/features-1.arrow").write_text("x")
    assert share(load_recipe()) == ("tokenizer", "data")
    assert not inodes("one") & inodes("two")
    # a copy that is interrupted would look whole there
    assert not Path("two/features/features-1.arrow").exists()


def test_copies_of_feature_files_are_shared_too() -> None:
    Path("one/features").mkdir()
    Path("one/features/features-1.arrow").write_text("x")
    Path("one/features/.tmp-features-2").write_text("y")
    share(load_recipe())
    assert [path.name for path in Path("two/features").iterdir()] == ["features-1.arrow"]


def test_an_interrupted_link_leaves_no_half(monkeypatch: pytest.MonkeyPatch) -> None:
    link, count = os.link, 0

    def cut(*paths: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        link(*paths)

    monkeypatch.setattr(os, "link", cut)
    with pytest.raises(KeyboardInterrupt):
        share(load_recipe())
    assert not is_prepared(load_recipe(), Path("two"))
    monkeypatch.setattr(os, "link", link)
    share(load_recipe())
    assert content("two") == content("one")
