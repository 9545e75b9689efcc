"""The examples of docs/api.md run, one after the other, and it names all there is."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import s2s
from s2s.pipeline.options import SearchOptions, TranslateOptions
from tests.places import ROOT

TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_the_page_has_every_public_name() -> None:
    names = {name for name in s2s.__all__ if name != "__version__"}
    assert {name for name in names if f"`s2s.{name}`" not in TEXT} == set()
    methods = public(s2s.TrainedModel) | {"run", "recipe"}
    assert {name for name in methods if f"model.{name}" not in TEXT} == set()
    members = public(s2s.Attention) - {"map", "grid", "source"}
    assert {name for name in members if f"attention.{name}" not in TEXT} == set()
    others = set(TranslateOptions.__annotations__) - set(SearchOptions.__annotations__)
    assert {name for name in (*others, "n_best") if f"| `{name}` |" not in TEXT} == set()
    arguments = inspect.signature(s2s.train).parameters
    assert {name for name in arguments if name not in TEXT} == set()


@pytest.mark.slow
def test_the_examples_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_thread: None,
) -> None:
    """The comments behind expressions whose value is known are right, too."""
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    for number, block in enumerate(BLOCKS, start=1):
        exec(compile(block, f"docs/api.md, example {number}", "exec"), scope)
    out = capsys.readouterr().out
    assert "bean: no such option (did you mean 'beam'?)\n" in out
    assert scope["evaluation"].saved.is_file()
    assert "BLEU = " in out
    assert scope["bleu"].signature in out
    assert [len(scope[name]) for name in ("samples", "scores", "several")] == [3, 2, 2]
    assert all(one.status in ("finished", "cut") for one in scope["samples"])
    assert (tmp_path / "attention.html").stat().st_size > 1000
    assert scope["evaluation"]["chrf"].interval.half_width > 0
