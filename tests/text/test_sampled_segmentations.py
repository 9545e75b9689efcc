"""Sampled segmentations against sentencepiece's best ones and against exact enumeration."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
import sentencepiece

from s2s.recipe.tokenizer import SubwordTokenizer
from s2s.special import UNK
from s2s.text import bpe_dropout, unigram_lattice
from s2s.text.subword import Subwords, SubwordTrainer

KINDS = ["unigram", "bpe"]
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyzäöüß",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "अआइईउऊएऐओऔकखगघचछजझटठडढतथदधनपफबभमयरलवशषसह",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "가나다라마바사아자차카타파하한국어말글",
]
HAN = [chr(0x4E00 + place) for place in range(120)]
ODD = ["😀☃ a☃☃b ☃", "", "   ", "▁ ▁▁ a▁b", "½ … x²", "a" * 40 + "☃" + "ab" * 30, "\u200c"]


def texts(num_lines: int) -> list[str]:
    """Lines of several scripts whose words repeat, some of them without spaces."""
    random = Random(5)
    words = [
        ["".join(random.choices(alphabet[:14], k=random.randint(1, 9))) for _ in range(80)]
        for alphabet in ALPHABETS
    ]
    lines = []
    for place in range(num_lines):
        if place % 7 == 6:
            weights = range(len(HAN), 0, -1)
            lines.append("".join(random.choices(HAN, weights, k=random.randint(3, 60))))
        else:
            lines.append(" ".join(random.choices(words[place % 7], k=random.randint(1, 9))))
    return lines


LINES = texts(5600)


def trained(kind: Any, *, lines: Sequence[str] = LINES, **changes: Any) -> Subwords:
    recipe = SubwordTokenizer(**{"kind": kind, "vocabulary": 900, **changes})
    trainer = SubwordTrainer(recipe, 1)
    trainer.add(lines)
    return trainer.train()


@pytest.fixture(scope="module")
def models() -> dict[str, Subwords]:
    return {kind: trained(kind) for kind in KINDS}


BEST = {"unigram": 1e6, "bpe": 1e-15}
"""Values of alpha with which nothing but the best segmentation is drawn."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes", [{}, {"byte_fallback": True, "vocabulary": 1100}, {"normalization": "identity"}]
)
def test_the_least_random_draw_is_the_best_segmentation(kind: str, changes: dict[str, Any]) -> None:
    model = trained(kind, **changes)
    lines = [*LINES, *ODD]
    assert model.sampling(BEST[kind], (1,)).encode(lines) == model.encode(lines)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.1, 0.7])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_what_is_drawn_is_the_text(kind: str, alpha: float, byte_fallback: bool) -> None:
    model = trained(kind, byte_fallback=byte_fallback, vocabulary=1100)
    lines = [*LINES[:500], *ODD]
    found = model.sampling(alpha, (1,)).encode(lines)
    assert model.decode(found) == model.decode(model.encode(lines))
    best = model.encode(lines)
    assert [row.count(UNK) for row in found] == [row.count(UNK) for row in best]
    assert [line for line in lines if model.encode([line]) == [[]]] == [
        line for line, row in zip(lines, found, strict=True) if not row
    ]


