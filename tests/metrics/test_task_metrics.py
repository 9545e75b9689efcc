"""The metrics beside BLEU: against their libraries, tables worked out by hand, and identities."""

import random
from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from s2s.metrics.build import build
from s2s.metrics.corpus import pair_up, score
from s2s.metrics.rouge import _note_once
from s2s.recipe.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    TEXT_METRICS,
    VALUES,
    format_value,
    only_of_runs,
    text_metrics,
)
from s2s.recipe.scoring import Scoring

OF_LABELS = ("accuracy", "macro_f1", "token_accuracy", "span_f1")
NAMES = tuple(name for name in TEXT_METRICS if name not in OF_LABELS)
"""Metrics of any text; those of labels have tests of their own."""
WITHOUT_REFERENCES = {value for name in ("distinct", "variety") for value in VALUES[name]}
BEST_REFERENCE = {
    value
    for name in ("bleu", "bleu_n", "chrf", "rouge", "meteor", "exact", "wer", "cer", "per")
    for value in VALUES[name]
}
"""Values of metrics that take the best or closest of several references."""
WORDS = ("The", "the", "cats", "cat", "running", "ran", ",", "a", "mat", ".", "Über", "你好")


def lines(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, 9))) for _ in range(count)]


def value(
    name: str, hypotheses: list[str], *references: list[str], **options: Any
) -> float | tuple[float, ...]:
    """The metric's values; one by itself if there is only one."""
    found = score([name], hypotheses, references, scoring=Scoring(**options))
    values = tuple(one.value for one in found.values)
    return values[0] if len(values) == 1 else values


def test_every_entry_of_the_table_is_complete() -> None:
    names = [value.name for entry in METRICS.values() for value in entry.values]
    assert len(set(names)) == len(names)
    assert text_metrics(tuple(METRICS)) == TEXT_METRICS
    for name, entry in METRICS.items():
        assert (entry.builder is None) == (only_of_runs(name) is not None)
    for name in NAMES:
        statistics = build(name, Scoring()).measure([["a b", "b"]], [("a b",), ("c",)])
        assert len(statistics.values(np.arange(2))) == len(VALUES[name])


def test_the_table_says_which_way_is_better_and_how_to_print() -> None:
    assert {"loss", "wer", "cer", "per", "g2p_wer", "copied", "perplexity"} <= LOWER_IS_BETTER
    assert not {"bleu", "chrf", "exact", "rougeL", "vocabulary"} & LOWER_IS_BETTER
    assert [format_value(name, 12.0) for name in ("vocabulary", "bleu", "loss")] == [
        "12",
        "12.00",
        "12.00",
    ]


def test_text_against_itself() -> None:
    text = [f"{line} word and {number} more words" for number, line in enumerate(lines(30, 1))]
    found = score(NAMES, text, [text])
    for one in found.values:
        if one.name in WITHOUT_REFERENCES:
            continue
        expected = 0.0 if one.is_lower_better else 1000.0 if one.name == "cider" else 100.0
        # METEOR counts one chunk of matches against a line, the less the longer it is.
        within = 1.0 if one.name == "meteor" else 1e-9
        assert one.value == pytest.approx(expected, abs=within), one.label
    worse = score(NAMES, [line[:-5] + "x" for line in text], [text])
    for one, other in zip(found.values, worse.values, strict=True):
        if one.name not in WITHOUT_REFERENCES:
            assert (one.value < other.value) == one.is_lower_better, one.label


def test_the_order_of_lines_and_references_is_irrelevant() -> None:
    said, one, two = lines(40, 1), lines(40, 2), lines(40, 3)
    order = random.Random(4).sample(range(40), 40)
    straight = score(NAMES, said, [one, two])
    moved = score(
        NAMES, [said[i] for i in order], [[two[i] for i in order], [one[i] for i in order]]
    )
    for left, right in zip(straight.values, moved.values, strict=True):
        if left.name != "chrf":  # of references that fit equally badly, sacrebleu takes the first
            assert left.value == pytest.approx(right.value, abs=1e-9)
        assert left.signature == right.signature


@pytest.mark.parametrize("stem", [False, True])
def test_rouge_is_that_of_its_package(stem: bool) -> None:
    said, one, two = lines(50, 1), lines(50, 2), lines(50, 3)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stem)
    for references in ([one], [one, two]):
        each = [
            scorer.score_multi(options, line)
            for line, *options in zip(said, *references, strict=True)
        ]
        expected = [100 * np.mean([s[kind].fmeasure for s in each]) for kind in scorer.rouge_types]
        assert value("rouge", said, *references, stem=stem) == pytest.approx(tuple(expected))


