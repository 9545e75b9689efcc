"""Time of `--help`: the median of five runs of each command, with a limit of 0.3 s.

    python benchmarks/startup.py

Processor time is printed too, since wall time depends on the load of the machine.
"""

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 5
LIMIT = 0.3
COMMANDS = ["", "prep", "train", "translate", "bleu", "check", "recipes"]


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall time and processor time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    program = Path(sys.executable).with_name("s2s")
    slow = []
    for name in COMMANDS:
        command = [str(program), *name.split(), "--help"]
        seconds(command)  # fills the disk cache
        times = [seconds(command) for _ in range(RUNS)]
        wall, processor = (statistics.median(column) for column in zip(*times, strict=True))
        verdict = "ok" if wall < LIMIT else f"over {LIMIT} s"
        if wall >= LIMIT:
            slow.append(name)
        print(f"s2s {name:<10}--help  {wall:.3f} s, processor {processor:.3f} s  {verdict}")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
