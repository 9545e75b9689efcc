"""`s2s compare`: compares outputs for the same lines with paired tests."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2s.recipe.metrics import MetricName, only_of_runs, text_metrics

from .options.common import (
    RUNS,
    STDIN,
    AsJson,
    BatchSize,
    Checkpoint,
    Device,
    Runs,
    choose_checkpoint,
    choose_search,
    examples,
    read_stdin_once,
    say,
    say_json,
)
from .options.grouped import grouped
from .options.panels import TESTS
from .options.scoring import (
    Lowercase,
    MetricChoice,
    Metrics,
    Split,
    SplitChoice,
    Stem,
    Synonyms,
    Tokenize,
    Tokens,
    read_as,
)
from .options.search import SearchOptions

if TYPE_CHECKING:
    from s2s.metrics.comparison import Contest
    from s2s.pipeline.comparison import RunSystem
    from s2s.recipe.recipe import Recipe


class Test(StrEnum):
    """Paired tests."""

    RANDOMIZATION = "randomization"
    BOOTSTRAP = "bootstrap"


EPILOG = examples(
    "s2s compare runs/small runs/large",
    "s2s compare runs/one runs/one+runs/two",
    "s2s compare old.en new.en --reference test.en --source test.de",
    "s2s compare marian.en runs/multi30k-de-en --metric bleu --lines 3",
    "s2s compare a.txt b.txt c.txt --reference r.txt --metric cer --test bootstrap --json",
)


@grouped
def compare(
    outputs: Annotated[
        list[str],
        typer.Argument(
            metavar="OUTPUT...",
            help="Two outputs or more, each a file (- is stdin), a run, or runs joined as RUN+RUN; "
            "the first is the baseline.",
        ),
    ],
    *,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="References, or - for stdin; by default those of a run; repeatable.",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Sources, to print with files of output, or - for stdin."
        ),
    ] = None,
    metrics: Metrics = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help="Score by which lines differ most, such as rougeL.",
            rich_help_panel=TESTS,
        ),
    ] = None,
    lines: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Print the N lines that differ most.", rich_help_panel=TESTS
        ),
    ] = 10,
    test: Annotated[
        Test,
        typer.Option(
            help="Paired test: approximate randomization or bootstrap.", rich_help_panel=TESTS
        ),
    ] = Test.RANDOMIZATION,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of trials; by default 10,000, or 1,000 for the bootstrap.",
            rich_help_panel=TESTS,
        ),
    ] = None,
    as_json: AsJson = False,
    tokenize: Tokenize = None,
    lowercase: Lowercase = False,
    stem: Stem = None,
    synonyms: Synonyms = None,
    rouge_tokens: Tokens = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    split: SplitChoice = Split.TEST,
    device: Device = "auto",
    batch_size: BatchSize = 1024,
    search: SearchOptions,
) -> None:
    """Compare outputs by scores, paired tests and single lines.

    Prints p-values, the numbers of better and worse lines, and the lines that differ most.

    An output is a file, a run, which translates its test set, or several runs joined by +, whose
    models are averaged. The first output is the baseline of the others. The default metrics are
    those of the first run's recipe, or BLEU and chrF for files.
    """
    from s2s.errors import UsageError
    from s2s.pipeline.comparison import RunSystem, compare_systems

    read_stdin_once(OUTPUT=[Path(name) for name in outputs], reference=reference, source=source)
    if len(outputs) < 2:
        raise UsageError("compare: expected two outputs or more, found one")
    which = choose_checkpoint(checkpoint)
    systems = [_system(name, runs, search) for name in outputs]
    recipe = next((one.run.recipe for one in systems if isinstance(one, RunSystem)), None)
    reading = {
        "tokenize": tokenize,
        "lowercase": lowercase or None,
        "stem": stem,
        "synonyms": synonyms,
        "rouge_tokens": rouge_tokens,
    }
    found, text = compare_systems(
        systems=systems,
        contest=_contest(metrics, recipe, reading, (test, samples, by, lines)),
        references=reference or (),
        source=source,
        split=split.value,
        batch_size=batch_size,
        device=device,
        checkpoint=which,
    )
    if as_json:
        say_json(found.as_json())
        return
    for line in text:
        say(line)


def _system(name: str, runs: Path, search: SearchOptions) -> "Path | RunSystem":
    """A file, a run, or several runs joined by `+` where no file or folder has that name."""
    from s2s.errors import UsageError
    from s2s.pipeline.comparison import RunSystem
    from s2s.run.finding import find_run

    if Path(name).is_file() or Path(name) == STDIN:
        return Path(name)
    names = [name] if Path(name).exists() else name.split("+")
    if not all(names):
        raise UsageError(f"{name}: expected names of runs on both sides of +")
    run, *others = (find_run(one, runs) for one in names)
    return RunSystem(run, choose_search(run, search), tuple(others))


def _contest(
    metrics: list[MetricChoice] | None,
    recipe: "Recipe | None",
    reading: dict[str, Any],
    how: tuple[Test, int | None, str | None, int],
) -> "Contest":
    from s2s.errors import UsageError
    from s2s.metrics.comparison import Contest
    from s2s.metrics.resampling import RESAMPLES, SHUFFLES, Paired
    from s2s.recipe.scoring import Scoring

    test, samples, by, lines = how
    named: tuple[MetricName, ...] = tuple(metric.value for metric in metrics or ())
    for name in named:
        if only_of_runs(name):
            raise UsageError(
                f"{name}: expected a metric of text; metrics of runs cannot be compared"
            )
    if not named and recipe is not None:
        named = recipe.metrics
    texts = text_metrics(named)
    default = RESAMPLES if test is Test.BOOTSTRAP else SHUFFLES
    return Contest(
        metrics=texts or ("bleu", "chrf"),
        scoring=read_as(recipe.scoring if recipe else Scoring(), reading),
        test=Paired(test.value, samples or default),
        by=by,
        num_lines=lines,
    )
