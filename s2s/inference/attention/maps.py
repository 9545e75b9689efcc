"""What a model looked at while it translated: for every line a matrix of weights with its tokens.

Dimension letters: T predictions, S source tokens, W source words.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from s2s.errors import UsageError
from s2s.inference.attention.alignment import align_words
from s2s.inference.missing_features import report_missing
from s2s.inference.split_line import split_line
from s2s.inference.translator import PIECE_BITS, WHOLE, LineTranslator
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.special import EOS, SPECIAL_PIECES, UNK
from s2s.text.extended_vocabulary import Reading
from s2s.text.tags import front_of
from s2s.text.word_ids import source_word_ids, target_word_ids

_NO_ATTENTION = "this model, or one of several, has no attention (model.attention.kind: none)"

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """The regions of one image among the columns of a map."""

    id: str
    """What the line calls it."""
    first: int
    """Column of its first region."""
    count: int
    """Regions; of a vector one."""

    @property
    def columns(self) -> slice:
        """Those of its regions."""
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
    """Predicted tokens, `</s>` included where the model ended by itself."""
    weights: Weights
    """[T, S]; row t are the weights that token t was predicted with, and sums to one."""
    source_word_ids: tuple[int, ...]
    """The word of `source_text.split()` each source token is a part of; -1 for `</s>` and
    regions."""
    target_word_ids: tuple[int, ...]
    """The same for the target."""
    pictures: tuple[Picture, ...] = ()
    """The images, behind the tokens and in the order of the feature files."""

    def alignments(self) -> str:
        """Links of words as `0-0 1-2`: source word, hyphen, target word; see `align_words`."""
        links = align_words(self.weights, self.source_word_ids, self.target_word_ids)
        return " ".join(f"{source}-{target}" for source, target in links)


@dataclass(frozen=True)
class _Piece:
    """A line, or a part of a line that is too long, as it is translated."""

    line: int
    part: int
    reading: Reading
    owners: list[int]
    shown: list[str]
    """Its tokens, for the reader."""
    ids: tuple[str, ...]
    """What the line calls the features of each file."""


@dataclass(frozen=True)
class _Writer:
    """Ids to text, of outputs for one source."""

    translator: LineTranslator
    source: Reading

    def decode(self, ids: Iterable[Sequence[int]], /) -> list[str]:
        """The text of each sequence."""
        rows = list(ids)
        return self.translator.write(rows, [self.source] * len(rows))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token as a reader wants to see it."""
        if self.translator.extended_vocabulary is not None:
            return self.translator.extended_vocabulary.pieces(ids, self.source.spellings)
        return self.translator.target.pieces(ids)


def attention_maps(
    translator: LineTranslator, lines: Sequence[str], first: int = 0
) -> list[AttentionMap]:
    """Translate lines and keep the attention of the best hypothesis of each, in their order.

    `first` is the place of the first line in the input, on which samples depend. A line of white
    space alone has an empty matrix. Raises UsageError for a model without attention.
    """
    pieces = _pieces(translator, lines, first)
    found = search(
        translator.scorer,
        [piece.reading.ids for piece in pieces],
        translator.search,
        translator.device,
        places=[((first + piece.line) << PIECE_BITS) + piece.part for piece in pieces],
        features=translator.image_features_of([piece.reading for piece in pieces]),
        want_attention=True,
    )
    parts: list[list[AttentionMap]] = [[] for _ in lines]
    for piece, hypotheses in zip(pieces, found, strict=True):
        parts[piece.line].append(_map(translator, piece, hypotheses[0]))
    return [_join(line, maps) for line, maps in zip(lines, parts, strict=True)]


def map_stream(
    translator: LineTranslator, lines: Iterable[str], window: int
) -> Iterator[AttentionMap]:
    """The maps of lines, which are read and searched `window` at a time."""
    reader = iter(lines)
    first = 0
    while chosen := list(islice(reader, window)):
        yield from attention_maps(translator, chosen, first)
        first += len(chosen)


