"""A stream of lines through a loaded translator, whatever is written of each line."""

from dataclasses import replace
from typing import BinaryIO

from s2s.inference.line_constraints import ConstrainedTranslator, LineConstraintsReader
from s2s.inference.nbest import Listing
from s2s.inference.progress import StreamProgress
from s2s.inference.stream import Course, list_stream, translate_stream
from s2s.inference.translator import LineTranslator
from s2s.search.strategies.build import build_constrained_strategy


def stream(
    loaded: LineTranslator,
    source: BinaryIO,
    target: BinaryIO,
    *,
    batch_size: int,
    listing: Listing | None = None,
    line_constraints: LineConstraintsReader | None = None,
    course: Course | None = None,
) -> int:
    """Translate or list every line of `source`; returns the number of its lines.

    See `respond_stream` for `batch_size`, `course` and the errors raised. Raises UsageError for a
    search that cannot meet terms that lines require.
    """
    if line_constraints is not None and line_constraints.has_terms:
        build_constrained_strategy(loaded.search)  # a mistake is told at once
    course = Course() if course is None else course
    progress = StreamProgress(source, None, course.start)
    course = replace(course, progress=progress)
    loaded = replace(loaded, progress=progress)
    translator = (
        loaded if line_constraints is None else ConstrainedTranslator(loaded, line_constraints)
    )
    is_typed = source.isatty()
    if listing is None:
        count = translate_stream(source, target, translator, batch_size, is_typed, course=course)
    else:
        count = list_stream(
            source, target, translator, listing, batch_size, interactive=is_typed, course=course
        )
    if line_constraints is not None:
        line_constraints.finish(count)
    return count
