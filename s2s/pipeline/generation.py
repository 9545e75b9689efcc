"""Continues prompts with a language model."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from s2s.errors import UsageError
from s2s.inference.line_constraints import LineConstraints, LineConstraintsReader
from s2s.pipeline.translation import Files, translate, translate_files

if TYPE_CHECKING:
    from s2s.inference.nbest import NbestOptions
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run


def generate(
    runs: Sequence[Run],
    prompts: Sequence[str] | Files,
    *,
    every: LineConstraints | None = None,
    search: Search | None = None,
    batch_size: int = 8192,
    device: str = "auto",
    checkpoint: Which = "best",
    listing: NbestOptions | None = None,
    workers: int = 1,
) -> int:
    """Continue prompts to the end of a sentence: a line for each, the prompt included.

    `prompts` are given, and continued on stdout, or lines of a file. With several runs, the models
    are averaged. `every` has terms that all outputs must have or avoid. The recipe's search is used
    if none is given. Returns the number of prompts; raises what `translate_files` raises, and
    UsageError for runs of other tasks.
    """
    check_language_models(runs, "continues prompts with a language model")
    reader = LineConstraintsReader(every=every, has_prompts=True)
    if isinstance(prompts, Files):
        return translate_files(
            runs,
            prompts,
            search=search,
            batch_size=batch_size,
            device=device,
            checkpoint=checkpoint,
            listing=listing,
            line_constraints=reader,
            workers=workers,
        )
    return translate(
        run=runs[0],
        others=tuple(runs[1:]),
        source=io.BytesIO("".join(f"{one}\n" for one in prompts).encode()),
        target=sys.stdout.buffer,
        search=search,
        batch_size=batch_size,
        device=device,
        checkpoint=checkpoint,
        listing=listing,
        line_constraints=reader,
        workers=workers,
    )


def check_language_models(runs: Sequence[Run], what: str) -> None:
    """Raise UsageError for a run that is no language model."""
    for run in runs:
        if run.recipe.task != "lm":
            raise UsageError(
                f"{run.place}: 's2s generate' {what} (task: lm), and this is task "
                f"'{run.recipe.task}'; 's2s translate' uses it"
            )
