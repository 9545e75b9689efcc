"""Subword tokenizers of sentencepiece: training, encoding, decoding."""

import copy
import io
import math
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from s2s.errors import DataError, RunError
from s2s.files import atomic_write
from s2s.recipe.tokenizer import SubwordTokenizer
from s2s.special import BOS, EOS, PAD, SPECIAL_PIECES, UNK
from s2s.text.bpe_dropout import BPEDropout
from s2s.text.byte_lines import take_lines
from s2s.text.piece_table import SPACE, PieceTable, Segmenter, draw_rows
from s2s.text.sentencepiece_model import pieces_of, read_model, with_pieces, without_normalization
from s2s.text.unigram_lattice import UnigramLattice

MODEL_FILE = "sentencepiece.model"

TRAINING_THREADS = 16
"""Expectations are summed per thread, so the number of threads affects the last bits of scores and
thus the pieces. It is the same on every machine, whatever its cores."""

LONGEST_LINE = 2000
"""Characters; longer lines are split for training. sentencepiece silently skips lines of more than
4,192 bytes; with a higher limit, a very long line without spaces makes the unigram model's scores
infinite."""

ALL_CORES = -1

RESERVED = "▅"
"""Lines with this character do not train sentencepiece."""

SMALLEST = 6
"""The smallest `tokenizer.vocabulary` that a recipe may have."""

FEW = 20
"""Pieces below which a corpus has no subwords to speak of."""

_WHOLE = "use tokenizer.kind: character or word"

_TOO_HIGH = re.compile(r"Vocabulary size too high \(\d+\)\. Please set it to a value <= (\d+)")
_TOO_LOW = re.compile(r"Vocabulary size is smaller than required_chars\. \d+ vs (\d+)")


