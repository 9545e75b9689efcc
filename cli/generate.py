"""`s2s generate`: prompts in, continuations out."""

from typing import Annotated

import typer

from .options.common import (
    RUNS,
    STDIN,
    BatchSize,
    Checkpoint,
    Device,
    RunNames,
    Runs,
    RunTarget,
    choose_checkpoint,
    choose_runs,
    choose_search,
    examples,
    file_or_standard,
    read_stdin_once,
)
from .options.grouped import grouped
from .options.outputs import Avoid, Format, Must, NBest, Scores, Workers
from .options.search import SEARCHES, AllSearchOptions
from .translate import Input, Output, Resume, line_constraints, listing

EPILOG = f"{SEARCHES}\n" + examples(
    "s2s generate --prompt 'the company said'",
    "s2s generate --prompt '' --samples 5 --temperature 0.8",
    "s2s generate --run runs/ptb-small --top-p 0.9 --seed 2 < prompts.txt",
    "s2s generate --search beam --beam 5 --nbest 5 --prompt 'shares of'",
    "s2s generate --max-offset 30 --input prompts.txt --output texts.txt",
)

Prompt = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", metavar="TEXT", help="Continue TEXT instead of the lines of stdin; repeatable."
    ),
]


@grouped
def generate(
    target_run: RunTarget = None,
    *,
    prompt: Prompt = None,
    source: Input = None,
    target: Output = None,
    run: RunNames = None,
    search: AllSearchOptions,
    nbest: NBest = None,
    resume: Resume = False,
    device: Device = "auto",
    scores: Scores = False,
    form: Format = None,
    must: Must = None,
    avoid: Avoid = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    workers: Workers = 1,
    batch_size: BatchSize = 8192,
) -> None:
    """Continue prompts with a language model, one a line, to the end of a sentence.

    An empty line is continued from the beginning. Outputs are samples unless the recipe or --search
    says otherwise; --max-offset is the most tokens that follow a prompt. A sample depends on the
    seed and on the number of its line.
    """
    from s2s.errors import UsageError
    from s2s.pipeline.translation import Files, translate_files

    if prompt is not None and (source is not None or target is not None or resume):
        raise UsageError("--prompt is written to stdout; leave out --input, --output and --resume")
    if prompt is None:
        read_stdin_once(input=source or STDIN)
    several = choose_runs(run, runs, target_run)
    translate_files(
        several,
        Files(
            source=file_or_standard(source),
            target=file_or_standard(target),
            resume=resume,
            lines=prompt,
        ),
        search=choose_search(several[0], search),
        batch_size=batch_size,
        workers=workers,
        device=device,
        checkpoint=choose_checkpoint(checkpoint),
        listing=listing(nbest, form, scores or search.samples is not None),
        line_constraints=line_constraints(must=must, avoid=avoid),
        use="generate",
    )
