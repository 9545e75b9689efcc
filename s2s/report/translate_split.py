"""Translates and scores a split for a report: scores, also by length, and some of the lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from s2s.metrics.build import build
from s2s.metrics.corpus import Request, pair_up
from s2s.recipe.data import has_source_text
from s2s.recipe.metrics import LOWER_IS_BETTER, METRICS, VALUES, text_metrics
from s2s.report.lengths import LengthBin, score_by_length
from s2s.report.outputs import (
    Outputs,
    Region,
    Sample,
    Score,
    plain_search,
    thousandths,
)
from s2s.text.lines import unless_blank

if TYPE_CHECKING:
    from s2s.data.sources.split import SplitName
    from s2s.inference.attention.maps import AttentionMap
    from s2s.inference.translator import LineTranslator
    from s2s.metrics.base import References, Statistics
    from s2s.metrics.scores import Scores
    from s2s.recipe.metrics import Value
    from s2s.recipe.recipe import Recipe
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a report shows of a split."""

    split: SplitName
    search: Search
    checkpoint: Which
    """A step or a name."""
    limit: int | None = None
    """Translate only so many lines, the first; None for all."""
    num_samples: int = 10
    """Lines of each list: best, worst, samples."""


@dataclass(frozen=True)
class _LineScore:
    """The metric that sorts lines: all its statistics, and which of its values counts."""

    statistics: Statistics
    column: int
    value: Value

    def of_lines(self) -> list[float]:
        """The score of each line."""
        values = self.statistics.line_values()
        assert values is not None, "chosen for having them"
        return [float(value) for value in values[:, self.column]]


def translate_split(run: Run, wanted: Wanted, device: str, batch_size: int) -> Outputs:
    """Translate a split and score it.

    Raises UsageError where the run has no such split, and what loading the model raises.
    """
    from s2s.inference.load import load_ensemble
    from s2s.pipeline.evaluation import open_texts, translate_lines
    from s2s.pipeline.output_names import ModelName

    sources, references = open_texts(run, wanted.split)
    num_lines = len(sources) if wanted.limit is None else min(wanted.limit, len(sources))
    num_in_split = len(sources)
    sources, references = sources[:num_lines], [one[:num_lines] for one in references]
    translator = load_ensemble(
        (run,), search=wanted.search, device=device, checkpoint=wanted.checkpoint
    )
    began = time.perf_counter()
    outputs = translate_lines(translator, sources, batch_size, f"translating {wanted.split}")
    seconds = time.perf_counter() - began
    recipe = run.recipe
    scores = _scores(run, translator, (sources, outputs, references))
    said, options = pair_up(outputs, references)
    by = _line_score(recipe, said, options)
    lines = _Lines(translator, sources, outputs, options, by.of_lines(), _attends(recipe))
    is_lower_better = by.value.name in LOWER_IS_BETTER
    best, worst = extremes(lines.scores, lines.sources, wanted.num_samples, is_lower_better)
    return Outputs(
        split=wanted.split,
        num_lines=num_lines,
        num_in_split=num_in_split,
        model=str(ModelName(members=((run.name, wanted.checkpoint),))),
        search=plain_search(asdict(translator.search)),
        device=str(translator.device),
        seconds=seconds,
        scores=tuple(_plain_scores(scores)),
        blank=(scores.blank_hypotheses, scores.blank_references),
        line_score=by.value.label,
        is_lower_better=is_lower_better,
        bin_score=by.value.label,
        bins=_bins(translator, recipe, sources, by),
        best=lines.samples(best),
        worst=lines.samples(worst),
        samples=lines.samples(spread(num_lines, wanted.num_samples)),
    )


def _scores(
    run: Run,
    translator: LineTranslator,
    texts: tuple[Sequence[str], Sequence[str], Sequence[Sequence[str | None]]],
) -> Scores:
    """The scores that `s2s evaluate --confidence` computes."""
    from s2s.data.preparation.prepare import open_corpus
    from s2s.data.training_targets import TrainingTargets
    from s2s.inference.scoring import score_run

    recipe = run.recipe
    trained = TrainingTargets(
        lambda: open_corpus(run.folder, "train"),
        translator.target,
        lowercase=recipe.scoring.lowercase,
    )
    request = Request(metrics=recipe.metrics, scoring=recipe.scoring, confidence=True)
    return score_run(translator, texts, request, trained)


