"""Tokens that are added to trained tokenizers: old text keeps its tokens, old ids their meaning."""

import random
from pathlib import Path

import numpy as np
import pytest

from s2s.recipe.tokenizer import CharacterTokenizer, SubwordTokenizer, WordTokenizer
from s2s.special import UNK
from s2s.text.extension import LONGEST_PIECE, extender
from s2s.text.growth import NEW, Growth, growth
from s2s.text.piece_table import PieceTable
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.subword import Subwords, SubwordTrainer
from s2s.text.tags import Tagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.tokenizer_pair import load_tokenizer
from s2s.text.vocabulary import Characters, CharacterTrainer, Words, WordTrainer


def words(letters: str, count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(letters, k=draw.randint(1, 7))) for _ in range(count)]


def lines(letters: str, count: int, seed: int) -> list[str]:
    """Sentences of a few words, some of them often."""
    draw = random.Random(seed)
    known = words(letters, 300, seed)
    weights = [1 / rank for rank in range(1, len(known) + 1)]
    return [" ".join(draw.choices(known, weights, k=draw.randint(1, 9))) for _ in range(count)]


OLD = lines("abcdefghß", 1500, 1)
NEWER = lines("cdefghijkŁ", 800, 2)
ODD = ["", "  ", "zzz", "a  b", "ŁŁ abc", "日本語 abc", "<unk> </s> a"]


def subwords(kind: str, **more: object) -> Subwords:
    size = 450 if more.get("byte_fallback") else 200
    trainer = SubwordTrainer(SubwordTokenizer(kind=kind, vocabulary=size, **more), seed=3)
    trainer.add(OLD)
    return trainer.train()


def extended(tokenizer: Tokenizer, text: list[str], most: int = 200, least: int = 3) -> Tokenizer:
    trainer = extender(tokenizer, most, least)
    for start in range(0, len(text), 100):
        trainer.add(text[start : start + 100])
    return trainer.train()


@pytest.fixture(
    params=[
        ("unigram", {}),
        ("unigram", {"byte_fallback": True}),
        ("unigram", {"normalization": "identity"}),
        ("bpe", {}),
        ("bpe", {"byte_fallback": True}),
    ],
    ids=lambda param: " ".join((param[0], *param[1])),
    scope="module",
)
def pair(request: pytest.FixtureRequest) -> tuple[Subwords, Subwords]:
    """A model, and the same extended."""
    kind, more = request.param
    old = subwords(kind, **more)
    new = extended(old, NEWER)
    assert isinstance(new, Subwords)
    return old, new


def test_only_words_with_new_pieces_change(pair: tuple[Subwords, Subwords]) -> None:
    old, new = pair
    added = new.spellings()[old.size :]
    assert 20 < len(added) <= 200
    unchanged = changed = 0
    for line in [*OLD, *NEWER, *ODD]:
        (normal,) = old.normalized([line])
        if not any(piece in normal for piece in added):
            unchanged += 1
            assert old.encode([line]) == new.encode([line]), line
        changed += old.encode([line]) != new.encode([line])
    assert unchanged > 50
    assert changed > 50


def test_the_text_is_the_same(pair: tuple[Subwords, Subwords]) -> None:
    old, new = pair
    assert new.decode(old.encode(OLD)) == old.decode(old.encode(OLD))
    for line in NEWER:
        assert new.decode(new.encode([line])) == [new.normalize(line)]
        assert UNK not in new.encode([line])[0]


def test_new_text_gets_shorter(pair: tuple[Subwords, Subwords]) -> None:
    lengths = [sum(map(len, one.encode(NEWER))) for one in pair]
    assert lengths[1] < 0.9 * lengths[0]


def test_every_new_piece_is_used_and_none_is_long(pair: tuple[Subwords, Subwords]) -> None:
    """In the text that it was learned from; a later piece may have swallowed an earlier one."""
    old, new = pair
    used = {token for row in new.encode(NEWER) for token in row}
    added = set(range(old.size, new.size))
    assert len(added & used) > 0.5 * len(added)
    assert max(map(len, new.spellings()[old.size :])) <= LONGEST_PIECE


def test_unknown_characters_cost_what_they_did(pair: tuple[Subwords, Subwords]) -> None:
    """A unigram model scores them by its least probable piece."""
    old, new = (PieceTable(one._processor) for one in pair)
    if not old.has_merges:
        assert min(old.scores.values()) == min(new.scores.values())
        assert max(old.scores.values()) == max(new.scores.values())
    assert new.has_merges == old.has_merges


def test_sampling_still_works(pair: tuple[Subwords, Subwords]) -> None:
    new = pair[1]
    for row, line in zip(new.sampling(0.3, (1,)).encode(NEWER[:50]), NEWER, strict=False):
        assert new.decode([row]) == [new.normalize(line)]


