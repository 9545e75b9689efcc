"""`s2s predict`: lines in, labels out."""

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
    examples,
    file_or_standard,
    read_stdin_once,
)
from .options.outputs import Format, NBest, Scores, Workers
from .translate import Input, Output, Resume, listing

EPILOG = examples(
    "s2s predict < reviews.txt",
    "s2s predict --nbest 3 < reviews.txt",
    "s2s predict --run runs/ud-english-pos --input tokens.txt --output tags.txt",
    "s2s predict --scores --format jsonl < reviews.txt",
    "s2s predict --run runs/one --run runs/two < reviews.txt",
)


def predict(
    target_run: RunTarget = None,
    *,
    source: Input = None,
    target: Output = None,
    run: RunNames = None,
    nbest: NBest = None,
    resume: Resume = False,
    device: Device = "auto",
    scores: Scores = False,
    form: Format = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    workers: Workers = 1,
    batch_size: BatchSize = 8192,
) -> None:
    """Label every line, or every word of it, with a model of task classify or tag.

    A line of words between spaces has as many labels between spaces; a blank line has none. --nbest
    lists the most probable labels with their log-probabilities, --scores that of each output.
    """
    from s2s.pipeline.labels import label_search
    from s2s.pipeline.translation import Files, translate_files

    read_stdin_once(input=source or STDIN)
    several = choose_runs(run, runs, target_run)
    translate_files(
        several,
        Files(source=file_or_standard(source), target=file_or_standard(target), resume=resume),
        search=label_search(several[0], nbest or 1),
        batch_size=batch_size,
        workers=workers,
        device=device,
        checkpoint=choose_checkpoint(checkpoint),
        listing=listing(nbest, form, scores),
        use="predict",
    )
