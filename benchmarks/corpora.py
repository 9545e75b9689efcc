"""Time to prepare two corpora, to plan an epoch of them and to encode sampled segmentations.

    python benchmarks/corpora.py [--pairs 200000] [--vocabulary 8000] [--threads 1 2]

The pairs are those of prep.py. One in eleven belongs to a small corpus with a tag and weight 5.
"""

import argparse
import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from prep import synthesize

from s2s.data.epochs import Epochs
from s2s.data.preparation.prepare import open_corpus, prepare
from s2s.data.subword_sampling import open_subword_sampler
from s2s.recipe.data import FilesData, FileSet, SeveralData
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import Sampling, SubwordTokenizer
from s2s.text.tokenizer_pair import load_tokenizers


def recipe_of(folder: Path, num_pairs: int, tokenizer: SubwordTokenizer) -> Recipe:
    """A recipe with two corpora, made from the files of `synthesize`."""
    for side in ("de", "en"):
        lines = (folder / f"train.{side}").read_text().splitlines(keepends=True)
        cut = num_pairs // 11
        (folder / f"small.{side}").write_text("".join(lines[:cut]))
        (folder / f"large.{side}").write_text("".join(lines[cut:]))

    def files(name: str) -> FileSet:
        return FileSet(source=str(folder / f"{name}.de"), target=str(folder / f"{name}.en"))

    small = FilesData(kind="files", train=files("small"), validation=files("validation"), weight=5)
    large = FilesData(kind="files", train=files("large"), tag="<bt>")
    data = SeveralData(kind="several", corpora=(small, large))
    return Recipe(task="translation", data=data, tokenizer=tokenizer)


def measure_sampling(recipe: Recipe, folder: Path, threads: list[int]) -> None:
    """Encode an epoch of the prepared corpora, and print tokens per second."""
    corpus = open_corpus(folder, "train")
    tokenizers = load_tokenizers(folder / "tokenizer")
    for count in threads:
        sampler = open_subword_sampler(corpus, tokenizers, recipe, folder / "sampling", count)
        assert sampler is not None
        epochs = Epochs(corpus, recipe, 4, sampler)
        began = time.perf_counter()
        used: Any = os.times()
        epoch = epochs(1)
        seconds = time.perf_counter() - began
        now: Any = os.times()
        drawn = epoch.corpus
        print(
            f"  epoch sampled, encoded and planned in {seconds:.1f} s ({count} threads, "
            f"{now.user - used.user:.1f} s of processor time): {len(drawn):,} pairs, "
            f"{len(drawn.target_values) / seconds:,.0f} target tokens/s, "
            f"{len(drawn.source_values) / seconds:,.0f} source tokens/s"
        )
        epochs.close()


def main() -> None:
    """Parse, synthesize, prepare, plan, encode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesize(folder, arguments.pairs)
        for kind, alpha in (("unigram", 0.1), ("bpe", 0.1)):
            tokenizer = SubwordTokenizer(kind=kind, vocabulary=arguments.vocabulary)  # type: ignore[arg-type]
            recipe = recipe_of(folder, arguments.pairs, tokenizer)
            run = folder / kind
            used: Any = os.times()
            report = prepare(recipe, run)
            now: Any = os.times()
            print(f"{kind}: two corpora, {arguments.pairs:,} pairs, load {os.getloadavg()[0]:.1f}")
            print(
                f"  prepared in {report.seconds:.1f} s, {now.user - used.user:.1f} s of processor "
                "time"
            )
            corpus = open_corpus(run, "train")
            began = time.perf_counter()
            plan = Epochs(corpus, recipe, 4)(1).plan
            print(f"  epoch planned in {time.perf_counter() - began:.2f} s: {len(plan.order):,}")
            sampled = replace(tokenizer, sampling=Sampling(alpha=alpha))
            recipe = replace(recipe, tokenizer=sampled)
            print(f"  prepared with texts in {prepare(recipe, run).seconds:.1f} s")
            measure_sampling(recipe, run, arguments.threads)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:,.0f} MB, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
