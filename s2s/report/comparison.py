"""Two runs side by side: their recipes, their course and the scores in their logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from s2s.inference.attention.visible_tokens import visible_line
from s2s.recipe.load import differences
from s2s.recipe.metrics import format_value
from s2s.report.runs_table import align, short_count
from s2s.run.directory import Run
from s2s.run.history import Event, History, read_history
from s2s.run.summary import RunSummary, as_number, summarize

OF_TRAINING = ("data.train", "data.filters.", "data.weight")
"""Fields of the data that leave validation and test as they are."""


@dataclass(frozen=True)
class Pair:
    """One value of two runs; None where a run has none."""

    of: str
    """What was scored, such as `test, greedy`."""
    name: str
    first: float | None
    second: float | None
    is_comparable: bool
    """Whether they were computed in the same way from the same texts."""


@dataclass(frozen=True)
class RunComparison:
    """The differences of two runs."""

    runs: tuple[RunSummary, RunSummary]
    recipe: tuple[str, ...]
    """Lines such as `train.epochs: 3 -> 5`."""
    scores: tuple[Pair, ...]

    def lines(self) -> list[str]:
        """The comparison for a reader."""
        first, second = (visible_line(run.name) for run in self.runs)
        number = len(self.recipe)
        plural = "" if number == 1 else "s"
        lines = [f"recipes of {first} -> {second}: {number or 'no'} difference{plural}"]
        lines += [f"  {visible_line(line)}" for line in self.recipe]
        rows = [("", "", first, second, "change"), *map(_row, self.scores), *_facts(self.runs)]
        lines += ["", *align(rows, frozenset({2, 3, 4}))]
        if all(pair.is_comparable for pair in self.scores):
            lines += [
                "",
                f"s2s compare {first} {second} tests whether outputs differ significantly",
            ]
        else:
            lines += ["", "(*) not comparable: other texts, another metric or, for a loss, tokens"]
        return lines

    def as_json(self) -> dict[str, Any]:
        """The comparison in JSON."""
        return {
            "runs": [run.as_json() for run in self.runs],
            "recipe": list(self.recipe),
            "scores": [
                {
                    "of": pair.of,
                    "name": pair.name,
                    "values": [pair.first, pair.second],
                    "is_comparable": pair.is_comparable,
                }
                for pair in self.scores
            ],
        }


def compare_runs(first: Run, second: Run) -> RunComparison:
    """Compare two runs by what is in their folders.

    Raises RecipeError or RunError for a run that cannot be read.
    """
    lines = differences(first.recipe, second.recipe)
    scores = [
        _scores(read_history(run.read_events(), run.checkpoints().best)) for run in (first, second)
    ]
    return RunComparison(
        (summarize(first.folder), summarize(second.folder)),
        tuple(line for line in lines if not line.startswith("name: ")),
        tuple(
            Pair(
                pair.of, pair.name, pair.first, pair.second, is_comparable=_may_compare(pair, lines)
            )
            for pair in _pairs(*scores)
        ),
    )


def _may_compare(pair: Pair, lines: Sequence[str]) -> bool:
    """Whether a pair with equal signatures may be compared, given the recipes' differences."""
    has_other_texts = any(
        line.startswith("data.") and not line.startswith(OF_TRAINING) for line in lines
    )
    has_other_tokens = any(line.startswith("tokenizer.") for line in lines)
    is_per_token = pair.name in ("loss", "perplexity")
    is_whole = pair.first is not None and pair.second is not None
    return pair.is_comparable and not (
        is_whole and (has_other_texts or (is_per_token and has_other_tokens))
    )


Scored = dict[tuple[str, str], tuple[float, str]]
"""Value and signature of each score, by what was scored and the score's name."""


def _scores(history: History) -> Scored:
    """The scores of the best validation, and the latest of every evaluation."""
    found: Scored = {}
    best = history.best_validation()
    if best is not None:
        found |= _of("validation, in training", best)
        nll = as_number(best.get("nll"))
        if nll is not None:
            found["validation, in training", "loss"] = nll, "nll"
    for event in history.evaluation:
        found |= _of(evaluated(event), event)
    return found


def evaluated(event: Event) -> str:
    """The split and the search of an evaluation's event."""
    search = str(event.get("what", "")).rpartition(", ")[2]
    return f"{event.get('split')}, {search}"


def _of(what: str, event: Event) -> Scored:
    return {(what, name): (value, signature) for name, value, signature in logged_scores(event)}


def logged_scores(event: Event) -> list[tuple[str, float, str]]:
    """Name, value and signature of each score of an event; what is no score is left out."""
    scores = event.get("scores")
    if not isinstance(scores, dict):
        return []
    found = []
    for name, score in scores.items():
        value = as_number(score.get("value")) if isinstance(score, dict) else None
        if value is not None:
            found.append((name, value, str(score.get("signature"))))
    return found


def _pairs(first: Scored, second: Scored) -> list[Pair]:
    pairs = []
    for key in dict.fromkeys((*first, *second)):
        one, other = first.get(key), second.get(key)
        is_same = one is None or other is None or one[1] == other[1]
        pairs.append(Pair(*key, one and one[0], other and other[0], is_same))
    return pairs


def _row(pair: Pair) -> tuple[str, ...]:
    shown = ["-" if v is None else _format(pair.name, v) for v in (pair.first, pair.second)]
    change = ""
    if pair.first is not None and pair.second is not None:
        digits = 3 if pair.name == "loss" else 2
        change = f"{pair.second - pair.first:+.{digits}f}" if pair.is_comparable else "(*)"
    return (visible_line(pair.of), visible_line(pair.name), *shown, change)


def _format(name: str, value: float) -> str:
    return f"{value:.3f}" if name == "loss" else format_value(name, value)


def _facts(runs: Sequence[RunSummary]) -> list[tuple[str, ...]]:
    facts = {
        "minutes": ["-" if r.seconds is None else f"{r.seconds / 60:.1f}" for r in runs],
        "updates": ["-" if r.updates is None else f"{r.updates:,}" for r in runs],
        "parameters": [short_count(r.parameters) for r in runs],
        "MB": [f"{r.size / 1e6:.1f}" for r in runs],
    }
    return [("training", name, *values, "") for name, values in facts.items()]
