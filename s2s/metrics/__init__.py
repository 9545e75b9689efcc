"""Metrics of text against reference text."""

from s2s.metrics.corpus import Request, score
from s2s.metrics.scores import Interval, Score, Scores
from s2s.recipe_metrics import MetricName, Scoring, TextMetric

__all__ = ["Interval", "MetricName", "Request", "Score", "Scores", "Scoring", "TextMetric", "score"]