def test_nothing_to_add_changes_nothing(pair: tuple[Subwords, Subwords]) -> None:
    old, _ = pair
    assert extended(old, NEWER, least=10**6) == old
    assert extended(old, []) == old
    found = growth(old, old)
    assert found is not None
    assert found.is_none


def test_growth_knows_old_ids_and_parts(pair: tuple[Subwords, Subwords], tmp_path: Path) -> None:
    old, new = pair
    new.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded == new
    found = growth(old, loaded)
    assert found is not None
    assert found.old_ids.tolist() == [*range(old.size), *[NEW] * (new.size - old.size)]
    for token, parts in found.parts.items():
        text = "".join(old.pieces(parts))
        spelling = new.spellings()[token]
        unknown = sum(len(letter) == 1 and letter not in old.spellings() for letter in spelling)
        assert text == spelling or unknown
        assert len(parts) > 1 or unknown
    assert growth(new, old) is None
    assert growth(subwords("unigram", character_coverage=0.98, normalization="nfkc"), old) is None


@pytest.mark.parametrize("decompose", [False, True])
def test_characters(decompose: bool) -> None:
    trainer = CharacterTrainer(CharacterTokenizer(kind="character", decompose=decompose))
    trainer.add(OLD)
    old = trainer.train()
    new = extended(old, [*NEWER, "q", "éé é"])
    assert isinstance(new, Characters)
    assert new.encode(OLD) == old.encode(OLD)
    assert UNK not in {token for row in new.encode(NEWER) for token in row}
    assert new.encode(["q"]) == [[UNK]]  # once is too rare
    assert ("\u0301" in new.spellings()) == decompose
    found = growth(old, new)
    assert found == Growth(old.size, found.old_ids, found.parts) if found else False
    assert found is not None
    assert all(parts == [] for parts in found.parts.values())
    assert growth(Characters(["a"], decompose=True), Characters(["a", "b"])) is None


def test_words() -> None:
    trainer = WordTrainer(WordTokenizer(kind="word", separators=" ;"))
    trainer.add(OLD)
    old = trainer.train()
    new = extended(old, NEWER, most=5)
    assert isinstance(new, Words)
    assert new.size == old.size + 5
    assert new.encode(OLD) == old.encode(OLD)
    assert extended(old, OLD) == old
    assert growth(old, Words(list(old.spellings()[4:]))) is None  # other separators
    assert growth(Words(["a", "b"]), Words(["b", "a", "c"])) is None


def test_the_most_frequent_first_and_ties_by_spelling() -> None:
    new = extended(Words(["a"]), ["c b b d", "c d a"], most=3, least=2)
    assert new.spellings()[5:] == ["b", "c", "d"]
    assert extended(Words(["a"]), ["c b b d", "c d a"], most=1, least=2).size == 6


def test_special_spellings_are_no_new_tokens() -> None:
    assert extended(Words(["a"]), ["</s> <unk> <pad>"] * 9, least=1) == Words(["a"])


def test_tags_and_features_move_behind_the_grown_vocabulary() -> None:
    old = Tagged(SourceFeatureTokenizer(Words(["a"]), Words(["V", "N"])), ["<x>", "<y>"])
    new = extended(old, ["b b b\tV", "<x> b b\tADJ", "c\tADJ"], least=2)
    assert isinstance(new, Tagged)
    assert new.encode(["<y> a b\tN;V", "<x> b\tADJ"]) == [
        [*new.encode(["<y>"])[0], 4, 5, *new.encode(["\tN;V"])[0]],
        [*new.encode(["<x>"])[0], 5, *new.encode(["\tADJ"])[0]],
    ]
    found = growth(old, new)
    assert found is not None
    # Ids of the same label, there and here.
    labels = old.surfaces()
    for token, (was, label) in enumerate(zip(found.old_ids.tolist(), new.surfaces(), strict=True)):
        assert (label == labels[was]) if was != NEW else (label not in labels), token
    assert sorted(found.parts) == np.flatnonzero(found.old_ids == NEW).tolist()


def test_tags_that_come_and_go() -> None:
    plain, tagged = Words(["a", "b"]), Tagged(Words(["a", "b"]), ["<x>"])
    more = growth(plain, tagged)
    assert more is not None
    assert more.old_ids.tolist() == [*range(6), NEW]
    fewer = growth(tagged, plain)
    assert fewer is not None
    assert (fewer.old_size, fewer.old_ids.tolist()) == (7, [*range(6)])
    other = growth(tagged, Tagged(Words(["a", "b"]), ["<z>", "<x>"]))
    assert other is not None
    assert other.old_ids.tolist() == [*range(6), NEW, 6]
    assert growth(tagged, Characters(["a"])) is None
