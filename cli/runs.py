"""`s2s runs`: lists runs, or compares two."""

from typing import Annotated

import typer

from .options.common import RUNS, Runs, examples, note, say, say_json

EPILOG = examples(
    "s2s runs",
    "s2s runs --runs /data/runs --json",
    "s2s runs small large",
)


def runs(
    pair: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN RUN]", help="Two runs to compare, by folder or name."),
    ] = None,
    *,
    runs: Runs = RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the runs with their scores, or compare two.

    The list shows of every run its task, the best validation score, the time and the size of its
    training, and its state; the latest run comes first. With two runs, what differs between their
    recipes and the scores in their logs.
    """
    from s2s.errors import UsageError

    if pair:
        if len(pair) != 2:
            count = len(pair)
            advice = "; s2s report describes one" if count == 1 else ""
            raise UsageError(f"runs: expected two runs to compare, found {count}{advice}")
        from s2s.report.comparison import compare_runs
        from s2s.run.finding import find_run

        found = compare_runs(find_run(pair[0], runs), find_run(pair[1], runs))
        if as_json:
            say_json(found.as_json())
            return
        for line in found.lines():
            say(line)
        return
    from s2s.run.summary import list_runs

    listed = list_runs(runs)
    if as_json:
        say_json([run.as_json() for run in listed])
    elif not listed:
        note(f"{runs}: no run here yet; s2s train makes one")
    else:
        from s2s.report.runs_table import runs_table

        for line in runs_table(listed):
            say(line)
