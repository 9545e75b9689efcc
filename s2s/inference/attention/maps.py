"""Attention maps: for every line a matrix of weights with its tokens.

Dimension letters: T predictions, S source tokens, W source words.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from s2s.errors import UsageError
from s2s.inference.attention.alignment import align_words
from s2s.inference.source_pieces import SourcePieces
from s2s.inference.translator import LineTranslator
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.special import EOS, SPECIAL_PIECES, UNK
from s2s.text.extended_vocabulary import EncodedSource
from s2s.text.tags import front_of
from s2s.text.word_ids import source_word_ids, target_word_ids

_NO_ATTENTION = "this model, or one of several, has no attention (model.attention.kind: none)"

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """The regions of one image among the columns of a map."""

    id: str
    """Its id in the line."""
    first: int
    """Column of its first region."""
    count: int
    """The number of regions; 1 for a vector."""

    @property
    def columns(self) -> slice:
        """The columns of its regions."""
        return slice(self.first, self.first + self.count)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionMap:
    """One line, its translation and the weights between their tokens.

    A line that was translated in pieces has its pieces' matrices along the diagonal, and the
    `</s>` of each.
    """

    source_text: str
    target_text: str
    source: tuple[str, ...]
    """Source tokens, `</s>` included, as the tokenizer writes them; then regions as `[1]`."""
    target: tuple[str, ...]
    """Predicted tokens, with `</s>` if the model predicted it."""
    weights: Weights
    """[T, S]; row t has the weights that token t was predicted with, and sums to one."""
    source_word_ids: tuple[int, ...]
    """The word of `source_text.split()` of each source token; -1 for `</s>` and regions."""
    target_word_ids: tuple[int, ...]
    """The same for the target."""
    pictures: tuple[Picture, ...] = ()
    """The images, after the tokens and in the order of the feature files."""

    def alignments(self) -> str:
        """Word alignment as `0-0 1-2`: source word, hyphen, target word; see `align_words`."""
        links = align_words(self.weights, self.source_word_ids, self.target_word_ids)
        return " ".join(f"{source}-{target}" for source, target in links)


@dataclass(frozen=True)
class _Piece:
    """A piece of a line as it is searched, and the labels of its tokens."""

    source: EncodedSource
    tokens: list[str]
    word_ids: list[int]
    """The word of the line that each token is a part of."""
    feature_ids: tuple[str, ...]
    """The ids by which the line names the features of each file."""


@dataclass(frozen=True)
class _Writer:
    """Converts output ids to text, given their source."""

    translator: LineTranslator
    source: EncodedSource

    def decode(self, ids: Iterable[Sequence[int]], /) -> list[str]:
        """The text of each sequence."""
        rows = list(ids)
        return self.translator.write(rows, [self.source] * len(rows))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The label of each token."""
        extended = self.translator.extended_vocabulary
        pieces = (
            self.translator.target.pieces(ids)
            if extended is None
            else extended.pieces(ids, self.source.spellings)
        )
        return _with_entities(pieces, self.source)


def attention_maps(
    translator: LineTranslator, lines: Sequence[str], first: int = 0
) -> list[AttentionMap]:
    """Translate lines and keep the attention of the best hypothesis of each, in their order.

    The translations are those of `LineTranslator`. `first` is the place of the first line in the
    input, on which samples depend. A line of white space alone has an empty matrix. Raises
    UsageError for a model without attention.
    """
    pieces = translator.pieces(lines, first)
    found = search(
        translator.scorer,
        pieces.ids,
        translator.search,
        translator.device,
        places=pieces.places,
        features=translator.image_features_of(pieces.sources),
        want_attention=True,
        ranking=translator.ranking(translator.search, pieces.sources),
    )
    return maps_of(translator, lines, pieces, found)


def maps_of(
    translator: LineTranslator,
    lines: Sequence[str],
    pieces: SourcePieces,
    found: Sequence[Sequence[Hypothesis]],
) -> list[AttentionMap]:
    """The maps of lines whose pieces were searched with attention, of the best hypotheses."""
    maps = []
    for line, start, end in zip(
        translator.tagged(lines), [0, *pieces.ends], pieces.ends, strict=False
    ):
        shown = _pieces(translator, line, pieces.sources[start:end])
        best = [hypotheses[0] for hypotheses in found[start:end]]
        maps.append(_join(line, list(map(partial(_map, translator), shown, best))))
    return maps


def map_stream(
    translator: LineTranslator, lines: Iterable[str], window: int
) -> Iterator[AttentionMap]:
    """The maps of lines; `window` lines at a time are read and searched.

    Unknown tokens of the lines are reported at their end.
    """
    translator = translator.counting()
    reader = iter(lines)
    first = 0
    while chosen := list(islice(reader, window)):
        yield from attention_maps(translator, chosen, first)
        first += len(chosen)
    translator.report_unknown()


