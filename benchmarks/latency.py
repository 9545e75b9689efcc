"""Time of one sentence alone, with decoding batches that become smaller and with whole ones.

    python benchmarks/latency.py RUN LINES [--sentences 100] [--precisions int8]

RUN is a trained run, LINES a file of its source text. Every sentence is translated by itself, from
text to text, with both kinds of batches in turns: median and 95th percentile in milliseconds. Then
all lines are translated together. Outputs must be the same.
"""

import argparse
import itertools
import statistics
import time
from pathlib import Path
from typing import Any

from s2s.inference.load import load_translator
from s2s.inference.translator import LineTranslator
from s2s.recipe.search_overrides import override
from s2s.run.directory import Run
from s2s.search import compaction

SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"kind": "greedy"},
    "beam 5": {"kind": "beam", "width": 5},
}
SIZES = {"smaller": compaction.smaller_size, "whole": lambda slots, width, occupied: slots}
WARM = 10


def timed(translator: LineTranslator, lines: list[str]) -> tuple[float, list[str]]:
    """Seconds, and the outputs."""
    began = time.perf_counter()
    found = translator.outputs(lines, 0, 1)
    return time.perf_counter() - began, [outputs[0].text for outputs in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "int8"])
    options = parser.parse_args()
    run = Run.open(options.run)
    lines = options.lines.read_text(encoding="utf-8").splitlines()
    print("| search | precision | batches | median ms | 95 % ms | sentences/s, all together |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (name, chosen), precision in itertools.product(SEARCHES.items(), options.precisions):
        search = override(run.recipe.search, {**chosen, "precision": precision})
        translator = load_translator(run, search=search, device="cpu")
        seconds: dict[str, list[float]] = {size: [] for size in SIZES}
        together: dict[str, list[float]] = {size: [] for size in SIZES}
        texts: dict[str, list[str]] = {size: [] for size in SIZES}
        for number, line in enumerate(lines[: options.sentences + WARM]):
            for size, function in SIZES.items():
                compaction.smaller_size = function
                took, outputs = timed(translator, [line])
                texts[size] += outputs
                seconds[size] += [took] if number >= WARM else []
        for _, (size, function) in itertools.product(range(3), SIZES.items()):
            compaction.smaller_size = function
            took, outputs = timed(translator, lines)
            together[size].append(len(lines) / took)
            assert outputs[: len(texts[size])] == texts["whole"]
        assert texts["smaller"] == texts["whole"]
        for size, found in seconds.items():
            median, high = statistics.median(found), statistics.quantiles(found, n=20)[-1]
            cells = [name, precision, size, f"{1e3 * median:.1f}", f"{1e3 * high:.1f}"]
            print(f"| {' | '.join(cells)} | {statistics.median(together[size]):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
