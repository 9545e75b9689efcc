"""What is found out about many lines at once is what is found out line by line."""

import sys
import unicodedata
from collections import Counter
from random import Random

import numpy as np
import pytest

from s2s.data.preparation.filters import Overlap
from s2s.data.preparation.lost_characters import LostCharacters, may_compose
from s2s.data.preparation.read_pairs import is_one_word
from s2s.recipe.tokenizer import CharacterTokenizer, SideTokenizer, SubwordTokenizer
from s2s.spaces import split_words
from s2s.text.byte_lines import ByteLines, LineWords
from s2s.text.tokenizer_pair import train_tokenizers
from tests.data.preparation.test_lost_characters import FILLER, LINES

RANDOM = Random(17)
CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
SPACES = [one for one in CHARACTERS if not split_words(one)]


def test_a_target_is_one_word_or_more() -> None:
    parts = ["", " ", "  ", "a", "ä", "€", "🙂", "中", *SPACES]
    lines = ["".join(RANDOM.choices(parts, k=RANDOM.randrange(6))) for _ in range(3000)]
    lines += [f"{one}{space}{other}" for space in SPACES for one in parts for other in parts]
    lines = [line.replace("\n", " ") for line in lines]
    found = is_one_word(LineWords.of(ByteLines.of(lines)))
    assert found.tolist() == [len(split_words(line)) <= 1 for line in lines]
    assert is_one_word(LineWords.of(ByteLines.of([]))).tolist() == []


def test_all_characters_make_words_or_separate_them() -> None:
    lines = [f"{one} a" for one in CHARACTERS if one != "\n"]
    found = is_one_word(LineWords.of(ByteLines.of(lines)))
    assert [line[0] for line, one in zip(lines, found, strict=True) if one] == [
        space for space in SPACES if space != "\n"
    ]


def test_other_characters_stay_as_they_are_in_every_text() -> None:
    """NFC changes marks, what follows another character in a decomposition, and what is decomposed
    alone (Unicode Standard Annex 15)."""
    later = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for one in CHARACTERS:
        parts = unicodedata.decomposition(one).split()
        if parts and not parts[0].startswith("<"):
            later |= {chr(int(code, 16)) for code in parts[1:]}
    changed = [
        one
        for one in CHARACTERS
        if one in later or unicodedata.combining(one) or not unicodedata.is_normalized("NFC", one)
    ]
    assert [one for one in changed if not may_compose(one)] == []
    assert not any(map(may_compose, "aÄß€中가🙂 "))


@pytest.mark.parametrize(
    "recipe",
    [
        SubwordTokenizer(kind="unigram", vocabulary=90),
        SubwordTokenizer(kind="unigram", vocabulary=90, normalization="nmt_nfkc_cf"),
        SubwordTokenizer(kind="unigram", vocabulary=90, normalization="identity"),
        CharacterTokenizer(kind="character", decompose=True),
    ],
)
def test_many_lines_lose_what_each_of_them_loses(recipe: SideTokenizer) -> None:
    tokenizer = train_tokenizers(recipe, [(FILLER, LINES)], seed=1).target
    odd = [
        *"\x00\x01\x7f\t\u212b\u1112\u1161\u09be\u0307\u0323\ufb01",
        "\U0001d15e",
        "  ",
        "\u200b",
    ]
    lines = [
        "".join(RANDOM.choices([*odd, *"abcäA…가 "], k=RANDOM.randrange(12))) for _ in range(800)
    ]
    found, one_by_one = LostCharacters(tokenizer), LostCharacters(tokenizer)
    for begin in range(0, len(lines), 90):
        found.add(lines[begin : begin + 90])
    lost = [one_by_one._lost(line) for line in lines]
    assert found.num_texts == sum(map(bool, lost))
    assert (found.num_texts > 0) == (tokenizer.normalize("e\u0301") != "e\u0301")
    assert found.characters == Counter(character for each in lost for character in each)
    spaced = sum(line.startswith(" ") or "  " in line for line in map(str.rstrip, lines))
    assert found.num_spaced == (spaced if tokenizer.normalize("a  a") == "a a" else 0)


def test_held_out_pairs_are_counted_each() -> None:
    """Those that are the same count as often as they occur; training may have them often too."""
    random = np.random.default_rng(2)
    held_out, train = random.integers(0, 90, 60), random.integers(0, 90, 400)
    overlap = Overlap(held_out.astype(np.uint64))
    known: set[int] = set()
    for part in np.array_split(train, 9):
        overlap.update(part.astype(np.uint64))
        known |= set(part.tolist())
        assert overlap.count == sum(one in known for one in held_out.tolist())
    Overlap(held_out[:0].astype(np.uint64)).update(train.astype(np.uint64))
