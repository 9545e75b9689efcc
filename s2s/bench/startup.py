"""How long a command takes to begin, each time in a process of its own."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from s2s.bench.report import StartupFigures
from s2s.bench.timing import Taken, Turn, spread
from s2s.errors import S2sError


@dataclass(frozen=True, kw_only=True)
class Program:
    """The command line of s2s, as a process is started with it."""

    start: tuple[str, ...]
    """What comes before its arguments."""
    commands: tuple[tuple[str, ...], ...]
    """Arguments before `--help`; none for the program's own help."""


@dataclass(frozen=True, kw_only=True)
class First:
    """The first translation of a run."""

    run: str
    """Its folder."""
    device: str
    line: str
    """What is translated."""


class Startup:
    """Help of every command, and a run's first translation."""

    def __init__(self, program: Program, first: First | None) -> None:
        """`first` is what is translated, if anything is."""
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
        """One for each command."""
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
            said = process.stderr.read() if process.stderr is not None else b""
        _check(process.returncode, call, said)
        return (seconds,)

    def figures(self, taken: Taken) -> list[StartupFigures]:
        """Of every command that was measured at least once."""
        return [
            StartupFigures(command=turn.name, seconds=spread(s for (s,) in taken[turn.name]))
            for turn in self.turns
            if turn.name in taken
        ]


def _check(status: int, arguments: Sequence[str], said: bytes) -> None:
    if status:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise S2sError(f"s2s {' '.join(arguments)}: exit status {status} ({''.join(last)})")
