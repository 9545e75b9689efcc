"""Tunes the search of a run on its validation data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from s2s.data.preparation.prepare import open_corpus
from s2s.errors import RunNotWritable, UsageError
from s2s.inference.fusion import Fusion, check_fusion, choose_weight, fused
from s2s.inference.load import load_translator
from s2s.messages import note
from s2s.metrics.corpus import score
from s2s.pipeline.progress import progress
from s2s.pipeline.task_checks import check_tunable
from s2s.recipe.label_rules import LABEL_METRICS
from s2s.recipe.metrics import LOWER_IS_BETTER, TEXT_METRICS, VALUES, MetricName, format_value
from s2s.recipe.search import BeamSearch
from s2s.recipe.search_overrides import override

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2s.inference.translator import LineTranslator
    from s2s.recipe.recipe import Recipe
    from s2s.recipe.scoring import Scoring
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run

WIDTHS = (1, 5, 10)
"""Default beam widths."""

PENALTIES = (0.0, 0.6, 1.0, 1.4)
"""Default length penalties."""

WEIGHTS = (0.0, 0.1, 0.2, 0.3)
"""Default weights of a language model."""

OTHERS = ("chrf", "cer")
"""Values that decide, the first that differs, where the one asked for is the same everywhere."""

WINDOW = 1024
"""Lines searched together."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The searches of a tuning: every width with every penalty, and of a language model with every
    weight."""

    widths: tuple[int, ...] = WIDTHS
    penalties: tuple[float, ...] = PENALTIES
    weights: tuple[float, ...] = WEIGHTS

    def searches(self, search: Search) -> list[BeamSearch]:
        """The beam searches of the grid, cheaper ones first; all else as in `search`.

        Raises UsageError for what no beam search may be.
        """
        found = []
        for width, penalty in product(sorted(set(self.widths)), sorted(set(self.penalties))):
            choices = {"kind": "beam", "width": width, "length_penalty": penalty}
            one = override(search, choices)
            assert isinstance(one, BeamSearch), "of this kind"
            if width > 1 or penalty == min(self.penalties):  # one hypothesis needs no ranking
                found.append(one)
        return found


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The validation scores of the searches of a grid."""

    metric: str
    tried: tuple[tuple[BeamSearch, float], ...]
    """In the order of the grid, each with its score."""
    best: BeamSearch
    """The best search, which is now in the run's recipe if `is_written`."""
    weights: tuple[float, ...] = ()
    """The weight of the language model in each search; empty without one."""
    best_weight: float | None = None
    """That of the best search."""
    is_written: bool = True
    flat: str | None = None
    """The value that was to decide, and is the same for searches that give other outputs."""

    def lines(self) -> list[str]:
        """A table for a reader; a mark shows the best."""
        has_lm = bool(self.weights)
        lines = [f"{'beam':>4}  {'length penalty':>14}  {self.metric:>9}"]
        lines[0] = f"{'lm weight':>9}  {lines[0]}" if has_lm else lines[0]
        for place, (search, value) in enumerate(self.tried):
            penalty = "any" if search.width == 1 else f"{search.length_penalty:g}"
            weight = self.weights[place] if has_lm else None
            mark = "  *" if search == self.best and weight == self.best_weight else ""
            line = f"{search.width:>4}  {penalty:>14}  {format_value(self.metric, value):>9}{mark}"
            lines.append(f"{weight:>9g}  {line}" if has_lm else line)
        return lines

    def as_json(self) -> dict[str, Any]:
        """The same for a program; a beam of one has no penalty."""
        weights = self.weights or (None,) * len(self.tried)
        rows = [
            {**_as_json(search, weight), "value": value}
            for (search, value), weight in zip(self.tried, weights, strict=True)
        ]
        best = _as_json(self.best, self.best_weight)
        return {"metric": self.metric, "flat": self.flat, "searches": rows, "best": best}


