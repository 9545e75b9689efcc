"""Builds a metric by its name."""

from importlib import import_module

from s2s.metrics.base import Metric
from s2s.recipe.metrics import METRICS, MetricName
from s2s.recipe.scoring import Scoring


def build(name: MetricName, scoring: Scoring) -> Metric:
    """The metric of a name, which must be one of text.

    Raises UsageError for a tokenization without its package, or if WordNet is wanted and missing.
    """
    builder = METRICS[name].builder
    assert builder is not None, f"{name} needs a run"
    module, _, function = builder.rpartition(".")
    # Imported by name: metrics that nobody computes cost no time, and need no package.
    metric: Metric = getattr(import_module(f"s2s.metrics.{module}"), function)(scoring)
    return metric
