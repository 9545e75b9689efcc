"""BLEU, chrF and speed of minimum Bayes risk decoding, beside greedy search and beam search.

    python benchmarks/mbr.py --run DIR [--split validation] [--sentences 500] [--candidates 8 32]
        [--utility chrf bleu] [--from sample beam] [--min-p 0.05] [--threads 1]

One process, one search after the other. The script prints a row for each: BLEU and chrF of the
split's first sentences, and sentences per second of processor time, tokenization and utilities
included, loading excluded. The validation split is the default: a search is chosen there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from s2s.inference.load import load_ensemble
from s2s.metrics.corpus import score
from s2s.pipeline.evaluation import open_texts
from s2s.recipe.search import Search
from s2s.recipe.search_overrides import override
from s2s.run.directory import Run


def searches(
    own: Search,
    candidates: Sequence[int],
    utilities: Sequence[str],
    sources: Sequence[str],
    min_p: float,
) -> Iterator[tuple[str, Search]]:
    """Each search with its name; all else is as in the recipe."""
    yield "greedy", override(own, {"kind": "greedy"})
    yield "beam 5", override(own, {"kind": "beam", "width": 5})
    for source in sources:
        for number in candidates:
            for utility in utilities:
                choices = {
                    "kind": "mbr",
                    "candidates": number,
                    "candidates_from": source,
                    "utility": [utility],
                    "min_p": min_p,
                }
                yield f"mbr {number} {source} {utility}", override(own, choices)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--candidates", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--utility", nargs="+", default=["chrf", "bleu"])
    parser.add_argument("--from", dest="sources", nargs="+", default=["sample", "beam"])
    parser.add_argument("--min-p", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    run = Run.open(asked.run)
    sources, references = open_texts(run, asked.split)
    sources, references = sources[: asked.sentences], [r[: asked.sentences] for r in references]
    found = searches(run.recipe.search, asked.candidates, asked.utility, asked.sources, asked.min_p)
    print(f"{run.folder}, {asked.split}, {len(sources):,} sentences, {asked.threads} thread(s)")
    print(f"{'search':<24}{'BLEU':>8}{'chrF':>8}{'sentences/s':>14}")
    for name, search in found:
        translator = load_ensemble([run], search=search, device="cpu")
        torch.set_num_threads(asked.threads)
        start = time.process_time()
        outputs = translator(sources)
        seconds = time.process_time() - start
        scores = score(("bleu", "chrf"), outputs, references, scoring=run.recipe.scoring)
        bleu, chrf = scores.value("bleu"), scores.value("chrf")
        print(f"{name:<24}{bleu:>8.2f}{chrf:>8.2f}{len(sources) / seconds:>14.1f}", flush=True)


if __name__ == "__main__":
    main()
