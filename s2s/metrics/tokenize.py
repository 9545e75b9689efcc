"""How metrics split text into words."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from s2s.errors import UsageError
from s2s.metrics.base import case_of
from s2s.recipe.scoring import Scoring

PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
"""Tokens that the evaluation of COCO captions leaves out (Chen et al. 2015). Its list has brackets
too, in capitals, which lower-cased text never has: they count as words there, and so here."""


@dataclass(frozen=True)
class Words:
    """A tokenization."""

    split: Callable[[str], str]
    """Text, in the case that counts, to words with spaces between them."""
    name: str
    """What signatures call it."""
    lowercase: bool

    def __call__(self, text: str) -> list[str]:
        """The words of a text."""
        return self.split(text.lower() if self.lowercase else text).split()

    @property
    def details(self) -> tuple[str, str]:
        """What signatures say."""
        return case_of(self.lowercase), f"tok:{self.name}"


@lru_cache(maxsize=1 << 16)
def penn_treebank(text: str) -> str:
    """Words as the evaluation of COCO captions has them: lower-case, and without punctuation.

    The Penn Treebank's tokens by nltk stand for those of the Stanford tokenizer, a Java program.
    Remembered, as sacrebleu does with its own: every metric asks for the words of the same texts.
    """
    tokens = _nltk_tokenizer().tokenize(text.lower(), convert_parentheses=True)
    return " ".join(token.lower() for token in tokens if token not in PUNCTUATION)


@cache
def _nltk_tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


def read_words(scoring: Scoring) -> Words:
    """The tokenization of a recipe. Raises UsageError for one that lacks its package."""
    if scoring.tokenize == "ptb":
        return Words(penn_treebank, f"ptb-nltk{version('nltk')}", lowercase=True)
    from sacrebleu.metrics.bleu import BLEU

    try:
        tokenizer = BLEU(tokenize=scoring.tokenize).tokenizer
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"tokenize '{scoring.tokenize}' cannot be used: {reason}") from error
    return Words(tokenizer, tokenizer.signature(), scoring.lowercase)
