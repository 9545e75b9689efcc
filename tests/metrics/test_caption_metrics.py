"""Metrics of captions: against sacrebleu, nltk and coco-caption, a transcription, and by hand."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nltk
import numpy as np
import pytest
from nltk.corpus import wordnet
from nltk.translate.meteor_score import meteor_score
from sacrebleu.metrics.bleu import BLEU

from s2s.errors import UsageError
from s2s.metrics.build import build
from s2s.metrics.corpus import pair_up, score
from s2s.metrics.tokenize import read_words
from s2s.recipe.scoring import Scoring

WORDS = (
    "A",
    "a",
    "dog",
    "dogs",
    "runs",
    "running",
    "on",
    "the",
    "grass",
    ",",
    ".",
    "Über",
    "don't",
)


def lines(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, 11))) for _ in range(count)]


def near(texts: list[str], seed: int) -> list[str]:
    """Texts that share much with these."""
    draw = random.Random(seed)
    return [" ".join(w for w in text.split() if draw.random() < 0.8) for text in texts]


def some(texts: list[str]) -> list[str | None]:
    return [text if number % 3 else None for number, text in enumerate(texts)]


def values(name: str, said: list[str], *references: Any, **options: Any) -> list[float]:
    found = score([name], said, references, scoring=Scoring(**options))  # type: ignore[list-item]
    return [one.value for one in found.values]


@pytest.mark.parametrize(("tokenize", "lowercase"), [("13a", False), ("none", True)])
def test_bleu_of_every_order_is_sacrebleus(tokenize: Any, lowercase: bool) -> None:
    one, two = lines(40, 1), some(lines(40, 2))
    said = near(one, 3)
    scoring = Scoring(tokenize=tokenize, lowercase=lowercase)
    found = score(["bleu_n", "bleu"], said, [one, two], scoring=scoring)
    each = build("bleu_n", scoring).measure([said], pair_up(said, [one, two])[1]).line_values()
    assert each is not None
    for order in range(1, 5):
        options = {"tokenize": tokenize, "lowercase": lowercase, "max_ngram_order": order}
        oracle = BLEU(**options)
        expected = oracle.corpus_score(said, [one, two]).score
        assert found.value(f"bleu{order}") == pytest.approx(expected, abs=1e-12)
        assert found.values[order - 1].signature == str(oracle.get_signature())
        single = BLEU(**options, effective_order=True)
        for place in (0, 1, 7):
            options_of_line = [one[place], *([two[place]] if two[place] is not None else [])]
            line = single.sentence_score(said[place], options_of_line)
            assert each[place, order - 1] == pytest.approx(line.score)
    assert found.value("bleu4") == found.value("bleu")
    assert found.value("bleu1") > found.value("bleu2") > found.value("bleu4") > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man's dog, running.", "a man 's dog running"),
        ('Two "friends" don\'t stop!', "two friends do n't stop"),
        ("One (of two) -- the T-shirt ; 3:30 -", "one -lrb- of two -rrb- the t-shirt 3:30"),
        ("He cannot go...", "he can not go"),
        (" .", ""),
        ("", ""),
    ],
)
def test_words_of_captions(text: str, words: str) -> None:
    """What the Stanford tokenizer and coco-caption's list of punctuation make of these."""
    reading = read_words(Scoring(tokenize="ptb"))
    assert reading(text) == words.split()
    assert reading.details[0] == "case:lc"
    assert reading.details[1].startswith("tok:ptb-nltk")
    if words:
        for name in ("bleu", "cider", "distinct"):
            same = score([name], [text, "x y"], [[words, "x y"]], scoring=Scoring(tokenize="ptb"))  # type: ignore[list-item]
            other = score(
                [name], [words, "x y"], [[words, "x y"]], scoring=Scoring(tokenize="none")
            )  # type: ignore[list-item]
            assert [f.value for f in same.values] == [f.value for f in other.values]


def cider_of(said: list[str], references: list[list[str]]) -> list[float]:
    """CIDEr-D of every line as the paper writes it, with the code's length and unknown n-grams."""

    def grams(text: str, n: int) -> Counter[tuple[str, ...]]:
        words = text.split()
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    found = []
    for line, options in zip(said, references, strict=True):
        total = 0.0
        for n in range(1, 5):
            documents = [set().union(*(grams(one, n) for one in texts)) for texts in references]

            def weigh(text: str, n: int = n, documents: Any = documents) -> dict[Any, float]:
                return {
                    gram: count
                    * math.log(len(documents) / max(1, sum(gram in texts for texts in documents)))
                    for gram, count in grams(text, n).items()
                }

            for one in options:
                g, h = weigh(line), weigh(one)
                norms = math.hypot(*g.values()) * math.hypot(*h.values())
                dot = sum(min(g[gram], h[gram]) * h[gram] for gram in g.keys() & h.keys())
                delta = grams(line, 2).total() - grams(one, 2).total()
                cosine = dot / norms if norms else 0.0
                total += 10 / 4 * math.exp(-(delta**2) / (2 * 6.0**2)) * cosine / len(options)
        found.append(total)
    return found


def given(count: int) -> tuple[list[str], list[list[str | None]], list[list[str]]]:
    """Outputs, sets of references, and the references of every line."""
    one, two, three = lines(count, 1), some(lines(count, 2)), lines(count, 3)
    each = [[t for t in options if t is not None] for options in zip(one, two, three, strict=True)]
    return near(one, 4), [list(one), two, list(three)], each