def _pieces(
    translator: LineTranslator, line: str, sources: Sequence[EncodedSource]
) -> list[_Piece]:
    """The pieces of a line, given in the order of its text, with their labels."""
    tokenizer = translator.source
    front = front_of(tokenizer, line)
    num_tags = len(tokenizer.encode([front])[0]) if front else 0
    feature_ids = _feature_ids(translator, line)
    pieces = []
    end = len(front)
    for source in sources:
        # Entities have no spaces: words and their numbers are those of the text with placeholders.
        text = translator.placeholders.as_written(source)[len(front) :]
        start = line.index(text, end)
        end = start + len(text)
        # Every piece begins with the tags; its words follow those of the pieces before it.
        shift = _word_at(line, start) - _word_at(source.text, len(front))
        ids = tokenizer.encode([source.text])[0]
        word_ids = [
            word if place < num_tags else word + shift
            for place, word in enumerate(source_word_ids(tokenizer, source.text, ids))
        ]
        num_read = len(source.ids)  # fewer than in the text if the recipe truncates sources
        tokens = _with_entities(_shown(translator, source.text, ids), source)
        pieces.append(_Piece(source, tokens[:num_read], word_ids[:num_read], feature_ids))
    return pieces


def _word_at(text: str, start: int) -> int:
    """The word of a text that the character at `start` is a part of, or that follows it."""
    is_within = start > 0 and not text[start - 1].isspace()
    return len(text[:start].split()) - is_within


def _shown(translator: LineTranslator, line: str, ids: list[int]) -> list[str]:
    """Labels of source tokens; an unknown token that a model can copy is spelled as in the text."""
    pieces = translator.source.pieces(ids)
    if translator.extended_vocabulary is None:
        return pieces
    unknown = iter(translator.source.unknown([line])[0])
    own = (next(unknown) if id_ == UNK else "" for id_ in ids)
    return [spelling or piece for spelling, piece in zip(own, pieces, strict=True)]


def _with_entities(pieces: Sequence[str], source: EncodedSource) -> list[str]:
    """Labels of tokens, with what placeholders stand for."""
    entities = dict(source.entities)
    return [entities.get(piece, piece) for piece in pieces]


def _feature_ids(translator: LineTranslator, line: str) -> tuple[str, ...]:
    """The ids by which a line names the features of each file."""
    features = translator.features
    if features is None:
        return ()
    (ids,) = features.read([line]).ids
    return tuple(ids[column] for column in features.columns) if ids else ()


def _shown_source(
    translator: LineTranslator, piece: _Piece
) -> tuple[tuple[str, ...], tuple[Picture, ...]]:
    """Labels of tokens and regions in the order of the memory, and the images."""
    features = translator.features
    if features is None:
        return ((*piece.tokens, SPECIAL_PIECES[EOS]) if piece.source.ids else ()), ()
    source = [*piece.tokens, SPECIAL_PIECES[EOS]] if features.has_text else []
    counts = features.regions(np.array([piece.source.rows], dtype=np.int64))[0].tolist()
    pictures = []
    for id_, count in zip(piece.feature_ids, counts, strict=True):
        pictures.append(Picture(id_, len(source), count))
        source += [f"[{place}]" for place in range(1, count + 1)]
    return tuple(source), tuple(pictures)


def _map(translator: LineTranslator, piece: _Piece, found: Hypothesis) -> AttentionMap:
    writer = _Writer(translator, piece.source)
    source, pictures = _shown_source(translator, piece)
    is_empty = not source
    ends = (SPECIAL_PIECES[EOS],) if found.finished and not is_empty else ()
    target = (*writer.pieces(found.tokens), *ends)
    weights = found.attention
    if weights is None:
        if target:
            raise UsageError(_NO_ATTENTION)
        weights = np.zeros((0, len(source)), dtype=np.float32)
    return AttentionMap(
        source_text="",
        target_text=writer.decode([found.tokens])[0].replace("\n", " "),
        source=source,
        target=target,
        weights=weights,
        source_word_ids=(*piece.word_ids, *[-1] * (len(source) - len(piece.word_ids))),
        target_word_ids=(*target_word_ids(writer, found.tokens), *(-1 for _ in ends)),
        pictures=pictures,
    )


def _join(line: str, maps: list[AttentionMap]) -> AttentionMap:
    """The map of a line from those of its pieces; words are numbered consecutively."""
    size = (sum(len(m.target) for m in maps), sum(len(m.source) for m in maps))
    weights = np.zeros(size, dtype=np.float32)
    target_word_ids: list[int] = []
    pictures: list[Picture] = []
    row = column = num_words = 0
    for m in maps:
        weights[row : row + len(m.target), column : column + len(m.source)] = m.weights
        pictures += [replace(picture, first=picture.first + column) for picture in m.pictures]
        row, column = row + len(m.target), column + len(m.source)
        target_word_ids += [word if word < 0 else word + num_words for word in m.target_word_ids]
        num_words += len(m.target_text.split())
    return AttentionMap(
        source_text=line,
        target_text=" ".join(m.target_text for m in maps if m.target_text),
        source=tuple(token for m in maps for token in m.source),
        target=tuple(token for m in maps for token in m.target),
        weights=weights,
        source_word_ids=tuple(word for m in maps for word in m.source_word_ids),
        target_word_ids=tuple(target_word_ids),
        pictures=tuple(pictures),
    )