def test_rouge_by_hand() -> None:
    # 2 of 3 unigrams against 2 of 2, 1 of 2 bigrams against 1 of 1.
    assert value("rouge", ["The cat sat"], ["the cat"]) == pytest.approx((80.0, 200 / 3, 80.0))
    assert value("rouge", ["the cats"], ["the cat"], stem=True) == pytest.approx((100.0,) * 3)
    assert value("rouge", ["the cats"], ["the cat"]) == pytest.approx((50.0, 0.0, 50.0))
    # Letters beyond a-z are none to ROUGE's own tokens.
    assert value("rouge", ["你好 吗"], ["你好 吗"]) == (0.0, 0.0, 0.0)
    assert value("rouge", ["你好 吗"], ["你好 吗"], rouge_tokens="space") == (100.0,) * 3
    assert value("rouge", ["A b"], ["a b"], rouge_tokens="space") == (50.0, 0.0, 50.0)
    assert value("rouge", ["A b"], ["a b"], rouge_tokens="space", lowercase=True) == (100.0,) * 3


@pytest.mark.parametrize(
    ("name", "said", "references", "expected"),
    [
        ("wer", ["a b c"], [["a x c d"]], 50.0),  # one substituted, one left out, of 4
        ("wer", ["a b", "c"], [["a", "c d e"]], 75.0),  # 3 edits of 4 words, not a mean of rates
        ("wer", ["a b c d"], [["a"]], 300.0),
        ("cer", ["kitten"], [["sitting"]], 300 / 7),
        ("cer", ["a b"], [["ab"]], 50.0),  # a space is a character
        ("per", ["k æ t s"], [["k æ t"]], 100 / 3),
        ("g2p_wer", ["k æ t", "d ɒ ɡ"], [["k æ t", "d ɔ ɡ"]], 50.0),
        # The closest reference counts; of two equally close ones the longer.
        ("wer", ["a b"], [["a b c d"], ["a"]], 100.0),
        ("wer", ["a b"], [["a"], ["a b c"]], 100 / 3),
        ("wer", ["a", "b"], [["a", "x y"], [None, "b"]], 0.0),
        # Lines without text.
        ("wer", [""], [["a b"]], 100.0),
        ("wer", ["a b", "c"], [["", "c"]], 200.0),
        ("wer", [""], [[""]], 0.0),
        ("wer", ["a"], [[""]], 100.0),
        ("cer", ["", "x"], [["", "x"]], 0.0),
        ("exact", ["", " "], [["", "a"]], 50.0),
        ("rouge", ["", "a", ""], [["", "a", "b"]], (100 / 3, 0.0, 100 / 3)),
        ("distinct", ["", ""], [["", ""]], (0.0, 0.0)),
        # Three different words and three different pairs of six words.
        ("distinct", ["a b a b", "b c"], [["", ""]], (50.0, 50.0)),
        ("distinct", ["a a a a"], [["x"]], (25.0, 25.0)),
        ("distinct", ["Hello, world"], [["x"]], (100.0, 200 / 3)),
    ],
)
def test_by_hand(
    name: str, said: list[str], references: list[list[str]], expected: float | tuple[float, ...]
) -> None:
    assert value(name, said, *references) == pytest.approx(expected)


def test_blank_lines_are_counted_and_break_nothing() -> None:
    found = score(NAMES, ["", "a b", "  ", "c"], [["", "a b", "x", "\t"], ["y", "", "z", "c"]])
    assert (found.blank_hypotheses, found.blank_references) == (2, 3)
    for count in (1, 3):
        nothing = score(NAMES, [""] * count, [[""] * count], confidence=20)
        assert (nothing.blank_hypotheses, nothing.blank_references) == (count, count)
        expected = {"exact": 100.0, "distinct_outputs": 1, "distinct_share": 100.0 / count}
        for one in nothing.values:
            assert one.value == pytest.approx(expected.get(one.name, 0.0)), one.label
            assert one.interval is not None
            assert one.interval.half_width == pytest.approx(0.0, abs=1e-9)


def test_lines_may_have_unequal_numbers_of_references() -> None:
    """As sacrebleu has it: None where a line has fewer."""
    said, one, two = lines(30, 1), lines(30, 2), lines(30, 3)
    some = [text if i % 3 else None for i, text in enumerate(two)]
    found = score(NAMES, said, [one, some])
    oracle = BLEU()
    assert found.value("bleu") == pytest.approx(oracle.corpus_score(said, [one, some]).score)
    assert found.values[0].signature == str(oracle.get_signature())
    # A reference given twice changes the signature, and the value of metrics that average over
    # references alone.
    twice = score(NAMES, said, [one, [b or a for a, b in zip(one, some, strict=True)]])
    for left, right in zip(found.values, twice.values, strict=True):
        if left.name in BEST_REFERENCE:
            assert left.value == pytest.approx(right.value)
        if left.name not in WITHOUT_REFERENCES:
            assert left.signature.startswith("nrefs:var|")
            assert right.signature.startswith("nrefs:2|")


