"""METEOR as nltk computes it: matches of words and of their stems."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from s2s.errors import UsageError
from s2s.metrics.base import Additive, References, Resampling, mean, paired, write_signature
from s2s.metrics.tokenize import WordSplitter, read_words
from s2s.recipe.scoring import Scoring

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
"""Weight of recall; exponent and weight of the fragmentation penalty (Banerjee & Lavie 2005)."""


@dataclass(frozen=True)
class Meteor:
    """METEOR (Banerjee & Lavie 2005) by nltk, averaged over lines, without case.

    Words match if they are equal, else if their stems (Porter 1980) are equal, else, on request, if
    WordNet has them as synonyms. The best of several references counts. This is not METEOR 1.5,
    which has paraphrases and other weights.
    """

    words: WordSplitter
    synonyms: Any
    """A WordNet as nltk reads it, or `NoSynonyms`."""
    matches: tuple[str, ...]
    """The kinds of matches, for the signature."""

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        from nltk.translate.meteor_score import meteor_score

        stems = _Stems()
        rows = []
        for line, options in zip(*paired(outputs, references), strict=True):
            value = meteor_score(
                [self.words(one) for one in options],
                self.words(line),
                stemmer=stems,
                wordnet=self.synonyms,
                alpha=ALPHA,
                beta=BETA,
                gamma=GAMMA,
            )
            rows.append([1.0, 100.0 * value])
        return Additive(np.array(rows), mean)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        details = [
            "case:lc",
            self.words.details[1],
            f"match:{'+'.join(self.matches)}",
            f"params:{ALPHA:g},{BETA:g},{GAMMA:g}",
            "refs:best",
        ]
        return write_signature(nrefs, resampling, details, f"nltk-{version('nltk')}")


class NoSynonyms:
    """A WordNet without synonyms."""

    def synsets(self, word: str) -> list[Any]:
        """No synonyms."""
        del word
        return []


@dataclass(frozen=True)
class _Stems:
    """nltk's stemmer with a cache, because outputs repeat few words."""

    stem: Any = field(default_factory=lambda: cache(_stemmer().stem))


def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


def build_meteor(scoring: Scoring) -> Meteor:
    """METEOR. Raises UsageError if `scoring` wants WordNet and nltk has none."""
    words = read_words(scoring)
    if not scoring.synonyms:
        return Meteor(words, NoSynonyms(), ("exact", "porter"))
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise UsageError(
            "synonyms: expected WordNet among nltk's data, found none; "
            "'python -m nltk.downloader wordnet' fetches it"
        ) from error
    return Meteor(words, wordnet, ("exact", "porter", f"wordnet-{wordnet.get_version()}"))
