"""Time and memory to prepare a corpus and to read it in training, over the size of the corpus.

    python benchmarks/scale.py [--pairs 100000 300000 1000000 3000000] [--batch-tokens 1500]
        [--vocabulary 8000] [--folder DIR] [--text DIR] [--plot FILE.png]

The text is that of prep.py; beyond a million pairs it repeats. Every measurement runs in its own
process, one size after the other:

- prep: `s2s prep` of two text files; wall and processor time, peak memory with and without the
  pages of mapped files;
- input: opening the prepared corpus up to the first batch, then batch after batch without a model;
  seconds, private memory of the process (without mapped files, whose pages the system reclaims when
  it needs them), and target tokens per second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from prep import synthesize

from s2s.recipe.data import FilesData, FileSet
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import SubwordTokenizer
from s2s.recipe.train import Train

LARGEST = 1_000_000
"""Number of random pairs; larger corpora repeat them."""

BATCHES = 3000
"""Number of batches read for the rate, or all of an epoch."""

LOOK = 0.02
"""Seconds between two readings of a process's memory."""

Found = dict[str, float]


def recipe_of(folder: Path, arguments: argparse.Namespace) -> Recipe:
    """A recipe with training files only, since held-out data do not grow."""
    files = FileSet(source=str(folder / "train.de"), target=str(folder / "train.en"))
    return Recipe(
        task="translation",
        data=FilesData(kind="files", train=files),
        tokenizer=SubwordTokenizer(kind="unigram", vocabulary=arguments.vocabulary),
        train=Train(batch_tokens=arguments.batch_tokens),
    )


def write_pairs(folder: Path, base: Path, pairs: int) -> None:
    """Write `pairs` lines: the base files, repeated as often as needed."""
    for side in ("de", "en"):
        with (folder / f"train.{side}").open("wb") as out:
            left = pairs
            while left:
                with (base / f"train.{side}").open("rb") as lines:
                    taken = 0
                    for line in lines:
                        if taken == left:
                            break
                        out.write(line)
                        taken += 1
                left -= taken


def prep(folder: Path, arguments: argparse.Namespace) -> Found:
    """Prepare the files; runs in its own process."""
    from s2s.data.preparation.prepare import prepare

    began = time.perf_counter()
    report = prepare(recipe_of(folder, arguments), folder / "run")
    return {"seconds": time.perf_counter() - began, "kept": report.splits["train"].kept}


def read(folder: Path, arguments: argparse.Namespace) -> Found:
    """Read batches as training does, without a model; runs in its own process."""
    import numpy  # noqa: F401 (imports are not measured)
    import torch  # noqa: F401

    from s2s.data.batches import collate
    from s2s.data.epochs import Epochs
    from s2s.data.preparation.prepare import open_corpus
    from s2s.training.trainer import TIME_MULTIPLE

    before = own_memory()
    began = time.perf_counter()
    corpus = open_corpus(folder / "run", "train")
    epoch = Epochs(corpus, recipe_of(folder, arguments), TIME_MULTIPLE)(0)
    collate(epoch.corpus, epoch.plan[0], TIME_MULTIPLE)
    first = time.perf_counter() - began
    tokens, began = 0, time.perf_counter()
    for place in range(min(BATCHES, len(epoch.plan))):
        batch = collate(epoch.corpus, epoch.plan[place], TIME_MULTIPLE)
        tokens += int(batch.target_lengths.sum())
    seconds = time.perf_counter() - began
    return {
        "first": first,
        "tokens_per_second": tokens / seconds,
        "before": before,
        "after": own_memory(),
        "batches": len(epoch.plan),
    }


def own_memory(process: int | str = "self") -> float:
    """Private memory of a process in MiB, without mapped files (Linux); 0 once it has ended."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0) / 1024


def alone(step: str, folder: Path) -> Found:
    """Run this file again for one step; returns its results, processor time and peak memory."""
    command = [sys.executable, *sys.argv, "--step", step, "--step-folder", str(folder)]
    child = os.spawnv(os.P_NOWAIT, sys.executable, command)
    own = 0.0
    while True:
        own = max(own, own_memory(child))
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        time.sleep(LOOK)
    if status:
        raise SystemExit(os.waitstatus_to_exitcode(status))
    found: Found = json.loads((folder / f"{step}.json").read_text())
    found["processor"] = usage.ru_utime + usage.ru_stime
    found["peak"] = usage.ru_maxrss / 1024
    found["own_peak"] = own
    return found


def measure(pairs: int, base: Path, work: Path) -> tuple[Found, Found]:
    """Measure both steps for one size."""
    folder = work / str(pairs)
    folder.mkdir()
    write_pairs(folder, base, pairs)
    found = alone("prep", folder), alone("read", folder)
    shutil.rmtree(folder)
    return found


def row(pairs: int, prepared: Found, loaded: Found) -> str:
    """One row of the table."""
    return (
        f"| {pairs:,} | {prepared['seconds']:.1f} | {prepared['processor']:.1f} | "
        f"{prepared['peak']:,.0f} | {prepared['own_peak']:,.0f} | {loaded['first']:.2f} | "
        f"{loaded['after'] - loaded['before']:,.0f} | {loaded['tokens_per_second'] / 1e6:.2f} |"
    )


HEADER = (
    "| pairs | prep: s | processor s | peak MiB | own MiB | first batch: s | own MiB | "
    "M target tokens/s |"
)


def plot(path: Path, found: dict[int, tuple[Found, Found]]) -> None:
    """Plot seconds and memory over pairs, both axes logarithmic."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5))
    pairs = list(found)
    left.loglog(pairs, [one["processor"] for one, _ in found.values()], "o-", label="prep")
    left.loglog(pairs, [one["first"] for _, one in found.values()], "s-", label="first batch")
    left.set(xlabel="pairs", ylabel="seconds")
    own = [one["own_peak"] for one, _ in found.values()]
    grown = [one["after"] - one["before"] for _, one in found.values()]
    right.loglog(pairs, own, "o-", label="prep, peak")
    right.loglog(pairs, grown, "s-", label="training input")
    right.set(xlabel="pairs", ylabel="private MiB")
    for axes in (left, right):
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Parse, synthesize, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--pairs", type=int, nargs="+", default=[10**5, 3 * 10**5, 10**6, 3 * 10**6]
    )
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--batch-tokens", type=int, default=1500)
    parser.add_argument(
        "--folder", type=Path, help="working folder; by default the system's temporary one"
    )
    parser.add_argument("--text", type=Path, help="folder that has the text, or receives it")
    parser.add_argument("--plot", type=Path, help="also write a plot (needs matplotlib)")
    parser.add_argument("--step", choices=["prep", "read"], help=argparse.SUPPRESS)
    parser.add_argument("--step-folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        folder = arguments.step_folder
        step = prep if arguments.step == "prep" else read
        (folder / f"{arguments.step}.json").write_text(json.dumps(step(folder, arguments)))
        return
    found = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        work = Path(name)
        base = arguments.text or work
        if not (base / "train.en").exists():
            base.mkdir(exist_ok=True)
            synthesize(base, min(max(arguments.pairs), LARGEST))
        print(f"{HEADER}\n{'| --- ' * HEADER.count(' | ')}| --- |", flush=True)
        for pairs in arguments.pairs:
            found[pairs] = measure(pairs, base, work)
            print(row(pairs, *found[pairs]), flush=True)
    if arguments.plot:
        plot(arguments.plot, found)


if __name__ == "__main__":
    main()
