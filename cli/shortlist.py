"""`s2s shortlist`: learns likely target tokens for every source token."""

from pathlib import Path
from typing import Annotated

import typer

from .options.common import RUNS, RunOption, Runs, RunTarget, choose_run, examples, note, run_of

EPILOG = examples(
    "s2s shortlist",
    "s2s shortlist --run runs/multi30k-de-en",
    "s2s shortlist --lexicon lex.s2t.gz",
    "s2s translate --shortlist 4 < input.txt",
)


def shortlist(
    run: RunTarget = None,
    *,
    run_option: RunOption = None,
    runs: Runs = RUNS,
    lexicon: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Read lines 'target source probability' from FILE (also .gz, or - for stdin) "
            "instead of learning them.",
        ),
    ] = None,
) -> None:
    """Learn likely target tokens for `s2s translate --shortlist`.

    The shortlist is learned from the run's training data (IBM Model 1) and saved in the run. FILE
    may be a lexicon of Moses or Marian, in words or in tokens of the tokenizer, compressed or not.
    """
    chosen = choose_run(run_of(run, run_option), runs)
    from s2s.pipeline.shortlist import covered, learn_shortlist
    from s2s.recipe.search import GreedySearch

    made = learn_shortlist(chosen, lexicon)
    origin = f"read from {lexicon}" if lexicon else f"learned from {made.pairs:,} sentence pairs"
    if lexicon is None and made.pairs < made.all_pairs:
        origin += f", a sample of {made.all_pairs:,}"
    note(
        f"{made.path}: {origin}; {made.known:,} of {made.source_vocabulary:,} source tokens have "
        "translations"
    )
    best, frequent = 4, GreedySearch(kind="greedy").shortlist_frequent
    share = covered(chosen, best, frequent)
    if share is not None:
        note(f"--shortlist {best} holds {share:.1%} of the tokens of the validation references")
