"""Options of a language model that search adds to translation models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import run_names
from .panels import SEARCH

if TYPE_CHECKING:
    from s2s.inference.fusion import Fusion

Lm = Annotated[
    str | None,
    typer.Option(
        "--lm",
        metavar="RUN",
        help="Add the log-probabilities of a language model (task: lm) with the same target "
        "tokenizer at every step.",
        rich_help_panel=SEARCH,
        autocompletion=run_names,
    ),
]
LmWeight = Annotated[
    float | None,
    typer.Option(
        "--lm-weight",
        metavar="X",
        help="Their weight: 0.2 by default; 's2s tune-search --lm' finds it.",
        rich_help_panel=SEARCH,
    ),
]


def choose_fusion(lm: str | None, weight: float | None, runs: Path) -> "Fusion | None":
    """The language model and its weight; raises `UsageError` for a weight alone, or below 0."""
    if lm is None and weight is None:
        return None
    from s2s.errors import UsageError
    from s2s.inference.fusion import Fusion, choose_weight
    from s2s.run.finding import find_named_run

    if lm is None:
        raise UsageError("--lm-weight: has no effect without --lm RUN")
    number = choose_weight(weight, "--lm-weight")
    return Fusion(run=find_named_run("--lm", lm, runs), weight=number)
