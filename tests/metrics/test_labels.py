"""Metrics of labels, against scikit-learn where it is installed and by hand."""

import random

import numpy as np
import pytest

from s2s.errors import DataError, UsageError
from s2s.metrics.build import build
from s2s.metrics.confusion import MOST_LABELS, confusion
from s2s.metrics.corpus import score
from s2s.recipe.metrics import MetricName
from s2s.recipe.scoring import Scoring

REFERENCE = ["a", "b", "a", "c", "b", "a"]
OUTPUT = ["a", "a", "a", "d", "b", "b"]


def values(name: MetricName, outputs: list[str], references: list[str]) -> list[float]:
    found = score([name], outputs, [references])
    return [one.value for one in found.values]


def test_accuracy_and_macro_f1_by_hand() -> None:
    assert values("accuracy", OUTPUT, REFERENCE) == [50.0]
    # F1 of a: 2·2 / (3 + 3), of b: 2·1 / (2 + 2), of c and d: 0.
    assert values("macro_f1", OUTPUT, REFERENCE) == [pytest.approx(100 * (2 / 3 + 1 / 2) / 4)]


def test_they_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(1)
    for size in (1, 7, 200):
        wanted, found = (draw.choices("abcdefg", k=size) for _ in range(2))
        macro = 100 * metrics.f1_score(wanted, found, average="macro")
        assert values("macro_f1", found, wanted) == [pytest.approx(macro)]
        exact = 100 * metrics.accuracy_score(wanted, found)
        assert values("accuracy", found, wanted) == [pytest.approx(exact)]
        matrix = confusion(found, wanted, ["accuracy"])
        assert np.array(matrix.counts).tolist() == metrics.confusion_matrix(wanted, found).tolist()


def test_a_selection_of_lines_has_its_own_macro_f1() -> None:
    """As bootstrap resampling draws them."""
    statistics = build("macro_f1", Scoring()).measure([OUTPUT], [(one,) for one in REFERENCE])
    rows = np.array([0, 1, 1, 4])
    alone = values("macro_f1", [OUTPUT[i] for i in rows], [REFERENCE[i] for i in rows])
    assert list(statistics.values(rows)) == alone
    lines = statistics.line_values()
    assert lines is not None
    assert lines[:, 0].tolist() == [100.0, 0.0, 100.0, 0.0, 100.0, 0.0]


def test_token_accuracy_counts_places_of_the_reference() -> None:
    assert values("token_accuracy", ["A B C", "A"], ["A C C", "A B"]) == [pytest.approx(60.0)]
    assert values("token_accuracy", ["A B C"], ["A"]) == [100.0]
    assert values("token_accuracy", [""], ["A B"]) == [0.0]


def test_a_span_counts_if_ends_and_type_are_right() -> None:
    pytest.importorskip("nervaluate")
    wanted = ["B-PER I-PER O B-LOC", "O B-ORG I-ORG B-ORG", "O O"]
    found = ["B-PER I-PER O B-ORG", "O B-ORG O B-ORG", "O O"]
    # Of 4 spans there and 4 here 2 are equal.
    assert values("span_f1", found, wanted) == [50.0, 50.0, 50.0]
    assert values("span_f1", wanted, wanted) == [100.0, 100.0, 100.0]
    assert values("span_f1", ["O O O O", "O O O O", "O O"], wanted) == [0.0, 0.0, 0.0]
    assert values("span_f1", ["O"], ["O"]) == [100.0, 100.0, 100.0]
    with pytest.raises(UsageError, match="expected tags such as B-PER"):
        values("span_f1", ["NOUN"], ["VERB"])


def test_other_schemes_of_spans_are_read() -> None:
    pytest.importorskip("nervaluate")
    bio = ["B-PER I-PER O B-LOC", "B I O"]
    for other in (["B-PER E-PER O S-LOC", "B E O"], ["B-PER L-PER O U-LOC", "B L O"]):
        assert values("span_f1", other, bio) == [100.0, 100.0, 100.0]


def test_labels_differ_in_more_than_space() -> None:
    assert values("accuracy", ["very  good ", "bad"], ["very good", "bad"]) == [100.0]
    assert values("macro_f1", [" a", "b"], ["a", "b\u00a0"]) == [100.0]


@pytest.mark.parametrize("name", ["macro_f1", "token_accuracy", "span_f1"])
def test_labels_have_one_reference(name: MetricName) -> None:
    pytest.importorskip("nervaluate")
    with pytest.raises(UsageError, match=f"'{name}' compares with one reference, found several"):
        score([name], ["O"], [["O"], ["B-X"]])


def test_many_different_lines_take_little_memory() -> None:
    lines = [str(number) for number in range(30_000)]
    assert values("macro_f1", lines, lines) == [100.0]


def test_a_confusion_matrix_of_words_and_of_lines() -> None:
    of_words = confusion(["A B", "B"], ["A A", "B"], ["token_accuracy"])
    assert of_words.labels == ("A", "B")
    assert of_words.counts == ((1, 1), (0, 1))
    of_lines = confusion(["A B", "B"], ["A A", "B"], ["accuracy"])
    assert of_lines.labels == ("A A", "A B", "B")
    assert of_words.lines() == [
        "reference \\ output  A  B",
        "A                   1  1",
        "B                   0  1",
    ]
    many = [str(number) for number in range(MOST_LABELS + 1)]
    with pytest.raises(DataError, match="expected 200 at most"):
        confusion(many, many, ["accuracy"])
