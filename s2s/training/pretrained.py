"""Embeddings that begin with word vectors from files (`model.pretrained`).

A word of the vocabulary, or a piece that is a whole word (`▁house`), gets the vector of that word;
other pieces get vectors only from files of pieces, where words begin with `▁`. All vectors are
multiplied by one number, so that the mean of their squared norms is 1, as that of random rows is
(`s2s.nn.model`): GloVe's norms are between 5 and 7, with which a tied output layer would begin with
logits of that order instead of 1. One number keeps angles, and which norms are larger. Other rows
stay random.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.data.store import Corpus
from s2s.errors import DataError
from s2s.nn.model import Seq2Seq
from s2s.recipe.recipe import Recipe
from s2s.special import SPECIAL_PIECES
from s2s.text.piece_table import SPACE
from s2s.text.subword import Subwords
from s2s.text.taken_tokenizer import text_tokenizer
from s2s.text.tokenizer import Tokenizer
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.word_vectors import WordVectors, read_vectors

CHUNK = 1 << 22
"""Ids that are counted at once."""


def take_vectors(
    model: Seq2Seq, recipe: Recipe, tokenizers: TokenizerPair, train: Corpus
) -> Iterator[str]:
    """Give a model's embeddings the vectors of the recipe's files; a line about each file.

    Raises DataError for a file that cannot be used, or that has none of the words.
    """
    chosen = recipe.model.pretrained
    assert chosen is not None
    values = {"source": train.source_values, "target": train.target_values}
    for side, path in (("source", chosen.source), ("target", chosen.target)):
        if path is None:
            continue
        tokenizer = tokenizers.source if side == "source" else tokenizers.target
        embedding = model.target_embedding
        if side == "source" and model.source_embedding is not None:
            embedding = model.source_embedding
        place = f"model.pretrained.{side}"
        matrix = embedding.weight
        wanted = _wanted(tokenizer)
        found = read_vectors(path, wanted.keys(), matrix.shape[1], place)
        rows = _rows(wanted, found, tokenizer)
        if not rows:
            raise DataError(f"{place}: {path}: has no vector of any word of the vocabulary")
        scale = _set(matrix, rows, f"{place}: {path}")
        sides = values.values() if recipe.model.tied == "all" else [values[side]]
        faults = "".join(f"; {fault}" for fault in found.faults())
        whole = len(tokenizer.spellings()) - len(SPECIAL_PIECES)
        yield (
            f"{side} embeddings: {len(rows):,} of {whole:,} tokens of the vocabulary "
            f"({len(rows) / whole:.1%}), {_share(rows, tokenizer.size, list(sides)):.1%} of those "
            f"in training, begin with vectors of {path}, times {scale:.3g}{faults}"
        )


def _wanted(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """The ids that might have the vector of a word, by the word."""
    has_pieces = isinstance(text_tokenizer(tokenizer), Subwords)
    found: dict[str, list[int]] = {}
    for token, text in enumerate(tokenizer.spellings()):
        if token < len(SPECIAL_PIECES) or not text:
            continue
        found.setdefault(text, []).append(token)
        if has_pieces and text.startswith(SPACE) and text != SPACE:
            found.setdefault(text[1:], []).append(token)
    return found


def _rows(
    wanted: dict[str, list[int]], found: WordVectors, tokenizer: Tokenizer
) -> dict[int, NDArray[np.float32]]:
    """The vectors by id: of pieces as they are spelled, or of whole words."""
    spellings = tokenizer.spellings()
    has_pieces = isinstance(text_tokenizer(tokenizer), Subwords)
    rows = {}
    for word, vector in found.vectors.items():
        for token in wanted[word]:
            is_exact = spellings[token] == word
            if not has_pieces or is_exact == found.has_pieces:
                rows[token] = vector
    return rows


def _set(matrix: Tensor, rows: dict[int, NDArray[np.float32]], name: str) -> float:
    """Set rows, scaled; the factor. Raises DataError for vectors of zeros."""
    ids = sorted(rows)
    vectors = np.stack([rows[token] for token in ids]).astype(np.float64)
    mean = float(np.square(vectors).sum(1).mean())
    if not mean:
        raise DataError(f"{name}: all vectors of the vocabulary are zero")
    scale = 1.0 / math.sqrt(mean)
    with torch.no_grad():
        matrix[torch.tensor(ids)] = torch.from_numpy(vectors * scale).to(matrix)
    return scale


def _share(
    rows: dict[int, NDArray[np.float32]], size: int, values: list[NDArray[np.integer]]
) -> float:
    """The share of training tokens with a vector."""
    has_vector = np.zeros(size, dtype=bool)
    has_vector[list(rows)] = True
    covered = total = 0
    for ids in values:
        for start in range(0, len(ids), CHUNK):
            chunk = np.asarray(ids[start : start + CHUNK])
            total += len(chunk)
            covered += int(has_vector[chunk[chunk < size]].sum())
    return covered / max(1, total)
