"""`s2s serve` as a process: where it listens, and how it ends."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s2s.run.directory import Run
from s2s.serve import extra
from s2s.serve.server import bind
from s2s.serve.settings import Settings
from tests.commands import HANGS, Call, call

__all__ = ["call"]

pytestmark = pytest.mark.usefixtures("one_thread", "here")

ROOT = Path(__file__).parents[2]

PROGRAM = "from s2s_cli.main import main; main()"


class Process:
    """A running command, and the lines that it writes on stderr."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "serve", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stderr is not None
        self.lines: list[str] = []
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if "serving" in line:
                break
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.lines[-1])
        assert found, self.lines
        self.port = int(found[1])

    def ask(self, count: int) -> int:
        """The status of a request for `count` lines."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANGS)
        body = json.dumps({"text": ["0 1 2 3 4 5 6 7"] * count, "search": {"width": 6}})
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/translate", body, headers)
        try:
            answer = connection.getresponse()
            assert len(json.loads(answer.read())["lines"]) == count
        finally:
            connection.close()
        return answer.status

    def end(self) -> int:
        """The exit status; the rest of stderr is added to the lines."""
        _, errors = self.process.communicate(timeout=HANGS)
        self.lines += errors.splitlines()
        return self.process.returncode


@contextmanager
def running(*arguments: str) -> Iterator[Process]:
    process = Process(*arguments)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
@pytest.mark.parametrize(
    ("number", "status", "last"), [(signal.SIGTERM, 0, None), (signal.SIGINT, 130, "s2s: stopped")]
)
def test_a_signal_ends_it_once_what_runs_is_answered(
    number: signal.Signals, status: int, last: str | None
) -> None:
    with running("spell", "--port", "0") as process:
        assert len(process.lines) == 1
        assert process.lines[0].startswith("s2s: serving spell on http://127.0.0.1:")
        assert process.ask(1) == 200
        statuses: list[int] = []
        asking = threading.Thread(target=lambda: statuses.append(process.ask(600)))
        asking.start()
        wait_for_batches(process)
        process.process.send_signal(number)
        asking.join(HANGS)
        assert statuses == [200]
        assert process.end() == status
        stopping = "s2s: stopping: finishing what runs; a second signal stops at once"
        assert process.lines[1:] == [stopping, *([last] if last else [])]
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection("127.0.0.1", process.port).connect()


def wait_for_batches(process: Process) -> None:
    """Wait until the second request is being searched."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=HANGS)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.search(r"^s2s_batch_lines_count\S* (\S+)$", text, re.MULTILINE)
        if found and float(found[1]) > 1:
            return


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
def test_a_second_signal_ends_it_at_once() -> None:
    with running("spell", "--port", "0", "--timeout", "1000") as process:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=HANGS)
        body = json.dumps({"text": ["0 1 2 3 4 5 6 7"] * 1000, "search": {"width": 100}})
        process.ask(1)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/translate", body, headers)
        wait_for_batches(process)
        process.process.send_signal(signal.SIGTERM)
        for line in process.process.stderr or []:
            assert "stopping" in line
            break
        process.process.send_signal(signal.SIGINT)
        assert process.end() == 1
        assert process.lines[-1] == "s2s: error: stopped before every request was answered"
        connection.close()


def test_an_address_that_is_taken(call: Call) -> None:
    with bind(Settings(port=0)) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        status, told = call.fault("serve", "spell", "--port", str(port))
    assert status == 2
    assert told.startswith(f"127.0.0.1:{port}: cannot listen there: ")
    assert told.endswith("; --port 0 takes a free port")


def test_an_address_that_is_none(call: Call) -> None:
    status, told = call.fault("serve", "spell", "--host", "no.such.host.invalid")
    assert status == 2
    assert told.startswith("--host: cannot use no.such.host.invalid:8000: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("spel",), "spel: no such run, neither as a folder nor in runs (did you mean 'spell'?)"),
        (("spell", "runs/spell"), "two runs are called spell; NAME=RUN gives one of them another"),
        (("a=spell", "a=spell"), "two runs are called a; NAME=RUN gives one of them another name"),
        (("spell", "--beam", "0"), "--beam: expected at least 1, found 0"),
        (("spell", "--shortlist", "2"), "runs/spell: no shortlist here"),
        (("spell", "--checkpoint", "7"), "runs/spell/checkpoints: no checkpoint 7"),
        (("spell", "--queue", "0"), "Invalid value for '--queue'"),
    ],
)
def test_what_cannot_be_served(call: Call, arguments: tuple[str, ...], told: str) -> None:
    status, found = call.fault("serve", *arguments, "--port", "0")
    assert status in (1, 2)
    assert found.startswith(told)


def test_a_missing_library_is_named_with_the_remedy(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "uvicorn" else name)
    status, told = call.fault("serve", "spell")
    assert status == 2
    assert told == "s2s serve needs uvicorn: pip install fastapi uvicorn prometheus-client"


def test_a_failure_leaves_the_address_free(spell: Run, call: Call) -> None:
    with bind(Settings(port=0)) as listener:
        port = listener.getsockname()[1]
    assert call("serve", "spell", "--port", str(port), "--checkpoint", "7")[0] != 0
    bind(Settings(port=port)).close()
