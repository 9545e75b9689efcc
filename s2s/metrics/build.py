"""A metric by its name."""

from typing import assert_never

from s2s.metrics.distinct import Distinct
from s2s.metrics.edits import ErrorRate, Exact
from s2s.metrics.metric import Metric
from s2s.metrics.rouge import Rouge
from s2s.metrics.sacre import build_bleu, build_chrf, word_splitter
from s2s.recipe_metrics import Scoring, TextMetric


def build(name: TextMetric, scoring: Scoring) -> Metric:
    """The metric that recipes call `name`.

    Raises UsageError for a tokenization whose package is not installed.
    """
    lowercase = scoring.lowercase
    match name:
        case "bleu":
            return build_bleu(scoring.tokenize, lowercase)
        case "chrf":
            return build_chrf(lowercase)
        case "rouge":
            return Rouge(scoring.rouge_tokens, scoring.stem, lowercase)
        case "exact" | "g2p_wer":
            return Exact(name, lowercase)
        case "wer" | "cer" | "per":
            return ErrorRate(name, lowercase)
        case "distinct":
            return Distinct(scoring.tokenize, lowercase, word_splitter(scoring.tokenize))
        case _:
            assert_never(name)
