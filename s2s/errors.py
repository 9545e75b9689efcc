"""The tree of errors that s2s raises.

    S2sError                 run time, exit status 1
    ├── UsageError           the user's mistake, exit status 2
    │   ├── RecipeError      an invalid recipe: all its faults, each with file and line
    │   └── DataError        an invalid corpus, input file or text
    ├── RunError             a run directory or checkpoint that cannot be used
    │   ├── RunInUse         a run that another process holds
    │   └── RunNotWritable   a run whose folder takes no files
    ├── TrainingError        training that cannot continue (NaN, divergence, full disk)
    └── Interrupted          stopped by a signal after the state was saved, 128 + its number

A message is one line: place, what was expected, what was found, what to do. The command line
prints it on stderr and exits with `exit_status`; nothing else is caught there.
"""

import re
from collections.abc import Sequence


class S2sError(Exception):
    """The root of the tree; its message is for the user."""

    exit_status = 1


class UsageError(S2sError):
    """A request of the user that cannot be met."""

    exit_status = 2


class RecipeError(UsageError):
    """One or more faults of a recipe, one line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class DataError(UsageError):
    """Data that is missing, unreadable or not as the recipe says."""


class RunError(S2sError):
    """A run directory or a checkpoint that cannot be used."""


class RunInUse(RunError):
    """A run that another process is writing to."""


class RunNotWritable(RunError):
    """A run to which nothing can be written: its folder is read-only, or its disk full."""


class TrainingError(S2sError):
    """Training that cannot continue; the last good checkpoint is intact."""


LONGEST_MESSAGE = 2000
"""Characters of a line that is shown: names and values in it come from files."""

_OUT_OF_MEMORY = re.compile(
    "can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc"
    "|failed to map segment|can't start new thread|unable to allocate",
    re.IGNORECASE,
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, PyTorch, NumPy or the loader of libraries says that memory, or
    what a limit leaves of it, is used up."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError | OSError | ImportError) and bool(
        _OUT_OF_MEMORY.search(str(error))
    )


def shortened(line: str, longest: int = LONGEST_MESSAGE) -> str:
    """A line without its middle, where it is longer than that."""
    if len(line) <= longest:
        return line
    left = longest * 2 // 3
    return f"{line[:left]} … {line[left - longest + 3 :]}"


class Interrupted(S2sError):
    """Stopped by a signal after saving; `exit_status` is 128 plus the signal's number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number
