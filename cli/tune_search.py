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
    TunedMetric,
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
from .options.fusion import Lm, choose_fusion
from .options.panels import SEARCH

EPILOG = examples(
    "s2s tune-search",
    "s2s tune-search --lm runs/news-lm --lm-weights 0,0.1,0.2,0.3 --beams 5",
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
    metric: TunedMetric = None,
    lm: Lm = None,
    lm_weights: Annotated[
        str | None,
        typer.Option(
            metavar="X,X,...",
            help="Weights of --lm to try with each search: 0,0.1,0.2,0.3 by default.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Tune beam width and length penalty on validation.

    Every width is tried with every penalty on the validation split, never on the test set. The best
    search is written into the run's recipe, which `s2s translate` and `s2s bleu` use. With --lm the
    best search and weight are printed alone: a recipe names no language model.
    """
    widths = whole_numbers("--beams", beams)
    penalties = numbers("--length-penalties", length_penalties)
    which = choose_checkpoint(checkpoint)
    chosen = choose_run(run_of(run, run_option), runs)
    from s2s.pipeline.tuning import WEIGHTS, Grid
    from s2s.pipeline.tuning import tune_search as tune

    before = chosen.recipe.search
    fusion = choose_fusion(lm, None, runs)
    if fusion is None and lm_weights is not None:
        from s2s.errors import UsageError

        raise UsageError("--lm-weights: has no effect without --lm RUN")
    weights = WEIGHTS if lm_weights is None else numbers("--lm-weights", lm_weights)
    grid = Grid(widths=widths, penalties=penalties, weights=weights)
    found = tune(
        run=chosen,
        grid=grid,
        metric=metric,
        device=device,
        checkpoint=which,
        lm=None if fusion is None else fusion.run,
    )
    if as_json:
        names = {} if fusion is None else {"lm": str(fusion.run.folder)}
        content = {"run": str(chosen.folder), "checkpoint": checkpoint, **names, **found.as_json()}
        say_json(content)
    else:
        for line in found.lines():
            say(line)
    best = found.best
    options = f"--beam {best.width} --length-penalty {best.length_penalty:g}"
    if fusion is not None:
        note(f"the best is {options} --lm {lm} --lm-weight {found.best_weight:g}")
        return
    if best == before:
        note(f"{chosen.recipe_path}: its search is the best already")
        return
    search = f"{{kind: beam, width: {best.width}, length_penalty: {best.length_penalty:g}}}"
    if found.is_written:
        note(f"{chosen.recipe_path}: search is now {search}; change the recipe of 's2s train' too")
    else:
        note(f"the best is {search}: {options}")
