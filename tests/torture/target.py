"""A reader that is fuzzed in its process."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from s2s.errors import S2sError
from tests.torture.mutations import changed

Read = Callable[[], None]
"""Reads the file of a target, and does with it what commands do."""

Change = Callable[[bytes, Sequence[bytes], random.Random], bytes]
"""A changed file, from one and all others that are known."""


class Target(NamedTuple):
    """A kind of file, its seeds, and its reader."""

    name: str
    path: str
    """The file, in the folder of `world`."""
    seeds: Callable[[Path], list[bytes]]
    """Small valid files, from that folder."""
    reader: Callable[[], AbstractContextManager[Read]]
    """Prepares, in the process that reads, what all inputs share."""
    change: Change = changed
    refusals: tuple[type[BaseException], ...] = (S2sError,)
    """What the reader raises for a file it does not take; anything else is a fault."""


def always(read: Read) -> Callable[[], AbstractContextManager[Read]]:
    """A reader that needs no preparation."""

    @contextmanager
    def prepared() -> Iterator[Read]:
        yield read

    return prepared


def files(*patterns: str) -> Callable[[Path], list[bytes]]:
    """Files of the world as seeds."""

    def seeds(folder: Path) -> list[bytes]:
        paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
        return [path.read_bytes() for path in paths if path.is_file()]

    return seeds


def texts(*contents: str) -> Callable[[Path], list[bytes]]:
    """Texts as seeds."""
    return lambda folder: [content.encode() for content in contents]
