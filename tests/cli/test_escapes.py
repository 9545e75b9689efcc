"""No name, path or text of others reaches a terminal with characters that it obeys."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from rich.console import Console

from s2s.messages import printable
from s2s.pipeline.progress import progress
from s2s.recipe.load import load_draft, load_recipe
from s2s.training.reporter import LiveReporter, PlainReporter
from s2s_cli.main import run
from s2s_cli.options.completion import run_names
from tests.house import ROOT

BAD = "x\x1b]0;title\x07\x1b[31m\x9b2J\u202ey"
SHOWN = r"x\x1b]0;title\x07\x1b[31m\x9b2J\u202ey"
IS_POSIX = sys.platform != "win32"

RECIPE = """\
task: translation
name: toy
data:
  kind: files
  train: {table: t.csv}
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    Path("t.csv").write_text(f"so{BAD},target\na,b\nc,d\n")


def is_clean(text: str) -> bool:
    return all(printable(line) == line for line in text.split("\n"))


ERRORS = [
    ("prep",),
    ("check",),
    ("train",),
    ("check", BAD),
    ("prep", "--set", f"{BAD}=1"),
    ("prep", "--set", f"data.train.table={BAD}"),
    ("sweep", "--set", f"{BAD}=1,2"),
    ("init", BAD),
    ("init", "t.csv", BAD),
    ("translate", "--run", BAD),
    ("translate", "--run", "toy", "--runs", BAD),
    ("translate", "--input", BAD),
    ("translate", f"--{BAD}"),
    ("translate", "--beam", BAD),
    ("bleu", "--run", BAD),
    ("bleu", BAD),
    ("rouge", "--run", BAD),
    ("evaluate", "--run", BAD),
    ("compare", BAD, BAD),
    ("runs", BAD, BAD),
    ("attention", "--run", BAD),
    ("score", "--run", BAD, "--source", BAD, "--target", BAD),
    ("average", BAD),
    ("report", BAD),
    ("tune-search", BAD),
    ("shortlist", BAD),
    ("export", BAD),
    ("push", BAD, BAD),
    ("pull", BAD),
    ("features", BAD, "--backbone", BAD, "--output", BAD),
    ("serve", BAD),
    ("bench", "--show", BAD),
    ("doctor", "--device", BAD),
    ("recipes", "show", BAD),
    ("inspect", "gradients", BAD),
    ("inspect", "gradients", "toy", "--cells", BAD),
    ("inspect", "model", BAD),
    ("inspect", "model", f"{BAD}.yaml"),
    (BAD,),
]


@pytest.mark.parametrize("arguments", ERRORS)
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_errors(call: Call, arguments: tuple[str, ...], debug: tuple[str, ...]) -> None:
    status, out, err = call(*arguments, *debug)
    assert status != 0
    assert is_clean(out + err)
    assert err.split("\n")[-2].startswith("s2s: error: ")
    assert debug or err.count("\n") == err.count("s2s: ")


def test_an_error_shows_what_the_name_is(call: Call) -> None:
    assert call("translate", "--run", BAD)[2] == (
        f"s2s: error: {SHOWN}: no such run, neither as a folder nor in runs\n"
    )
    assert call("prep")[2].endswith(f"no column 'source'; found: so{SHOWN}, target\n")
    # A line break in a name makes no second message.
    forged = "x\ns2s: all is well"
    assert call("translate", "--run", forged)[2].startswith(r"s2s: error: x\ns2s: all is well: no")


