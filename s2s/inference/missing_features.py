"""Lines that name image features which the feature files lack."""

from collections.abc import Callable, Iterator, Sequence

from s2s.data.features.lookup import MISSING, FeatureLines
from s2s.errors import DataError
from s2s.inference.nbest import MAX_NAMED
from s2s.spaces import is_blank
from s2s.text.extended_vocabulary import EncodedSource

Sources = tuple[Sequence[str], Sequence[EncodedSource]]
"""Lines, and the same lines as ids."""


def has_input(source: EncodedSource) -> bool:
    """Whether a model has something to read: tokens, or the image features that it needs."""
    return MISSING not in source.rows if source.rows else bool(source.ids)


def report_missing(
    features: FeatureLines, sources: Sources, first: int, report: Callable[[str], None]
) -> None:
    """Report which lines have no features, the first few by number.

    `first` is the place of the first line in the input. Blank lines are not reported.
    """
    faulty = list(_missing(sources, first))
    for number, line in faulty[:MAX_NAMED]:
        report(f"line {number}: {features.fault(line)}; its output is empty")
    if len(faulty) > MAX_NAMED:
        report(f"{len(faulty) - MAX_NAMED:,} further lines name features that the files lack")


def refuse_missing(
    features: FeatureLines | None,
    sources: Sources,
    targets: Sequence[str],
    place: str,
    first: int,
) -> None:
    """Raises DataError, at `place:line`, for the first line that has no features to score its
    target with. A pair of blank lines needs none."""
    if features is None:
        return
    for number, (line, source, target) in enumerate(zip(*sources, targets, strict=True), first + 1):
        if MISSING in source.rows and not (is_blank(line) and is_blank(target)):
            raise DataError(f"{place}:{number}: {features.fault(line)}")


def _missing(sources: Sources, first: int) -> Iterator[tuple[int, str]]:
    """Number and text of each line without features."""
    for number, (line, source) in enumerate(zip(*sources, strict=True), first + 1):
        if not is_blank(line) and MISSING in source.rows:
            yield number, line
