"""The translator of lines: a model, its tokenizers and a way to search as one function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from s2s.data.features.lookup import MISSING, FeatureLines, FeatureRows
from s2s.inference.missing_features import report_missing
from s2s.inference.nbest import Output, joined, named
from s2s.inference.progress import StreamProgress
from s2s.inference.replace_unknown import Replacer
from s2s.inference.split_line import split_line
from s2s.recipe.search import Search
from s2s.search.constraints.logits import shortest_output
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.search.scorer import Scorer
from s2s.text.extended_vocabulary import ExtendedVocabulary, Reading
from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.tags import front_of, is_blank, untagged, with_tag
from s2s.text.tokenizer import Tokenizer

WHOLE = 4
"""A line is translated whole up to this multiple of the longest source in training. Beyond that, an
LSTM has long lost count; pieces no longer than what it was trained on come out better."""

PIECE_BITS = 20
"""Lines are numbered so far apart for sampling that the pieces of a line fit between."""


class Cut(NamedTuple):
    """Lines as they are searched: in one piece each, none, or several."""

    pieces: list[Reading]
    """All pieces, in the order of the lines."""
    places: list[int]
    """Each piece's own number: what its samples depend on."""
    ends: list[int]
    """How many pieces there are up to the end of each line."""
    constraints: list[ConstraintSpec] | None
    """What each piece's output has to meet, if any has to."""

    @property
    def ids(self) -> list[list[int]]:
        """Token ids of all pieces."""
        return [piece.ids for piece in self.pieces]


Elsewhere = Callable[
    ["LineTranslator", list[str], int, int, Sequence[ConstraintSpec] | None], list[list[Output]]
]
"""`LineTranslator.outputs` in other processes; told and reported through the translator."""