class Subwords:
    """A trained sentencepiece model, unigram or BPE.

    `decode` does not restore characters that the model's normalization removes (several spaces, `▁`
    itself); see `normalize`.
    """

    def __init__(self, model: bytes) -> None:
        """`model` is a serialized sentencepiece model. Raises RuntimeError if it is not one."""
        self._model = model
        self._segmentations: dict[float, Segmentations] = {}
        self._drawn: tuple[Segmentations, tuple[int, ...]] | None = None
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        every = [str(piece) for piece in self._processor.id_to_piece(list(range(self.size)))]
        self._spellings = ["", SPECIAL_PIECES[UNK], "", "", *every[len(SPECIAL_PIECES) :]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subwords) and self._model == other._model

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""
        return int(self._processor.get_piece_size())

    def normalize(self, line: str) -> str:
        """The line after the model's Unicode and space normalization."""
        return str(self._processor.normalize(line)).replace(SPACE, " ").strip(" ")

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, without begin and end of sentence; on all cores.

        Sampled segmentations are a function of the lines and the seed.
        """
        if self._drawn is not None:
            segmentations, seed = self._drawn
            return segmentations.draw(self._processor.normalize(list(lines)), seed)
        ids: list[list[int]] = self._processor.encode(
            list(lines), out_type=int, num_threads=ALL_CORES
        )
        return ids

    def encode_here(self, lines: Sequence[str]) -> list[list[int]]:
        """The same without sampling, in this thread alone."""
        ids: list[list[int]] = self._processor.encode(list(lines), out_type=int, num_threads=1)
        return ids

    @cached_property
    def piece_table(self) -> PieceTable:
        """The pieces, and what becomes of characters without one."""
        return PieceTable(self._processor)

    def sampling(self, alpha: float, seed: Sequence[int]) -> "Subwords":
        """The same model with sampled segmentations (see `s2s.recipe.tokenizer`).

        What words can be cut into is found once for a model and `alpha`, whatever the seed.
        """
        if alpha not in self._segmentations:
            self._segmentations[alpha] = Segmentations(self.piece_table, alpha)
        drawing = copy.copy(self)
        drawing._drawn = (self._segmentations[alpha], tuple(seed))
        return drawing

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence, as one line."""
        rows = [[int(token) for token in row] for row in ids]
        if not rows:
            return []
        texts: list[str] = self._processor.decode(rows, num_threads=ALL_CORES)
        # With byte fallback, a model can predict line breaks, which would shift all later lines.
        return [text.replace("\n", " ") for text in texts]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The label of each token, that of sentencepiece; `▁` is a space."""
        return [str(self._processor.id_to_piece(int(token))) for token in ids]

    def surfaces(self) -> list[str | bytes]:
        """The text that each id adds when it is decoded, spaces included; bytes for a byte."""
        return [self._surface(token) for token in range(self.size)]

    def _surface(self, token: int) -> str | bytes:
        processor = self._processor
        if processor.is_unknown(token):
            return " ⁇ "
        if processor.is_control(token):
            return ""
        piece = str(processor.id_to_piece(token))
        if processor.is_byte(token):  # written <0x0A>
            return bytes([int(piece[1:-1], 16)])
        return piece.replace(SPACE, " ")

    def spellings(self) -> Sequence[str]:
        """The pieces, by id; `▁` is a space."""
        return self._spellings

    def extends(self, other: "Subwords") -> bool:
        """Whether this is the other model, or that model with more pieces after its own."""
        mine, its = self.model, other.model
        pieces, shared = pieces_of(mine), pieces_of(its)
        same = pieces[: len(shared)] == shared
        return same and with_pieces(mine, shared) == with_pieces(its, shared)

    @cached_property
    def model(self) -> Any:
        """The message of the model (`s2s.text.sentencepiece_model`)."""
        return read_model(self._model)

    def normalized(self, lines: Sequence[str]) -> list[str]:
        """The lines as the model segments them, `▁` for a space."""
        rows: list[str] = self._processor.normalize(list(lines))
        return rows

    def segment(self, words: Sequence[str]) -> list[list[int]]:
        """The ids of parts of a normalized text, `▁` for a space, which get no space before
        them."""
        ids: list[list[int]] = self._plain.encode(list(words), out_type=int, num_threads=ALL_CORES)
        return ids

    @cached_property
    def _plain(self) -> sentencepiece.SentencePieceProcessor:
        return sentencepiece.SentencePieceProcessor(model_proto=without_normalization(self.model))

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """The runs of unknown characters of each line, which all segmentations share."""
        rows = [self._processor.encode(list(lines), out_type=kind) for kind in (int, str)]
        return [
            [piece for id_, piece in zip(ids, pieces, strict=True) if id_ == UNK]
            for ids, pieces in zip(*rows, strict=True)
        ]

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of pieces, known or not."""
        # sentencepiece copies an unknown piece, so a space must be a separate piece.
        rows = [[part for piece in row for part in self._parts(piece)] for row in spellings]
        texts: list[str] = self._processor.decode(rows) if rows else []
        return [text.replace(SPACE, " ").replace("\n", " ") for text in texts]

    def _parts(self, piece: str) -> list[str]:
        if SPACE not in piece or self._processor.piece_to_id(piece) != UNK:
            return [piece]
        return [part for part in re.split(f"({SPACE})", piece) if part]

    def save(self, folder: Path) -> None:
        """Write the model into `folder`, which is made if missing."""
        atomic_write(folder / MODEL_FILE, self._model)

    @classmethod
    def load(cls, folder: Path) -> "Subwords":
        """Read a model that `save` wrote. Raises RunError for any other file."""
        path = folder / MODEL_FILE
        try:
            subwords = cls(path.read_bytes())
            subwords.surfaces()
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            raise RunError(f"{path}: not a sentencepiece model") from error
        processor = subwords._processor
        # The library looks at the scores of unigram models alone.
        scores = processor.get_score(list(range(subwords.size)))
        if not all(map(math.isfinite, scores)):
            raise RunError(f"{path}: damaged: a piece has no number as its score")
        found = (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id())
        if found != (PAD, UNK, BOS, EOS):
            raise RunError(
                f"{path}: expected pad, unk, bos, eos to have ids {(PAD, UNK, BOS, EOS)}, "
                f"found {found}"
            )
        return subwords


