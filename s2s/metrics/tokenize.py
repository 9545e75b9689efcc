"""Tokenizations of metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from s2s.errors import UsageError
from s2s.metrics.base import case_of
from s2s.recipe.scoring import Scoring
from s2s.spaces import split_words

PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
"""Tokens that the evaluation of COCO captions leaves out (Chen et al. 2015). Its list also has the
names of brackets in capitals, which lower-cased text never has, so brackets count as words."""


@dataclass(frozen=True)
class WordSplitter:
    """A tokenization."""

    split: Callable[[str], str]
    """Maps a text, lower-cased if case is ignored, to its words with spaces between them."""
    name: str
    """Name in signatures."""
    lowercase: bool

    def __call__(self, text: str) -> list[str]:
        """The words of a text."""
        return split_words(self.split(text.lower() if self.lowercase else text))

    @property
    def details(self) -> tuple[str, str]:
        """Fields of signatures."""
        return case_of(self.lowercase), f"tok:{self.name}"


@lru_cache(maxsize=1 << 16)
def penn_treebank(text: str) -> str:
    """Words as in the evaluation of COCO captions: lower-case and without punctuation.

    nltk's Penn Treebank tokens replace those of the Stanford tokenizer, a Java program. Results are
    cached, as in sacrebleu, because every metric splits the same texts.
    """
    tokens = _nltk_tokenizer().tokenize(text.lower(), convert_parentheses=True)
    return " ".join(token.lower() for token in tokens if token not in PUNCTUATION)


@cache
def _nltk_tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


def read_words(scoring: Scoring) -> WordSplitter:
    """The tokenization of a recipe.

    Raises UsageError if its package is not installed, or if sacrebleu cannot download its model.
    """
    if scoring.tokenize == "ptb":
        return WordSplitter(penn_treebank, f"ptb-nltk{version('nltk')}", lowercase=True)
    from sacrebleu.metrics.bleu import BLEU

    try:
        tokenizer = BLEU(tokenize=scoring.tokenize).tokenizer
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"tokenize '{scoring.tokenize}' cannot be used: {reason}") from error
    except OSError as error:  # urllib's errors are of this kind
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise UsageError(
            f"tokenize '{scoring.tokenize}': sacrebleu could not download its model ({reason}); "
            "use it once where there is a network, then copy ~/.sacrebleu, or the folder that the "
            "variable SACREBLEU names"
        ) from error
    return WordSplitter(tokenizer, tokenizer.signature(), scoring.lowercase)
