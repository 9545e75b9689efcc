"""Completion: what each shell is told, as its script asks for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from s2s.recipe.load import shipped_recipes

START = (sys.executable, "-c", "from s2s_cli.main import main; main()")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("small", "smooth", "large"):
        run = tmp_path / "runs" / name
        (run / "checkpoints" / "100").mkdir(parents=True)
        (run / "recipe.yaml").touch()
    (tmp_path / "runs" / "large" / "checkpoints" / "average").mkdir()
    (tmp_path / "smile.yaml").touch()
    (tmp_path / "other" / "mine").mkdir(parents=True)
    (tmp_path / "other" / "mine" / "recipe.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complete(shell: str, line: str, monkeypatch) -> list[str]:
    """What `s2s` answers to a shell that completes `line`."""
    monkeypatch.setenv("_S2S_COMPLETE", f"complete_{shell}")
    if shell == "bash":
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    else:
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    done = subprocess.run(START, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


CASES = [
    ("s2s recipes show ", {recipe.name for recipe in shipped_recipes()}),
    ("s2s recipes copy quick", {"quickstart"}),
    ("s2s translate --run sm", {"small", "smooth"}),
    ("s2s average ", {"small", "smooth", "large"}),
    ("s2s translate --runs other --run ", {"mine"}),
    ("s2s bleu --run large --checkpoint ", {"best", "last", "100", "average"}),
    ("s2s translate --search ", {"greedy", "beam", "sample", "exhaustive", "mbr", "rerank"}),
    ("s2s inspect ", {"gradients", "model"}),
    ("s2s inspect gradients sm", {"small", "smooth"}),
    ("s2s inspect model sm", {"small", "smooth", "smile.yaml"}),
    ("s2s tra", {"train", "translate"}),
]


@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line for line, _ in CASES])
def test_names_are_completed(monkeypatch, line: str, expected: set[str]) -> None:
    assert set(complete("bash", line, monkeypatch)) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_in_other_shells(monkeypatch, shell: str) -> None:
    answer = " ".join(complete(shell, "s2s translate --run sm", monkeypatch))
    assert "small" in answer and "smooth" in answer and "large" not in answer


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(monkeypatch, shell: str) -> None:
    """As typer's own tests choose the shell: without looking at the process that calls."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = subprocess.run(
        [*START, "--show-completion", shell], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"complete_{shell}" in done.stdout and "_S2S_COMPLETE" in done.stdout
