"""How good the defaults are: corpora of several kinds and sizes, with a time on one core.

    python benchmarks/defaults.py CORPORA multi30k-3000 inflection-fin
    python benchmarks/defaults.py CORPORA multi30k-3000 --set model.dropout.encoder=0.4
    python benchmarks/defaults.py CORPORA --list
    python benchmarks/defaults.py CORPORA --show

CORPORA is a folder with the corpora, each as `datasets` reads it. A cell has nothing but `task` and
`data`; `--set` makes another recipe out of it, to look for a better one. Scores are of validation,
greedy: the test sets are for nothing of this. Time is the processor's, on one thread, so that other
work on the machine does not count. Runs are kept under `runs/` and listed by `--show`.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

import time
from pathlib import Path

import torch

from s2s import pipeline
from s2s.recipe.load import Draft, parse_draft
from s2s.run.directory import Run

TRANSLATION = (
    "kind: dataset, dataset: {folder}/{corpus}, columns: {{source: {source}, target: {target}}}"
)
FEATURES = TRANSLATION.replace("target: {target}", "target: {target}, source_features: features")


def cells() -> dict[str, tuple[str, str, str, str, str]]:
    """Template, folder, source, target and splits of each cell."""
    found = {}
    for size in (300, 1000, 3000, 10000, 29000):
        splits = f"train: 'train[:{size}]', validation: 'validation[:500]', test: null"
        found[f"multi30k-{size}"] = (TRANSLATION, "multi30k", "de", "en", splits)
    for size in (3000, 30782):
        splits = f"train: 'train[:{size}]', validation: 'validation[:800]', test: null"
        found[f"mafand-{size}"] = (TRANSLATION, "mafand_en_swa", "en", "swa", splits)
    own = "test: null"
    for language in ("ady", "fre", "gre", "hun", "kor"):
        name = f"g2p_2020_{language}"
        found[f"g2p-{language}"] = (TRANSLATION, name, "word", "phones", own)
    for language in ("deu", "fin", "tur"):
        name = f"inflection_2023_{language}"
        found[f"inflection-{language}"] = (FEATURES, name, "lemma", "form", own)
    few = "validation: 'validation[:400]', test: null"
    found["headlines"] = (TRANSLATION, "reuters_headlines", "body", "title", few)
    found["subjects"] = (TRANSLATION, "aeslc", "email_body", "subject_line", few)
    some = "validation: 'validation[:1000]'"
    found["dialogue"] = (TRANSLATION, "dailydialog", "utterance", "reply", some)
    return found


def draft_of(folder: Path, cell: str, sets: list[str], budget: str, is_fixed: bool) -> Draft:
    """The recipe of a cell: `task` and `data`, and what `--set` adds."""
    template, corpus, source, target, splits = cells()[cell]
    data = template.format(folder=folder.resolve(), corpus=corpus, source=source, target=target)
    unseen = ", filters: {unseen: pairs}" if cell == "dialogue" else ""
    text = f"task: translation\ndata: {{{data}, splits: {{{splits}}}{unseen}}}\n"
    suffix = "".join(f"+{one.split('.')[-1]}" for one in sets) + "+fixed" * is_fixed
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{cell}{suffix}")
    named = [*sets, f"name={name}", f"train.budget={budget}"]
    return parse_draft(Path("recipe.yaml"), text.encode(), named)


class ProcessorTime:
    """The clock of training: seconds of the processor, which other processes do not take."""

    monotonic = perf_counter = staticmethod(time.process_time)


def train(draft: Draft, runs: Path, *, is_fixed: bool) -> None:
    import s2s.tasks.defaults.speed as speed_module
    import s2s.training.trainer as trainer_module

    torch.set_num_threads(1)
    trainer_module.time = speed_module.time = ProcessorTime  # type: ignore[attr-defined, assignment]
    recipe = draft.recipe if is_fixed else draft
    pipeline.train(recipe, runs=runs, device="cpu", restart=True)


def line(run: Run) -> str:
    """A row of the table."""
    events = list(run.read_events())
    validations = [event for event in events if event["event"] == "validation"]
    best = [event for event in validations if event["is_best"]][-1]
    recipe, last = run.recipe, events[-1]
    value = best["scores"][recipe.train.best]["value"]
    sizes = f"{recipe.model.embeddings}/{recipe.model.encoder.width}/{recipe.model.decoder.width}"
    return (
        f"| {run.name} | {recipe.train.best} {value:.2f} | {last['seconds'] / 60:.1f} | "
        f"{last['epoch']} | {last['update']:,} | {sizes} | {recipe.train.batch_tokens} | "
        f"{recipe.model.dropout.encoder:g} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpora", type=Path)
    parser.add_argument("cells", nargs="*", metavar="CELL")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--budget", default="15 min")
    parser.add_argument("--fixed", action="store_true", help="choose nothing to fit the data")
    parser.add_argument("--runs", type=Path, default=Path("runs/defaults"))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    if options.list:
        print("\n".join(cells()))
    for cell in options.cells:
        draft = draft_of(options.corpora, cell, options.sets, options.budget, options.fixed)
        train(draft, options.runs, is_fixed=options.fixed)
    if options.show:
        print("| cell | best validation | minutes | epochs | updates | widths | batch | dropout |")
        print("| --- " * 8 + "|")
        for path in sorted(options.runs.glob("*/checkpoints.json")):
            print(line(Run.open(path.parent)))


if __name__ == "__main__":
    main()