def _pieces(translator: LineTranslator, lines: Sequence[str], first: int) -> list[_Piece]:
    """What is searched: cut as `LineTranslator` cuts, so that the output is the same."""
    tokenizer = translator.source
    pieces = []
    readings = translator.read(lines)
    encoded = tokenizer.encode([reading.text for reading in readings])
    translator.report_cut(encoded)
    if translator.features is not None:
        report_missing(translator.features, (lines, readings), first, translator.report)
    for number, (whole, ids) in enumerate(zip(readings, encoded, strict=True)):
        line = whole.text
        named = _named(translator, lines[number])
        if translator.is_blank(whole):
            continue
        most = translator.truncate
        if most is not None or len(ids) <= WHOLE * translator.longest:
            owners = source_word_ids(tokenizer, line, ids)
            reading, shown = whole.cut(most), _shown(translator, line, ids)
            pieces.append(_Piece(number, 0, reading, owners[:most], shown[:most], named))
            continue
        translator.report(f"line of {len(ids):,} tokens ({line[:30]!r}...): translated in pieces")
        front = front_of(tokenizer, line)
        end, num_tags = len(front), len(front.split())
        parts = split_line(line[end:], translator.longest, lambda t: len(tokenizer.encode([t])[0]))
        for place, text in enumerate(parts):
            start = line.index(text, end)
            end = start + len(text)
            # A cut within a word: its rest is of the same word.
            word = len(line[:start].split()) - (start > 0 and not line[start - 1].isspace())
            own = tokenizer.encode([front + text])[0]
            owners = [
                owner if owner < num_tags else word + owner - num_tags
                for owner in source_word_ids(tokenizer, front + text, own)
            ]
            reading = translator.read_again(whole, front + text)
            shown = _shown(translator, front + text, own)
            pieces.append(_Piece(number, place, reading, owners, shown, named))
    return pieces


def _shown(translator: LineTranslator, line: str, ids: list[int]) -> list[str]:
    """Source tokens for the reader; what a model copies is as the text has it, known or not."""
    pieces = translator.source.pieces(ids)
    if translator.extended_vocabulary is None:
        return pieces
    unknown = iter(translator.source.unknown([line])[0])
    own = (next(unknown) if id_ == UNK else "" for id_ in ids)
    return [spelling or piece for spelling, piece in zip(own, pieces, strict=True)]


def _named(translator: LineTranslator, line: str) -> tuple[str, ...]:
    """What a line calls the features of each file."""
    features = translator.features
    if features is None:
        return ()
    (ids,) = features.read([line]).ids
    return tuple(ids[column] for column in features.columns) if ids else ()


def _shown_source(
    translator: LineTranslator, piece: _Piece
) -> tuple[tuple[str, ...], tuple[Picture, ...]]:
    """Tokens and regions, as they lie in memory, and the images; regions show as numbers."""
    features = translator.features
    if features is None:
        return ((*piece.shown, SPECIAL_PIECES[EOS]) if piece.reading.ids else ()), ()
    source = [*piece.shown, SPECIAL_PIECES[EOS]] if features.has_text else []
    counts = features.regions(np.array([piece.reading.rows], dtype=np.int64))[0].tolist()
    pictures = []
    for id_, count in zip(piece.ids, counts, strict=True):
        pictures.append(Picture(id_, len(source), count))
        source += [f"[{place}]" for place in range(1, count + 1)]
    return tuple(source), tuple(pictures)


def _map(translator: LineTranslator, piece: _Piece, found: Hypothesis) -> AttentionMap:
    writer = _Writer(translator, piece.reading)
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
        source_word_ids=(*piece.owners, *[-1] * (len(source) - len(piece.owners))),
        target_word_ids=(*target_word_ids(writer, found.tokens), *(-1 for _ in ends)),
        pictures=pictures,
    )


def _join(line: str, maps: list[AttentionMap]) -> AttentionMap:
    """The map of a line out of those of its pieces; words are counted through."""
    size = (sum(len(m.target) for m in maps), sum(len(m.source) for m in maps))
    weights = np.zeros(size, dtype=np.float32)
    target_word_ids: list[int] = []
    pictures: list[Picture] = []
    row = column = num_words = 0
    for m in maps:
        weights[row : row + len(m.target), column : column + len(m.source)] = m.weights
        pictures += [replace(picture, first=picture.first + column) for picture in m.pictures]
        row, column = row + len(m.target), column + len(m.source)
        target_word_ids += [
            owner if owner < 0 else owner + num_words for owner in m.target_word_ids
        ]
        num_words += len(m.target_text.split())
    return AttentionMap(
        source_text=line,
        target_text=" ".join(m.target_text for m in maps if m.target_text),
        source=tuple(token for m in maps for token in m.source),
        target=tuple(token for m in maps for token in m.target),
        weights=weights,
        source_word_ids=tuple(owner for m in maps for owner in m.source_word_ids),
        target_word_ids=tuple(target_word_ids),
        pictures=tuple(pictures),
    )
