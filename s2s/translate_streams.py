"""A stream through a loaded model, whatever is to be written of each line."""

from dataclasses import replace
from typing import BinaryIO

from s2s.search.build import build_driven
from s2s.translate import LineTranslator
from s2s.translate_demands import DemandingTranslator, WishReader
from s2s.translate_filter import Course, list_stream, translate_stream
from s2s.translate_outputs import Listing
from s2s.translate_progress import StreamProgress


def stream(
    loaded: LineTranslator,
    source: BinaryIO,
    target: BinaryIO,
    *,
    batch_size: int,
    listing: Listing | None = None,
    wishes: WishReader | None = None,
    course: Course | None = None,
) -> int:
    """Translate or list every line of `source`; how many lines the input has.

    See `translate_filter.respond_stream` for the rest.
    """
    if wishes is not None and wishes.has_terms:
        build_driven(loaded.search)  # a mistake is told at once
    course = Course() if course is None else course
    progress = StreamProgress(source, None, course.start)
    course = replace(course, progress=progress)
    loaded = replace(loaded, progress=progress)
    translator = loaded if wishes is None else DemandingTranslator(loaded, wishes)
    is_typed = source.isatty()
    if listing is None:
        count = translate_stream(source, target, translator, batch_size, is_typed, course=course)
    else:
        count = list_stream(
            source, target, translator, listing, batch_size, interactive=is_typed, course=course
        )
    if wishes is not None:
        wishes.finish(count)
    return count
