"""Chunks of sentence pairs, and the errors and fingerprints that all sources share."""

import difflib
import stat
from collections.abc import Collection, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple

from s2s.data.sources.contents import FileStamp
from s2s.data.sources.damage import NO_FAULTS, TableFaults
from s2s.errors import DataError
from s2s.spaces import MARK
from s2s.text.lines import has_line_break, no_such_file, one_line
from s2s.text.source_features import with_features

CHUNK_PAIRS = 10_000
"""Pairs read, encoded and written at a time: about a megabyte of text on each side, which stays in
the cache of a processor."""


class Chunk(NamedTuple):
    """Consecutive pairs of a split: as many source lines as target lines."""

    source: Sequence[str]
    target: Sequence[str]
    line_breaks: list[int] | None = None
    """The number of texts of every pair with line breaks, which became spaces: each text must be
    one line. None if there are none."""
    corpus: int = 0
    """The number of the recipe's corpus that the pairs come from."""
    tag: str | None = None
    """The tag of every source."""
    references: list[list[str]] | None = None
    """All references of every pair, one or more; None if the target is the only one."""
    groups: list[str] | None = None
    """The group of every pair; pairs of one group become one example (`s2s.data.sources.group`)."""
    faults: TableFaults = NO_FAULTS
    """What is wrong with tables that this chunk is the last of."""

    @property
    def num_line_breaks(self) -> int:
        """Texts with line breaks."""
        return sum(self.line_breaks or ())

    def select(self, kept: Sequence[bool]) -> "Chunk":
        """The pairs that are kept."""
        return self._replace(
            source=list(compress(self.source, kept)),
            target=list(compress(self.target, kept)),
            references=self.references and list(compress(self.references, kept)),
            groups=self.groups and list(compress(self.groups, kept)),
            line_breaks=self.line_breaks and list(compress(self.line_breaks, kept)),
        )

    def with_references(self, references: list[list[str]]) -> "Chunk":
        """The chunk with references, each of them one line."""
        broken = [sum(map(has_line_break, options)) for options in references]
        lines = [list(map(one_line, options)) for options in references]
        if any(broken):
            before = self.line_breaks or [0] * len(broken)
            broken = [one + other for one, other in zip(before, broken, strict=True)]
            return self._replace(references=lines, line_breaks=broken)
        return self._replace(references=lines)


def clean(source: list[str], target: list[str], features: list[str] | None = None) -> Chunk:
    """A chunk in which every text is one line; features become a part of the source."""
    if features is not None:
        source = with_features(source, features)
    together = "".join((*source, *target))
    if not ("\n" in together or "\r" in together or MARK in together):  # quicker than one by one
        return Chunk(source, target)
    pairs = zip(source, target, strict=True)
    broken = [has_line_break(one) + has_line_break(other) for one, other in pairs]
    return Chunk(
        list(map(one_line, source)),
        list(map(one_line, target)),
        broken if any(broken) else None,
    )


def with_texts(chunk: Chunk, references: Sequence[Sequence[str]]) -> Chunk:
    """The chunk with references, given as columns of texts: all first ones, all second ones, ..."""
    if not references:
        return chunk
    return chunk.with_references([list(options) for options in zip(*references, strict=True)])


def file_fingerprint(path: Path, name: str = "", beside: Path | None = None) -> FileStamp:
    """What identifies a file; see `FileStamp`. Raises DataError unless it is a regular file."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not stat.S_ISREG(status.st_mode):  # a pipe would be empty when it is read again
        raise DataError(f"{path}: expected a file, found a folder, pipe or device")
    return FileStamp(path, status, name, beside)


def feature_stamp(path: Path, ids: Path | None) -> FileStamp:
    """What identifies a feature file; `ids` lies beside it if it is not given."""
    return file_fingerprint(path, path.suffix.lower(), None if ids else path.with_suffix(".ids"))


def missing_column(place: str, name: str, found: Collection[str]) -> DataError:
    """The error for a column that `place` does not have, with those it has."""
    return DataError(f"{place}: no column '{name}'{did_you_mean(name, found)}; {found_list(found)}")


def doubled_column(place: str, name: str) -> DataError:
    """The error for a column that `place` has twice: which of them is meant cannot be told."""
    return DataError(f"{place}: column '{name}' is there more than once; rename all but one")


def did_you_mean(name: str, found: Collection[str]) -> str:
    """` (did you mean 'x'?)`, or nothing if no name is close."""
    close = difflib.get_close_matches(name, found, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def found_list(found: Collection[str]) -> str:
    """`found: a, b, c`, shortened if there are very many."""
    shown = list(found)[:20]
    more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    return f"found: {', '.join(shown) or 'none'}{more}"
