"""A synthetic corpus from language rules: values in written form and in spoken form.

    de: March 3, 2024           der dritte März zweitausendvierundzwanzig
    en: mardi à 15 h 07         Tuesday at three oh-seven p.m.
    fr: 1.081,01 £              mille quatre-vingt-une livres et un penny

The source begins with the language of the target, as in Johnson et al. 2017 (section 3); it is
itself written in any of the three languages. The task needs attention: the order changes, words
agree in gender and number, and distant digits determine one word.
"""

import hashlib
from collections.abc import Iterator
from random import Random

from s2s.data.synthetic.spoken import spoken
from s2s.data.synthetic.values import LANGUAGES, NUM_VALUES, Value, draw
from s2s.data.synthetic.written import forms, written
from s2s.errors import DataError
from s2s.recipe.data import GeneratedData

SHARES = {"test": 5, "validation": 5, "train": 90}
"""Percentage of all values that belong to each split."""


def generate(data: GeneratedData, split: str) -> Iterator[tuple[str, str]]:
    """Pairs of `split` (train, validation or test), a function of `data.seed` alone.

    Every value belongs to one split, in all its forms and languages. All sources differ. The text
    also depends on the versions of Babel and unicode-rbnf, whose rules are corrected at times.

    Raises:
        DataError: the recipe has more pairs than the split has values.
    """
    assert split in SHARES, split
    key, count = ("pairs", data.pairs) if split == "train" else ("held_out", data.held_out)
    possible = NUM_VALUES * SHARES[split] // 100
    if count > possible:
        raise DataError(
            f"data.{key}: corpus '{data.corpus}' has at most {possible:,} pairs for {split}, "
            f"found {count:,}"
        )
    return _pairs(data.seed, split, count)


def _pairs(seed: int, split: str, count: int) -> Iterator[tuple[str, str]]:
    random = Random(f"{seed} {split}")
    seen: set[str] = set()
    while len(seen) < count:
        value = draw(random)
        if split_of(value, seed) != split:
            continue
        written_in, style = random.choice(forms(value))
        spoken_in = random.choice(LANGUAGES)
        source = f"{spoken_in}: {written(value, written_in, style)}"
        if source not in seen:
            seen.add(source)
            yield source, spoken(value, spoken_in, style)


def split_of(value: Value, seed: int) -> str:
    """The split of `value`, which depends on its hash, so no list of values is kept."""
    digest = hashlib.blake2b(f"{seed} {value}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") % 100
    if position < SHARES["test"]:
        return "test"
    return "validation" if position < SHARES["test"] + SHARES["validation"] else "train"
