"""A process of Linux that lacks what Windows lacks and refuses what Windows refuses.

As a program it runs commands one after the other, their stdin and stdout in files of the current
folder: `windows.py NUMBER.json`, where the file has a list of lists of arguments. It stands for
Windows in what is said here and in nothing else.
"""

import builtins
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

POSIX_MODULES = {
    "crypt",
    "fcntl",
    "grp",
    "nis",
    "posix",
    "pty",
    "pwd",
    "resource",
    "spwd",
    "syslog",
    "termios",
    "tty",
}
POSIX_OF_OS = {
    "fchown",
    "fork",
    "forkpty",
    "getloadavg",
    "getpgid",
    "killpg",
    "memfd_create",
    "mkfifo",
    "posix_fadvise",
    "pread",
    "pwrite",
    "sched_getaffinity",
    "sched_setaffinity",
    "setsid",
    "statvfs",
    "sync",
    "sysconf",
    "wait4",
    "waitid",
}
POSIX_OF_SIGNAL = {
    "SIGALRM",
    "SIGCHLD",
    "SIGCONT",
    "SIGHUP",
    "SIGKILL",
    "SIGPIPE",
    "SIGQUIT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGUSR1",
    "SIGUSR2",
    "SIGWINCH",
    "SIGXFSZ",
    "alarm",
    "pause",
    "pthread_sigmask",
    "setitimer",
    "sigwait",
}

LIBRARIES = (
    "datasets",
    "filelock",
    "multiprocessing.resource_tracker",
    "numpy",
    "psutil",
    "pyarrow",
    "pydantic",
    "rich.console",
    "ruamel.yaml",
    "sacrebleu",
    "safetensors.torch",
    "sentencepiece",
    "torch",
    "typer",
)
"""They have code of their own for Windows, so they are loaded before anything is taken away."""

OURS = re.compile(r"s2s(_cli)?(\.|$)")


def lack() -> None:
    """Take away from s2s what there is on POSIX systems alone."""
    for name in LIBRARIES:
        __import__(name)
    whole = builtins.__import__

    def imported(
        name: str, globals_: Mapping[str, Any] | None = None, *rest: Any, **options: Any
    ) -> Any:
        if name in POSIX_MODULES and OURS.match((globals_ or {}).get("__name__", "")):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return whole(name, globals_, *rest, **options)

    builtins.__import__ = imported
    for module, names in ((os, POSIX_OF_OS), (signal, POSIX_OF_SIGNAL)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


def refuse() -> None:
    """Refuse to flush what is open for reading, and to move or delete what is open or mapped."""
    os.fsync = _flushing(os.fsync)
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    for name, is_replaced in (("unlink", False), ("remove", False), ("rmdir", False)):
        setattr(os, name, _moving(getattr(os, name), is_replaced))
    for name in ("rename", "replace"):
        setattr(os, name, _moving(getattr(os, name), True))
    os.open = _opening(os.open)
    from s2s import files

    if hasattr(files, "IS_WINDOWS"):
        files.IS_WINDOWS = True
    else:  # before it had a name
        files.sync_folder = lambda path: None


def _flushing(whole: Callable[[int], None]) -> Callable[[int], None]:
    def fsync(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        whole(descriptor)

    return fsync


def _opening(whole: Callable[..., int]) -> Callable[..., int]:
    def opened(path: Any, *rest: Any, **options: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return whole(path, *rest, **options)

    return opened


def _moving(whole: Callable[..., None], is_replaced: bool) -> Callable[..., None]:
    def moved(*paths: Any, **options: Any) -> None:
        for path in paths if is_replaced else paths[:1]:
            held = held_below(Path(path))
            if held:
                raise PermissionError(errno.EACCES, f"{', '.join(held)} in use", str(path))
        whole(*paths, **options)

    return moved


def held_below(path: Path) -> list[str]:
    """The path, or files in it, that this process has open or mapped."""
    place = str(path.resolve())
    links = Path("/proc/self/fd")
    held = [str(link.readlink()) for link in links.iterdir() if link.is_symlink()]
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    held += [line.split(maxsplit=5)[5] for line in maps if line.count("/")]
    # The lock is another one on Windows, whose library lets go of it before it deletes it.
    return sorted({one for one in held if f"{one}/".startswith(f"{place}/") and ".lock" not in one})


def run(calls: Sequence[Sequence[str]]) -> None:
    """Run commands; the nth reads `N.in` if there is one and writes `N.out`."""
    from s2s_cli.main import main

    for number, arguments in enumerate(calls):
        source = Path(f"{number}.in")
        place = source if source.exists() else Path(os.devnull)
        # As Python opens them on Windows where they are no terminals.
        with (
            place.open(encoding="cp1252") as sys.stdin,
            Path(f"{number}.out").open("w", encoding="cp1252", newline="\r\n") as sys.stdout,
        ):
            sys.argv = ["s2s", "--debug", *arguments]
            try:
                main()
            except SystemExit as end:
                if end.code:
                    raise


if __name__ == "__main__":
    lack()
    refuse()
    warnings.filterwarnings("ignore", category=EncodingWarning)
    warnings.filterwarnings("error", category=EncodingWarning, module=r"s2s")
    run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
