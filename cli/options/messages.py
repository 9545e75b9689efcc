"""What a command says on stderr: by default notes and progress, with -q nothing, with -v more.

Errors are written after the command (`s2s_cli.main`), so that no option hides them.
"""

import inspect
import io
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import wraps
from typing import Annotated, Any

import typer

from .panels import MESSAGES

Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Write nothing but errors and results.",
        rich_help_panel=MESSAGES,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Write the time of every message, versions, progress in lines, time and memory used.",
        rich_help_panel=MESSAGES,
    ),
]

PROGRESS_SECONDS = "S2S_PROGRESS_SECONDS"
"""Environment variable: the least seconds between two lines of progress, where it is in lines."""


def with_messages(command: Callable[..., Any]) -> Callable[..., None]:
    """`command` for typer, with the options -q and -v; they may stand before its name too."""
    signature = inspect.signature(command)
    own = list(signature.parameters.values())
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter("quiet", keyword, annotation=Quiet, default=False),
        inspect.Parameter("verbose", keyword, annotation=Verbose, default=False),
    ]
    name = next((one.name for one in own if one.annotation is typer.Context), None)
    if name is None:
        added.append(inspect.Parameter("_context", keyword, annotation=typer.Context))

    @wraps(command)
    def called(**given: Any) -> None:
        context = given.pop("_context") if name is None else given[name]
        asked = remember(context, quiet=given.pop("quiet"), verbose=given.pop("verbose"))
        with stderr_for(*asked):
            command(**given)

    called.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in (*own, *added)}
    return called


def remember(context: typer.Context, *, quiet: bool, verbose: bool) -> tuple[bool, bool]:
    """What is asked for here or before: quiet, verbose. Raises UsageError for both."""
    before = context.obj if isinstance(context.obj, tuple) else (False, False)
    asked = (quiet or before[0], verbose or before[1])
    if all(asked):
        from s2s.errors import UsageError

        raise UsageError("--quiet, --verbose: expected one of them")
    context.obj = asked
    return asked


@contextmanager
def stderr_for(quiet: bool, verbose: bool) -> Iterator[None]:
    """Messages of the block as they are asked for."""
    if sys.stderr is None or not (quiet or verbose):
        yield
    elif quiet:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):  # noqa: PTH123
            yield
    else:
        os.environ.setdefault(PROGRESS_SECONDS, "1")
        with redirect_stderr(_Timed(sys.stderr)) as timed:
            _versions(timed)
            try:
                yield
            finally:
                _used(timed)


class _Timed(io.TextIOBase):
    """A stream that puts the seconds since the start before every line.

    It is no terminal, so that progress comes in lines.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.began = time.monotonic()
        self.is_new = True

    def write(self, text: str) -> int:
        """Write text, whose lines may come in pieces. Raises TypeError for bytes, by which typer
        tells a stream of text from others."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        for line in text.splitlines(keepends=True):
            if self.is_new:
                self.stream.write(f"{self.seconds:8.2f}  ")
            self.stream.write(line)
            self.is_new = line.endswith("\n")
        return len(text)

    @property
    def seconds(self) -> float:
        """Seconds since the start of the command."""
        return time.monotonic() - self.began

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """That of the stream."""
        number: int = self.stream.fileno()
        return number


def _versions(stream: Any) -> None:
    """Write versions; that of torch from its metadata, because its import takes a second."""
    from importlib.metadata import PackageNotFoundError, version

    import s2s

    try:
        torch = f"torch {version('torch')}"
    except PackageNotFoundError:
        torch = "no torch"
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    versions = f"s2s {s2s.__version__}, Python {platform.python_version()}, {torch}"
    stream.write(f"s2s: {versions}, {system}; in {os.getcwd()}\n")  # noqa: PTH109


def _used(stream: _Timed) -> None:
    """Write the time and memory that the command has used."""
    own = os.times()
    processor = own.user + own.system + own.children_user + own.children_system
    used = f"s2s: {stream.seconds:.1f} s, {processor:.1f} s of processor time"
    try:
        import resource
    except ImportError:  # Windows
        memory = ""
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        mebibytes = peak / (2**20 if sys.platform == "darwin" else 2**10)
        memory = f", at most {mebibytes:,.0f} MiB of memory"
    stream.write(used + memory + "\n")
