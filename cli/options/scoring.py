"""Options and work of the commands that score."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2s.recipe.choices import RougeTokens, Tokenization
from s2s.recipe.metrics import METRICS, MetricName, only_of_runs, text_metrics

from .common import (
    RUNS,
    STDIN,
    AsJson,
    BatchSize,
    Checkpoint,
    Device,
    RunNames,
    Runs,
    choose_checkpoint,
    choose_runs,
    choose_search,
    note,
    read_stdin_once,
    say,
    say_json,
)
from .fusion import Lm, LmWeight, choose_fusion
from .grouped import changed
from .outputs import GlossaryFile, GlossaryIgnoreCase, choose_glossary
from .panels import READING
from .search import SearchOptions

if TYPE_CHECKING:
    from s2s.metrics.corpus import Request
    from s2s.pipeline.evaluation import Evaluation
    from s2s.recipe.scoring import Scoring
    from s2s.run.directory import Run


class Split(StrEnum):
    """Splits that can be scored."""

    TEST = "test"
    VALIDATION = "validation"


if TYPE_CHECKING:

    class MetricChoice(StrEnum):
        """Metrics, as recipes name them."""

else:  # typer has no lists of Literal
    MetricChoice = StrEnum("MetricChoice", {name: name for name in METRICS})


ReferenceFiles = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="REF...",
        help="Score the output on stdin, or that of --hypotheses, against these files.",
    ),
]
Hypotheses = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="With REF: the output to score (also .gz), by default stdin (or -)."
    ),
]
SplitChoice = Annotated[Split, typer.Option(help="Split to translate and score.")]
Confidence = Annotated[
    bool, typer.Option("--confidence", help="Add 95 % intervals by bootstrap resampling.")
]
Tokenize = Annotated[
    Tokenization | None,
    typer.Option(
        help="Tokenization of metrics of words; by default the recipe's or 13a; ptb for captions.",
        rich_help_panel=READING,
    ),
]
Lowercase = Annotated[
    bool, typer.Option("--lowercase", help="Ignore case.", rich_help_panel=READING)
]
Stem = Annotated[
    bool | None,
    typer.Option(
        "--stem/--no-stem", help="Compare English word stems in ROUGE.", rich_help_panel=READING
    ),
]
Synonyms = Annotated[
    bool | None,
    typer.Option(
        "--synonyms/--no-synonyms",
        help="Match synonyms in METEOR, if WordNet is installed.",
        rich_help_panel=READING,
    ),
]
Tokens = Annotated[
    RougeTokens | None,
    typer.Option(
        "--rouge-tokens",
        help="Tokens of ROUGE: its own, runs of a-z and 0-9, or words between spaces.",
        rich_help_panel=READING,
    ),
]
ShowConfusion = Annotated[
    bool,
    typer.Option(
        "--confusion", help="Add the confusion matrix of labels: a row for each of the reference's."
    ),
]
Metrics = Annotated[
    list[MetricChoice] | None,
    typer.Option(
        "--metric",
        metavar="METRIC",
        help=f"Metric: {', '.join(METRICS)}; by default those of the recipe; repeatable.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The run to score, its split, and the format of scores."""

    run: RunNames = None
    runs: Runs = RUNS
    checkpoint: Checkpoint = "best"
    split: SplitChoice = Split.TEST
    as_json: AsJson = False
    confidence: Confidence = False
    lowercase: Lowercase = False
    device: Device = "auto"
    batch_size: BatchSize = 1024
    hypotheses: Hypotheses = None
    lm: Lm = None
    lm_weight: LmWeight = None
    glossary: GlossaryFile = None
    glossary_ignore_case: GlossaryIgnoreCase = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The request of a command line."""

    references: list[Path] | None
    """Reference files for an output on stdin; None for a run."""
    metrics: tuple[MetricName, ...] = ()
    """Empty for the recipe's metrics."""
    reading: dict[str, Any]
    """Values of fields of `Scoring`, except case; None for the recipe's value."""
    confusion: bool = False
    """Whether to count which labels were taken for which."""
    scored: Scored
    search: SearchOptions


