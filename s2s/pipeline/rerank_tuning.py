"""Tunes the reranking of a run on its validation data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2s.errors import UsageError
from s2s.inference.load import load_scoring, load_translator
from s2s.inference.pair_scores import score_lines
from s2s.inference.reranking import Reranker
from s2s.metrics.base import Additive
from s2s.metrics.build import build
from s2s.metrics.corpus import pair_up
from s2s.metrics.line_search import Candidates, tune_weights
from s2s.pipeline.progress import progress
from s2s.pipeline.task_checks import check_tunable
from s2s.pipeline.tuning import text_metric, validation_texts
from s2s.recipe.metrics import LOWER_IS_BETTER, VALUES, MetricName, format_value
from s2s.recipe.search import RerankSearch
from s2s.recipe.search_overrides import override
from s2s.run.rerank_weights import FEATURES, RerankWeights, write_rerank_weights
from s2s.search.strategies.build import candidate_searches

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2s.inference.nbest import Output
    from s2s.inference.translator import LineTranslator
    from s2s.metrics.base import References
    from s2s.recipe.scoring import Scoring
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run

WINDOW = 256
"""Lines searched together."""

PAIRS = 200
"""Validation pairs that show which way a reverse run translates."""


@dataclass(frozen=True, kw_only=True)
class TunedReranking:
    """What a tuning found, and where it is written."""

    found: RerankWeights
    path: Path

    def lines(self) -> list[str]:
        """For a reader: a weight a line, then the metric before and after."""
        found = self.found
        rows = [f"{name:<9} {weight:>9.4f}" for name, weight in found.weights.items()]
        values = [format_value(found.metric, one) for one in (found.before, found.after)]
        return [*rows, f"{found.metric} on validation: {values[0]} -> {values[1]}"]

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        found = self.found
        values = {"before": found.before, "after": found.after}
        return {"metric": found.metric, "weights": dict(found.weights), **values}


def tune_rerank(
    *,
    run: Run,
    reverse: Run | None = None,
    lm: Run | None = None,
    candidates: int = 20,
    metric: str | None = None,
    device: str = "auto",
    checkpoint: Which = "best",
) -> TunedReranking:
    """Tune the weights of a reranking on the validation data, and write them into the run's folder.

    `reverse` translates the other way, `lm` is a language model of the target language. `metric`
    names the value to optimize; by default that of `tune_search`. Raises UsageError where there are
    no validation data, no such metric, one that does not add up over lines, or a run of another
    task or direction.
    """
    check_tunable(run)
    _check_tasks(reverse, lm)
    name, value = text_metric(run.recipe, metric)
    with run.lock():  # before the search, which would be lost in a run that cannot be written to
        found = _found(run, (reverse, lm), candidates, (name, value), (device, checkpoint))
        return TunedReranking(found=found, path=write_rerank_weights(run, found))


def _found(
    run: Run,
    others: tuple[Run | None, Run | None],
    candidates: int,
    measure: tuple[MetricName, str],
    loading: tuple[str, Which],
) -> RerankWeights:
    """What a tuning finds; `others` are a reverse run and a language model, `measure` a metric and
    the name of its value, `loading` a device and a checkpoint."""
    (reverse, lm), (name, value), (device, checkpoint) = others, measure, loading
    sources, references = validation_texts(run)
    reranked = override(run.recipe.search, {"kind": "rerank", "candidates": candidates})
    assert isinstance(reranked, RerankSearch), "that kind was asked for"
    (search,) = candidate_searches(reranked)
    translator = load_translator(run, search=search, device=device, checkpoint=checkpoint)
    models = {"reverse": load_scoring(reverse, device), "lm": load_scoring(lm, device)}
    if reverse is not None:
        _check_direction(reverse, models["reverse"], sources, references)
    names = [one for one in FEATURES if one not in models or models[one] is not None]
    reranker = Reranker(dict.fromkeys(names, 0.0), models["reverse"], models["lm"])
    nbest = _nbest(translator, sources, candidates)
    wanted = pair_up(sources, references)[1]
    worth, statistics = _statistics(name, value, run.recipe.scoring, (nbest, wanted))
    features = _features(reranker, sources, nbest)
    lists = list(map(Candidates, features, statistics))
    weights_F, after = tune_weights(lists, worth)
    before = worth(np.sum([one.statistics_CK[0] for one in lists], axis=0))
    sign = -1.0 if value in LOWER_IS_BETTER else 1.0
    return RerankWeights(
        weights=dict(zip(names, weights_F.tolist(), strict=True)),
        reverse=_place(run, reverse),
        lm=_place(run, lm),
        candidates=candidates,
        checkpoint=str(run.resolve_checkpoint(checkpoint)),
        metric=value,
        lines=len(sources),
        before=sign * before,
        after=sign * after,
    )


def _check_tasks(reverse: Run | None, lm: Run | None) -> None:
    """Raise UsageError for runs of other tasks."""
    for other, task, option in ((reverse, "translation", "--reverse"), (lm, "lm", "--lm")):
        if other is not None and other.recipe.task != task:
            raise UsageError(
                f"{option}: {other.place}: expected a run of task '{task}', found one of task "
                f"'{other.recipe.task}'"
            )


def _features(
    reranker: Reranker, sources: Sequence[str], nbest: Sequence[Sequence[Output]]
) -> list[NDArray[np.float64]]:
    """The features [C, F] of the candidates of each line."""
    found: list[NDArray[np.float64]] = []
    with progress() as callback:
        for source, outputs in zip(sources, nbest, strict=True):
            texts, log_probs = [one.text for one in outputs], [one.log_prob for one in outputs]
            lengths = [one.length for one in outputs]
            found.append(reranker.features(source, texts, log_probs, lengths))
            callback("scoring candidates", len(found), len(sources))
    return found


def _place(run: Run, other: Run | None) -> str | None:
    """The folder of another run, from that of the run: both may move together."""
    return None if other is None else Path(os.path.relpath(other.folder, run.folder)).as_posix()


def _nbest(translator: LineTranslator, sources: list[str], keep: int) -> list[list[Output]]:
    found: list[list[Output]] = []
    with progress() as callback:
        for start in range(0, len(sources), WINDOW):
            found += translator.outputs(sources[start : start + WINDOW], start, keep)
            callback("searching", len(found), len(sources))
    return found


def _statistics(
    name: MetricName,
    value: str,
    scoring: Scoring,
    texts: tuple[Sequence[Sequence[Output]], References],
) -> tuple[Callable[[Any], float], list[Any]]:
    """The metric of summed statistics, higher for better, and the statistics of each candidate.

    Raises UsageError for a metric whose statistics do not add up.
    """
    nbest, wanted = texts
    flat = [one.text for found in nbest for one in found]
    repeated = [options for found, options in zip(nbest, wanted, strict=True) for _ in found]
    measured = build(name, scoring).measure([flat], repeated)
    if not isinstance(measured, Additive):
        raise UsageError(
            f"--metric: expected one that adds up over lines, such as bleu or chrf, found '{value}'"
        )
    ends = np.cumsum([len(found) for found in nbest])
    place, sign = VALUES[name].index(value), -1.0 if value in LOWER_IS_BETTER else 1.0
    total = measured.total
    return lambda sums_K: sign * total(sums_K)[place], np.split(measured.rows_NK, ends[:-1])


def _check_direction(
    reverse: Run,
    model: LineTranslator | None,
    sources: Sequence[str],
    references: Sequence[Sequence[str | None]],
) -> None:
    """Raise UsageError for a run that finds sources more likely to become targets than targets to
    become sources: it translates as the run does, not the other way."""
    pairs = [
        (source, target)
        for source, target in zip(sources, references[0], strict=True)
        if source.strip() and target and target.strip()
    ][:PAIRS]
    assert model is not None, "that of the run"
    means = []
    for chosen in ([(target, source) for source, target in pairs], pairs):
        scores = score_lines(model, chosen, ("validation", 0))
        means.append(sum(one.per_token for one in scores) / max(len(scores), 1))
    if means[0] < means[1]:
        raise UsageError(
            f"--reverse: {reverse.place}: expected a run that translates from target to source, "
            f"found one the other way: on validation the mean log-probability of a token is "
            f"{means[0]:.2f} for that and {means[1]:.2f} from source to target"
        )
