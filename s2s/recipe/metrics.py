"""The table of metrics. A new metric is one line here and one file in `s2s/metrics`.

The names that recipes, options, logs and the JSON Schema accept all come from this table. This
module imports no other module of s2s and nothing slow, because `--help` lists the names; it has
NamedTuples because a dataclass takes longer to define.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple


class Value(NamedTuple):
    """A number that a metric gives."""

    name: str
    """Key in recipes (`train.best`), logs and JSON."""
    label: str
    """Name in printed scores."""
    is_lower_better: bool = False
    """Whether it counts errors, so that lower is better."""
    is_count: bool = False
    """Whether it is a whole number."""


class MetricEntry(NamedTuple):
    """A line of the table."""

    builder: str | None
    """`module.function` in `s2s.metrics`: takes a `Scoring` and returns a `Metric`. None for a
    metric that needs a run; `s2s.inference.scoring` computes it."""
    values: tuple[Value, ...]
    """The numbers it gives, in the order of `Statistics.values`."""
    only_of_runs: str | None = None
    """Why output in a file has no such metric, for messages."""


def _text(builder: str, *values: Value) -> MetricEntry:
    """A metric that needs nothing but outputs and their references."""
    return MetricEntry(builder, values)


def _run(only_of_runs: str, *values: Value) -> MetricEntry:
    """A metric that needs a run: its model or its training data."""
    return MetricEntry(None, values, only_of_runs)


def _error(name: str, label: str) -> Value:
    return Value(name, label, is_lower_better=True)


METRICS: dict[str, MetricEntry] = {
    "bleu": _text("bleu_chrf.build_bleu", Value("bleu", "BLEU")),
    "bleu_n": _text(
        "bleu_chrf.build_bleu_of_orders", *(Value(f"bleu{n}", f"BLEU-{n}") for n in (1, 2, 3, 4))
    ),
    "chrf": _text("bleu_chrf.build_chrf", Value("chrf", "chrF2")),
    "rouge": _text(
        "rouge.build_rouge",
        Value("rouge1", "ROUGE-1"),
        Value("rouge2", "ROUGE-2"),
        Value("rougeL", "ROUGE-L"),
    ),
    "meteor": _text("meteor.build_meteor", Value("meteor", "METEOR")),
    "cider": _text("cider.build_cider", Value("cider", "CIDEr-D")),
    "exact": _text("edit_distance.build_exact", Value("exact", "exact")),
    "accuracy": _text("labels.build_accuracy", Value("accuracy", "accuracy")),
    "macro_f1": _text("labels.build_macro_f1", Value("macro_f1", "macro F1")),
    "token_accuracy": _text(
        "labels.build_token_accuracy", Value("token_accuracy", "token accuracy")
    ),
    "span_f1": _text(
        "labels.build_span_f1",
        Value("span_f1", "span F1"),
        Value("span_precision", "span precision"),
        Value("span_recall", "span recall"),
    ),
    "wer": _text("edit_distance.build_wer", _error("wer", "WER")),
    "cer": _text("edit_distance.build_cer", _error("cer", "CER")),
    "per": _text("edit_distance.build_per", _error("per", "PER")),
    "g2p_wer": _text("edit_distance.build_g2p_wer", _error("g2p_wer", "G2P-WER")),
    "distinct": _text(
        "distinct.build_distinct",
        Value("distinct1", "distinct-1"),
        Value("distinct2", "distinct-2"),
    ),
    "variety": _text(
        "diversity.build_diversity",
        Value("distinct_outputs", "different outputs", is_count=True),
        Value("distinct_share", "share of different outputs"),
        Value("vocabulary", "different words", is_count=True),
    ),
    "copied": _run("only a run knows its training data", _error("copied", "copied from training")),
    "perplexity": _run("only a model has one", _error("perplexity", "perplexity")),
    "word_perplexity": _run(
        "only a language model has one", _error("word_perplexity", "word perplexity")
    ),
}
"""Every metric, under its name in a recipe's `metrics`."""

VALUES: dict[str, tuple[str, ...]] = {
    name: tuple(value.name for value in entry.values) for name, entry in METRICS.items()
}
"""Names of the numbers that each metric gives, in the order they are printed."""

_VALUES = {value.name: value for entry in METRICS.values() for value in entry.values}

LOWER_IS_BETTER = frozenset(
    {"loss", *(name for name, value in _VALUES.items() if value.is_lower_better)}
)
"""Names of values of which lower is better."""

TEXT_METRICS = tuple(name for name, entry in METRICS.items() if entry.builder is not None)
"""Metrics that need nothing but outputs and their references."""

if TYPE_CHECKING:
    MetricName = str
    ValueName = str
    BestName = str
else:  # pydantic checks them and lists them in the JSON Schema
    MetricName = Literal[tuple(METRICS)]
    ValueName = Literal[tuple(_VALUES)]
    BestName = Literal[*_VALUES, "loss"]


def only_of_runs(name: MetricName) -> str | None:
    """Why output in a file has no such metric; None where it has."""
    return METRICS[name].only_of_runs


def text_metrics(names: Sequence[MetricName]) -> tuple[MetricName, ...]:
    """Those of `names` that need no run."""
    return tuple(name for name in names if name in TEXT_METRICS)


def format_value(name: ValueName, value: float) -> str:
    """A value as printed: two decimals, none for a count."""
    is_count = name in _VALUES and _VALUES[name].is_count
    return f"{value:.0f}" if is_count else f"{value:.2f}"
