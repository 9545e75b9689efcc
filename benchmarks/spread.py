"""Speed of `s2s translate` in 1, 2 and 4 processes that torchrun starts, and of `--workers`.

    python benchmarks/spread.py --run runs/multi30k-de-en --input test.de [--copies 20]
        [--processes 1 2 4] [--repeats 3] [--precision fp32]

The input is copied so often into one file. Each process has one thread. Every output is compared
with that of one process, byte for byte. Rows are medians; the rounds take turns, so that other load
meets all alike. Seconds are of the whole command: start, loading, translating, joining.

    python benchmarks/spread.py --reckon [--rate 215] [--start 9.5]

prints what more hosts would do (docs/scaling.md), by formula, from the lines a second of a process
and the seconds that it takes to start.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from s2s.inference.byte_ranges import ByteRanges

PROGRAM = [sys.executable, "-c", "from s2s_cli.main import main; main()"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]


def command(kind: str, count: int) -> list[str]:
    """The command up to its options: of one process, of workers, or of torchrun."""
    if kind == "torchrun" and count > 1:
        return [*TORCHRUN, "--nproc-per-node", str(count), *PROGRAM, "translate"]
    workers = ["--workers", str(count)] if count > 1 else []
    return [*PROGRAM, "translate", *workers]


def measure(arguments: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of processors."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        arguments, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


PER_HOST = 16
"""Processes of a host in the reckoning."""
BYTES_A_LINE = 60
READ, JOIN = 1e9, 2.5e8
"""Bytes a second that all hosts read together, and that one host joins."""


def reckon(rate: float, start: float) -> None:
    """Print minutes, and the share of them in which a process translates, over lines and hosts."""
    print("| lines | hosts | ranges | minutes | share |")
    print("| --- | --- | --- | --- | --- |")
    for lines in (10**6, 10**8, 10**9):
        for hosts in (1, 4, 16, 64):
            processes, size = hosts * PER_HOST, lines * BYTES_A_LINE
            ranges = ByteRanges.of(size, processes)
            work = lines / processes / rate
            wait = ranges.step / BYTES_A_LINE / rate / 2
            whole = start + size / READ + work + wait + size / JOIN
            share = work / whole
            print(f"| {lines:,} | {hosts} | {ranges.count:,} | {whole / 60:.2f} | {share:.0%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reckon", action="store_true")
    parser.add_argument("--rate", type=float, default=215.0)
    parser.add_argument("--start", type=float, default=9.5)
    parser.add_argument("--run")
    parser.add_argument("--input", type=Path)
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    if options.reckon:
        reckon(options.rate, options.start)
        return
    if options.run is None or options.input is None:
        parser.error("--run and --input, or --reckon")
    rows = [("torchrun", count) for count in sorted({1, *options.processes})]
    rows += [("--workers", count) for count in options.processes if count > 1]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {row: [] for row in rows}
    with tempfile.TemporaryDirectory(prefix="spread-") as scratch:
        source, whole = Path(scratch, "in"), Path(scratch, "whole")
        text = options.input.read_bytes()
        source.write_bytes((text if text.endswith(b"\n") else text + b"\n") * options.copies)
        lines = source.read_bytes().count(b"\n")
        for _ in range(options.repeats):
            for kind, count in rows:
                target = Path(scratch, f"out-{kind}-{count}")
                extra = [options.run, "--precision", options.precision, "--device", "cpu"]
                extra += ["--input", str(source), "--output", str(target)]
                found[kind, count].append(measure([*command(kind, count), *extra]))
                if not whole.exists():
                    target.rename(whole)
                elif target.read_bytes() != whole.read_bytes():
                    raise SystemExit(f"{kind} {count}: another output than that of one process")
    print(f"{lines:,} lines: {options.input}, {options.copies} times; {options.precision}")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print("| processes | seconds | lines/s | times one process | processor seconds |")
    print("| --- | --- | --- | --- | --- |")
    one = statistics.median(seconds for seconds, _ in found["torchrun", 1])
    for (kind, count), measured in found.items():
        seconds = statistics.median(seconds for seconds, _ in measured)
        used = statistics.median(used for _, used in measured)
        name = "one" if count == 1 else f"{count}, {kind}"
        rates = f"{lines / seconds:,.0f} | {one / seconds:.2f}"
        print(f"| {name} | {seconds:.1f} | {rates} | {used:.1f} |")


if __name__ == "__main__":
    main()