def test_signatures() -> None:
    found = score(NAMES, ["a"], [["a"]], scoring=Scoring(lowercase=True, stem=True))
    signatures = {f.name: f.signature.rpartition("|version:")[0] for f in found.values}
    rouge = "nrefs:1|case:lc|tok:rouge|stem:porter|measure:f1|refs:best"
    bleu = "nrefs:1|case:lc|eff:no|tok:13a|smooth:exp"
    variety = "nrefs:0|case:lc|tok:13a|output:line"
    expected = {
        "bleu": bleu,
        **dict.fromkeys(("bleu1", "bleu2", "bleu3", "bleu4"), bleu),
        "chrf": "nrefs:1|case:lc|eff:yes|nc:6|nw:0|space:no",
        "rouge1": rouge,
        "rouge2": rouge,
        "rougeL": rouge,
        "meteor": "nrefs:1|case:lc|tok:13a|match:exact+porter|params:0.9,3,0.5|refs:best",
        "cider": "nrefs:1|case:lc|tok:13a|n:4|sigma:6|idf:references|scale:1000",
        "exact": "nrefs:1|case:lc|match:line",
        "wer": "nrefs:1|case:lc|unit:word|tok:space|refs:closest",
        "cer": "nrefs:1|case:lc|unit:character|tok:none|refs:closest",
        "per": "nrefs:1|case:lc|unit:phone|tok:space|refs:closest",
        "g2p_wer": "nrefs:1|case:lc|match:line",
        "distinct1": "nrefs:0|case:lc|tok:13a|per:token",
        "distinct2": "nrefs:0|case:lc|tok:13a|per:token",
        **dict.fromkeys(("distinct_outputs", "distinct_share", "vocabulary"), variety),
    }
    assert expected.items() <= signatures.items()


def test_a_seed_gives_the_same_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    said, wanted = lines(25, 1), lines(25, 2)
    first = score(NAMES, said, [wanted], confidence=60)
    assert score(NAMES, said, [wanted], confidence=60) == first
    for one in first.values:
        assert one.interval is not None
        assert "bs:60|seed:12345" in one.signature
        if one.name not in WITHOUT_REFERENCES:  # of repeated lines, less is new
            assert abs(one.interval.mean - one.value) <= one.interval.half_width
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    other = score(NAMES, said, [wanted], confidence=60)
    assert other.values[0].interval != first.values[0].interval
    assert "|seed:7|" in other.values[0].signature


def test_the_value_of_some_lines_is_the_score_of_those_lines() -> None:
    """What intervals and paired tests rest on."""
    said, one, two = lines(20, 1), lines(20, 2), lines(20, 3)
    rows = [3, 3, 0, 17, 8]
    for name in NAMES:
        hypotheses, references = pair_up(said, [one, two])
        statistics = build(name, Scoring()).measure([hypotheses], references)
        if name == "cider":  # idf remains that of all lines
            each = statistics.line_values()
            assert each is not None
            assert statistics.values(np.array(rows)) == pytest.approx(each[rows].mean(axis=0))
            continue
        found = score(
            [name], [said[i] for i in rows], [[text[i] for i in rows] for text in (one, two)]
        )
        assert statistics.values(np.array(rows)) == pytest.approx(
            [one.value for one in found.values]
        )


def test_several_outputs_are_measured_as_each_by_itself() -> None:
    """What comparisons rest on: they share references, of which nothing counts twice."""
    said, other, one, two = (lines(15, seed) for seed in range(1, 5))
    for name in NAMES:
        metric = build(name, Scoring())
        references = pair_up(said, [one, two])[1]
        pool = metric.measure([said, other], references)
        for number, output in enumerate((said, other)):
            alone = metric.measure([output], references)
            places = np.arange(len(output))
            assert pool.values(places + number * len(output)) == pytest.approx(alone.values(places))


def test_rouge_says_once_that_it_has_no_tokens_here(capsys: pytest.CaptureFixture[str]) -> None:
    _note_once.cache_clear()
    assert value("rouge", ["короткая сводка"], ["короткая сводка"]) == (0.0,) * 3
    assert value("rouge", ["сводка"], ["сводка"]) == (0.0,) * 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("s2s: ROUGE's own tokens are a to z and 0 to 9")
    assert "--rouge-tokens space" in line
    _note_once.cache_clear()
    assert value("rouge", ["сводка"], ["сводка"], rouge_tokens="space")[0] == 100.0
    assert value("rouge", ["сводка a"], ["сводка A"])[0] == 100.0
    assert capsys.readouterr().err == ""
