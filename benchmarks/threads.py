"""How waiting threads share cores: speed of training with several settings, on idle cores and not.

    python benchmarks/threads.py [--repeats 3] [RECIPE]

Each figure is that of `s2s bench --quick --only training` with two threads, in a process of its
own, in turns. "Busy" has another process that computes on one core all the time. Settings are
those of GNU's OpenMP, which PyTorch uses on Linux; one thread is there to compare.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = {
    "2 threads, OpenMP's own": {"GOMP_SPINCOUNT": "300000"},
    "2 threads, as s2s sets it": {},
    "2 threads, passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "1 thread": {"OMP_NUM_THREADS": "1"},
}


@contextmanager
def busy_core() -> Iterator[None]:
    """A process that computes."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def tokens_per_second(recipe: list[str], setting: dict[str, str]) -> float:
    """Target tokens a second in training, the median of the benchmark's repeats."""
    program = Path(sys.executable).with_name("s2s")
    done = subprocess.run(
        [str(program), "bench", *recipe, "--quick", "--only", "training", "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "2", **setting},
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(json.loads(done.stdout)["training"]["tokens_per_second"]["median"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="*", help="by default the sizes of multi30k-de-en")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.repeats):
        for name, setting in SETTINGS.items():
            found.setdefault((name, "idle"), []).append(tokens_per_second(options.recipe, setting))
            with busy_core():
                speed = tokens_per_second(options.recipe, setting)
            found.setdefault((name, "busy"), []).append(speed)
    print("| target tokens/s | idle cores | one core busy |\n| --- | --- | --- |")
    for name in SETTINGS:
        cells = [statistics.median(found[name, where]) for where in ("idle", "busy")]
        print(f"| {name} | {cells[0]:,.0f} | {cells[1]:,.0f} |")


if __name__ == "__main__":
    main()
