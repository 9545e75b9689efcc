"""Refuses models for what their task does not do, in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from s2s.errors import UsageError

if TYPE_CHECKING:
    from s2s.run.directory import Run


def refuse_language_models(runs: Iterable[Run], what: str) -> None:
    """Raise UsageError for a run that is a language model; `what` it cannot do, and what to do."""
    for run in runs:
        if run.recipe.task == "lm":
            raise UsageError(f"{run.place}: a language model (task: lm) {what}")


def check_prompted(runs: Iterable[Run], *, has_prompts: bool) -> None:
    """Raise UsageError for a run that reads sources where lines are prompts, or the reverse."""
    if not has_prompts:
        refuse_language_models(
            runs, "has no source to translate; 's2s generate' continues prompts with it"
        )
        return
    for run in runs:
        if run.recipe.task != "lm":
            raise UsageError(
                f"{run.place}: task '{run.recipe.task}'; 's2s generate' continues prompts with a "
                "language model (task: lm), 's2s translate' uses this one"
            )
