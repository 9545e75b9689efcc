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


class Interrupted(S2sError):
    """Stopped by a signal after saving; `exit_status` is 128 plus the signal's number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number