def segmentations(model: Subwords, word: str) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every way to cut a word into pieces, with its score."""
    processor = model._processor
    for cuts in itertools.product((False, True), repeat=len(word) - 1):
        places = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(word)]
        ids = [processor.piece_to_id(word[a:b]) for a, b in itertools.pairwise(places)]
        if UNK not in ids:
            yield tuple(ids), sum(processor.get_score(token) for token in ids)


def dropped_out(model: Subwords, word: str, alpha: float) -> dict[tuple[int, ...], float]:
    """The probability of every result of BPE-dropout, over all sequences of decisions."""
    processor = model._processor
    found: dict[tuple[int, ...], float] = {}

    def decide(symbols: tuple[str, ...], out: frozenset[tuple[int, int]], chance: float) -> None:
        begins = list(itertools.accumulate(map(len, symbols), initial=0))
        ranked = []
        for place, (left, right) in enumerate(itertools.pairwise(symbols)):
            token = processor.piece_to_id(left + right)
            if token != UNK and (begins[place], begins[place + 2]) not in out:
                ranked.append((-processor.get_score(token), place))
        if not ranked:
            ids = tuple(processor.piece_to_id(symbol) for symbol in symbols)
            found[ids] = found.get(ids, 0.0) + chance
            return
        _, place = min(ranked)
        span = (begins[place], begins[place + 2])
        decide(symbols, out | {span}, chance * alpha)
        merged = (*symbols[:place], symbols[place] + symbols[place + 1], *symbols[place + 2 :])
        # A pair that a merge makes anew is another pair, though it may span the same characters.
        kept = {(begin, end) for begin, end in out if end <= span[0] or begin >= span[1]}
        decide(merged, frozenset(kept), chance * (1 - alpha))

    decide(tuple(word), frozenset(), 1.0)
    return found


def exact(model: Subwords, kind: str, line: str, alpha: float) -> dict[tuple[int, ...], float]:
    """The probability of every segmentation of a word."""
    word = model._processor.normalize(line)
    if kind == "bpe":
        return dropped_out(model, word, alpha)
    weights = {ids: math.exp(alpha * score) for ids, score in segmentations(model, word)}
    return {ids: weight / sum(weights.values()) for ids, weight in weights.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.9])
def test_draws_are_distributed_as_all_segmentations(kind: str, alpha: float) -> None:
    """Pearson's chi-squared over those of three words, 20,000 draws of each."""
    random, num = Random(7), 20_000
    words = ["".join(random.choices("abcd", k=random.randint(1, 7))) for _ in range(900)]
    model = trained(kind, vocabulary=60, lines=words)
    words = sorted({word for word in words if len(word) == 6})
    most = sorted(words, key=lambda word: len(exact(model, kind, word, alpha)))[-3:]
    for place, line in enumerate(most):
        expected = exact(model, kind, line, alpha)
        assert math.isclose(sum(expected.values()), 1.0) and len(expected) > 10
        rows = model.sampling(alpha, (3, place)).encode([line] * num)
        counts = Counter(map(tuple, rows))
        assert counts.keys() <= expected.keys()
        common = {ids: chance for ids, chance in expected.items() if chance * num >= 5}
        squared = sum(
            (counts[ids] - chance * num) ** 2 / (chance * num) for ids, chance in common.items()
        )
        # Its mean is the number of degrees of freedom, its variance twice that.
        assert squared < len(common) + 4 * math.sqrt(2 * len(common)) + 4


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_distributed_as_those_of_sentencepiece(
    models: dict[str, Subwords], kind: str
) -> None:
    """Numbers of pieces of 30 passes over the lines: their means differ by chance alone."""
    model, lines = models[kind], LINES[:300]
    ours, theirs = [], []
    for number in range(30):
        ours.append(sum(map(len, model.sampling(0.3, (number,)).encode(lines))))
        sentencepiece.set_random_generator_seed(number + 1)
        drawn = model._processor.encode(
            lines, enable_sampling=True, alpha=0.3, nbest_size=-1, num_threads=1
        )
        theirs.append(sum(map(len, drawn)))
        if number == 0:
            assert drawn != model.encode(lines)
    scale = math.sqrt((np.var(ours) + np.var(theirs)) / 30)
    assert abs(np.mean(ours) - np.mean(theirs)) < 5 * scale + 0.0005 * np.mean(theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_remembered_of_earlier_words_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    fresh, used, forgetful = trained(kind), trained(kind), trained(kind)
    used.sampling(0.3, (9,)).encode(LINES[:400])
    expected = fresh.sampling(0.3, (2,)).encode(LINES[200:600])
    assert used.sampling(0.3, (2,)).encode(LINES[200:600]) == expected
    monkeypatch.setattr(bpe_dropout, "MOST_PIECES", 10)
    monkeypatch.setattr(unigram_lattice, "MOST_EDGES", 10)
    forgetful.sampling(0.3, (9,)).encode(LINES[:400])
    assert forgetful.sampling(0.3, (2,)).encode(LINES[200:600]) == expected


def test_long_words_are_merged_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many are merged together bounds the memory; the best segmentation stays."""
    monkeypatch.setattr(bpe_dropout, "_MOST_SYMBOLS", 200)
    model = trained("bpe")
    lines = [*LINES[:300], *ODD, "".join(HAN) * 30]
    assert model.sampling(1e-15, (1,)).encode(lines) == model.encode(lines)


@pytest.mark.parametrize("kind", KINDS)
def test_no_lines(models: dict[str, Subwords], kind: str) -> None:
    drawing = models[kind].sampling(0.3, (1,))
    assert drawing.encode([]) == [] and drawing.encode(["", " "]) == [[], []]