def test_cider_is_the_papers() -> None:
    said, sets, each = given(25)
    expected = cider_of(said, each)
    assert values("cider", said, *sets, tokenize="none") == pytest.approx(
        [100 * float(np.mean(expected))]
    )
    statistics = build("cider", Scoring(tokenize="none")).measure([said], pair_up(said, sets)[1])
    found = statistics.line_values()
    assert found is not None
    assert found[:, 0] == pytest.approx([100 * value for value in expected])
    assert found.max() > 300


def test_cider_is_that_of_coco_caption() -> None:
    scorer: Any = pytest.importorskip("pycocoevalcap.cider.cider_scorer").CiderScorer()
    said, sets, each = given(60)
    for line, options in zip(said, each, strict=True):
        scorer += (line, options)
    assert values("cider", said, *sets, tokenize="none") == pytest.approx(
        [100 * float(scorer.compute_score()[0])]
    )


def test_cider_by_hand() -> None:
    # Words of line 1 alone weigh log 2, of both lines 0. Against its reference the output has two
    # of three such words (and one of them twice, which clipping undoes), two words being one more.
    said, wanted = ["a b b c", "a"], ["a b c d", "a"]
    one = (2 / math.sqrt(1 + 2**2) / math.sqrt(3)) * 1.0  # b clipped to 1, c
    two = 2 / math.sqrt(3) / math.sqrt(3)  # ab, bb, bc against ab, bc, cd
    expected = 10 / 4 * (one + two) / 2
    assert values("cider", said, wanted, tokenize="none") == pytest.approx([100 * expected])
    # Nothing is rarer than anything else in a single line.
    assert values("cider", ["a b"], ["a b"]) == [0.0]
    assert values("cider", ["", "a b"], ["x", ""]) == [0.0]


def test_meteor_is_nltks() -> None:
    said, sets, each = given(40)
    each = [[one.lower() for one in options] for options in each]

    class Nothing:
        def synsets(self, word: str) -> list[str]:
            return []

    expected = np.mean(
        [
            meteor_score([one.split() for one in options], line.split(), wordnet=Nothing())
            for line, options in zip(said, each, strict=True)
        ]
    )
    assert values("meteor", said, *sets, tokenize="none") == pytest.approx([100 * expected])


def test_meteor_by_hand() -> None:
    # 3 of 3 words match 3 of 5, "dogs" by its stem, in two chunks.
    mean = 1.0 * 0.6 / (0.9 * 1.0 + 0.1 * 0.6)
    expected = 100 * mean * (1 - 0.5 * (2 / 3) ** 3)
    assert values("meteor", ["dogs run fast"], ["The dog can run fast"]) == pytest.approx(
        [expected]
    )
    assert values("meteor", ["", "x"], ["a", "y"]) == [0.0]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where nltk looks for its data."""
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    yield tmp_path
    if "_unload" in vars(wordnet):
        wordnet._unload()


def write_wordnet(folder: Path) -> None:
    """A WordNet in which hound and dog are one, and nothing else is."""
    folder.mkdir(parents=True)
    kinds = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
    (folder / "lexnames").write_text("00\tadj.all\t3\n01\tadj.pert\t3\n02\tadv.all\t4\n")
    for name in ("cntlist.rev", "index.sense", *(f"{kind}.exc" for kind in kinds)):
        (folder / name).write_text("")
    head = "  1 WordNet 3.0 Copyright 2006 by the few.\n"
    for kind in kinds:
        (folder / f"index.{kind}").write_text(head)
        (folder / f"data.{kind}").write_text(head)
    place = f"{len(head):08d}"
    (folder / "data.noun").write_text(f"{head}{place} 02 n 02 dog 0 hound 0 000 | an animal\n")
    (folder / "index.noun").write_text(
        head + "".join(f"{word} n 1 0 1 0 {place}\n" for word in ("dog", "hound"))
    )


def test_synonyms_where_wordnet_is_there(data: Path) -> None:
    write_wordnet(data / "corpora" / "wordnet")
    said, wanted = ["a hound ran"], ["a dog ran"]
    plain, found = (
        score(["meteor"], said, [wanted], scoring=Scoring(synonyms=asked)).values[0]
        for asked in (False, True)
    )
    assert plain.value == pytest.approx(100 * (2 / 3) * (1 - 0.5 * 1.0**3))
    assert found.value == pytest.approx(100 * (1 - 0.5 * (1 / 3) ** 3))
    assert "|match:exact+porter|" in plain.signature
    assert "|match:exact+porter+wordnet-3.0|" in found.signature


def test_synonyms_where_it_is_not(data: Path) -> None:
    with pytest.raises(
        UsageError, match="synonyms: expected WordNet among nltk's data, found none"
    ):
        values("meteor", ["a"], ["a"], synonyms=True)


@pytest.mark.parametrize(
    ("said", "options", "expected"),
    [
        (["a b", "a b", "b c."], {}, [2, 200 / 3, 4]),
        (["A b", "a b ", "b"], {}, [3, 100.0, 3]),
        (["A b", "a b ", "b"], {"lowercase": True}, [2, 200 / 3, 2]),
        (["A b.", "a b"], {"tokenize": "ptb"}, [2, 100.0, 2]),
        (["", ""], {}, [1, 50.0, 0]),
    ],
)
def test_variety_by_hand(said: list[str], options: dict[str, Any], expected: list[float]) -> None:
    assert values("variety", said, ["x"] * len(said), **options) == pytest.approx(expected)


def test_counts_are_printed_whole() -> None:
    found = score(["variety"], ["a b", "a b", "c"], [["x"] * 3]).lines()
    assert [line.split("  ")[0] for line in found] == [
        "different outputs = 2",
        "share of different outputs = 66.67",
        "different words = 3",
    ]
