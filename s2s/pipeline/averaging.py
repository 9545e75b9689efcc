"""Checkpoint averaging: the mean of the weights of several checkpoints of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from s2s.errors import RunError, UsageError
from s2s.inference.load import model_of_weights
from s2s.pipeline.progress import progress
from s2s.recipe.metrics import LOWER_IS_BETTER, format_value
from s2s.run.checkpoints import NAME

if TYPE_CHECKING:
    from s2s.recipe.recipe import Recipe
    from s2s.run.directory import Run

AVERAGE = "average"
"""Default name of an average."""

COUNT = 5
"""Default number of checkpoints, or all where there are fewer."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """The checkpoints of a run that are averaged."""

    kind: Literal["last", "best", "steps"] = "last"
    """The latest, the best on validation, or those of `steps`."""
    count: int | None = None
    """Number of the latest or best; None for `COUNT`, or all where there are fewer."""
    steps: tuple[int, ...] = ()
    """Updates of the checkpoints, with `steps`."""


@dataclass(frozen=True, kw_only=True)
class ValidationScores:
    """Results of a validation, as its event in the log has them."""

    nll: float
    scores: dict[str, float]
    """By name of the value."""

    @classmethod
    def of_event(cls, event: dict[str, Any]) -> ValidationScores:
        """From an event `validation`."""
        return cls(nll=event["nll"], scores={k: v["value"] for k, v in event["scores"].items()})

    def score(self, name: str) -> float:
        """The score that `train.best` names, negated where lower is better; -inf if unknown."""
        value = self.nll if name == "loss" else self.scores.get(name)
        if value is None:
            return -math.inf
        return -value if name in LOWER_IS_BETTER else value

    def rank(self, name: str) -> tuple[float, float]:
        """Orders results as training does: by the score, then by the lower loss."""
        return self.score(name), -self.nll

    def __str__(self) -> str:
        """As training prints it."""
        scores = "".join(
            f"  {name} {format_value(name, value)}" for name, value in self.scores.items()
        )
        return f"validation loss {self.nll:.3f}{scores}"


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """An average, and the validation results that it compares with."""

    name: str
    members: tuple[int, ...]
    """Updates of its checkpoints, ascending."""
    known: dict[int, ValidationScores] = field(default_factory=dict)
    """Validation results of the run's checkpoints, by update."""
    best: int | None = None
    """Update of the best checkpoint that training has validated."""
    found: ValidationScores | None = None
    """Validation results of the average; None without validation data."""

    def lines(self) -> list[str]:
        """For a reader: a line per member, the best single one, the average."""
        rows = [(f"update {step}", self.known.get(step)) for step in self.members]
        if self.best is not None:
            rows.append((f"best single, update {self.best}", self.known.get(self.best)))
        rows.append((f"{self.name} of {len(self.members)}", self.found))
        width = max(len(name) for name, _ in rows)
        return [f"{name:{width}}  {values or 'not validated'}" for name, values in rows]

    def as_json(self) -> dict[str, Any]:
        """The same for a program; `validation` is null without validation data."""
        known = {step: self.known.get(step) for step in self.members}
        best = None if self.best is None else _as_json(self.best, self.known.get(self.best))
        return {
            "name": self.name,
            "members": [_as_json(step, values) for step, values in known.items()],
            "best_single": best,
            "validation": None if self.found is None else asdict(self.found),
        }


def _as_json(step: int, values: ValidationScores | None) -> dict[str, Any]:
    return {"update": step, "validation": None if values is None else asdict(values)}


def average(
    *, run: Run, members: Members | None = None, name: str = AVERAGE, device: str = "auto"
) -> Averaged:
    """Average the weights of checkpoints, and save them in the run as the checkpoint `name`.

    The average is validated as in training, where the run has validation data. Later training is
    not affected. Raises UsageError for an invalid name or fewer than two checkpoints, RunError for
    a checkpoint that is missing or of another model.
    """
    from s2s.nn.state_dict import mean_weights

    if not NAME.fullmatch(name):
        raise UsageError(
            f"--name: expected letters, digits, - and _ after a letter, and not best, last or "
            f"update, found '{name}'"
        )
    with run.lock():
        recipe = run.recipe
        known = _validations(run)
        chosen = _choose(run, members or Members(), known)
        weights = mean_weights(
            (f"{run.folder}: checkpoint {step}", run.read_weights(step)) for step in chosen
        )
        found = _validate(run, recipe, weights, device)
        run.write_named(name, weights, {"updates": ",".join(map(str, chosen))})
    values = {} if found is None else {"nll": found.nll, "scores": found.scores}
    run.append_event({"event": "average", "name": name, "updates": chosen, **values})
    best = max(known, key=lambda step: (known[step].rank(recipe.train.best), -step), default=None)
    return Averaged(name=name, members=tuple(chosen), known=known, best=best, found=found)


def _validations(run: Run) -> dict[int, ValidationScores]:
    """Validation results by update; the last ones where training repeated an update."""
    found: dict[int, ValidationScores] = {}
    for event in run.read_events():
        if event.get("event") == "validation" and event.get("nll") is not None:
            found[event["update"]] = ValidationScores.of_event(event)
    return found


def _choose(run: Run, members: Members, known: dict[int, ValidationScores]) -> list[int]:
    """The steps to average, ascending."""
    there = run.checkpoint_steps()
    if members.kind == "steps":
        chosen = sorted(set(members.steps))
        for step in chosen:
            run.resolve_checkpoint(step)
        if len(chosen) < 2:
            raise UsageError("--steps: expected two checkpoints or more, found one")
        return chosen
    count = COUNT if members.count is None else members.count
    ranked: Sequence[int] = there
    if members.kind == "best":
        best = run.recipe.train.best
        ranked = sorted(
            (step for step in there if step in known),
            key=lambda step: (known[step].rank(best), -step),
        )
    chosen = sorted(ranked[-count:])
    if len(chosen) < 2 or (members.count is not None and len(chosen) < count):
        what = "validated checkpoints" if members.kind == "best" else "checkpoints"
        raise RunError(
            f"{run.folder}: expected {max(2, members.count or 2)} {what} to average, found "
            f"{len(chosen)}; training keeps more with train.keep"
        )
    return chosen


def _validate(
    run: Run, recipe: Recipe, weights: dict[str, Any], device: str
) -> ValidationScores | None:
    """Validation results of weights; None without validation data."""
    from s2s.data.features.lookup import open_features
    from s2s.data.preparation.prepare import open_corpus
    from s2s.nn.device import choose_device, limit_threads
    from s2s.tasks.build import build_task
    from s2s.text.tokenizer_pair import load_tokenizers
    from s2s.training.distributed.process_group import SINGLE_PROCESS

    chosen = choose_device(device)
    limit_threads(recipe.model, chosen)
    tokenizers = load_tokenizers(run.tokenizer_folder)
    features = open_features(recipe.data, cache=run.features_folder)
    model = model_of_weights(recipe, tokenizers, weights, str(run.folder))
    if not (run.data_folder / "validation.arrow").exists():
        return None
    ids: Any = {"tokenizers": tokenizers, "is_copying": recipe.model.copy != "none"}
    corpus = open_corpus(run.folder, "validation", features, **ids)
    train = open_corpus(run.folder, "train", **ids)
    validate = build_task(recipe, tokenizers).validation(corpus, train)
    with progress() as callback:
        callback("validating the average", 0, 1)
        found = validate(model.to(chosen).eval(), SINGLE_PROCESS)
        callback("validating the average", 1, 1)
    return ValidationScores(nll=found.nll, scores={s.name: s.value for s in found.scores.values})
