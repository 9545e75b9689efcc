"""The examples of docs/extending.md work: applied to a copy of the source, their tests pass."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import HANGS
from tests.places import ROOT

TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"^```python\n# (\S+?)(?:, (after|before) `([^\n]*)`)?\n(.*?)^```$", re.M | re.S)


def apply(section: str, folder: Path) -> list[str]:
    """Write the new files of a section and its lines into old ones; its tests."""
    tests = []
    for name, where, line, code in BLOCK.findall(section):
        path = folder / name
        if not where:
            assert not path.exists(), f"{name} is not new"
            path.write_text(code, encoding="utf-8")
            tests += [name] if name.startswith("tests/") else []
            continue
        text = path.read_text(encoding="utf-8")
        assert text.count(f"{line}\n") == 1, f"{name}: {line}"
        old = f"{line}\n"
        path.write_text(text.replace(old, old + code if where == "after" else code + old), "utf-8")
    return tests


def test_there_are_four_examples() -> None:
    assert list(SECTIONS) == ["An attention score", "A cell", "A metric", "A constraint"]
    assert len(BLOCK.findall(TEXT)) == TEXT.count("```python\n")


@pytest.mark.parametrize("title", SECTIONS)
def test_an_example_works(title: str, tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__", "made_before")
    for name in ("s2s", "cli", "tests", "recipes"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(tmp_path / "cli", tmp_path / "s2s_cli")
    tests = apply(SECTIONS[title], tmp_path)
    assert tests
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
