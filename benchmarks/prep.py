"""Time and memory to prepare a large corpus.

    python benchmarks/prep.py [--pairs 1000000] [--vocabulary 8000] [--kind unigram]

The corpus is random captions of Multi30k (`multi30k/train.jsonl` in the current folder), each
followed by pseudo-words of a Zipfian vocabulary, so that new words keep appearing as in real text;
without the captions it is pseudo-words alone. Preparation runs in its own process, and the script
prints its seconds and peak memory. Then it plans and times the batches of one epoch.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from s2s.recipe.tokenizer import SubwordTokenizer

CAPTIONS = Path("multi30k") / "train.jsonl"
NUM_WORDS = 400_000
SYLLABLES = [first + second for first in "bcdfghklmnprstvwz" for second in "aeiouäü"]


def synthesize(folder: Path, num_pairs: int) -> None:
    """Write train.de and train.en, and the first thousand pairs again as validation."""
    random = np.random.default_rng(1)
    words = [
        "".join(SYLLABLES[i] for i in random.integers(0, len(SYLLABLES), length))
        for length in random.integers(1, 5, NUM_WORDS)
    ]
    ranks = np.cumsum(1 / np.arange(1, NUM_WORDS + 1) ** 1.05)
    captions = [json.loads(line) for line in CAPTIONS.open()] if CAPTIONS.exists() else []
    num_words = 3 if captions else 15
    with (folder / "train.de").open("w") as source, (folder / "train.en").open("w") as target:
        for _ in range(num_pairs):
            caption = captions[random.integers(len(captions))] if captions else {}
            drawn = np.searchsorted(ranks, random.random(2 * num_words) * ranks[-1]).tolist()
            tail = [words[rank] for rank in drawn]
            source.write(" ".join([caption.get("de", ""), *tail[:num_words]]) + "\n")
            target.write(" ".join([caption.get("en", ""), *tail[num_words:]]) + "\n")
    for side in ("de", "en"):
        with (folder / f"train.{side}").open() as lines:
            head = [next(lines) for _ in range(1000)]
        (folder / f"validation.{side}").write_text("".join(head))


def prepare_alone(folder: Path, arguments: argparse.Namespace) -> None:
    """Prepare the corpus; runs in the measured process."""
    from s2s.data.preparation.prepare import prepare
    from s2s.recipe.data import FilesData, FileSet
    from s2s.recipe.recipe import Recipe

    def files(split: str) -> FileSet:
        return FileSet(source=str(folder / f"{split}.de"), target=str(folder / f"{split}.en"))

    began = time.perf_counter()
    stages: dict[str, float] = {}

    def progress(stage: str, done: int, total: int | None) -> None:
        stages[stage] = time.perf_counter() - began

    tokenizer = SubwordTokenizer(
        kind=arguments.kind, vocabulary=arguments.vocabulary, max_sentences=arguments.sample
    )
    data = FilesData(kind="files", train=files("train"), validation=files("validation"))
    recipe = Recipe(task="translation", data=data, tokenizer=tokenizer)
    report = prepare(recipe, folder / "run", progress=progress)
    for stage, at in stages.items():
        print(f"  {at:6.1f} s  last report of {stage}")
    print(f"  {report.seconds:6.1f} s  prepared")
    print(f"  {arguments.pairs / report.seconds:,.0f} pairs/s")


def measure(folder: Path) -> None:
    """Run this file again for `prepare_alone`, and print its time and memory."""
    load = os.getloadavg()[0]
    command = [sys.executable, *sys.argv, "--folder", str(folder)]
    child = os.spawnv(os.P_NOWAIT, sys.executable, command)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(os.waitstatus_to_exitcode(status))
    seconds = usage.ru_utime + usage.ru_stime
    print(f"  {seconds:6.1f} s  of processor time, imports included")
    print(
        f"  peak memory {usage.ru_maxrss / 1024:,.0f} MB, {os.cpu_count()} cores, load {load:.1f}"
    )


def plan(folder: Path) -> None:
    """Time the batches of an epoch, and print their share of padding."""
    from s2s.data.batches import batch_plan, round_up
    from s2s.data.preparation.prepare import open_corpus

    corpus = open_corpus(folder / "run", "train")
    lengths = (corpus.source_lengths, corpus.target_lengths)
    for multiple in (1, 4, 8):
        began = time.perf_counter()
        batches = batch_plan(lengths, 2000, seed=1, epoch=1, multiple=multiple)
        seconds = time.perf_counter() - began
        shares = []
        for side in lengths:
            cells = sum(len(b) * round_up(side[b].max() + 1, multiple) for b in batches)
            shares.append(1 - (side.sum() + len(side)) / cells)
        print(
            f"  plan: {len(batches):,} batches of 2000 tokens in {seconds:.2f} s, multiple "
            f"{multiple}: padding {shares[0]:.1%} of sources, {shares[1]:.1%} of targets"
        )


def main() -> None:
    """Parse, synthesize, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--kind", default="unigram")
    parser.add_argument("--sample", type=int, default=SubwordTokenizer.max_sentences)
    parser.add_argument("--folder", type=Path, help="corpus to prepare; synthesized if not given")
    arguments = parser.parse_args()
    if arguments.folder:
        prepare_alone(arguments.folder, arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesize(folder, arguments.pairs)
        print(f"{arguments.pairs:,} pairs, {arguments.vocabulary} {arguments.kind} pieces:")
        measure(folder)
        plan(folder)


if __name__ == "__main__":
    main()
