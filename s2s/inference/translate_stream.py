"""A stream of lines through a loaded translator, whatever is written of each line."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, BinaryIO

from s2s.inference.constrained_translator import ConstrainedTranslator, GlossaryCounts
from s2s.inference.glossary import Glossary
from s2s.inference.line_constraints import LineConstraintsReader
from s2s.inference.nbest import NbestOptions
from s2s.inference.progress import StreamProgress
from s2s.inference.stream import StreamContext, nbest_stream, translate_stream
from s2s.inference.translator import LineTranslator
from s2s.inference.unknown_tokens import UnknownTokens
from s2s.search.strategies.build import build_constrained_strategy


class LineStream:
    """A loaded translator, and what is written of each line; counts what it reads."""

    def __init__(
        self,
        loaded: LineTranslator,
        *,
        batch_size: int,
        listing: NbestOptions | None = None,
        line_constraints: LineConstraintsReader | None = None,
        glossary: Glossary | None = None,
    ) -> None:
        """Raises UsageError for a search that cannot meet terms that lines require."""
        if glossary is not None or (line_constraints is not None and line_constraints.has_terms):
            build_constrained_strategy(loaded.search)  # reports a mistake early
        self.loaded = loaded.counting()
        self.batch_size, self.listing = batch_size, listing
        self.constrained: ConstrainedTranslator | None = None
        if line_constraints is not None or glossary is not None:
            self.constrained = ConstrainedTranslator(self.loaded, line_constraints, glossary)

    def __call__(self, source: BinaryIO, target: BinaryIO, context: StreamContext) -> int:
        """Translate or list every line of `source`; returns the number of its lines, with those
        before `context.start`.

        See `respond_stream` for `context` and the errors raised.
        """
        progress = context.progress or StreamProgress(source, None, context.start)
        context = replace(context, progress=progress)
        translator: LineTranslator | ConstrainedTranslator = replace(self.loaded, progress=progress)
        if self.constrained is not None:
            self.constrained.translator = replace(self.loaded, progress=progress)
            translator = self.constrained
        is_typed, most = source.isatty(), self.batch_size
        if self.listing is None:
            return translate_stream(source, target, translator, most, is_typed, context=context)
        return nbest_stream(
            source, target, translator, self.listing, most, interactive=is_typed, context=context
        )

    def take_counts(self) -> dict[str, Any]:
        """The counts of what was read since the last call, as JSON has them."""
        assert self.loaded.unknown is not None, "it counts"
        found: dict[str, Any] = {"unknown": asdict(self.loaded.unknown)}
        self.loaded = self.loaded.counting()
        if self.constrained is not None:
            found["glossary"] = asdict(self.constrained.counts)
            self.constrained.counts = GlossaryCounts()
        return found

    def add_counts(self, found: Mapping[str, Any]) -> None:
        """Add the counts that another process took."""
        assert self.loaded.unknown is not None, "it counts"
        self.loaded.unknown.merge(UnknownTokens(**found["unknown"]))
        if self.constrained is not None:
            self.constrained.counts.merge(GlossaryCounts(**found["glossary"]))

    def report(self) -> None:
        """Report the unknown tokens of the input, and how many terms of the glossary lines have."""
        self.loaded.report_unknown()
        if self.constrained is not None:
            self.constrained.report_terms()


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
    lines = LineStream(
        loaded,
        batch_size=batch_size,
        listing=listing,
        line_constraints=line_constraints,
        glossary=glossary,
    )
    count = lines(source, target, context or StreamContext())
    lines.report()
    if line_constraints is not None:
        line_constraints.finish(count)
    return count
