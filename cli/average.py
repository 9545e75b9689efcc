"""`s2s average`: averages the weights of several checkpoints of a run."""

from typing import TYPE_CHECKING, Annotated

import typer

from .options.common import (
    RUNS,
    AsJson,
    Device,
    RunOption,
    Runs,
    RunTarget,
    choose_run,
    examples,
    note,
    run_of,
    say,
    say_json,
    whole_numbers,
)

if TYPE_CHECKING:
    from s2s.pipeline.averaging import Members

EPILOG = examples(
    "s2s average",
    "s2s translate --checkpoint average < input.txt",
    "s2s average multi30k-de-en --best 3 --name best3",
    "s2s average --steps 7555,7933,8311",
)


def average(
    run: RunTarget = None,
    *,
    run_option: RunOption = None,
    runs: Runs = RUNS,
    last: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="The last N checkpoints; by default 5 or fewer."),
    ] = None,
    best: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="The N best checkpoints on validation.")
    ] = None,
    steps: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="The checkpoints of these updates.")
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the average for --checkpoint.")
    ] = "average",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Average the weights of checkpoints.

    The average is saved in the run; `--checkpoint average` selects it. With validation data, its
    scores are printed beside those of the best single checkpoint. Training keeps the last and the
    best checkpoint, and more weights with `train.keep`.
    """
    members = _members(last, best, steps)
    chosen = choose_run(run_of(run, run_option), runs)
    from s2s.pipeline.averaging import average as make

    made = make(run=chosen, members=members, name=name, device=device)
    if as_json:
        found = {"run": str(chosen.folder), **made.as_json()}
        say_json(found)
    else:
        for line in made.lines():
            say(line)
    note(f"{chosen.folder}: saved; --checkpoint {name} selects it")


def _members(last: int | None, best: int | None, steps: str | None) -> "Members":
    from s2s.errors import UsageError
    from s2s.pipeline.averaging import Members

    if sum(choice is not None for choice in (last, best, steps)) > 1:
        raise UsageError("--last, --best, --steps: expected one of them")
    if steps is not None:
        return Members(kind="steps", steps=whole_numbers("--steps", steps))
    return Members(kind="last" if best is None else "best", count=last or best)
