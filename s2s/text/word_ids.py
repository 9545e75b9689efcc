"""Which word of a text a token is a part of.

Words are what `str.split` makes of the line as the user wrote it, and of the translation as it is
printed, counted from 0: what the tokenizer normalizes away does not shift their numbers.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.tags import front_of, untagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import Characters, Words

NO_WORD = -1
"""The owner of tokens that are a part of no word: end of sentence."""


def source_word_ids(tokenizer: Tokenizer, line: str, ids: Sequence[int]) -> list[int]:
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


class SupportsDecode(Protocol):
    """Ids to text, as a tokenizer does it."""

    def decode(self, ids: Iterable[Sequence[int]], /) -> list[str]:
        """The text of each sequence."""


def target_word_ids(tokenizer: SupportsDecode, ids: Sequence[int]) -> list[int]:
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


def source_units(tokenizer: Tokenizer, line: str, ids: Sequence[int]) -> list[str | None]:
    """What a reader would copy for each token of `ids`, the encoding of `line`, as it is written.

    That is the character of characters, the word of words, and for subwords the word between
    spaces that the token is a part of. Tags and features have None: they are no text.
    """
    front = front_of(tokenizer, line)
    base, text = untagged(tokenizer), line[len(front) :]
    if isinstance(base, SourceFeatureTokenizer):
        base, text = base.base, text.rpartition(SEPARATOR)[0] if SEPARATOR in text else text
    own = base.encode([text])[0]
    before = len(tokenizer.encode([front])[0]) if front else 0
    found: list[str | None]
    match base:
        case Characters():
            found = list(base.written(text))
        case Words():
            found = list(base.written(text))
        case _:
            words = text.split()
            found = [words[owner] if words else None for owner in source_word_ids(base, text, own)]
    units = [*[None] * before, *found]
    return [*units, *[None] * len(ids)][: len(ids)]
