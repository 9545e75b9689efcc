"""Word alignments from attention weights; words are numbered as `s2s.text.word_ids` does.

Dimension letters: T predictions, S source tokens, U target words, W source words.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s2s.text.word_ids import NO_WORD, source_word_ids, target_word_ids

__all__ = ["NO_WORD", "align_words", "source_word_ids", "target_word_ids", "word_weights"]


def word_weights(
    weights: NDArray[np.float32], source: Sequence[int], target: Sequence[int]
) -> NDArray[np.float64]:
    """[U, W + 1]: the weights between words, of weights [T, S] and the word ids of the tokens.

    A source word's weight is the sum over its tokens, a target word's row the mean over its own.
    The last column holds the weight on tokens of no word, so rows still sum to one. The row of a
    target word without tokens is zero.
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
    """Links (source word, target word): each target word with the source word of most weight.

    A target word with the most weight on tokens of no word (end of sentence) has no link. Of equal
    weights, the first word is linked.
    """
    matrix_UW = word_weights(weights, source, target)
    no_word = matrix_UW.shape[1] - 1
    return sorted(
        (int(best), word)
        for word, best in enumerate(matrix_UW.argmax(axis=1))
        if best != no_word and matrix_UW[word, best] > 0.0
    )
