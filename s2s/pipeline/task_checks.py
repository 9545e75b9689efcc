"""Refuses models for what their task does not do, in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from s2s.errors import UsageError
from s2s.recipe.choices import TaskName
from s2s.recipe.data import has_source_text
from s2s.recipe.label_rules import DECODERS, LABEL_METRICS

if TYPE_CHECKING:
    from s2s.recipe.search import Search
    from s2s.run.directory import Run


def refuse_language_models(runs: Iterable[Run], what: str) -> None:
    """Raise UsageError for a run that is a language model; `what` it cannot do, and what to do."""
    for run in runs:
        if run.recipe.task == "lm":
            raise UsageError(f"{run.place}: a language model (task: lm) {what}")


Use = Literal["translate", "generate", "predict"]
"""What a model is loaded for: the command whose outputs are those of the model's task."""


def use_of(task: TaskName) -> Use:
    """The command of a task."""
    if task == "lm":
        return "generate"
    return "predict" if task in DECODERS else "translate"


def check_use(runs: Iterable[Run], use: Use, place: str | None = None) -> None:
    """Raise UsageError for a run whose task has another command; `place` of a recipe names it."""
    for run in runs:
        named = run.place if place is None else f"{place}: {run.place}"
        task = run.recipe.task
        own = use_of(task)
        if own == use:
            continue
        if own == "generate" and use == "translate":
            raise UsageError(
                f"{named}: a language model (task: lm) has no source to translate; "
                "'s2s generate' continues prompts with it"
            )
        what = {
            "translate": "translates sources, or describes images",
            "generate": "continues prompts with a language model (task: lm)",
            "predict": "predicts labels (tasks: classify, tag)",
        }[use]
        raise UsageError(
            f"{named}: task '{task}'; 's2s {use}' {what}, and 's2s {own}' uses this run"
        )


def check_label_metrics(run: Run, metrics: Sequence[str]) -> None:
    """Raise UsageError for a metric that does not compare the labels of a run that has some."""
    allowed = LABEL_METRICS.get(run.recipe.task)
    if allowed and (other := [name for name in metrics if name not in allowed]):
        raise UsageError(
            f"{run.place}: '{other[0]}' compares texts, and task '{run.recipe.task}' predicts "
            f"labels; expected {' or '.join(allowed)}"
        )


def check_tunable(run: Run) -> None:
    """Raise UsageError for a run whose task has no search that settings could improve."""
    refuse_language_models([run], "has no outputs whose search could be tuned")
    if run.recipe.task in DECODERS:
        raise UsageError(
            f"{run.place}: task '{run.recipe.task}' has no search to tune: a label is the most "
            "probable one"
        )


def check_replacement(runs: Sequence[Run], option: str, search: Search) -> None:
    """Raises UsageError, with the name of the option, for models whose unknown tokens cannot be
    replaced, and for a search that predicts none."""
    if search.suppress_unknown:
        raise UsageError(
            f"{option}: has no effect where search.suppress_unknown excludes unknown tokens; leave "
            "one of them out"
        )
    for run in runs:
        if run.recipe.model.attention.kind == "none":
            raise UsageError(
                f"{run.place}: {option} needs a model with attention, and this one has "
                "none (model.attention.kind)"
            )
        if run.recipe.model.copy != "none":
            raise UsageError(
                f"{run.place}: this model copies unknown words (model.copy); leave out {option}"
            )
        if not has_source_text(run.recipe.data):
            raise UsageError(
                f"{run.place}: {option} takes words from source text, and there is none"
            )


def check_glossary(runs: Sequence[Run], option: str) -> None:
    """Raises UsageError, with the name of the option, for models that read no source text, or whose
    outputs are not of it."""
    for run in runs:
        if run.recipe.model.copy != "none":
            raise UsageError(
                f"{run.place}: {option} works on the vocabulary, and this model copies words "
                "outside of it (model.copy)"
            )
        if use_of(run.recipe.task) != "translate" or not has_source_text(run.recipe.data):
            raise UsageError(f"{run.place}: {option} has terms of source text, and there is none")
