"""A metric by its name."""

from typing import Literal, assert_never

from s2s.metrics.base import Metric
from s2s.metrics.bleu_chrf import build_bleu, build_bleu_of_orders, build_chrf
from s2s.metrics.cider import Cider
from s2s.metrics.distinct import Distinct
from s2s.metrics.diversity import Variety
from s2s.metrics.edit_distance import ErrorRate, Exact
from s2s.metrics.meteor import build_meteor
from s2s.metrics.rouge import Rouge
from s2s.metrics.tokenize import read_words
from s2s.recipe.metrics import Scoring, TextMetric

WordMetric = Literal["bleu", "bleu_n", "meteor", "cider", "distinct", "variety"]


def build(name: TextMetric, scoring: Scoring) -> Metric:
    """The metric that recipes call `name`.

    Raises UsageError for a tokenization whose package is not installed, or a WordNet that is not.
    """
    lowercase = scoring.lowercase
    match name:
        case "bleu" | "bleu_n" | "meteor" | "cider" | "distinct" | "variety":
            return _of_words(name, scoring)
        case "chrf":
            return build_chrf(lowercase)
        case "rouge":
            return Rouge(scoring.rouge_tokens, scoring.stem, lowercase)
        case "exact" | "g2p_wer":
            return Exact(name, lowercase)
        case "wer" | "cer" | "per":
            return ErrorRate(name, lowercase)
        case _:
            assert_never(name)


def _of_words(name: WordMetric, scoring: Scoring) -> Metric:
    """A metric that reads words as `scoring.tokenize` says."""
    words = read_words(scoring)
    match name:
        case "bleu":
            return build_bleu(words)
        case "bleu_n":
            return build_bleu_of_orders(words)
        case "meteor":
            return build_meteor(words, with_synonyms=scoring.synonyms)
        case "cider":
            return Cider(words)
        case "distinct":
            return Distinct(words)
        case "variety":
            return Variety(words)
        case _:
            assert_never(name)
