"""Metrics of text against reference text."""

from s2s.metrics.corpus import MetricName, score
from s2s.metrics.scores import Interval, Score, Scores

__all__ = ["Interval", "MetricName", "Score", "Scores", "score"]