def score(asked: Asked) -> None:
    """Compute the scores and print them."""
    if asked.scored.hypotheses is not None and not asked.references:
        from s2s.errors import UsageError

        raise UsageError("--hypotheses: expected files of references too, REF...")
    result = _score_files(asked, asked.references) if asked.references else _score_run(asked)
    for line in result.notes():
        note(line)
    if asked.scored.as_json:
        say_json(result.as_json())
        return
    for line in result.lines():
        say(line)


def read_as(base: "Scoring", given: dict[str, Any]) -> "Scoring":
    """`base` with the given values; None changes nothing."""
    from s2s.errors import UsageError

    try:
        return replace(base, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise UsageError(str(error)) from error


def _score_run(asked: Asked) -> "Evaluation":
    scored = asked.scored
    run, *others = choose_runs(scored.run, scored.runs)
    search = choose_search(run, asked.search)
    which = choose_checkpoint(scored.checkpoint)
    request = _request(asked, run)
    from s2s import pipeline

    return pipeline.evaluate(
        run=run,
        others=tuple(others),
        split=scored.split.value,
        search=search,
        batch_size=scored.batch_size,
        device=scored.device,
        checkpoint=which,
        request=request,
        fusion=choose_fusion(scored.lm, scored.lm_weight, scored.runs),
        glossary=choose_glossary(scored.glossary, scored.glossary_ignore_case),
    )


def _score_files(asked: Asked, references: list[Path]) -> "Evaluation":
    from s2s.errors import DataError
    from s2s.files import did_you_mean_file

    # The recipe of a run is used only if the command line names no metrics.
    run = None if asked.metrics else choose_runs(asked.scored.run, asked.scored.runs)[0]
    _refuse(asked, is_run_used=run is not None)
    hypotheses = asked.scored.hypotheses or STDIN
    read_stdin_once(REF=references, hypotheses=hypotheses)
    for path in references:
        if path != STDIN and not path.exists():
            raise DataError(
                f"{path}: no such file of references{did_you_mean_file(path)}; to score the test "
                f"set of a run: --run {path}"
            )
    request = _request(asked, run)
    if run is not None:
        request = _of_text(request)
    if hypotheses == STDIN and sys.stdin is not None and sys.stdin.isatty():
        note("reading the output to score from the terminal; end it with Ctrl-D")
    from s2s import pipeline
    from s2s.text.lines import open_input

    name = "stdin" if hypotheses == STDIN else str(hypotheses)
    with ExitStack() as stack:
        stream = open_input(hypotheses)
        if hypotheses != STDIN:
            stack.callback(stream.close)
        return pipeline.score_files(
            references=references, hypotheses=stream, request=request, name=name
        )


def _of_text(request: "Request") -> "Request":
    """The request without metrics of runs, each with a note."""
    for name in request.metrics:
        if reason := only_of_runs(name):
            note(f"{name} left out: {reason}")
    return replace(request, metrics=text_metrics(request.metrics))


def _request(asked: Asked, run: "Run | None") -> "Request":
    from s2s.metrics.corpus import Request
    from s2s.recipe.scoring import Scoring

    recipe = run.recipe if run is not None else None
    reading = {"lowercase": asked.scored.lowercase or None} | asked.reading
    return Request(
        metrics=asked.metrics or (recipe.metrics if recipe else ()),
        scoring=read_as(recipe.scoring if recipe else Scoring(), reading),
        confidence=asked.scored.confidence,
        confusion=asked.confusion,
    )


def _refuse(asked: Asked, *, is_run_used: bool) -> None:
    """Refuse options of translation, which have no effect with reference files."""
    from s2s.errors import UsageError

    of_lines = ("lm", "lm_weight", "glossary", "glossary_ignore_case")
    names = ("run", "checkpoint", "split", *of_lines)
    options = changed(asked.scored, names[is_run_used:]) + changed(asked.search)
    if options:
        listed = ", ".join(options)
        raise UsageError(f"{listed}: with reference files the translations are read from stdin")
