"""The translator: a model, its tokenizers and a search, as a function from lines to lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from s2s.data.features.lookup import MISSING, FeatureLines, FeatureRows
from s2s.inference.missing_features import report_missing
from s2s.inference.nbest import Output, join_outputs
from s2s.inference.output_notes import length_notes, placeholder_note, unproven_note
from s2s.inference.progress import StreamProgress
from s2s.inference.replace_unknown import UnknownReplacer
from s2s.inference.source_pieces import SourcePieces
from s2s.inference.split_line import split_line
from s2s.inference.unknown_tokens import UnknownTokens
from s2s.recipe.scoring import Scoring
from s2s.recipe.search import MbrSearch, RerankSearch, Search
from s2s.search.constraints.logits import shortest_output
from s2s.search.constraints.prefix import PrefixConstraint
from s2s.search.constraints.spec import UNCONSTRAINED, ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.search.minimum_bayes_risk import MinimumBayesRisk
from s2s.search.ranking import Ranking, Texts
from s2s.search.scorer import Scorer
from s2s.spaces import is_blank as is_blank_text
from s2s.special import EOS
from s2s.text.extended_vocabulary import EncodedSource, ExtendedVocabulary
from s2s.text.line_placeholders import NO_PLACEHOLDERS, LinePlaceholders
from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.tags import front_of, is_blank, untagged, with_tag
from s2s.text.tokenizer import Tokenizer

WHOLE = 4
"""A line is translated whole up to this multiple of the longest source in training. LSTMs translate
longer ones badly; pieces no longer than the sources of training come out better."""

PIECE_BITS = 20
"""Sampling numbers line n as n shifted left by so many bits: the pieces of a line fit between."""


TranslateInWorkers = Callable[
    ["LineTranslator", list[str], int, int, Sequence[ConstraintSpec] | None], list[list[Output]]
]
"""`LineTranslator.outputs` in worker processes; notes are reported through the translator."""


def unlimited(settings: Search) -> Search:
    """The settings of a search for labels, of which there are as many as the model says."""
    return replace(settings, max_ratio=1.0, max_offset=1, min_ratio=0.0, min_offset=0)


@dataclass(frozen=True, kw_only=True)
class LineTranslator:
    """A model, its tokenizers and a search, as a function from lines to lines."""

    scorer: Scorer[Any, Any]
    """The model, in evaluation mode."""
    source: Tokenizer
    target: Tokenizer
    search: Search
    device: str
    longest: int
    """Tokens of the longest source in training."""
    report: Callable[[str], None]
    """Reports a note to the user, one line a call."""
    truncate: int | None = None
    """Most tokens of a source, as in training: longer ones are truncated. None sets no limit."""
    tag: str | None = None
    """The tag of every line that begins with none."""
    scoring: Scoring = field(default_factory=Scoring)
    """How metrics read text, where outputs are compared with each other."""
    reranker: Callable[[RerankSearch, Sequence[EncodedSource], Texts], Ranking] | None = None
    """Ranks the candidates of search `rerank`."""
    progress: StreamProgress | None = None
    """Shows how many of the lines are translated."""
    replacer: UnknownReplacer | None = None
    """Replaces unknown tokens of an output by words."""
    extended_vocabulary: ExtendedVocabulary | None = None
    """The meaning of ids beyond the vocabularies, if the model copies."""
    placeholders: LinePlaceholders = NO_PLACEHOLDERS
    """Replaces numbers and addresses of sources, and puts them back in outputs."""
    features: FeatureLines | None = None
    """The files of image features, whose ids lines end with or consist of."""
    workers: TranslateInWorkers | None = None
    """Searches in worker processes instead of this one."""
    has_prompts: bool = False
    """Whether lines are beginnings of outputs, of a language model, in place of sources."""
    has_labels: bool = False
    """Whether outputs are labels, of the whole line, which is never split."""
    unknown: UnknownTokens | None = None
    """Counts the unknown tokens of lines; see `counting`."""

    def __call__(self, lines: list[str], first: int = 0) -> list[str]:
        """One translation per line; a line of white space alone has an empty one."""
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
        output of a line in several pieces joins the k-th outputs of its pieces. `constraints` has
        one for each line, which holds for the first of several pieces.
        """
        if self.workers is not None:
            return self.workers(self, lines, first, keep, constraints)
        if self.has_prompts:
            constraints = self._begun(lines, constraints)
        pieces = self.pieces(lines, first, constraints)
        settings = unlimited(self.search) if self.has_labels else self.search
        found = search(
            self.scorer,
            pieces.ids,
            settings,
            self.device,
            keep=keep,
            places=pieces.places,
            constraints=pieces.constraints,
            features=self.image_features_of(pieces.sources),
            progress=self._follow(len(pieces.sources)),
            want_attention=self.replacer is not None,
            reduce=None if self.replacer is None else self.replacer.reduce,
            ranking=self.ranking(settings, pieces.sources),
        )
        self.report_outputs(found, pieces, first)
        return self.outputs_of(found, pieces)

    def _begun(
        self, lines: Sequence[str], constraints: Sequence[ConstraintSpec] | None
    ) -> list[ConstraintSpec]:
        """The constraints of every line, and that its output begins with it."""
        rows = self.target.encode(lines)
        given = constraints or [UNCONSTRAINED] * len(lines)
        return [
            replace(one, constraints=(*one.constraints, PrefixConstraint(tuple(ids))))
            if ids
            else one
            for one, ids in zip(given, rows, strict=True)
        ]

    def counting(self) -> "LineTranslator":
        """The same translator, which counts unknown tokens of its input from now on."""
        return replace(self, unknown=UnknownTokens())

    def report_unknown(self) -> None:
        """Report the unknown tokens of the whole input, if there are enough to matter."""
        if self.unknown is not None and (note := self.unknown.note(self.source)):
            self.report(note)

    def pieces(
        self,
        lines: Sequence[str],
        first: int = 0,
        constraints: Sequence[ConstraintSpec] | None = None,
    ) -> SourcePieces:
        """The sources to search for lines; `first` and `constraints` as in `outputs`.

        Reports lines that lack features, that are truncated and that are split.
        """
        pieces: list[EncodedSource] = []
        places: list[int] = []
        ends: list[int] = []
        specs: list[ConstraintSpec] = []
        lines = self.tagged(lines)
        sources = self.read(lines)
        if self.unknown is not None:
            texts = [source.text for source in sources]
            self.unknown.add(self.source, texts, [source.ids for source in sources])
        self._report_bare([source.text for source in sources])
        self.report_truncated([source.ids for source in sources])
        if self.features is not None:
            report_missing(self.features, (lines, sources), first, self.report)
        for place, source in enumerate(sources):
            parts = self.pieces_of(source)
            self._report_split(source, len(parts))
            pieces.extend(parts)
            places.extend(((first + place) << PIECE_BITS) + part for part in range(len(parts)))
            ends.append(len(pieces))
            if constraints is not None:
                specs.extend(constraints[place].of_piece(part) for part in range(len(parts)))
        return SourcePieces(pieces, places, ends, specs if constraints is not None else None)

    def outputs_of(
        self, found: Sequence[Sequence[Hypothesis]], pieces: SourcePieces
    ) -> list[list[Output]]:
        """The outputs of every line, from the hypotheses of its pieces."""
        texts = self._texts(pieces.sources, range(len(found)), found)
        outputs = [list(map(Output.of, *one)) for one in zip(found, texts, strict=True)]
        ranges = zip([0, *pieces.ends], pieces.ends, strict=False)
        return [join_outputs(outputs[start:end]) for start, end in ranges]

    def ranking(self, settings: Search, sources: Sequence[EncodedSource]) -> Ranking | None:
        """How candidates of these sources are ranked; None for a search that ranks by itself."""
        if not isinstance(settings, MbrSearch | RerankSearch):
            return None

        texts = partial(self._texts, sources)
        if isinstance(settings, MbrSearch):
            return MinimumBayesRisk(settings, self.scoring, texts)
        assert self.reranker is not None, "whoever loads a run for this search adds it"
        # Other models read the text, not its placeholders.
        written = [one._replace(text=self.placeholders.as_written(one)) for one in sources]
        return self.reranker(settings, written, texts)

    def _texts(
        self,
        sources: Sequence[EncodedSource],
        indices: Sequence[int],
        found: Sequence[Sequence[Hypothesis]],
    ) -> list[list[str]]:
        """The texts of the hypotheses of the sources with these indices."""
        pairs = [(h, sources[i]) for i, one in zip(indices, found, strict=True) for h in one]
        plain = self.write([h.tokens for h, _ in pairs], [source for _, source in pairs])
        texts = (self._replaced(h, text, s) for (h, s), text in zip(pairs, plain, strict=True))
        return [[next(texts) for _ in one] for one in found]

    def _replaced(self, hypothesis: Hypothesis, plain: str, source: EncodedSource) -> str:
        """The output's text, its unknown tokens replaced by words if there is a replacer."""
        if self.replacer is None:
            return plain
        text = self.replacer.text(hypothesis, source.text, source.ids)
        return self.placeholders.put_back([text], [source])[0] if text else plain

    def _report_bare(self, lines: list[str]) -> None:
        """Report how many lines lack the source features that the model was trained with."""
        if not isinstance(untagged(self.source), SourceFeatureTokenizer):
            return
        bare = sum(not is_blank_text(line) and SEPARATOR not in line for line in lines)
        if bare:
            self.report(
                f"{bare:,} of {len(lines):,} lines have no features: expected source, tab, features"
            )

    def tagged(self, lines: Sequence[str]) -> list[str]:
        """The lines, each with a tag if the translator adds one."""
        if self.tag is None:
            return list(lines)
        return [
            line if front_of(self.source, line) else with_tag([line], self.tag)[0] for line in lines
        ]

    def read(self, lines: Sequence[str]) -> list[EncodedSource]:
        """Source lines as ids, neither truncated nor split.

        A prompt is as many ids as it has tokens, since the longest output depends on their number;
        the model reads none of them.
        """
        if self.has_prompts:
            lengths = (max(1, len(ids)) for ids in self.target.encode(lines))
            pairs = zip(lengths, lines, strict=True)
            return [EncodedSource([EOS] * length, [], line) for length, line in pairs]
        if self.features is None:
            return self._read_texts(lines)
        named = self.features.read(lines)
        texts = self._read_texts(named.texts) if self.features.has_text else None
        sources = texts or [EncodedSource([], [], "") for _ in lines]
        rows = map(tuple, named.rows_NF.tolist())
        return [one._replace(rows=row) for one, row in zip(sources, rows, strict=True)]

    def _read_texts(self, lines: Sequence[str]) -> list[EncodedSource]:
        return self.placeholders.read(lines, self._encoded)

    def _encoded(self, lines: Sequence[str]) -> list[EncodedSource]:
        """Texts with placeholders as ids."""
        if self.extended_vocabulary is not None:
            return self.extended_vocabulary.read(lines)
        pairs = zip(self.source.encode(lines), lines, strict=True)
        return [EncodedSource(ids, [], line) for ids, line in pairs]

    def is_blank(self, source: EncodedSource) -> bool:
        """Whether a source has nothing to translate: no text, or features that are missing."""
        if self.has_prompts:
            return False
        if self.features is None:
            return is_blank(self.source, source.text)
        return MISSING in source.rows

    def image_features_of(self, sources: Sequence[EncodedSource]) -> FeatureRows | None:
        """The image features of sources that are not blank; None if the model reads none."""
        if self.features is None:
            return None
        rows_NF = np.array([source.rows for source in sources], dtype=np.int64)
        return FeatureRows(self.features, rows_NF.reshape(-1, len(self.features.stores)))

    def whole(self, sources: Sequence[EncodedSource]) -> list[EncodedSource]:
        """Sources as they are searched; without tokens and entities those that are translated in
        pieces."""
        if self.truncate is not None:
            return [source.cut(self.truncate) for source in sources]
        if self.has_labels:
            return list(sources)
        most = WHOLE * self.longest
        return [
            source if len(source.ids) <= most else source.cut(0)._replace(entities=())
            for source in sources
        ]

    def read_targets(
        self, lines: Sequence[str], sources: Sequence[EncodedSource]
    ) -> list[list[int]]:
        """Target lines as ids, each for the source at its place."""
        lines = self.placeholders.replace_known(lines, sources)
        if self.extended_vocabulary is not None:
            return self.extended_vocabulary.targets(lines, sources)
        return self.target.encode(lines)

    def write(self, rows: Sequence[Sequence[int]], sources: Sequence[EncodedSource]) -> list[str]:
        """The text of predicted ids, each for the source at its place."""
        if self.extended_vocabulary is not None:
            texts = self.extended_vocabulary.decode(rows, sources)
        else:
            texts = self.target.decode(rows)
        return self.placeholders.put_back(texts, sources)

    def report_truncated(self, sources: list[list[int]]) -> None:
        """Report how many sources are truncated, if some are."""
        count = self.truncate and sum(len(ids) > self.truncate for ids in sources)
        if count:
            self.report(
                f"{count:,} of {len(sources):,} lines are longer than {self.truncate:,} tokens "
                "(data.truncate.source): only so many are read"
            )

    def _follow(self, pieces: int) -> Callable[[int], None] | None:
        progress = self.progress
        return None if progress is None else lambda done: progress.part(done / pieces)

    def report_outputs(
        self, found: Sequence[Sequence[Hypothesis]], pieces: SourcePieces, first: int = 0
    ) -> None:
        """Report hypotheses that are not proven, that were cut or are too short, and those that do
        not have the placeholders of their sources."""
        place = found, pieces.sources, pieces.ends, first
        notes = [unproven_note(found), *length_notes(*place, self._shortest)]
        for note in filter(None, [*notes, placeholder_note(*place, self.placeholders)]):
            self.report(note)

    def _shortest(self, source: EncodedSource) -> int:
        """The least tokens of an output."""
        return 0 if self.has_labels else shortest_output(len(source.ids), self.search)

    def pieces_of(self, source: EncodedSource) -> list[EncodedSource]:
        """A source in one piece, in several if it is much longer than those of training, or in none
        if it is blank."""
        if self.is_blank(source):
            return []
        if self.truncate is not None:
            return [source.cut(self.truncate)]
        most, ids, line = WHOLE * self.longest, source.ids, self.placeholders.as_written(source)
        # Source features belong to the whole line.
        has_features = isinstance(untagged(self.source), SourceFeatureTokenizer)
        if len(ids) <= most or has_features or self.has_labels:
            return [source]
        front = front_of(self.source, line)
        parts = split_line(line[len(front) :], self.longest, self._count)
        pieces = self._read_texts([front + part for part in parts])
        return [piece._replace(rows=source.rows) for piece in pieces]

    def _report_split(self, source: EncodedSource, count: int) -> None:
        """Report a source that is translated in several pieces."""
        if count > 1:
            begin = self.placeholders.as_written(source)[:30]
            self.report(
                f"a line of {len(source.ids):,} tokens ({begin!r}...) is longer than "
                f"{WHOLE * self.longest:,}: translated in {count} pieces"
            )

    def _count(self, text: str) -> int:
        return len(self._read_texts([text])[0].ids)
