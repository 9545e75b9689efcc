"""-q, -v and exit statuses: what is on stderr, and what a shell is told."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from s2s.errors import Interrupted, RunError
from s2s_cli.main import run
from s2s_cli.options.common import write_wrapped
from tests.house import ROOT
from tests.inference.test_resume import caught_signals

__all__ = ["caught_signals"]

RECIPE = "task: translation\ndata: {kind: dataset, dataset: some/where}\n"
NOTE = "s2s: some/where: on the hub, which is not contacted; 's2s prep' reads it"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(RECIPE)
    return tmp_path


def call(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(arguments)
    captured = capfd.readouterr()
    return status, captured.out, captured.err


PLACES = [("{}", "check", "my.yaml"), ("check", "{}", "my.yaml"), ("check", "my.yaml", "{}")]


@pytest.mark.parametrize("option", ["-q", "--quiet"])
@pytest.mark.parametrize("place", PLACES)
def test_quiet_leaves_results_and_errors(capfd, place: tuple[str, ...], option: str) -> None:
    _, out, err = call(capfd, "check", "my.yaml")
    assert err == f"{NOTE}\n"
    arguments = [one.format(option) for one in place]
    assert call(capfd, *arguments) == (0, out, "")
    Path("my.yaml").write_text("task: nothing\n")
    status, out, err = call(capfd, *arguments)
    assert (status, out) == (2, "")
    assert "s2s: error: my.yaml:1: task: expected one of" in err


@pytest.mark.parametrize("option", ["-v", "--verbose"])
@pytest.mark.parametrize("place", PLACES)
def test_verbose_has_times_versions_and_memory(capfd, place: tuple[str, ...], option: str) -> None:
    _, expected, _ = call(capfd, "check", "my.yaml")
    status, out, err = call(capfd, *(one.format(option) for one in place))
    assert (status, out) == (0, expected)
    lines = err.splitlines()
    times = [float(line[:8]) for line in lines]
    assert times == sorted(times)
    first, note, last = (line[10:] for line in lines)
    assert re.match(r"s2s: s2s \d.*, Python 3\..*, torch \d", first)
    assert note == NOTE
    assert re.fullmatch(
        r"s2s: [\d.]+ s, [\d.]+ s of processor time(, at most [\d,]+ MiB .*)?", last
    )


@pytest.mark.parametrize(
    "arguments", [("-q", "check", "-v"), ("-q", "-v", "check"), ("check", "-qv")]
)
def test_quiet_and_verbose_exclude_each_other(capfd, arguments: tuple[str, ...]) -> None:
    assert call(capfd, *arguments) == (
        2,
        "",
        "s2s: error: --quiet, --verbose: expected one of them\n",
    )


def test_quiet_in_a_group_of_commands(capfd) -> None:
    assert call(capfd, "recipes", "copy", "quickstart")[2] != ""
    for before, after in ((["-q"], []), ([], ["-q"])):
        arguments = ("recipes", *before, "copy", "quickstart", "--force", *after)
        assert call(capfd, *arguments) == (0, "", "")


def test_stderr_is_as_before_after_a_quiet_command(capfd) -> None:
    before = sys.stderr
    call(capfd, "-q", "check", "my.yaml")
    call(capfd, "-v", "check", "my.yaml")
    assert sys.stderr is before
    assert call(capfd, "check", "my.yaml")[2] == f"{NOTE}\n"


STATUSES = {
    0: None,
    1: RunError("a damaged run"),
    2: None,
    129: Interrupted("saved", 1),  # SIGHUP, which Windows has not
    130: KeyboardInterrupt(),
    143: Interrupted("saved", signal.SIGTERM),
}


@pytest.mark.parametrize("status", STATUSES)
def test_exit_statuses_are_those_of_the_documentation(capfd, monkeypatch, status: int) -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = page.partition("## Exit status\n")[2].partition("\n## ")[0]
    assert [int(one) for one in re.findall(r"^\| (\d+) \|", section, re.M)] == list(STATUSES)
    error = STATUSES[status]

    def fail(*_: object) -> None:
        assert error is not None
        raise error

    if error is not None:
        monkeypatch.setattr("s2s.recipe.load.load_draft", fail)
    assert call(capfd, "check", "nope.yaml" if status == 2 else "my.yaml")[0] == status


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_translation_with_its_status(name: str) -> None:
    """`translate` waits for lines; the signal comes after the first."""
    program = (
        "import os, signal, sys\n"
        "from s2s.inference.signals import handle_signals\n"
        "import s2s.pipeline.translation as translation\n"
        "import s2s_cli.translate as command\n"
        "from s2s_cli.main import main\n"
        "command.choose_runs = lambda *_: [None]\n"
        "command.choose_search = lambda *_: None\n"
        "def wait(*_, **__):\n"
        "    with translation._interrupted_by_signals():\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "        signal.pause()\n"
        "translation.translate_files = wait\n"
        "sys.argv = ['s2s', 'translate']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, timeout=300
    )
    assert done.returncode == 128 + signal.Signals[name], done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_notes_are_wrapped_between_words(capfd) -> None:
    text = f"s2s: {NOTE} /a/path/that/is/far/longer/than/any/line/of/the/terminal/could/be.txt"
    write_wrapped(text, 40)
    lines = capfd.readouterr().err.splitlines()
    assert " ".join(lines) == text
    assert all(len(line) <= 40 or " " not in line for line in lines)
    write_wrapped(text, None)
    assert capfd.readouterr().err == f"{text}\n"
