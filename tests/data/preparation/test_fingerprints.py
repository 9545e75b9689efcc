"""Prepared data are up to date as long as the bytes of their sources are, wherever these lie."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from s2s.data.preparation.fingerprints import BY_CONTENT, read_fingerprint
from s2s.data.preparation.prepare import fingerprints_of, is_prepared, open_splits, prepare
from s2s.errors import DataError
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe

FILES = """\
task: translation
name: toy
data: {kind: files, train: {source: x, target: y}, validation: {table: valid.tsv}, header: true}
tokenizer: {kind: word}
"""
FOLDER = """\
task: translation
name: toy
data: {kind: dataset, dataset: ./corpus, columns: {source: source, target: target}}
tokenizer: {kind: word}
"""
RUN = Path("run")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with data long settled, so that their hashes are kept."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr("s2s.data.sources.contents.SETTLED_NS", -(10**15))
    Path("recipe.yaml").write_text(FILES)
    Path("x").write_text("a b\nb c\nc a\n")
    Path("y").write_text("d\ne\nf\n")
    Path("valid.tsv").write_text("source\ttarget\na\td\n")
    prepare(load_recipe(), RUN)


def recipe(*overrides: str) -> Recipe:
    return load_recipe(None, list(overrides))


def touch() -> None:
    for path in Path().iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))


def copy_without_times() -> None:
    shutil.copytree(".", "../copy", copy_function=shutil.copyfile)
    os.chdir("../copy")


def move() -> None:
    here = Path.cwd()
    os.chdir("..")
    here.rename("moved")
    os.chdir("moved")


@pytest.mark.parametrize("change", [touch, copy_without_times, move])
def test_the_same_bytes_are_the_same_data(change: Callable[[], None]) -> None:
    change()
    assert is_prepared(recipe(), RUN)
    assert prepare(recipe(), RUN).redone == ()


@pytest.mark.parametrize("spelling", ["./x", "../project/x", "link", "../project/x"])
def test_a_path_may_be_spelled_in_any_way(spelling: str) -> None:
    Path("link").symlink_to("x")
    assert is_prepared(recipe(f"data.train.source={spelling}"), RUN)
    assert is_prepared(recipe(f"data.train.source={Path('x').absolute()}"), RUN)


def test_another_name_is_the_same_data_and_another_kind_of_name_is_not() -> None:
    Path("valid.tsv").rename("v.tsv")
    assert is_prepared(recipe("data.validation.table=v.tsv"), RUN)
    shutil.copy("v.tsv", "v.csv")  # in which a tab is text
    assert not is_prepared(recipe("data.validation.table=v.csv"), RUN)
    with pytest.raises(DataError, match=r"valid.tsv: no such file"):
        is_prepared(recipe(), RUN)


@pytest.mark.parametrize(("name", "redone"), [("x", 2), ("y", 2), ("valid.tsv", 1)])
def test_other_bytes_of_the_same_size_are_other_data(name: str, redone: int) -> None:
    content = Path(name).read_text()
    Path(name).write_text(
        content[::-1].strip() + "\n" if name != "valid.tsv" else content.replace("a\td", "b\td")
    )
    assert Path(name).stat().st_size == len(content)
    assert not is_prepared(recipe(), RUN)
    assert prepare(recipe(), RUN).redone == ("tokenizer", "data")[2 - redone :]


def test_source_and_target_are_not_exchanged() -> None:
    assert not is_prepared(recipe("data.train.source=y", "data.train.target=x"), RUN)


def test_a_folder_of_data_is_known_by_the_files_in_it() -> None:
    Path("recipe.yaml").write_text(FOLDER)
    Path("corpus").mkdir()
    for split in ("train", "validation", "test"):
        Path(f"corpus/{split}.csv").write_text(f"source,target\na {split},b\nb,c\n")
    prepare(recipe(), RUN)
    shutil.copytree("corpus", "../elsewhere", copy_function=shutil.copyfile)
    assert is_prepared(recipe("data.dataset=../elsewhere"), RUN)
    Path("../elsewhere/test.csv").rename("../elsewhere/test-0.csv")  # which may be another split
    assert not is_prepared(recipe("data.dataset=../elsewhere"), RUN)


# ------------------------------------------------------------------------- earlier versions


def write_as_before() -> dict[str, str]:
    found = fingerprints_of(recipe(), open_splits(recipe()), RUN)
    before = {part: one.before for part, one in found.items()}
    for part, text in before.items():
        (RUN / part / "fingerprint").write_text(text)
    return before


def test_what_an_earlier_version_prepared_is_up_to_date_and_gets_known_by_content() -> None:
    before = write_as_before()
    assert is_prepared(recipe(), RUN)
    assert [read_fingerprint(RUN / part) for part in before] == [(t,) for t in before.values()]
    assert prepare(recipe(), RUN).redone == ()
    for part, text in before.items():
        first, second = read_fingerprint(RUN / part)
        assert (first.startswith(BY_CONTENT), second) == (True, text)
    touch()
    assert prepare(recipe(), RUN).redone == ()


def test_the_earlier_fingerprint_counts_no_more_where_there_is_one_by_content() -> None:
    time = Path("x").stat().st_mtime_ns
    write_as_before()
    prepare(recipe(), RUN)
    Path("x").write_text("a b\nb c\nc b\n")
    os.utime("x", ns=(time, time))
    assert not is_prepared(recipe(), RUN)


def test_an_earlier_version_noticed_another_time() -> None:
    write_as_before()
    touch()
    assert not is_prepared(recipe(), RUN)