@dataclass(frozen=True, kw_only=True)
class LineTranslator:
    """A model, its tokenizers and a way to search, as a function from lines to lines."""

    scorer: Scorer[Any, Any]
    """The model, in evaluation mode."""
    source: Tokenizer
    target: Tokenizer
    search: Search
    device: str
    longest: int
    """Tokens of the longest source in training."""
    report: Callable[[str], None]
    """Told, one line a call, of what the user should know."""
    truncate: int | None = None
    """Longer sources are cut to this many tokens, as in training; None cuts none."""
    tag: str | None = None
    """Put in front of every line that begins with no tag."""
    progress: StreamProgress | None = None
    """Told how much of the lines is searched."""
    replacer: Replacer | None = None
    """Puts words where an output holds an unknown token."""
    extended_vocabulary: ExtendedVocabulary | None = None
    """What ids beyond the vocabularies stand for, where the model copies."""
    features: FeatureLines | None = None
    """The feature files whose ids lines end with, or are."""
    elsewhere: Elsewhere | None = None
    """Searches instead of this process."""

    def __call__(self, lines: list[str], first: int = 0) -> list[str]:
        """One translation per line; what is white space alone becomes an empty line."""
        return [outputs[0].text for outputs in self.outputs(lines, first)]

    def outputs(
        self,
        lines: list[str],
        first: int = 0,
        keep: int = 1,
        constraints: Sequence[ConstraintSpec] | None = None,
    ) -> list[list[Output]]:
        """The `keep` best outputs of every line, or all its samples, in the order of search.

        `first` is the place of the first line in the input, on which samples depend. The k-th
        output of a line that was cut joins the k-th outputs of its pieces. `constraints` has one
        for each line; of a line that is cut, the first piece has to meet it.
        """
        if self.elsewhere is not None:
            return self.elsewhere(self, lines, first, keep, constraints)
        cut = self.cut(lines, first, constraints)
        found = search(
            self.scorer,
            cut.ids,
            self.search,
            self.device,
            keep=keep,
            places=cut.places,
            constraints=cut.constraints,
            features=self.features_of(cut.pieces),
            progress=self._follow(len(cut.pieces)),
            want_attention=self.replacer is not None,
            reduce=None if self.replacer is None else self.replacer.reduce,
        )
        self._report_unproven(found)
        self._report_lengths(found, cut, first)
        return self.told(found, cut)

    def cut(
        self,
        lines: Sequence[str],
        first: int = 0,
        constraints: Sequence[ConstraintSpec] | None = None,
    ) -> "Cut":
        """What is searched for lines; see `outputs` for the rest."""
        pieces: list[Reading] = []
        places: list[int] = []
        ends: list[int] = []
        asked: list[ConstraintSpec] = []
        lines = self.tagged(lines)
        readings = self.read(lines)
        self._report_bare([reading.text for reading in readings])
        self.report_cut([reading.ids for reading in readings])
        if self.features is not None:
            report_missing(self.features, (lines, readings), first, self.report)
        for place, reading in enumerate(readings):
            parts = [] if self.is_blank(reading) else self._pieces(reading)
            pieces.extend(parts)
            places.extend(((first + place) << PIECE_BITS) + part for part in range(len(parts)))
            ends.append(len(pieces))
            if constraints is not None:
                asked.extend(constraints[place].of_piece(part) for part in range(len(parts)))
        return Cut(pieces, places, ends, asked if constraints is not None else None)

    def told(self, found: Sequence[Sequence[Hypothesis]], cut: "Cut") -> list[list[Output]]:
        """The outputs of every line, from the hypotheses of its pieces."""
        sources = [piece for piece, one in zip(cut.pieces, found, strict=True) for _ in one]
        texts = iter(self.write([h.tokens for one in found for h in one], sources))
        told: list[list[Output]] = []
        for piece, hypotheses in zip(cut.pieces, found, strict=True):
            decoded = ((h, next(texts)) for h in hypotheses)
            told.append([Output.of(h, self._replaced(h, plain, piece)) for h, plain in decoded])
        return [joined(told[a:b]) for a, b in zip([0, *cut.ends], cut.ends, strict=False)]

    def _replaced(self, hypothesis: Hypothesis, plain: str, source: Reading) -> str:
        """The output's text, words in place of unknown tokens where that is asked for."""
        if self.replacer is None:
            return plain
        return self.replacer.text(hypothesis, source.text, source.ids) or plain

    def _report_bare(self, lines: list[str]) -> None:
        """Tell how many lines lack the features that the model was trained with, if some do."""
        if not isinstance(untagged(self.source), SourceFeatureTokenizer):
            return
        bare = sum(bool(line.strip()) and SEPARATOR not in line for line in lines)
        if bare:
            self.report(
                f"{bare:,} of {len(lines):,} lines come without features: expected source, tab, "
                "features"
            )

    def tagged(self, lines: Sequence[str]) -> list[str]:
        """The lines, each with a tag where there is one for it."""
        if self.tag is None:
            return list(lines)
        return [
            line if front_of(self.source, line) else with_tag([line], self.tag)[0] for line in lines
        ]

    def read(self, lines: Sequence[str]) -> list[Reading]:
        """Source lines as the model reads them, whole."""
        if self.features is None:
            return self._read_texts(lines)
        named = self.features.read(lines)
        texts = self._read_texts(named.texts) if self.features.has_text else None
        readings = texts or [Reading([], [], "") for _ in lines]
        rows = map(tuple, named.rows_NF.tolist())
        return [one._replace(rows=row) for one, row in zip(readings, rows, strict=True)]

    def _read_texts(self, lines: Sequence[str]) -> list[Reading]:
        if self.extended_vocabulary is not None:
            return self.extended_vocabulary.read(lines)
        pairs = zip(self.source.encode(lines), lines, strict=True)
        return [Reading(ids, [], line) for ids, line in pairs]

    def read_again(self, reading: Reading, text: str) -> Reading:
        """The source with another text, such as a part of its own."""
        return self._read_texts([text])[0]._replace(rows=reading.rows)

    def is_blank(self, reading: Reading) -> bool:
        """Whether a source has nothing to search for: no text, or features that are not there."""
        if self.features is None:
            return is_blank(self.source, reading.text)
        return MISSING in reading.rows

    def features_of(self, readings: Sequence[Reading]) -> FeatureRows | None:
        """The features of sources that are not blank, where the model reads some."""
        if self.features is None:
            return None
        rows_NF = np.array([reading.rows for reading in readings], dtype=np.int64)
        return FeatureRows(self.features, rows_NF.reshape(len(readings), -1))

    def whole(self, readings: Sequence[Reading]) -> list[Reading]:
        """Sources as they are searched; without tokens those that are translated in pieces."""
        if self.truncate is not None:
            return [reading.cut(self.truncate) for reading in readings]
        most = WHOLE * self.longest
        return [reading if len(reading.ids) <= most else reading.cut(0) for reading in readings]

    def read_targets(self, lines: Sequence[str], sources: Sequence[Reading]) -> list[list[int]]:
        """Target lines as the model would predict them for a source each."""
        if self.extended_vocabulary is not None:
            return self.extended_vocabulary.targets(lines, sources)
        return self.target.encode(lines)

    def write(self, rows: Sequence[Sequence[int]], sources: Sequence[Reading]) -> list[str]:
        """The text of what the model predicted for a source each."""
        if self.extended_vocabulary is not None:
            return self.extended_vocabulary.decode(rows, sources)
        return self.target.decode(rows)

    def report_cut(self, sources: list[list[int]]) -> None:
        """Tell how many sources are cut to their beginning, if some are."""
        cut = self.truncate and sum(len(ids) > self.truncate for ids in sources)
        if cut:
            self.report(
                f"{cut:,} of {len(sources):,} lines are longer than {self.truncate:,} tokens "
                "(data.truncate.source): only so many are read"
            )

    def _follow(self, pieces: int) -> Callable[[int], None] | None:
        progress = self.progress
        return None if progress is None else lambda done: progress.part(done / pieces)

    def _report_unproven(self, found: list[list[Hypothesis]]) -> None:
        unproven = sum(one[0].proven is False for one in found)
        if unproven:
            self.report(
                f"{unproven:,} of {len(found):,} outputs are not proven to be the most probable: "
                "the search ran out of nodes"
            )

    def _report_lengths(
        self, found: Sequence[Sequence[Hypothesis]], cut: "Cut", first: int
    ) -> None:
        """Tell which outputs are longer or shorter than they may be, as far as they are."""
        too_long, too_short = set(), set()
        line = 0
        for place, (piece, one) in enumerate(zip(cut.pieces, found, strict=True)):
            while place >= cut.ends[line]:
                line += 1
            least = shortest_output(len(piece.ids), self.search)
            is_searched = bool(piece.ids or piece.rows)
            if is_searched and not one[0].finished:
                too_long.add(first + line + 1)
            elif is_searched and len(one[0].tokens) < least:
                too_short.add(first + line + 1)
        if too_long:
            self.report(
                f"{len(too_long):,} of {len(cut.ends):,} outputs were cut at the longest that "
                f"max_ratio and max_offset allow: {named(sorted(too_long))}"
            )
        if too_short:
            self.report(
                f"{len(too_short):,} of {len(cut.ends):,} outputs are shorter than min_ratio and "
                f"min_offset ask for, as nothing else was allowed: {named(sorted(too_short))}"
            )

    def _pieces(self, reading: Reading) -> list[Reading]:
        """A source's tokens, in one piece unless they are too many."""
        if self.truncate is not None:
            return [reading.cut(self.truncate)]
        most, ids, line = WHOLE * self.longest, reading.ids, reading.text
        is_featured = isinstance(
            untagged(self.source), SourceFeatureTokenizer
        )  # features belong to the whole
        if len(ids) <= most or is_featured:
            return [reading]
        front = front_of(self.source, line)
        parts = split_line(line[len(front) :], self.longest, self._count)
        self.report(
            f"a line of {len(ids):,} tokens ({line[:30]!r}...) is longer than {most:,}: translated "
            f"in {len(parts)} pieces"
        )
        return [self.read_again(reading, front + part) for part in parts]

    def _count(self, text: str) -> int:
        return len(self.source.encode([text])[0])
