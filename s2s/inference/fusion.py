"""A language model beside a translation model, for `s2s.search.fusion`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from s2s.errors import UsageError
from s2s.recipe.label_rules import DECODERS

if TYPE_CHECKING:
    from s2s.inference.translator import LineTranslator
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run

DEFAULT_WEIGHT = 0.2
"""The weight of a language model that is given without one."""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """A language model whose log-probabilities search adds to those of the translation model."""

    run: Run
    """Its best checkpoint is read."""
    weight: float
    """What its log-probabilities are multiplied by."""

    def as_named(self) -> tuple[str, Which, float]:
        """The name of the run, its checkpoint and the weight."""
        return self.run.name, self.run.resolve_checkpoint("best"), self.weight


def choose_weight(weight: float | None, option: str) -> float:
    """The weight of a language model; raises UsageError, with the option, for one below 0."""
    if weight is None:
        return DEFAULT_WEIGHT
    if not (weight >= 0.0 and math.isfinite(weight)):
        raise UsageError(f"{option}: expected a number of at least 0, found {weight:g}")
    return float(weight)


def check_fusion(runs: Sequence[Run], fusion: Fusion, search: Search) -> None:
    """Raises UsageError for runs, or a search, that do not go with a language model."""
    other = fusion.run.recipe.task
    if other != "lm":
        raise UsageError(
            f"{fusion.run.place}: expected a language model (task: lm) to add in search, found a "
            f"run of task '{other}'"
        )
    for run in runs:
        recipe = run.recipe
        if recipe.task == "lm":
            raise UsageError(
                f"{run.place}: a language model (task: lm), to which another cannot be added; it "
                "is itself what --lm names beside a translation run"
            )
        if recipe.task in DECODERS:
            raise UsageError(
                f"{run.place}: task '{recipe.task}' predicts labels; a language model can be added "
                "where outputs are texts"
            )
        if recipe.model.copy != "none":
            raise UsageError(
                f"{run.place}: this model copies source words (model.copy), to which a language "
                "model gives no probability; leave it out"
            )
    check_no_shortlist(search)


def check_no_shortlist(search: Search) -> None:
    """Raises UsageError for a search with a shortlist."""
    if search.shortlist:
        raise UsageError(
            "a language model predicts all tokens, and a shortlist (search.shortlist) only some; "
            "search with --shortlist 0"
        )


def fused(
    translator: LineTranslator, run: Run, lm: LineTranslator, fusion: Fusion
) -> LineTranslator:
    """The translator of `run` whose search adds the loaded language model `lm`.

    Raises UsageError where their target tokenizers differ: the same ids would be different tokens.
    """
    from s2s.search.fusion import fuse

    if translator.target != lm.target:
        raise UsageError(
            f"{fusion.run.place}: expected the target tokenizer of {run.place}, found another one; "
            f"'tokenizer: {{kind: from_run, run: {run.place}}}' in the recipe of the language "
            "model takes it over"
        )
    return replace(translator, scorer=fuse(translator.scorer, lm.scorer, fusion.weight))
