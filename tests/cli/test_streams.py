"""Messages are a courtesy: closed or full, stderr ends no work. A result that stdout does not take
is an error."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2s.run.directory import Run
from tests.commands import HANGS, write_example
from tests.inference.test_resume import caught_signals

__all__ = ["caught_signals"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells of Unix")

PROGRAM = f'"{sys.executable}" -c "from s2s_cli.main import main; main()"'
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one epoch, and the translations of a file."""
    folder = tmp_path_factory.mktemp("streams")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_example()
        found = shell("train --set train.epochs=1 --set search.width=1")
        assert found.returncode == 0, found.stderr
        found = shell("translate --input input.txt > expected")
        assert found.returncode == 0, found.stderr
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(folder)
    yield folder
    for path in folder.glob("out*"):
        path.unlink()


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A command of s2s, with redirections, as a shell runs it."""
    plain = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment = {**plain, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        f"{PROGRAM} {command}",
        shell=True,
        executable="/bin/bash",
        env=environment,
        capture_output=True,
        check=False,
        timeout=HANGS,
    )


BROKEN = [pytest.param("2>/dev/full", marks=needs_full), "2>&-"]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(
    ("unbuffered", "options"), [("", ""), ("1", "-v "), ("", "--batch-size 2 --workers 2 ")]
)
def test_translation_goes_on_without_stderr(
    here: Path, broken: str, unbuffered: str, options: str
) -> None:
    command = f"{'' if options[:2] != '-v' else '-v '}translate {options.replace('-v ', '')}"
    found = shell(f"{command} --input input.txt {broken}", PYTHONUNBUFFERED=unbuffered)
    assert (found.returncode, found.stdout) == (0, Path("expected").read_bytes())
    everything = "<&- >&-" if broken == "2>&-" else ""
    found = shell(f"{command} --input input.txt --output out {everything} {broken}")
    assert (found.returncode, Path("out").read_bytes()) == (0, Path("expected").read_bytes())


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("options", ["", "--workers 2"])
def test_training_goes_on_without_stderr(here: Path, broken: str, options: str) -> None:
    named = "--set train.epochs=1 --set name=quiet --restart"
    found = shell(f"train {named} {options} {broken}")
    assert found.returncode == 0
    run = Run(Path("runs/quiet"))
    ended = [event for event in run.read_events() if event["event"] == "end"]
    assert run.checkpoints().last is not None and len(ended) <= 1
    assert shell(f"train {named} --set nothing=1 {broken}").returncode == 2


COMMANDS = [
    "recipes show quickstart",
    "recipes copy quickstart -",
    "--help",
    "check",
    "runs",
    "bleu --split validation",
    "score validation.x validation.y",
    "score validation.x validation.y --json",
    "compare runs/spell runs/spell --lines 0 --samples 9",
    "attention --input input.txt",
    "attention --input input.txt --html -",
    "report --limit 0 -o -",
    "translate --input input.txt",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("broken", [pytest.param(">/dev/full", marks=needs_full), ">&-"])
def test_a_result_that_cannot_be_written_is_an_error(here: Path, command: str, broken: str) -> None:
    found = shell(f"{command} {broken}")
    assert found.returncode in (1, 2)
    errors = [line for line in found.stderr.decode().splitlines() if "error: " in line]
    assert len(errors) == 1
    assert "cannot write the output" in errors[0] or "stdout is closed" in errors[0]
    assert "bug of s2s" not in errors[0] and "cannot be read" not in errors[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_leaves_ends_a_command_quietly(here: Path, command: str) -> None:
    found = shell(f"{command} | head -c 1 > /dev/null")
    assert b"error" not in found.stderr and b"Traceback" not in found.stderr


C = {"LC_ALL": "C", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(
    ("encoding", "locale"), [("ascii", {}), ("ascii", C), ("cp1252", {}), ("utf-16", C)]
)
def test_output_is_utf_8_whatever_the_terminal(
    here: Path, encoding: str, locale: dict[str, str]
) -> None:
    for command in ("attention", "compare", "recipes"):
        chosen = next(one for one in COMMANDS if one.startswith(command))
        plain = shell(chosen)
        found = shell(chosen, PYTHONIOENCODING=encoding, PYTHONCOERCECLOCALE="0", **locale)
        assert (found.returncode, found.stdout) == (0, plain.stdout), found.stderr


def test_a_name_that_is_not_utf_8_is_shown_and_runs_are_listed(here: Path) -> None:
    odd = Path(os.fsdecode(b"odd\xff"), "toy")
    try:
        odd.mkdir(parents=True)
    except OSError:  # macOS refuses such names
        pytest.skip("names are UTF-8 here")
    (odd / "recipe.yaml").write_bytes(Path("runs/spell/recipe.yaml").read_bytes())
    found = shell("runs --json --runs $'odd\\xff'")
    assert (found.returncode, found.stderr) == (0, b"")
    assert b'"folder": "odd\\udcff/toy"' in found.stdout  # valid JSON
    found = shell("train --runs $'odd\\xff'")
    assert found.returncode == 2
    assert b"the name is not UTF-8, and a library needs that; rename" in found.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_closed_terminal_saves_the_training(here: Path, workers: str) -> None:
    """SIGHUP comes to all processes of the terminal, twice."""
    named = ["--set", f"name=hangup{workers}", "--set", "train.epochs=100000"]
    code = "from s2s_cli.main import main; main()"
    with Path(f"out{workers}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "train", "--workers", workers, *named],
            stderr=log,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        run = Run(Path(f"runs/hangup{workers}"))
        until = time.monotonic() + HANGS
        while not any(e["event"] in ("update", "validation") for e in run.read_events()):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGHUP)
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGHUP)
        assert process.wait(HANGS) == 128 + signal.SIGHUP
    assert run.checkpoints().last is not None
    assert b"the same command resumes there" in Path(f"out{workers}.log").read_bytes()
    (event,) = (event for event in run.read_events() if event["event"] == "interrupted")
    assert event["signal"] == signal.SIGHUP
