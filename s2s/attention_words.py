"""From tokens to words: which word a token is a part of, and the alignment of words.

Words are what `str.split` makes of the line as the user wrote it, and of the translation as it is
printed, counted from 0: what the tokenizer normalizes away does not shift their numbers.

Dimension letters: T predictions, S source tokens, U target words, W source words.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s2s.text.tokenizer import Tokenizer

NO_WORD = -1
"""The owner of tokens that are a part of no word: end of sentence."""


def source_owners(tokenizer: Tokenizer, line: str, ids: Sequence[int]) -> list[int]:
    """The word of `line` each token of `ids`, its encoding, is a part of.

    A token that is a space belongs to the word behind it. Where words are encoded otherwise alone
    than within the line, the number of tokens of the line up to a word's end decides.
    """
    ends = _word_ends(line)
    parts = tokenizer.encode(
        [line[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    )
    if [token for part in parts for token in part] == list(ids):
        counts = np.cumsum([len(part) for part in parts])
    else:
        counts = np.array([len(part) for part in tokenizer.encode([line[:end] for end in ends])])
    owners = np.searchsorted(counts, np.arange(len(ids)), side="right")
    return [min(owner, len(ends) - 1) for owner in owners.tolist()]


def _word_ends(line: str) -> list[int]:
    """Where the words of a line end."""
    ends: list[int] = []
    end = 0
    for word in line.split():
        end = line.index(word, end) + len(word)
        ends.append(end)
    return ends


def target_owners(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """The word of the decoded `ids` each token is a part of: the last one it brings to light.

    A token that adds nothing visible, such as a space, belongs to the word behind it.
    """
    texts = tokenizer.decode([ids[: end + 1] for end in range(len(ids))])
    owners: list[int] = []
    waiting = shown = 0
    for text in texts:
        words = text.split()
        waiting += 1
        if (length := sum(map(len, words))) > shown:
            owners += [len(words) - 1] * waiting
            waiting, shown = 0, length
    last = owners[-1] if owners else NO_WORD
    return owners + [last] * waiting


def word_weights(
    weights: NDArray[np.float32], source: Sequence[int], target: Sequence[int]
) -> NDArray[np.float64]:
    """[U, W + 1] of weights [T, S] and the owners of source and target tokens.

    A source word's weight is the sum over its tokens, a target word's row the mean over its own.
    The last column is what lies on no word, so rows still sum to one. The row of a target word
    without tokens is zero.
    """
    num_source, num_target = max(source, default=-1) + 1, max(target, default=-1) + 1
    to_word = np.zeros((len(source), num_source + 1))
    # Index -1 is the last column.
    to_word[np.arange(len(source)), list(source)] = 1.0
    of_word = np.zeros((num_target + 1, len(target)))
    of_word[list(target), np.arange(len(target))] = 1.0
    of_word /= np.maximum(of_word.sum(axis=1, keepdims=True), 1.0)
    found: NDArray[np.float64] = (of_word @ weights.astype(np.float64) @ to_word)[:num_target]
    return found


def align_words(
    weights: NDArray[np.float32], source: Sequence[int], target: Sequence[int]
) -> list[tuple[int, int]]:
    """Links (source word, target word): of each target word to the source word it weighs most.

    A word that weighs what is no word (end of sentence) most has no link. Of equal weights the
    word nearer to the beginning is linked.
    """
    matrix_UW = word_weights(weights, source, target)
    nowhere = matrix_UW.shape[1] - 1
    return sorted(
        (int(best), word)
        for word, best in enumerate(matrix_UW.argmax(axis=1))
        if best != nowhere and matrix_UW[word, best] > 0.0
    )
