"""The process of another toolkit, which works at request and waits in between."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from s2s.bench.toolkits import Toolkit
from s2s.errors import S2sError, UsageError
from s2s.nn.threads import SPIN_VARIABLE, SPINS

SCRIPT = Path(__file__).with_name("toolkit_script.py")
"""The program that the other Python runs."""

LAST_LINES = 3
"""Lines of its stderr in the message of a failure."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables that set the number of threads of a library."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the other toolkit gets: its options, the sizes and the data."""

    toolkit: str
    options: Sequence[str]
    """Of the model and its training, as its command line has them."""
    threads: int
    seed: int
    folder: str
    """Where its files go."""
    vocabularies: tuple[int, int]
    """The number of tokens of source and target, special ones included."""
    shared: bool
    """Whether both are one."""
    batches: Sequence[Sequence[tuple[Sequence[int], Sequence[int]]]]
    """The pairs of each update, as token ids; the four special tokens do not occur."""
    longest: int
    """At least the tokens of the longest sentence, end of sentence included."""
    sources: Sequence[Sequence[int]]
    """The sources to search outputs for."""
    length: int
    """The predictions of each output."""
    rows: int
    """Sentences that are searched together."""
    beam: int
    """The width of the beam."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The first answer."""

    versions: dict[str, str]
    """Of the toolkit, its Python and what it computes with."""
    parameters: int
    """Of its model."""


class ToolkitProcess:
    """A toolkit in a Python of its own."""

    def __init__(self, toolkit: Toolkit, python: str, job: Job) -> None:
        """Start it; `ready` waits for its models.

        Raises UsageError if there is no such Python.
        """
        self.toolkit = toolkit
        self.python = python
        path = Path(job.folder) / "job.json"
        path.write_text(json.dumps(asdict(job)), encoding="utf-8")
        self.log_path = Path(job.folder) / "log.txt"
        environment = {**os.environ, **dict.fromkeys(THREADS, str(job.threads))}
        if environment.get(SPIN_VARIABLE) == str(SPINS):
            del environment[SPIN_VARIABLE]  # ours, not the user's
        with self.log_path.open("wb") as log:
            try:
                self.process = subprocess.Popen(
                    [python, str(SCRIPT), str(path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=job.folder,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for this process, which closes that one
                )
            except OSError as error:
                raise UsageError(
                    f"--compare {toolkit.name}: expected a Python, found {python} "
                    f"({error.strerror}); name another, --compare {toolkit.name}=PYTHON"
                ) from error
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: IO[bytes] = self.process.stdin
        self.answers: IO[bytes] = self.process.stdout

    def ready(self) -> Ready:
        """Wait for its models. Raises UsageError if the toolkit is not installed there."""
        answer = self._answer()
        return Ready(versions=answer["versions"], parameters=answer["parameters"])

    def __call__(self, request: str) -> tuple[float, int]:
        """Seconds and tokens of `training`, `greedy` or `beam`. Raises S2sError if it fails."""
        try:
            self.requests.write(f"{request}\n".encode())
            self.requests.flush()
        except OSError as error:
            raise self._failure("it has ended") from error
        answer = self._answer()
        return float(answer["seconds"]), int(answer["tokens"])

    def close(self) -> None:
        """Terminate it and the processes that it started, whatever they are doing."""
        if sys.platform == "win32":
            self.process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.requests, self.answers):
            pipe.close()

    def _answer(self) -> dict[str, Any]:
        line = self.answers.readline()
        if not line:
            raise self._failure("it has ended")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            name, package = self.toolkit.name, self.toolkit.package
            raise UsageError(
                f"--compare {name}: {self.python} has no module '{answer['missing']}'; install "
                f"{self.toolkit.title} in an environment of its own, 'python3 -m venv {name} && "
                f"{name}/bin/pip install {package}', then '--compare {name}={name}/bin/python'"
            )
        if "error" in answer:
            raise self._failure(answer["error"])
        return answer

    def _failure(self, what: str) -> S2sError:
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = " | ".join(line.strip() for line in lines[-LAST_LINES:]) or "nothing"
        return S2sError(
            f"--compare {self.toolkit.name}: {self.toolkit.title} in {self.python}: {what}; its "
            f"last words: {last}"
        )
