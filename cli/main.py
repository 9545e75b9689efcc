"""The program `s2s`: its commands, and the place where errors become lines on stderr."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

import s2s
from s2s.errors import (
    Interrupted,
    RecipeError,
    S2sError,
    UsageError,
    ran_out_of_memory,
    shortened,
)
from s2s.messages import STDOUT, prepare_streams, printable
from s2s.nn.threads import spin_briefly

from .attention import EPILOG as ATTENTION_EPILOG
from .attention import attention
from .average import EPILOG as AVERAGE_EPILOG
from .average import average
from .bench import EPILOG as BENCH_EPILOG
from .bench import bench
from .bleu import EPILOG as BLEU_EPILOG
from .bleu import bleu
from .check import EPILOG as CHECK_EPILOG
from .check import check
from .compare import EPILOG as COMPARE_EPILOG
from .compare import compare
from .doctor import EPILOG as DOCTOR_EPILOG
from .doctor import doctor
from .evaluate import EPILOG as EVALUATE_EPILOG
from .evaluate import evaluate
from .export import EPILOG as EXPORT_EPILOG
from .export import export
from .features import EPILOG as FEATURES_EPILOG
from .features import features
from .generate import EPILOG as GENERATE_EPILOG
from .generate import generate
from .init import EPILOG as INIT_EPILOG
from .init import init
from .inspect import inspect
from .options.common import examples, note
from .options.lazy import lazy_group
from .options.messages import Quiet, Verbose, remember
from .options.panels import MESSAGES, WIDEST, SectionedGroup
from .options.wrong_values import reason_of
from .predict import EPILOG as PREDICT_EPILOG
from .predict import predict
from .prep import EPILOG as PREP_EPILOG
from .prep import prep
from .pull import EPILOG as PULL_EPILOG
from .pull import pull
from .push import EPILOG as PUSH_EPILOG
from .push import push
from .recipes import recipes
from .report import EPILOG as REPORT_EPILOG
from .report import report
from .rouge import EPILOG as ROUGE_EPILOG
from .rouge import rouge
from .runs import EPILOG as RUNS_EPILOG
from .runs import runs
from .score import EPILOG as SCORE_EPILOG
from .score import score
from .serve import EPILOG as SERVE_EPILOG
from .serve import serve
from .shortlist import EPILOG as SHORTLIST_EPILOG
from .shortlist import shortlist
from .sweep import EPILOG as SWEEP_EPILOG
from .sweep import sweep
from .train import EPILOG as TRAIN_EPILOG
from .train import train
from .translate import EPILOG as TRANSLATE_EPILOG
from .translate import translate
from .tune_rerank import EPILOG as TUNE_RERANK_EPILOG
from .tune_rerank import tune_rerank
from .tune_search import EPILOG as TUNE_EPILOG
from .tune_search import tune_search

INTERRUPTED = 130
"""Exit status after Ctrl-C, by the convention of shells: 128 plus the signal's number."""

# The error of a command line that typer does not understand. It comes from click, of which newer
# versions of typer have a copy; this finds the class in both.
_ClickError: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)

app = typer.Typer(
    help="Train and use LSTM sequence-to-sequence models with attention, one YAML recipe each.",
    epilog=examples(
        "s2s recipes copy quickstart",
        "s2s prep",
        "s2s train recipe.yaml",
        "s2s translate < input.txt",
        "s2s bleu",
    ),
    cls=SectionedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST},
    # Plain help starts quickly and is the same in a pipe as in a terminal.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command(epilog=INIT_EPILOG)(init)
