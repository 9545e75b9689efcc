"""Options of the architecture: quality and time of each, on one recipe with equal updates.

    python benchmarks/architecture.py RECIPE [OPTION ...] [--updates 2000] [--set KEY=VALUE]
    python benchmarks/architecture.py RECIPE --show

Each option trains by the recipe on one thread, with the same seed and number of updates and without
early stopping; then its best checkpoint translates the validation set, greedy and with a beam of 5.
Runs are kept under `runs/architecture/` and listed by `--show`, in the order in which options stand
here. Seconds are the processor's of the whole training, validations included.
"""

import argparse
import json
import os

os.environ["OMP_NUM_THREADS"] = "1"

import time
from pathlib import Path

import torch

from s2s import pipeline
from s2s.pipeline.evaluation import evaluate
from s2s.recipe.load import load_recipe
from s2s.recipe.search import BeamSearch, GreedySearch, Search
from s2s.run.directory import Run

OPTIONS: dict[str, tuple[str, ...]] = {
    "recipe": (),
    "heads-2": ("model.attention.heads=2",),
    "heads-4": ("model.attention.heads=4",),
    "heads-8": ("model.attention.heads=8",),
    "scaled-dot-4": ("model.attention={kind: scaled_dot, heads: 4}",),
    "additive": ("model.attention={kind: additive}",),
    "additive-4": ("model.attention={kind: additive, heads: 4}",),
    "encoder-deep-2": ("model.encoder.transitions=2",),
    "decoder-deep-2": ("model.decoder.transitions=2",),
    "deep-2": ("model.encoder.transitions=2", "model.decoder.transitions=2"),
    "deep-4": ("model.encoder.transitions=4", "model.decoder.transitions=4"),
    "bideep": (
        "model.encoder={layers: 2, transitions: 2}",
        "model.decoder={kind: stacked, layers: 2, transitions: 2}",
    ),
    "luong": ("model.decoder={kind: luong}",),
    "input-feeding": ("model.decoder={kind: luong, input_feeding: true}",),
    "bahdanau": ("model.decoder={kind: bahdanau}",),
    "conditional": ("model.decoder={kind: conditional}",),
    "conditional-gru": ("model.decoder={kind: conditional, cell: {kind: gru}}",),
    "conditional-deep-2": ("model.decoder={kind: conditional, transitions: 2}",),
    "conditional-4": ("model.decoder={kind: conditional}", "model.attention.heads=4"),
}
"""The settings of each, over those of the recipe. A decoder given whole has the recipe's width."""

SEARCHES: dict[str, Search] = {
    "greedy": GreedySearch(kind="greedy"),
    "beam 5": BeamSearch(kind="beam", width=5),
}

RESULT = "architecture.json"


def settings(recipe: str, option: str, given: argparse.Namespace) -> list[str]:
    """The settings of a run, whose sections keep the widths of the recipe's."""
    model = load_recipe(recipe, given.sets).model
    widths = [f"model.{side}.width={getattr(model, side).width}" for side in ("encoder", "decoder")]
    equal = [f"train.max_updates={given.updates}", "train.patience=null", "train.epochs=100000"]
    return [f"name={option}", *given.sets, *OPTIONS[option], *widths, *equal]


def train(recipe: str, option: str, given: argparse.Namespace) -> Run:
    """Train one option, and score it."""
    torch.set_num_threads(1)
    loaded = load_recipe(recipe, settings(recipe, option, given))
    began = time.process_time()
    pipeline.train(loaded, runs=given.runs, device="cpu", restart=True)
    seconds = time.process_time() - began
    run = Run.open(given.runs / option)
    scores = {}
    for name, search in SEARCHES.items():
        found = evaluate(run=run, split="validation", search=search, device="cpu").scores
        scores[name] = {one.name: one.value for one in found.values}
    (run.folder / RESULT).write_text(json.dumps({"seconds": seconds, "scores": scores}, indent=1))
    return run


def row(run: Run) -> str:
    """A row of the table."""
    events = list(run.read_events())
    start = next(event for event in events if event["event"] == "start")
    validations = [event for event in events if event["event"] == "validation"]
    found = json.loads((run.folder / RESULT).read_text())
    scores = " | ".join(
        ", ".join(f"{name} {value:.1f}" for name, value in found["scores"][search].items())
        for search in SEARCHES
    )
    loss = min(event["nll"] for event in validations)
    parameters = start["parameters"] / 1e6
    return f"| {run.name} | {parameters:.1f} M | {loss:.3f} | {scores} | {found['seconds']:,.0f} |"


def main() -> None:
    """Train the options, or list what is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("options", nargs="*", metavar="OPTION", choices=[*OPTIONS, []])
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--runs", type=Path, default=Path("runs/architecture"))
    parser.add_argument("--show", action="store_true")
    given = parser.parse_args()
    for option in given.options or (() if given.show else OPTIONS):
        train(given.recipe, option, given)
    done = [given.runs / option for option in OPTIONS if (given.runs / option / RESULT).is_file()]
    print("| option | parameters | validation loss | greedy | beam 5 | seconds |")
    print("| --- " * 6 + "|")
    print("\n".join(row(Run.open(folder)) for folder in done))


if __name__ == "__main__":
    main()