def test_through_a_pipe() -> None:
    """In a process of its own, where stderr is no terminal."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from s2s_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "translate", "--run", BAD], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"s2s: error: {SHOWN}: no such run")


@pytest.mark.skipif(not IS_POSIX, reason="Windows has no such names of folders")
def test_lists_of_runs_and_json(call: Call) -> None:
    for name in (BAD, f"{BAD}2"):
        folder = Path("runs") / name
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(RECIPE)
    status, out, err = call("runs")
    assert status == 0
    assert is_clean(out + err)
    status, out, _ = call("runs", "--json")
    assert is_clean(out)
    assert {Path(one["folder"]).name for one in json.loads(out)} == {BAD, f"{BAD}2"}
    context = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)))
    (Path("runs") / "good").mkdir()
    (Path("runs") / "good" / "recipe.yaml").write_text(RECIPE)
    assert run_names(context, "") == ["good"]


@pytest.mark.skipif(not IS_POSIX, reason="Windows has no such names of files")
def test_results_of_check(call: Call) -> None:
    Path("t.csv").write_text("source,target\na,b\nc,d\n")
    Path(BAD).write_text(RECIPE)
    status, out, err = call("check", BAD)
    assert (status, err) == (0, "")
    assert out.startswith(f"{SHOWN}: ok (")
    status, out, _ = call("check", BAD, "--json")
    assert is_clean(out)
    assert json.loads(out)["recipe"] == BAD


def test_scores_and_comparisons_of_files(call: Call) -> None:
    for name, word in (("a.txt", "one"), ("b.txt", BAD), ("r.txt", "one")):
        Path(name).write_text(f"{word} {BAD} two three four\nfour {word} five six seven\n")
    status, out, err = call("compare", "a.txt", "b.txt", "--reference", "r.txt")
    assert status == 0
    assert SHOWN in out
    assert is_clean(out + err)
    status, out, err = call("bleu", "r.txt", "--hypotheses", "a.txt", "--json")
    assert status == 0
    assert is_clean(out + err)


def test_comments_of_a_recipe_stay_comments(call: Call) -> None:
    """A header of several lines does not write lines of the recipe."""
    rows = "".join(f"word {i} in a text,Wort {i} im Text,no\n" for i in range(40))
    Path("t.csv").write_text(f'source,target,"x\nseed: 77\n{BAD}"\n{rows}')
    assert call("init", "t.csv", "-o", "made.yaml")[0] == 0
    text = Path("made.yaml").read_text(encoding="utf-8")
    assert is_clean(text)
    assert r"x\nseed: 77\n" in text
    assert load_recipe(Path("made.yaml")).seed == load_recipe(Path("recipe.yaml")).seed


def test_reports_of_training() -> None:
    plain, live = io.StringIO(), io.StringIO()
    PlainReporter(plain).note(BAD)
    LiveReporter(Console(file=live, width=200)).note(BAD)
    assert plain.getvalue().strip() == live.getvalue().strip() == SHOWN


@pytest.mark.parametrize("is_terminal", [False, True])
def test_stages_of_progress(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    """On a terminal, the bars have escapes of rich: colours, no titles; brackets are no markup."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("S2S_PROGRESS_SECONDS", "0")
    monkeypatch.setenv("COLUMNS", "200")
    with progress() as show:
        show(f"[red]{BAD}", 1, 2)
        show(f"[red]{BAD}", 2, 2)
    assert f"[red]{SHOWN}" in stream.getvalue()
    assert "\x07" not in stream.getvalue()


def test_the_log_of_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    server = pytest.importorskip("s2s.serve.server")
    logger = logging.getLogger("s2s.serve")
    before = logger.handlers, logger.propagate
    try:
        server._log_to_stderr()
        try:
            raise ValueError(BAD)
        except ValueError:
            logger.exception("%s %s", "GET", f"/{BAD}\n")
    finally:
        logger.handlers, logger.propagate = before
    err = capsys.readouterr().err
    assert err.startswith(f"s2s: GET /{SHOWN}\\n\nTraceback")
    assert err.endswith(f"ValueError: {SHOWN}\n")


def test_the_recipe_that_is_printed_has_safe_comments() -> None:
    from s2s.recipe.said import dump_said

    draft = load_draft(Path("recipe.yaml"), ["seed=3"])
    draft.places[("seed",)] = replace(draft.places[("seed",)], label=f"{BAD}\nseed: 4")
    assert is_clean(dump_said(draft))


def test_run_gives_the_status_of_errors() -> None:
    assert run([BAD]) == 2
