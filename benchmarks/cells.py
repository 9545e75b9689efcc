"""Cells of the recurrent layers: quality and speed on one corpus, in the same time.

    python benchmarks/cells.py RECIPE [CELL ...] [--budget '8 min'] [--set KEY=VALUE]
    python benchmarks/cells.py RECIPE --show

Each cell, in encoder and decoder, trains for the budget on one thread. Time is the processor's, so
that other work on the machine does not count. Then the test set of the recipe is translated, greedy
and with a beam of 5, in the precision that `--precision` names, and scored. Runs are kept under
`runs/cells/` and listed by `--show`.
"""

import argparse
import json
import os

os.environ["OMP_NUM_THREADS"] = "1"

import time
from pathlib import Path
from statistics import median

import torch

from s2s import pipeline
from s2s.pipeline.evaluation import evaluate
from s2s.recipe.load import load_recipe
from s2s.recipe.search import BeamSearch, GreedySearch
from s2s.run.directory import Run

CELLS = {
    "lstm": "{kind: lstm}",
    "gru": "{kind: gru}",
    "gru-before": "{kind: gru, reset: before}",
    "tanh": "{kind: tanh}",
    "relu": "{kind: relu}",
    "sru": "{kind: sru}",
    "ssru": "{kind: ssru}",
    "mingru": "{kind: mingru}",
    "minlstm": "{kind: minlstm}",
}
"""The section `cell` of each."""


class ProcessorTime:
    """The clock of training: seconds of the processor, which other processes do not take."""

    monotonic = perf_counter = staticmethod(time.process_time)


def train(recipe: str, cell: str, options: argparse.Namespace) -> Run:
    import s2s.training.trainer as trainer_module

    torch.set_num_threads(1)
    trainer_module.time = ProcessorTime  # type: ignore[attr-defined]
    sides = [f"model.{side}.cell={CELLS[cell]}" for side in ("encoder", "decoder")]
    own = [f"name={name_of(cell, options)}", f"train.budget={options.budget}"]
    loaded = load_recipe(recipe, [*own, *sides, *options.sets])
    pipeline.train(loaded, runs=options.runs, device="cpu", restart=True)
    return Run.open(options.runs / name_of(cell, options))


def name_of(cell: str, options: argparse.Namespace) -> str:
    """The name of a cell's run."""
    suffix = "".join(f"+{one}" for one in options.sets)
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{cell}{suffix}")


def measure(run: Run, precision: str) -> None:
    """Score the test set with greedy search and a beam, and note the speed of both."""
    found = {}
    kinds = {
        "greedy": GreedySearch(kind="greedy", precision=precision),  # type: ignore[arg-type]
        "beam 5": BeamSearch(kind="beam", width=5, precision=precision),  # type: ignore[arg-type]
    }
    for name, search in kinds.items():
        began = time.process_time()
        evaluation = evaluate(run=run, search=search, device="cpu")
        seconds = time.process_time() - began
        scores = evaluation.scores
        found[name] = {
            "bleu": scores.value("bleu"),
            "seconds": seconds,
            "signature": scores.as_json()["bleu"].get("signature", ""),
        }
    (run.folder / "cells.json").write_text(json.dumps(found, indent=1))


def row(run: Run, lines: int) -> str:
    """A row of the table."""
    events = list(run.read_events())
    start = next(event for event in events if event["event"] == "start")
    updates = [event for event in events if event["event"] == "update"]
    end = [event for event in events if event["event"] == "end"][-1]
    validations = [event for event in events if event["event"] == "validation"]
    best = max(event["scores"]["bleu"]["value"] for event in validations)
    speed = median(event["tokens_per_second"] for event in updates)
    found = json.loads((run.folder / "cells.json").read_text())
    greedy, beam = found["greedy"], found["beam 5"]
    return (
        f"| {run.name} | {start['parameters'] / 1e6:.1f} M | {speed:,.0f} | "
        f"{end['epoch']} | {best:.1f} | {greedy['bleu']:.1f} | {beam['bleu']:.1f} | "
        f"{lines / greedy['seconds']:,.0f} | {lines / beam['seconds']:,.0f} |"
    )


def main() -> None:
    """Train and measure the cells, or list what is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("cells", nargs="*", metavar="CELL", choices=[*CELLS, []])
    parser.add_argument("--budget", default="8 min")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--runs", type=Path, default=Path("runs/cells"))
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--lines", type=int, default=1000, help="lines of the test set")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    for cell in options.cells:
        measure(train(options.recipe, cell, options), options.precision)
    if options.show:
        print(
            "| cell | parameters | training, tokens/s | epochs | validation | test, greedy | "
            "beam 5 | greedy, sentences/s | beam 5 |"
        )
        print("| --- " * 9 + "|")
        for path in sorted(options.runs.glob("*/cells.json")):
            print(row(Run.open(path.parent), options.lines))


if __name__ == "__main__":
    main()
