"""Word ids: the word of a text that each token is a part of.

Words are those of `str.split` of the line as the user wrote it, or of the translation as printed,
numbered from 0. So normalization by the tokenizer does not change their numbers.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.tags import front_of, untagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import Characters, Words

NO_WORD = -1
"""The word id of tokens outside of words: end of sentence."""


def source_word_ids(tokenizer: Tokenizer, line: str, ids: Sequence[int]) -> list[int]:
    """The word of `line` that each token of `ids`, its encoding, is a part of.

    A space belongs to the word after it. If words alone are encoded differently than within the
    line, the numbers of tokens of the line up to the words' ends decide.
    """
    ends = _word_ends(line)
    parts = tokenizer.encode(
        [line[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    )
    if [token for part in parts for token in part] == list(ids):
        counts = np.cumsum([len(part) for part in parts])
    else:
        counts = np.array([len(part) for part in tokenizer.encode([line[:end] for end in ends])])
    word_ids = np.searchsorted(counts, np.arange(len(ids)), side="right")
    found = [min(word, len(ends) - 1) for word in word_ids.tolist()]
    start, end = _source_span(tokenizer, line, len(ids))
    return [*found[:start], *found[end:], *found[start:end]]


def _source_span(tokenizer: Tokenizer, line: str, length: int) -> tuple[int, int]:
    """The tokens of a line that source features, though after them in it, precede in its encoding;
    empty, at the end of so many tokens, where features do not precede."""
    base = untagged(tokenizer)
    if not (isinstance(base, SourceFeatureTokenizer) and base.is_before and SEPARATOR in line):
        return length, length
    start = _num_front(tokenizer, line)
    return start, start + len(base.base.encode([_text(tokenizer, line)])[0])


def _num_front(tokenizer: Tokenizer, line: str) -> int:
    """The number of tags before a line."""
    front = front_of(tokenizer, line)
    return len(tokenizer.encode([front])[0]) if front else 0


def _text(tokenizer: Tokenizer, line: str) -> str:
    """A line without its tags and source features."""
    text = line[len(front_of(tokenizer, line)) :]
    has_features = isinstance(untagged(tokenizer), SourceFeatureTokenizer)
    return text.rpartition(SEPARATOR)[0] if has_features and SEPARATOR in text else text


def _word_ends(line: str) -> list[int]:
    """The ends of the words of a line."""
    ends: list[int] = []
    end = 0
    for word in line.split():
        end = line.index(word, end) + len(word)
        ends.append(end)
    return ends


class SupportsDecode(Protocol):
    """Converts ids to text, as a tokenizer does."""

    def decode(self, ids: Iterable[Sequence[int]], /) -> list[str]:
        """The text of each sequence."""


def target_word_ids(tokenizer: SupportsDecode, ids: Sequence[int]) -> list[int]:
    """The word of the decoded `ids` that each token is a part of: the last one that it adds to.

    A token that adds nothing visible, such as a space, belongs to the word after it.
    """
    texts = tokenizer.decode([ids[: end + 1] for end in range(len(ids))])
    word_ids: list[int] = []
    waiting = shown = 0
    for text in texts:
        words = text.split()
        waiting += 1
        if (length := sum(map(len, words))) > shown:
            word_ids += [len(words) - 1] * waiting
            waiting, shown = 0, length
    last = word_ids[-1] if word_ids else NO_WORD
    return word_ids + [last] * waiting


def source_units(tokenizer: Tokenizer, line: str, ids: Sequence[int]) -> list[str | None]:
    """The text to copy for each token of `ids`, the encoding of `line`.

    It is the character or word of the token, and for subwords the word between spaces that the
    token is a part of. Tags and features have None, as they are not text.
    """
    base, text = untagged(tokenizer), _text(tokenizer, line)
    before = _num_front(tokenizer, line)
    if isinstance(base, SourceFeatureTokenizer):
        if base.is_before and SEPARATOR in line:
            features = base.features.encode([line.rpartition(SEPARATOR)[2]])[0]
            before += len(features) + 1
        base = base.base
    own = base.encode([text])[0]
    found: list[str | None]
    match base:
        case Characters():
            found = list(base.written(text))
        case Words():
            found = list(base.written(text))
        case _:
            words = text.split()
            found = [words[word] if words else None for word in source_word_ids(base, text, own)]
    units = [*[None] * before, *found]
    return [*units, *[None] * len(ids)][: len(ids)]