def _as_json(search: BeamSearch, weight: float | None) -> dict[str, Any]:
    penalty = None if search.width == 1 else search.length_penalty
    of_lm = {} if weight is None else {"lm_weight": weight}
    return {**of_lm, "width": search.width, "length_penalty": penalty}


def tune_search(
    *,
    run: Run,
    grid: Grid | None = None,
    metric: str | None = None,
    device: str = "auto",
    checkpoint: Which = "best",
    lm: Run | None = None,
) -> Tuned:
    """Try beam searches on the validation data, and write the best into the run's recipe.

    `metric` names the value that decides; by default the one that chooses the best checkpoint, or
    the recipe's first where that is the loss. Of equal values the narrower beam wins, then the
    smaller penalty. Where all values are equal and outputs are not, another metric decides, and a
    note says so; if none differs, the search of the recipe stays. A run that cannot be written to
    is tuned all the same, with a warning. With a language model `lm` every search is tried with
    every weight, of equal values the smallest weight wins, and nothing is written: a recipe names
    no language model. Raises UsageError where there are no validation data, no such metric, or a
    language model that does not suit.
    """
    check_tunable(run)
    grid = grid or Grid()
    with _locked(run, warns=lm is None) as is_writable:
        recipe = run.recipe
        decides, name = text_metric(recipe, metric)
        settings = grid.searches(recipe.search)
        weights = () if lm is None else _check_lm(run, lm, grid)
        sources, references = validation_texts(run)
        found = []
        with progress() as callback:
            for translator in _translators(run, lm, weights, device, checkpoint):
                found += _translations(translator, sources, settings, callback)
        scorers = [(decides, name), *(text_metric(recipe, other) for other in OTHERS)]
        asked, (name, values) = name, _deciding(scorers, found, references, recipe.scoring)
        flat = asked if name != asked or _is_flat(values, found) else None
        worth = [_worth(name, value) for value in values]
        place = worth.index(max(worth))
        best = settings[place % len(settings)]
        if _is_flat(values, found) and isinstance(recipe.search, BeamSearch):
            best = recipe.search
        if flat is not None:
            decision = f"{name} decides" if name != flat else "no other metric differs either"
            note(f"{flat} is the same for every search, though outputs differ: {decision}")
        if is_writable and lm is None:
            run.store_recipe(replace(recipe, search=best))
    tuned = Tuned(
        metric=name,
        tried=tuple(zip(settings * max(1, len(weights)), values, strict=True)),
        best=best,
        weights=tuple(weight for weight in weights for _ in settings),
        best_weight=weights[place // len(settings)] if weights else None,
        is_written=is_writable and lm is None,
        flat=flat,
    )
    if is_writable:
        run.append_event(_event(tuned, checkpoint, lm))
    return tuned


def _event(tuned: Tuned, checkpoint: Which, lm: Run | None) -> dict[str, Any]:
    """The event of a tuning in the run's log."""
    rows: list[dict[str, Any]] = [
        {"width": one.width, "length_penalty": one.length_penalty, tuned.metric: value}
        for one, value in tuned.tried
    ]
    for row, weight in zip(rows, tuned.weights, strict=False):
        row["lm_weight"] = weight
    event = {"event": "tuning", "metric": tuned.metric, "checkpoint": checkpoint, "searches": rows}
    return event if lm is None else {**event, "lm": lm.name}


def _check_lm(run: Run, lm: Run, grid: Grid) -> tuple[float, ...]:
    """The weights to try. Raises UsageError for one below 0, or a language model that does not
    suit."""
    weights = tuple(choose_weight(one, "--lm-weights") for one in sorted(set(grid.weights)))
    check_fusion([run], Fusion(run=lm, weight=weights[0]), run.recipe.search)
    return weights


def validation_texts(run: Run) -> tuple[list[str], Sequence[Sequence[str | None]]]:
    """Sources and sets of references. Raises UsageError where there are none."""
    if not (run.data_folder / "validation.arrow").exists():
        raise UsageError(
            f"{run.place}: its recipe has no validation split, or data/ was deleted; a search "
            "is not tuned on test data"
        )
    corpus = open_corpus(run.folder, "validation")
    sources, references = corpus.source_texts, corpus.references
    assert sources is not None and references is not None, "only train comes without texts"
    return sources, references


def _translators(
    run: Run, lm: Run | None, weights: Sequence[float], device: str, checkpoint: Which
) -> Iterator[LineTranslator]:
    """The translator of a run, or with a language model one for each weight."""
    translator = load_translator(run, device=device, checkpoint=checkpoint)
    if lm is None:
        yield translator
        return
    other = load_translator(lm, search=translator.search, device=device)
    for weight in weights:
        yield fused(translator, run, other, Fusion(run=lm, weight=weight))


@contextmanager
def _locked(run: Run, warns: bool) -> Iterator[bool]:
    """Hold the lock of the run; whether anything can be written to it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(run.lock())
        except RunNotWritable as error:
            if warns:
                note(f"warning: the best search is not written into the run's recipe: {error}")
            yield False
        else:
            yield True


def text_metric(recipe: Recipe, asked: str | None) -> tuple[MetricName, str]:
    """The metric and the name of its value that decide. Raises UsageError for one that needs more
    than text, or compares labels."""
    of_labels = {name for names in LABEL_METRICS.values() for name in names}
    metrics = [metric for metric in TEXT_METRICS if metric not in of_labels]
    known = {value: metric for metric in metrics for value in VALUES[metric]}
    own = [value for metric in recipe.metrics for value in VALUES[metric]]
    chosen = asked or next((f for f in (recipe.train.best, *own) if f in known), "bleu")
    if chosen not in known:
        raise UsageError(f"--metric: expected one of {', '.join(known)}, found '{chosen}'")
    return known[chosen], chosen


def _deciding(
    scorers: Sequence[tuple[MetricName, str]],
    found: list[list[str]],
    references: Sequence[Sequence[str | None]],
    scoring: Scoring,
) -> tuple[str, list[float]]:
    """The first value that tells the outputs apart, and the values; the first of all if none."""
    first: tuple[str, list[float]] | None = None
    for metric, name in scorers:
        values = [score([metric], out, references, scoring=scoring).value(name) for out in found]
        if not _is_flat(values, found):
            return name, values
        first = first or (name, values)
    assert first is not None, "one is asked for"
    return first


def _is_flat(values: Sequence[float], found: Sequence[Sequence[str]]) -> bool:
    """Whether values are equal, although the outputs are not."""
    return len(set(values)) == 1 and any(lines != found[0] for lines in found)


def _worth(name: str, value: float) -> float:
    return -value if name in LOWER_IS_BETTER else value


def _translations(
    translator: LineTranslator,
    lines: list[str],
    settings: Sequence[BeamSearch],
    callback: Callable[[str, int, int | None], None],
) -> list[list[str]]:
    """The outputs of each search, as `s2s translate` writes them."""
    from s2s.search.length_penalty_grid import search_penalties

    found: list[list[str]] = [[] for _ in settings]
    for start in range(0, len(lines), WINDOW):
        pieces = translator.pieces(lines[start : start + WINDOW])

        def report(search: BeamSearch, done: int, start: int = start) -> None:
            at_most = min(start + done, len(lines))  # of a line in pieces each counts
            callback(f"beam {search.width}", at_most, len(lines))

        best = search_penalties(
            translator.scorer,
            pieces.ids,
            settings,
            translator.device,
            features=translator.image_features_of(pieces.sources),
            progress=report,
        )
        for texts, hypotheses in zip(found, best, strict=True):
            outputs = translator.outputs_of([[one] for one in hypotheses], pieces)
            texts.extend(output.text for (output, *_) in outputs)
    return found
