"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) as the package rouge-score computes them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from s2s.messages import note
from s2s.metrics.base import (
    Additive,
    References,
    Resampling,
    case_of,
    mean,
    paired,
    write_signature,
)
from s2s.recipe.scoring import Scoring
from s2s.spaces import split_words

KINDS = ("rouge1", "rouge2", "rougeL")

_TOKEN = re.compile("[a-z0-9]", re.IGNORECASE)


@dataclass(frozen=True)
class Rouge:
    """F1 of unigrams, bigrams and the longest common subsequence, averaged over lines.

    The reference with the best F1 counts, for each of the three separately.
    """

    tokens: str
    stem: bool
    lowercase: bool

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        from rouge_score.rouge_scorer import RougeScorer

        if self.tokens == "rouge":
            _tell_foreign(references)
        tokenizer = self.tokenizer
        scorer: Any = RougeScorer(KINDS[:2], tokenizer=tokenizer)
        rows = []
        for line, options in zip(*paired(outputs, references), strict=True):
            found = scorer.score_multi(options, line)
            scores = [found[kind].fmeasure for kind in KINDS[:2]]
            tokens = tokenizer.tokenize(line)
            scores.append(max(_rouge_l(tokenizer.tokenize(one), tokens) for one in options))
            rows.append([1.0, *(100.0 * score for score in scores)])
        return Additive(np.array(rows), mean)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, as rouge-score wants it."""
        from rouge_score.tokenizers import DefaultTokenizer

        own = self.tokens == "rouge"
        return DefaultTokenizer(self.stem) if own else _Spaces(self.lowercase)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        own = self.tokens == "rouge"
        details = [
            case_of(own or self.lowercase),
            f"tok:{self.tokens}",
            f"stem:{'porter' if self.stem else 'no'}",
            "measure:f1",
            "refs:best",
        ]
        return write_signature(nrefs, resampling, details, f"rouge-score-{version('rouge-score')}")


def _rouge_l(reference: list[str], tokens: list[str]) -> float:
    """F1 of the longest common subsequence, as rouge-score has it, which fills a table of all pairs
    of tokens: gigabytes for a line of 30,000."""
    from rapidfuzz.distance import LCSseq

    if not reference or not tokens:
        return 0.0
    common = LCSseq.similarity(reference, tokens)
    precision, recall = common / len(tokens), common / len(reference)
    return 2 * precision * recall / (precision + recall) if common else 0.0


def _tell_foreign(references: References) -> None:
    """Note once that no reference has a token of ROUGE."""
    texts = [text for options in references for text in options if text]
    if texts and not any(_TOKEN.search(text) for text in texts):
        _note_once()


@cache
def _note_once() -> None:
    note(
        "ROUGE's own tokens are a to z and 0 to 9, and no reference has one: every score is 0; "
        "scoring.rouge_tokens: space (--rouge-tokens space) counts what spaces separate"
    )


@dataclass(frozen=True)
class _Spaces:
    """A tokenizer for rouge-score that splits at spaces."""

    lowercase: bool

    def tokenize(self, text: str) -> list[str]:
        return split_words(text.lower() if self.lowercase else text)


def build_rouge(scoring: Scoring) -> Rouge:
    """ROUGE-1, ROUGE-2 and ROUGE-L."""
    return Rouge(scoring.rouge_tokens, scoring.stem, scoring.lowercase)


def token_splitter(scoring: Scoring) -> Callable[[str], list[str]]:
    """The tokens of a text as ROUGE compares them."""
    split: Callable[[str], list[str]] = build_rouge(scoring).tokenizer.tokenize
    return split
