from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from s2s.metrics.build import build
from s2s.metrics.ngram_matches import ngram_matches
from s2s.metrics.pairwise import build_utility
from s2s.recipe.choices import UtilityName
from s2s.recipe.scoring import Scoring

CHOICES = np.random.default_rng(3)
WORDS = ["a", "A", "the", "dog", "dogs", "dog.", "größe", "日本", "runs,", "😀", "x-y", "3.5"]

GROUPS: list[list[str]] = [
    *(
        [" ".join(CHOICES.choice(WORDS, size=CHOICES.integers(0, 9))) for _ in range(7)]
        for _ in "abc"
    ),
    ["", " ", "a", "a a a a a a a", "a a a"],
    ["the only text"],
    ["b", "ab ab ab abc", "ab ab ab abd", "The Dog runs", "the dog runs"],
    [],
]

SCORINGS = [Scoring(), Scoring(lowercase=True, rouge_tokens="space"), Scoring(stem=True)]


def of_pairs(name: UtilityName, scoring: Scoring, texts: Sequence[str]) -> NDArray[np.float64]:
    """The same, a pair at a time, by the metrics that score files."""
    rows = []
    for output in texts:
        statistics = build(name, scoring).measure(
            [[output] * len(texts)], [(reference,) for reference in texts]
        )
        values_NF = statistics.line_values()
        assert values_NF is not None
        rows.append(values_NF.mean(axis=1))
    values = np.array(rows).reshape(len(texts), len(texts))
    return 100.0 - values if name in ("wer", "cer", "per") else values


@pytest.mark.parametrize("scoring", SCORINGS, ids=["default", "lowercase", "stem"])
@pytest.mark.parametrize("name", ["chrf", "bleu", "rouge", "exact", "wer", "cer", "per"])
def test_every_pair_has_the_value_of_its_metric(name: UtilityName, scoring: Scoring) -> None:
    found = build_utility((name,), scoring)(GROUPS)
    for texts, values in zip(GROUPS, found, strict=True):
        expected = of_pairs(name, scoring, texts)
        np.testing.assert_allclose(values, expected, rtol=0.0, atol=1e-9)


def test_the_packages_give_the_same_values_for_single_sentences() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import sentence_bleu, sentence_chrf

    kinds = ["rouge1", "rouge2", "rougeL"]
    scorer: Any = RougeScorer(kinds)
    texts = GROUPS[0]
    bleu, chrf, rouge = (
        build_utility((name,), Scoring())([texts])[0] for name in ("bleu", "chrf", "rouge")
    )
    for i, output in enumerate(texts):
        for j, reference in enumerate(texts):
            found = scorer.score(reference, output)
            f1 = 100.0 * sum(found[kind].fmeasure for kind in kinds) / 3
            expected = (
                sentence_bleu(output, [reference]).score,
                sentence_chrf(output, [reference]).score,
            )
            assert (bleu[i, j], chrf[i, j]) == pytest.approx(expected, abs=1e-9)
            assert rouge[i, j] == pytest.approx(f1, abs=1e-9)


def test_several_utilities_are_averaged() -> None:
    names: tuple[UtilityName, ...] = ("chrf", "wer")
    one, other = (build_utility((name,), Scoring())(GROUPS) for name in names)
    for found, *parts in zip(build_utility(names, Scoring())(GROUPS), one, other, strict=True):
        np.testing.assert_allclose(found, (parts[0] + parts[1]) / 2)


def test_wide_matrices_are_multiplied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [
        [CHOICES.integers(0, 4, size=CHOICES.integers(1, 30)) for _ in range(5)] for _ in "ab"
    ]
    whole = ngram_matches(groups, 3)
    monkeypatch.setattr("s2s.metrics.ngram_matches.CELLS", 15)
    for one, other in zip(whole, ngram_matches(groups, 3), strict=True):
        np.testing.assert_array_equal(one.common_KNN, other.common_KNN)