app.command(epilog=PREP_EPILOG)(prep)
app.command(epilog=TRAIN_EPILOG)(train)
app.command(epilog=SWEEP_EPILOG)(sweep)
app.command(epilog=TRANSLATE_EPILOG)(translate)
app.command(epilog=GENERATE_EPILOG)(generate)
app.command(epilog=PREDICT_EPILOG)(predict)
app.command(epilog=BLEU_EPILOG)(bleu)
app.command(epilog=ROUGE_EPILOG)(rouge)
app.command(epilog=EVALUATE_EPILOG)(evaluate)
app.command(epilog=COMPARE_EPILOG)(compare)
app.command(epilog=ATTENTION_EPILOG)(attention)
app.command(epilog=SCORE_EPILOG)(score)
app.command(epilog=AVERAGE_EPILOG)(average)
app.command(epilog=RUNS_EPILOG)(runs)
app.command(epilog=REPORT_EPILOG)(report)
app.command(epilog=TUNE_EPILOG)(tune_search)
app.command(epilog=TUNE_RERANK_EPILOG)(tune_rerank)
app.command(epilog=SHORTLIST_EPILOG)(shortlist)
app.command(epilog=EXPORT_EPILOG)(export)
app.command(epilog=PUSH_EPILOG)(push)
app.command(epilog=PULL_EPILOG)(pull)
app.command(epilog=FEATURES_EPILOG)(features)
app.command(epilog=SERVE_EPILOG)(serve)
app.command(epilog=BENCH_EPILOG)(bench)
app.command(epilog=CHECK_EPILOG)(check)
app.command(epilog=DOCTOR_EPILOG)(doctor)
app.add_typer(inspect, name="inspect")
app.add_typer(recipes, name="recipes")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[  # `run` removes it from the arguments, so that it may stand anywhere
        bool,
        typer.Option("--debug", help="Print the traceback of an error.", rich_help_panel=MESSAGES),
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Options before a command."""
    remember(context, quiet=quiet, verbose=verbose)
    if version:
        typer.echo(f"s2s {s2s.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> NoReturn:
    """Run the command line of this process."""
    prepare_streams()
    spin_briefly()
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:  # a full disk
        status = status or _report(error)
        _drop_stdout()
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; return its exit status. Errors are printed on stderr, a line each."""
    is_debug = "--debug" in arguments
    plain = [argument for argument in arguments if argument != "--debug"]
    try:
        status = lazy_group(app)(plain, prog_name="s2s", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except Exception as error:  # the one place that catches everything
        if is_debug:
            for line in traceback.format_exc().rstrip("\n").split("\n"):
                typer.echo(printable(line), err=True)
        return _report(error)
    return status if isinstance(status, int) else 0


def _report(error: Exception) -> int:
    """Print an error; return its exit status."""
    if isinstance(error, Interrupted):
        note(str(error))
        return error.exit_status
    if isinstance(error, S2sError):
        for fault in error.faults if isinstance(error, RecipeError) else [error]:
            note(f"error: {shortened(str(fault))}")
        return error.exit_status
    if isinstance(error, _ClickError):
        note(f"error: {shortened(reason_of(error))} (--help lists commands and options)")
        return int(error.exit_code)
    if ran_out_of_memory(error):
        what = " ".join(str(error).split()) or type(error).__name__
        note(
            f"error: out of memory ({shortened(what, 200)}); free some, raise the limit (ulimit -v,"
            " a container's), or take smaller batches or a smaller model"
        )
        return 1
    if isinstance(error, OSError):  # such as a full disk or a file without permission
        is_output = error.filename == STDOUT
        what = f"cannot write the output on stdout: {error.strerror}" if is_output else str(error)
        note(f"error: {shortened(' '.join(what.split()))}")
        return 1
    if isinstance(error, UnicodeEncodeError) and (reason := _unusable_name(error)):
        note(f"error: {reason}")
        return UsageError.exit_status
    what = " ".join(f"{type(error).__name__}: {error}".split())
    note(f"error: {shortened(what)}; this is a bug of s2s, --debug shows the traceback")
    return 1


def _unusable_name(error: UnicodeEncodeError) -> str | None:
    """What to do about the name of a file that cannot be encoded; None if it is no name."""
    name = error.object if len(error.object) < 500 else f"{error.object[:500]}..."
    if error.encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        return f"{name}: no name of a file in {error.encoding}; set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
    if "\udc80" <= error.object[error.start] <= "\udcff":  # a byte that is not UTF-8
        return f"{name}: the name is not UTF-8, and a library needs that; rename the file or folder"
    return None


def _drop_stdout() -> None:
    """Discard further output: its reader has closed the pipe (`| head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
