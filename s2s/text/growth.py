"""What the tokens of a tokenizer were in an earlier one, of which it may have more."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2s.special import SPECIAL_PIECES, UNK
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.subword import Subwords
from s2s.text.tags import Tagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import Characters, Words

NEW = -1
"""The old id of a new token."""


@dataclass(frozen=True)
class Growth:
    """The old tokens of new ids."""

    old_size: int
    old_ids: NDArray[np.int64]
    """int64 [new size]: the id of the same token in the old vocabulary, or `NEW`."""
    parts: dict[int, list[int]]
    """The old ids that a new token was split into, by its id; none where no part was known."""

    @property
    def is_none(self) -> bool:
        """Whether nothing has changed."""
        size = len(self.old_ids)
        return size == self.old_size and bool((self.old_ids == np.arange(size)).all())


def growth(old: Tokenizer, new: Tokenizer) -> Growth | None:
    """How `new` has grown out of `old`; None where it has not, so that their ids say nothing about
    each other."""
    if old == new:
        return Growth(old.size, np.arange(old.size), {})
    match old, new:
        case Tagged(), Tagged():
            return _of_tagged(old, new)
        case Tagged(), _:
            base = growth(old.base, new)
            return None if base is None else Growth(old.size, base.old_ids, base.parts)
        case _, Tagged():
            return _of_tagged(Tagged(old, ()), new)
        case SourceFeatureTokenizer(), SourceFeatureTokenizer():
            return _of_features(old, new)
    return _of_vocabulary(old, new)


def _of_vocabulary(old: Tokenizer, new: Tokenizer) -> Growth | None:
    """Growth of a vocabulary without tags and features, at its end."""
    added = range(old.size, new.size)
    match old, new:
        case Subwords(), Subwords() if new.extends(old):
            spellings = new.spellings()
            split = old.segment([spellings[token] for token in added])
            return _grown(old, new.size, dict(zip(added, split, strict=True)))
        case Characters(), Characters() if new.extends(old):
            return _grown(old, new.size, {token: [] for token in added})
        case Words(), Words() if new.extends(old):
            return _grown(old, new.size, {token: [] for token in added})
    return None


def _grown(old: Tokenizer, size: int, parts: dict[int, list[int]]) -> Growth:
    """Growth at the end of a vocabulary."""
    ids = np.full(size, NEW, dtype=np.int64)
    ids[: old.size] = np.arange(old.size)
    known = {new: [one for one in split if one != UNK] for new, split in parts.items()}
    return Growth(old.size, ids, known)


def _of_tagged(old: Tagged, new: Tagged) -> Growth | None:
    """Tags follow the vocabulary, so they move where it grows."""
    base = growth(old.base, new.base)
    if base is None:
        return None
    known = {tag: old.base.size + place for place, tag in enumerate(old.tags)}
    tags = np.array([known.get(tag, NEW) for tag in new.tags], dtype=np.int64)
    ids = np.concatenate([base.old_ids, tags])
    added = new.base.size + np.flatnonzero(tags == NEW)
    return Growth(old.size, ids, {**base.parts, **{token: [] for token in added.tolist()}})


def _of_features(old: SourceFeatureTokenizer, new: SourceFeatureTokenizer) -> Growth | None:
    """Features follow the vocabulary of the text, and the separator is the last."""
    base, features = growth(old.base, new.base), growth(old.features, new.features)
    if base is None or features is None:
        return None
    special = len(SPECIAL_PIECES)
    shift, old_shift = new.base.size - special, old.base.size - special
    own = features.old_ids[special:]
    own = np.where(own == NEW, NEW, own + old_shift)
    ids = np.concatenate([base.old_ids, own, [old.size - 1]])
    parts = {
        token + shift: [one + old_shift for one in split] for token, split in features.parts.items()
    }
    return Growth(old.size, ids, {**base.parts, **parts})
