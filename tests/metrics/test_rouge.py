"""ROUGE-L without the table of all pairs of tokens has the scores of rouge-score."""

import random

import pytest
from rouge_score.rouge_scorer import RougeScorer

from s2s.metrics.rouge import build_rouge
from s2s.recipe.scoring import Scoring


@pytest.mark.parametrize("stem", [False, True])
def test_all_three_equal_those_of_the_library(stem: bool) -> None:
    draw = random.Random(3)
    words = ["run", "running", "runs", "a", "The", "x1", "é", "."]

    def text() -> str:
        return " ".join(draw.choices(words, k=draw.randrange(9)))

    outputs = [text() for _ in range(300)]
    references = [[text(), text()] for _ in outputs]
    rows = build_rouge(Scoring(stem=stem)).measure([outputs], references).rows_NK
    library = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stem)
    for row, line, options in zip(rows, outputs, references, strict=True):
        found = library.score_multi(options, line)
        assert row.tolist() == [
            1.0,
            *(100.0 * found[kind].fmeasure for kind in library.rouge_types),
        ]


def test_a_line_of_30_000_words_takes_little_memory_and_time() -> None:
    """rouge-score fills a table of 900 million cells."""
    line, other = "a b " * 15_000, "a c " * 15_000
    rows = build_rouge(Scoring()).measure([[line]], [[other]]).rows_NK
    assert rows[0, 3] == pytest.approx(50.0)
