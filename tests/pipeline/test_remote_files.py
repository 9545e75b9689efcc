"""Commands whose files URLs name."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from s2s import pipeline
from s2s.data.sources.check import data_faults, unseen
from s2s.data.sources.contents import Hashes, by_content
from s2s.data.sources.open import open_split
from s2s.errors import UsageError
from s2s.pipeline import translation_in_parts
from s2s.pipeline.translation import Files, translate_files
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from tests.commands import Call, call
from tests.pipeline.test_translation_in_parts import LINES, RECIPE, folder, here
from tests.text.test_remote import store

__all__ = ["call", "folder", "here", "store"]


def test_translations_of_a_store_into_a_store(here: Run, store: Any, call: Call) -> None:
    text = "\n".join(LINES).encode()
    store.pipe("/in.gz", gzip.compress(text))
    run = str(here.folder)
    expected = call.output("translate", run, stdin=text)
    for name in ("out", "out.gz"):
        arguments = ("translate", run, "--input", "memory://in.gz", "--output", f"memory://{name}")
        assert call.output(*arguments) == b""
        found = store.cat(f"/{name}")
        assert (gzip.decompress(found) if name == "out.gz" else found) == expected
    assert call.fault(*arguments, "--resume") == (
        2,
        "--resume: memory://out.gz is a URL, which is written as a whole",
    )
    assert not [path.name for path in Path().iterdir() if "out" in path.name]


def test_several_processes_need_a_folder(
    here: Run, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation_in_parts, "is_launched", lambda: True)
    files = Files(source=Path("in"), target=Path("memory://out"))
    with pytest.raises(UsageError, match=r"^memory://out: several processes read and write files"):
        translate_files([here], files, device="cpu")


def test_a_corpus_in_a_store_is_the_same_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("x", "a b\nb\n"), ("y", "b a\nb\n")):
        Path(name).write_text(text)
        store.pipe(f"/corpus/{name}", text.encode())
    Path("recipe.yaml").write_text(RECIPE)
    here_ = load_recipe()
    urls = ["data.train.source=memory://corpus/x", "data.train.target=memory://corpus/y"]
    there = load_recipe(overrides=urls)
    assert unseen(there) == ["memory://corpus/x", "memory://corpus/y"]
    assert not list(data_faults(there))
    found = []
    for recipe in (here_, there):
        split = open_split(recipe.data, "train")
        assert split is not None
        found.append((by_content(split.fingerprint(), Hashes()), list(split.chunks())))
    assert found[0] == found[1]
    assert pipeline.prepare(there).redone
    assert not pipeline.prepare(here_).redone, "a file is its bytes"