class Segmentations:
    """Draws the segmentations of lines from random numbers of our own.

    Those of sentencepiece differ between processes that set the same seed.
    """

    def __init__(self, pieces: PieceTable, alpha: float) -> None:
        self._pieces = pieces
        self._segmenter: Segmenter = (
            BPEDropout(pieces, alpha) if pieces.has_merges else UnigramLattice(pieces, alpha)
        )
        self._lock = threading.Lock()

    def draw(self, lines: Sequence[str], seed: Sequence[int]) -> list[list[int]]:
        """Ids of normalized lines: a function of the lines and the seed."""
        with self._lock:
            return draw_rows(self._pieces, self._segmenter, lines, np.random.default_rng(seed))


class SubwordTrainer:
    """Trains on a uniform random sample of the lines it reads."""

    def __init__(self, recipe: SubwordTokenizer, seed: int) -> None:
        self._recipe = recipe
        self._seed = seed
        self._random = np.random.default_rng(seed)
        self._sample: list[str] = []
        self._num_seen = 0

    def add(self, lines: Sequence[str]) -> None:
        """Reservoir sampling (Vitter 1985, algorithm R)."""
        limit = self._recipe.max_sentences
        fill = min(len(lines), limit - len(self._sample))
        self._sample.extend(lines[:fill])
        num_seen = np.arange(self._num_seen + fill, self._num_seen + len(lines), dtype=np.int64)
        slots = self._random.integers(0, num_seen + 1)
        hits = np.flatnonzero(slots < limit)
        chosen = take_lines(lines, fill + hits)
        for slot, line in zip(slots[hits].tolist(), chosen, strict=True):
            self._sample[slot] = line
        self._num_seen += len(lines)

    def train(self) -> Subwords:
        """The trained model. Raises DataError for a vocabulary too large or too small."""
        written = io.BytesIO()
        sentencepiece.set_random_generator_seed(self._seed % 2**32)
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=self._lines(),
                model_writer=written,
                model_type=self._recipe.kind,
                vocab_size=self._recipe.vocabulary,
                character_coverage=self._recipe.character_coverage,
                byte_fallback=self._recipe.byte_fallback,
                user_defined_symbols=list(self._recipe.symbols),
                normalization_rule_name=self._recipe.normalization,
                max_sentence_length=4 * LONGEST_LINE,  # in bytes
                num_threads=TRAINING_THREADS,
                minloglevel=2,  # only errors, which are also raised
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                pad_piece=SPECIAL_PIECES[PAD],
                unk_piece=SPECIAL_PIECES[UNK],
                bos_piece=SPECIAL_PIECES[BOS],
                eos_piece=SPECIAL_PIECES[EOS],
            )
        except RuntimeError as error:
            raise DataError(self._advice(str(error))) from error
        return Subwords(written.getvalue())

    def _lines(self) -> Iterator[str]:
        for line in self._sample:
            for start in range(0, len(line), LONGEST_LINE):
                yield line[start : start + LONGEST_LINE]

    def _advice(self, error: str) -> str:
        """The message for an error of sentencepiece."""
        what = f"tokenizer.vocabulary {self._recipe.vocabulary}"
        if (match := _TOO_HIGH.search(error)) and int(match[1]) < SMALLEST:
            return f"tokenizer: this corpus has too few characters for subwords; {_WHOLE}"
        if match:
            whole = f", or {_WHOLE}" if int(match[1]) < FEW else ""
            return f"{what} is more than this corpus can fill; set it to at most {match[1]}{whole}"
        if match := _TOO_LOW.search(error):
            remedy = f"set it to at least {match[1]}, or lower tokenizer.character_coverage"
            return f"{what} has no room for every character of this corpus; {remedy}"
        if not any(line.strip() for line in self._sample):
            return "tokenizer: the training data have no text to train on"
        if all(RESERVED in line for line in self._sample):
            return (
                f"tokenizer: every line of the training data has {RESERVED} (U+2585), which "
                f"sentencepiece reserves, and skips the line; replace the character, or {_WHOLE}"
            )
        return f"tokenizer: sentencepiece cannot train on this corpus ({error})"
