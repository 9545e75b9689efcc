"""`s2s tune-search`: finds the best beam search on validation."""

from typing import Annotated

import typer

from .options.common import (
    RUNS,
    AsJson,
    Checkpoint,
    Device,
    RunOption,
    Runs,
    RunTarget,
    choose_checkpoint,
    choose_run,
    examples,
    note,
    numbers,
    run_of,
    say,
    say_json,
    whole_numbers,
)

EPILOG = examples(
    "s2s tune-search",
    "s2s tune-search multi30k-de-en --beams 5,10 --length-penalties 0.6,0.8,1,1.2 --metric chrf",
)


def tune_search(
    run: RunTarget = None,
    *,
    run_option: RunOption = None,
    runs: Runs = RUNS,
    beams: Annotated[str, typer.Option(metavar="N,N,...", help="Beam widths to try.")] = "1,5,10",
    length_penalties: Annotated[
        str, typer.Option(metavar="X,X,...", help="Length penalties to try with each width.")
    ] = "0,0.6,1,1.4",
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Metric to optimize: bleu, chrf, cer, ...; by default that of training.",
        ),
    ] = None,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Tune beam width and length penalty on validation.

    Every width is tried with every penalty on the validation split, never on the test set. The best
    search is written into the run's recipe, which `s2s translate` and `s2s bleu` use.
    """
    widths = whole_numbers("--beams", beams)
    penalties = numbers("--length-penalties", length_penalties)
    which = choose_checkpoint(checkpoint)
    chosen = choose_run(run_of(run, run_option), runs)
    from s2s.pipeline.tuning import Grid
    from s2s.pipeline.tuning import tune_search as tune

    before = chosen.recipe.search
    grid = Grid(widths=widths, penalties=penalties)
    found = tune(run=chosen, grid=grid, metric=metric, device=device, checkpoint=which)
    if as_json:
        content = {"run": str(chosen.folder), "checkpoint": checkpoint, **found.as_json()}
        say_json(content)
    else:
        for line in found.lines():
            say(line)
    if found.best == before:
        note(f"{chosen.recipe_path}: its search is the best already")
        return
    best = found.best
    search = f"{{kind: beam, width: {best.width}, length_penalty: {best.length_penalty:g}}}"
    if found.is_written:
        note(f"{chosen.recipe_path}: search is now {search}; change the recipe of 's2s train' too")
    else:
        note(f"the best is {search}: --beam {best.width} --length-penalty {best.length_penalty:g}")
