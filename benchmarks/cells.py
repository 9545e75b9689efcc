"""Cells of the recurrent layers: quality and speed on one corpus.

    python benchmarks/cells.py RECIPE [CELL ...] [--set KEY=VALUE]
    python benchmarks/cells.py RECIPE --show
    python benchmarks/cells.py RECIPE --speed [--rounds 5]

Each cell, in encoder and decoder, trains by the recipe on one thread; then the test set of the
recipe is translated, greedy and with a beam of 5, and scored. Runs are kept under `runs/cells/` and
listed by `--show`. `--speed` measures training and search of all runs in turns, round by round, so
that other work on the machine troubles all alike; figures are medians, seconds the processor's.
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
from s2s.data.batches import batch_plan, collate
from s2s.data.preparation.prepare import open_corpus
from s2s.inference.load import load_translator
from s2s.inference.translator import LineTranslator
from s2s.nn.batch import Batch
from s2s.pipeline.evaluation import evaluate
from s2s.recipe.load import load_recipe
from s2s.recipe.search import BeamSearch, GreedySearch, Search
from s2s.run.directory import Run
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.tasks.seq2seq.task import Seq2SeqTask
from s2s.text.tokenizer_pair import load_tokenizers
from s2s.training.state import TrainingState
from s2s.training.trainer import TIME_MULTIPLE
from s2s.training.update import Updater

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

SEARCHES: dict[str, Search] = {
    "greedy": GreedySearch(kind="greedy"),
    "beam 5": BeamSearch(kind="beam", width=5),
}

UPDATES, LINES = 20, 200
"""Updates, and lines to translate, of a round of `--speed`."""


def train(recipe: str, cell: str, options: argparse.Namespace) -> Run:
    """Train one cell."""
    torch.set_num_threads(1)
    suffix = "".join(f"+{one}" for one in options.sets if "cell" not in one)
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{cell}{suffix}")
    sides = [f"model.{side}.cell={CELLS[cell]}" for side in ("encoder", "decoder")]
    loaded = load_recipe(recipe, [f"name={name}", *sides, *options.sets])
    pipeline.train(loaded, runs=options.runs, device="cpu", restart=True)
    return Run.open(options.runs / name)


def score(run: Run) -> None:
    """Score the test set with each search."""
    found = {}
    for name, search in SEARCHES.items():
        scores = evaluate(run=run, search=search, device="cpu").scores
        found[name] = scores.as_json()["bleu"]
    (run.folder / "cells.json").write_text(json.dumps(found, indent=1))


class Contender:
    """A run whose speed is measured."""

    def __init__(self, run: Run) -> None:
        self.run = run
        corpus = open_corpus(run.folder, "train")
        task = Seq2SeqTask(run.recipe, load_tokenizers(run.tokenizer_folder))
        state = TrainingState(task.initial_model(corpus).train(), run.recipe.train)
        objective = Seq2SeqObjective(run.recipe.train)
        self.updater = Updater(state, objective, 1, "bf16", 10_000)
        lengths = (corpus.source_lengths, corpus.target_lengths)
        size = run.recipe.train.fixed_batch_tokens
        plan = batch_plan(lengths, size, seed=1, epoch=0, multiple=TIME_MULTIPLE)
        self.batches: list[Batch] = [
            collate(corpus, plan[index], TIME_MULTIPLE) for index in range(UPDATES)
        ]
        self.translators: dict[str, LineTranslator] = {
            name: load_translator(run, search=search, device="cpu")
            for name, search in SEARCHES.items()
        }
        sources = open_corpus(run.folder, "test").source_texts
        assert sources is not None
        self.lines = sources[:LINES]
        self.rates: dict[str, list[float]] = {name: [] for name in ("training", *SEARCHES)}

    def measure(self) -> None:
        """Measure a round."""
        began = time.process_time()
        tokens = sum(self.updater([batch]).tokens for batch in self.batches)
        self.rates["training"].append(tokens / (time.process_time() - began))
        for name, translator in self.translators.items():
            began = time.process_time()
            translator(self.lines)
            self.rates[name].append(len(self.lines) / (time.process_time() - began))

    def row(self) -> str:
        """Medians."""
        cells = " | ".join(f"{median(rates):,.0f}" for rates in self.rates.values())
        return f"| {self.run.name} | {cells} |"


def speed(runs: list[Run], rounds: int) -> None:
    """Print the speeds of runs, measured in turns after a round that prepares them."""
    torch.set_num_threads(1)
    contenders = [Contender(run) for run in runs]
    for number in range(rounds + 1):
        for one in contenders:
            one.measure()
            if not number:
                one.rates = {name: [] for name in one.rates}
    print("| cell | training, target tokens/s | greedy, sentences/s | beam 5, sentences/s |")
    print("| --- " * 4 + "|")
    for one in contenders:
        print(one.row())


def row(run: Run) -> str:
    """A row of the table of quality."""
    events = list(run.read_events())
    start = next(event for event in events if event["event"] == "start")
    end = [event for event in events if event["event"] == "end"][-1]
    validations = [event for event in events if event["event"] == "validation"]
    best = max(event["scores"]["bleu"]["value"] for event in validations)
    found = json.loads((run.folder / "cells.json").read_text())
    scores = " | ".join(f"{found[name]['value']:.1f}" for name in SEARCHES)
    return (
        f"| {run.name} | {start['parameters'] / 1e6:.1f} M | {end['epoch']} | {best:.1f} | "
        f"{scores} |"
    )


def main() -> None:
    """Train and score the cells, list what is there, or measure speeds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("cells", nargs="*", metavar="CELL", choices=[*CELLS, []])
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--runs", type=Path, default=Path("runs/cells"))
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for cell in options.cells:
        score(train(options.recipe, cell, options))
    runs = [Run.open(path.parent) for path in sorted(options.runs.glob("*/cells.json"))]
    if options.show:
        print("| cell | parameters | epochs | validation, greedy | test, greedy | test, beam 5 |")
        print("| --- " * 6 + "|")
        print("\n".join(map(row, runs)))
    if options.speed:
        speed(runs, options.rounds)


if __name__ == "__main__":
    main()
