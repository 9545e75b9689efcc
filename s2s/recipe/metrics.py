"""The recipe's `metrics` and `scoring`: which figures there are, and how they read text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from s2s.recipe.section import Section

TextMetric = Literal[
    "bleu",
    "bleu_n",
    "chrf",
    "rouge",
    "meteor",
    "cider",
    "exact",
    "wer",
    "cer",
    "per",
    "g2p_wer",
    "distinct",
    "variety",
]
"""Metrics that see nothing but an output and its references."""

RunMetric = Literal["copied", "perplexity"]
"""Metrics of a run, for which they ask its model or its training data."""

MetricName = Literal[TextMetric, RunMetric]
"""What `metrics` may list."""


def only_of_runs(name: MetricName) -> str | None:
    """Why output in a file has no such metric; None where it has."""
    match name:
        case "perplexity":
            return "only a model has one"
        case "copied":
            return "only a run knows its training data"
        case _:
            return None


def text_metrics(names: Sequence[MetricName]) -> tuple[TextMetric, ...]:
    """Those that need no run."""
    return tuple(name for name in names if _is_of_text(name))


def _is_of_text(name: MetricName) -> TypeGuard[TextMetric]:
    return only_of_runs(name) is None


ValueName = Literal[
    "bleu",
    "bleu1",
    "bleu2",
    "bleu3",
    "bleu4",
    "chrf",
    "rouge1",
    "rouge2",
    "rougeL",
    "meteor",
    "cider",
    "exact",
    "wer",
    "cer",
    "per",
    "g2p_wer",
    "distinct1",
    "distinct2",
    "distinct_outputs",
    "distinct_share",
    "vocabulary",
    "copied",
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
    "ptb",
]
"""Tokenizations of sacrebleu, some of which need an extra package that sacrebleu names; and `ptb`,
that of the evaluation of COCO captions."""

VALUES: dict[MetricName, tuple[ValueName, ...]] = {
    "bleu": ("bleu",),
    "bleu_n": ("bleu1", "bleu2", "bleu3", "bleu4"),
    "chrf": ("chrf",),
    "rouge": ("rouge1", "rouge2", "rougeL"),
    "meteor": ("meteor",),
    "cider": ("cider",),
    "exact": ("exact",),
    "wer": ("wer",),
    "cer": ("cer",),
    "per": ("per",),
    "g2p_wer": ("g2p_wer",),
    "distinct": ("distinct1", "distinct2"),
    "variety": ("distinct_outputs", "distinct_share", "vocabulary"),
    "copied": ("copied",),
    "perplexity": ("perplexity",),
}
"""Which numbers a metric gives, in the order they are printed."""

LOWER_IS_BETTER: frozenset[str] = frozenset(
    {"loss", "wer", "cer", "per", "g2p_wer", "copied", "perplexity"}
)
"""Figures of which less is wanted."""

COUNTS: frozenset[str] = frozenset({"distinct_outputs", "vocabulary"})
"""Figures that are whole numbers."""


def shown(figure: str, value: float) -> str:
    """A value for a reader."""
    return f"{value:.0f}" if figure in COUNTS else f"{value:.2f}"


@dataclass(frozen=True, kw_only=True)
class Scoring(Section):
    """How metrics read text; every score's signature says it."""

    lowercase: bool = False
    """Ignore case (ROUGE's own tokens always do)."""
    tokenize: Tokenization = "13a"
    """How BLEU, METEOR, CIDEr-D, distinct-n and variety split words; `zh`, `ja-mecab`, `ko-mecab`
    or `char` for scripts without spaces; `ptb` for English captions: the Penn Treebank's tokens,
    lower-cased, without punctuation."""
    rouge_tokens: Literal["rouge", "space"] = "rouge"
    """`rouge`: lower-cased runs of a-z and 0-9, as the original; other letters separate words and
    count for nothing. `space`: whatever stands between spaces."""
    stem: bool = False
    """Whether ROUGE compares English word stems (Porter 1980)."""
    synonyms: bool = False
    """Whether METEOR matches English synonyms, for which nltk must find WordNet."""

    def __post_init__(self) -> None:
        if self.stem and self.rouge_tokens == "space":
            raise ValueError("stem needs rouge_tokens 'rouge'")
