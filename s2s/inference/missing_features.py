"""Lines that name features which are not there."""

from collections.abc import Callable, Iterator, Sequence

from s2s.data.features.lookup import MISSING, FeatureLines
from s2s.errors import DataError
from s2s.inference.nbest import NAMED
from s2s.text.extended_vocabulary import Reading

Sources = tuple[Sequence[str], Sequence[Reading]]
"""Lines, and how they were read."""


def report_missing(
    features: FeatureLines, sources: Sources, first: int, report: Callable[[str], None]
) -> None:
    """Tell which lines have no features, the first few by name; `first` is the first's place.

    A blank line is none of them.
    """
    faulty = list(_missing(sources, first))
    for number, line in faulty[:NAMED]:
        report(f"line {number}: {features.fault(line)}; its output is empty")
    if len(faulty) > NAMED:
        report(f"{len(faulty) - NAMED:,} further lines name features that are not there")


def refuse_missing(features: FeatureLines | None, sources: Sources, place: str, first: int) -> None:
    """Raises DataError, at `place:line`, for the first line that has no features."""
    for number, line in [] if features is None else _missing(sources, first):
        assert features is not None
        raise DataError(f"{place}:{number}: {features.fault(line)}")


def _missing(sources: Sources, first: int) -> Iterator[tuple[int, str]]:
    """Number and text of each line without features."""
    for number, (line, reading) in enumerate(zip(*sources, strict=True), first + 1):
        if line.strip() and MISSING in reading.rows:
            yield number, line
