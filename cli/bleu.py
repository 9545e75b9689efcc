"""`s2s bleu`: score a run's test set, or any translation against reference files."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    RUNS,
    BatchSize,
    Beam,
    Checkpoint,
    Device,
    LengthPenalty,
    RunNames,
    Runs,
    SearchChoice,
    choose_checkpoint,
    choose_runs,
    choose_search,
    examples,
    note,
)

if TYPE_CHECKING:
    from s2s.evaluation import Evaluation

EPILOG = examples(
    "s2s bleu",
    "s2s bleu --split validation --search greedy --json",
    "s2s bleu --run runs/one --run runs/two",
    "s2s bleu reference.en < output.en",
    "s2s bleu reference1.en reference2.en --confidence < output.en",
)


class Split(StrEnum):
    """What a run can be scored on."""

    TEST = "test"
    VALIDATION = "validation"


class Tokenization(StrEnum):
    """Tokenizations of sacrebleu; some need an extra package, which sacrebleu names."""

    T13A = "13a"
    INTL = "intl"
    ZH = "zh"
    JA_MECAB = "ja-mecab"
    KO_MECAB = "ko-mecab"
    CHAR = "char"
    NONE = "none"
    SPM = "spm"
    FLORES101 = "flores101"
    FLORES200 = "flores200"


def bleu(
    references: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="REF...", help="Score the translations on stdin against these files."
        ),
    ] = None,
    *,
    run: RunNames = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    split: Annotated[Split, typer.Option(help="What to translate and score.")] = Split.TEST,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="95 % intervals by bootstrap resampling.")
    ] = False,
    tokenize: Annotated[
        Tokenization, typer.Option(help="How BLEU splits words.")
    ] = Tokenization.T13A,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Ignore case.")] = False,
    device: Device = "auto",
    batch_size: BatchSize = 1024,
    search: SearchChoice = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
) -> None:
    """Score a run's test set, or any translation.

    Without files the test set is translated first; with files they are the references, and the
    translations are read from stdin. The figures are sacrebleu's own, printed with
    the signatures that make them comparable. With --run given several times, the models'
    probabilities are averaged; test set and recipe are the first run's.
    """
    result: Evaluation
    if references:
        _refuse(
            {
                "--run": bool(run),
                "--checkpoint": checkpoint != "best",
                "--split": split != Split.TEST,
                "--search": search is not None,
                "--beam": beam is not None,
                "--length-penalty": length_penalty is not None,
            }
        )
        if sys.stdin.isatty():
            note("reading translations from the terminal; Ctrl-D ends them")
        from s2s import pipeline

        result = pipeline.score_files(
            references=references,
            hypotheses=sys.stdin.buffer,
            tokenize=tokenize,
            lowercase=lowercase,
            confidence=confidence,
        )
    else:
        chosen, *others = choose_runs(run, runs)
        settings = choose_search(chosen, search, beam, length_penalty)
        which = choose_checkpoint(checkpoint)
        from s2s import pipeline

        result = pipeline.evaluate(
            run=chosen,
            others=tuple(others),
            split=split.value,
            search=settings,
            batch_size=batch_size,
            device=device,
            checkpoint=which,
            tokenize=tokenize,
            lowercase=lowercase,
            confidence=confidence,
        )
    _print(result, as_json)


def _print(result: "Evaluation", as_json: bool) -> None:
    note(result.what if result.saved is None else f"{result.what}; saved as {result.saved}")
    if as_json:
        typer.echo(json.dumps(result.as_json(), ensure_ascii=False))
        return
    for line in result.lines():
        typer.echo(line)


def _refuse(given: dict[str, bool]) -> None:
    """With reference files nothing is translated: an option about that would be ignored."""
    from s2s.errors import UsageError

    options = [name for name, is_given in given.items() if is_given]
    if options:
        listed = ", ".join(options)
        raise UsageError(f"{listed}: with reference files the translations are read from stdin")
