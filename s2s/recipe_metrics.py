"""The recipe's `metrics` and `scoring`: which figures there are, and how they read text."""

from dataclasses import dataclass
from typing import Literal

from s2s.recipe_section import Section

TextMetric = Literal["bleu", "chrf", "rouge", "exact", "wer", "cer", "per", "g2p_wer", "distinct"]
"""Metrics that see nothing but text."""

MetricName = Literal[TextMetric, "perplexity"]
"""What `metrics` may list."""

FigureName = Literal[
    "bleu",
    "chrf",
    "rouge1",
    "rouge2",
    "rougeL",
    "exact",
    "wer",
    "cer",
    "per",
    "g2p_wer",
    "distinct1",
    "distinct2",
    "perplexity",
]
"""The numbers they give."""

Tokenization = Literal[
    "13a",
    "intl",
    "zh",
    "ja-mecab",
    "ko-mecab",
    "char",
    "none",
    "spm",
    "flores101",
    "flores200",
]
"""Tokenizations of sacrebleu; some need an extra package, which sacrebleu names."""

FIGURES: dict[MetricName, tuple[FigureName, ...]] = {
    "bleu": ("bleu",),
    "chrf": ("chrf",),
    "rouge": ("rouge1", "rouge2", "rougeL"),
    "exact": ("exact",),
    "wer": ("wer",),
    "cer": ("cer",),
    "per": ("per",),
    "g2p_wer": ("g2p_wer",),
    "distinct": ("distinct1", "distinct2"),
    "perplexity": ("perplexity",),
}
"""Which numbers a metric gives, in the order they are printed."""

LOWER_IS_BETTER: frozenset[str] = frozenset({"loss", "wer", "cer", "per", "g2p_wer", "perplexity"})
"""Figures that count what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Scoring(Section):
    """How metrics read text; every score's signature says it."""

    lowercase: bool = False
    """Ignore case (ROUGE's own tokens always do)."""
    tokenize: Tokenization = "13a"
    """How BLEU and distinct-n split words; `zh`, `ja-mecab`, `ko-mecab` or `char` for scripts
    without spaces."""
    rouge_tokens: Literal["rouge", "space"] = "rouge"
    """`rouge`: lower-cased runs of a-z and 0-9, as the original; other letters separate words and
    count for nothing. `space`: whatever stands between spaces."""
    stem: bool = False
    """Whether ROUGE compares English word stems (Porter 1980)."""

    def __post_init__(self) -> None:
        if self.stem and self.rouge_tokens == "space":
            raise ValueError("stem needs rouge_tokens 'rouge'")
