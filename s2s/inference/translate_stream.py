"""A stream of lines through a loaded translator, whatever is written of each line."""

from dataclasses import replace
from typing import BinaryIO

from s2s.inference.constrained_translator import ConstrainedTranslator
from s2s.inference.glossary import Glossary
from s2s.inference.line_constraints import LineConstraintsReader
from s2s.inference.nbest import NbestOptions
from s2s.inference.progress import StreamProgress
from s2s.inference.stream import StreamContext, nbest_stream, translate_stream
from s2s.inference.translator import LineTranslator
from s2s.search.strategies.build import build_constrained_strategy


def stream(
    loaded: LineTranslator,
    source: BinaryIO,
    target: BinaryIO,
    *,
    batch_size: int,
    listing: NbestOptions | None = None,
    line_constraints: LineConstraintsReader | None = None,
    glossary: Glossary | None = None,
    context: StreamContext | None = None,
) -> int:
    """Translate or list every line of `source`; returns the number of its lines.

    Unknown tokens of the input, and how many terms of the glossary lines have, are reported at its
    end. See `respond_stream` for `batch_size`,
    `context` and the errors raised. Raises UsageError for a search that cannot meet terms that
    lines require.
    """
    if glossary is not None or (line_constraints is not None and line_constraints.has_terms):
        build_constrained_strategy(loaded.search)  # reports a mistake early
    context = StreamContext() if context is None else context
    progress = StreamProgress(source, None, context.start)
    context = replace(context, progress=progress)
    loaded = replace(loaded.counting(), progress=progress)
    constrained: ConstrainedTranslator | None = None
    if line_constraints is not None or glossary is not None:
        constrained = ConstrainedTranslator(loaded, line_constraints, glossary)
    translator = constrained or loaded
    is_typed = source.isatty()
    if listing is None:
        count = translate_stream(source, target, translator, batch_size, is_typed, context=context)
    else:
        count = nbest_stream(
            source, target, translator, listing, batch_size, interactive=is_typed, context=context
        )
    loaded.report_unknown()
    if constrained is not None:
        constrained.report_terms()
    if line_constraints is not None:
        line_constraints.finish(count)
    return count