def _plain_scores(scores: Scores) -> list[Score]:
    found = []
    for one in scores.values:
        between = None
        if one.interval is not None:
            between = (one.interval.mean, one.interval.half_width)
        found.append(
            Score(
                name=one.name,
                label=one.label,
                value=one.value,
                signature=one.signature,
                interval=between,
            )
        )
    return found


def _line_score(recipe: Recipe, outputs: Sequence[str], references: References) -> _LineScore:
    """The first metric of `train.best`, the recipe and chrF that scores single lines."""
    names = text_metrics(recipe.metrics)
    best = [name for name in names if recipe.train.best in VALUES[name]]
    for name in (*best, *names, "chrf"):
        statistics = build(name, recipe.scoring).measure([outputs], references)
        values = VALUES[name]
        column = values.index(recipe.train.best) if recipe.train.best in values else 0
        if statistics.line_values() is not None:
            return _LineScore(statistics, column, METRICS[name].values[column])
    raise AssertionError("chrF has line values")


@dataclass(frozen=True)
class _Lines:
    """All lines of a split, and how to make samples of some of them."""

    translator: LineTranslator
    sources: Sequence[str]
    outputs: Sequence[str]
    references: References
    scores: Sequence[float]
    has_attention: bool

    def samples(self, places: Sequence[int]) -> tuple[Sample, ...]:
        """The samples at these places."""
        return tuple(map(self._sample, places))

    def _sample(self, place: int) -> Sample:
        attention = self._map(place) if self.has_attention else None
        found = Sample(
            line=place + 1,
            source=self.sources[place],
            output=self.outputs[place],
            references=self.references[place],
            score=self.scores[place],
        )
        return found if attention is None else _with_attention(found, attention)

    def _map(self, place: int) -> AttentionMap | None:
        """The attention of a line; its output does not depend on the lines beside it."""
        from s2s.inference.attention.maps import attention_maps

        (found,) = attention_maps(self.translator, [self.sources[place]], place)
        return found if found.source and found.target else None


def _with_attention(sample: Sample, attention: AttentionMap) -> Sample:
    return Sample(
        line=sample.line,
        source=sample.source,
        output=sample.output,
        references=sample.references,
        score=sample.score,
        source_tokens=attention.source,
        output_tokens=attention.target,
        attention=thousandths(attention.weights.tolist()),
        images=tuple(Region(id=p.id, first=p.first, count=p.count) for p in attention.pictures),
    )


def extremes(
    scores: Sequence[float], sources: Sequence[str], count: int, is_lower_better: bool
) -> tuple[list[int], list[int]]:
    """The places of the best and of the worst lines, none in both, the most extreme first.

    Of equal ones the longest sources come first, as they say most.
    """
    keys = np.array(scores) * (1.0 if is_lower_better else -1.0)
    lengths = np.array([len(source) for source in sources])
    order = np.lexsort((-lengths, keys)).tolist()
    best = order[:count]
    backwards = np.lexsort((-lengths, -keys)).tolist()
    worst = [place for place in backwards if place not in set(best)][:count]
    return best, worst


def spread(num_lines: int, count: int) -> list[int]:
    """Places at equal distances."""
    count = min(count, num_lines)
    return [(2 * number + 1) * num_lines // (2 * count) for number in range(count)]


def _bins(
    translator: LineTranslator, recipe: Recipe, sources: Sequence[str], by: _LineScore
) -> tuple[LengthBin, ...]:
    if not has_source_text(recipe.data):
        return ()
    read = translator.read(list(map(unless_blank, sources)))
    return score_by_length(by.statistics, by.column, [len(reading.ids) for reading in read])


def _attends(recipe: Recipe) -> bool:
    return recipe.model.attention.kind != "none"
