"""Measures the startup of commands, each time in a new process."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from s2s.bench.report import StartupResults
from s2s.bench.timing import Measurements, Turn, spread
from s2s.errors import S2sError


@dataclass(frozen=True, kw_only=True)
class Program:
    """The commands of s2s, as arguments of a process."""

    start: tuple[str, ...]
    """The program, before its arguments."""
    commands: tuple[tuple[str, ...], ...]
    """Arguments before `--help`; none for the help of the program."""


@dataclass(frozen=True, kw_only=True)
class FirstTranslation:
    """The first translation of a run."""

    run: str
    """The folder of the run."""
    device: str
    line: str
    """The line to translate."""


class Startup:
    """The help of every command, and the first translation of a run."""

    def __init__(self, program: Program, first: FirstTranslation | None) -> None:
        """Without `first`, nothing is translated."""
        self.start = list(program.start)
        self.calls = {
            " ".join(("s2s", *command, "--help")): [*command, "--help"]
            for command in program.commands
        }
        self.translate = None
        if first is not None:
            call = ["translate", "--run", first.run, "--device", first.device]
            self.translate = partial(self._first_line, [*self.start, *call], first.line)

    @property
    def turns(self) -> list[Turn]:
        """A turn for each command."""
        turns = [Turn(name, partial(self._help, call)) for name, call in self.calls.items()]
        if self.translate is not None:
            turns.append(Turn("s2s translate", self.translate))
        return turns

    def _help(self, arguments: Sequence[str]) -> tuple[float]:
        began = time.perf_counter()
        done = subprocess.run([*self.start, *arguments], capture_output=True, check=False)
        seconds = time.perf_counter() - began
        _check(done.returncode, arguments, done.stderr)
        return (seconds,)

    def _first_line(self, call: Sequence[str], line: str) -> tuple[float]:
        began = time.perf_counter()
        pipe = subprocess.PIPE
        with subprocess.Popen(call, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{line}\n".encode())
            process.stdin.close()
            process.stdout.readline()
            seconds = time.perf_counter() - began
            output = process.stderr.read() if process.stderr is not None else b""
        _check(process.returncode, call, output)
        return (seconds,)

    def results(self, taken: Measurements) -> list[StartupResults]:
        """The results of every command that was measured at least once."""
        return [
            StartupResults(command=turn.name, seconds=spread(s for (s,) in taken[turn.name]))
            for turn in self.turns
            if turn.name in taken
        ]


def _check(status: int, arguments: Sequence[str], output: bytes) -> None:
    if status:
        last = output.decode(errors="replace").strip().splitlines()[-1:]
        raise S2sError(f"s2s {' '.join(arguments)}: exit status {status} ({''.join(last)})")
