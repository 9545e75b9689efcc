"""Memory over a long life: an endless stream, many epochs, many requests in Python.

    python benchmarks/long_life.py [--minutes 60] [--requests 10000] [--epochs 200] [--plot FILE]

Trains a small model of the recipe `quickstart` first. Each part runs in a process of its own, whose
resident memory is read every second. Printed are the memory after a tenth of the part and at its
end, their difference, and the slope over the last half.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil

COMMAND = (sys.executable, "-c", "from s2s_cli.main import main; main()")
LINES = ("de: March 3, 2024", "en: mardi à 15 h 07", "fr: 80,00 £", "", "de: 5.1.1999", "en: 12 kg")
MIB = 1 << 20

REQUESTS = """\
import sys, s2s
model = s2s.load("small")
for number in range(int(sys.argv[1])):
    model.translate(["de: March %d, 2024" % (number % 28 + 1)])
    if number % 10 == 0:
        model.attention("en: 12 kg")
"""


def watched(process: subprocess.Popen[bytes]) -> list[tuple[float, float]]:
    """Seconds and resident MiB of a process until it ends."""
    found = []
    began = time.monotonic()
    watched_process = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            found.append((time.monotonic() - began, watched_process.memory_info().rss / MIB))
        except psutil.Error:
            break
        time.sleep(1.0)
    return found


def stream(folder: Path, minutes: float) -> list[tuple[float, float]]:
    """`s2s translate` on lines without end."""
    command = (*COMMAND, "translate", "--run", "small", "--batch-size", "64")
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    stdin = process.stdin
    end = time.monotonic() + minutes * 60

    def feed() -> None:
        text = "".join(f"{line}\n" for line in LINES * 20).encode()
        while time.monotonic() < end:
            stdin.write(text)
        stdin.close()

    feeding = threading.Thread(target=feed, daemon=True)
    feeding.start()
    return watched(process)


def training(folder: Path, epochs: int) -> list[tuple[float, float]]:
    """A training of many short epochs, with a validation and a checkpoint after each."""
    changes = {
        "name": "many",
        "data.pairs": "300",
        "data.held_out": "50",
        "train.epochs": str(epochs),
        "train.patience": "null",
    }
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    command = (*COMMAND, "train", *sets)
    return watched(subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL))


def requests(folder: Path, count: int) -> list[tuple[float, float]]:
    """Requests through the Python API."""
    command = (sys.executable, "-c", REQUESTS, str(count))
    return watched(subprocess.Popen(command, cwd=folder))


def row(name: str, found: list[tuple[float, float]]) -> str:
    tenth = found[len(found) // 10][1]
    half = found[len(found) // 2 :]
    (began, low), (ended, high) = half[0], half[-1]
    slope = (high - low) / max(1.0, ended - began) * 3600
    return (
        f"| {name} | {found[-1][0] / 60:.1f} | {tenth:.0f} | {high:.0f} | {high - tenth:+.0f} | "
        f"{slope:+.1f} |"
    )


def plot(parts: dict[str, list[tuple[float, float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots(1, len(parts), squeeze=False)[0]
    for place, (name, found) in zip(axes, parts.items(), strict=True):
        place.plot([seconds / 60 for seconds, _ in found], [size for _, size in found])
        place.set(title=name, xlabel="minutes", ylabel="resident MiB")
        place.set_ylim(bottom=0)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments in (
            ("recipes", "copy", "quickstart"),
            ("train", "--set", "name=small", "--set", "data.pairs=3000", "--set", "train.epochs=2"),
        ):
            subprocess.run((*COMMAND, *arguments), cwd=folder, check=True, capture_output=True)
        works: dict[str, Callable[[], list[tuple[float, float]]]] = {
            "requests in Python": lambda: requests(folder, options.requests),
            "translate, endless": lambda: stream(folder, options.minutes),
            "training, short epochs": lambda: training(folder, options.epochs),
        }
        print(
            "| part | minutes | MiB after a tenth | at the end | change | MiB an hour, 2nd half |"
        )
        print("| --- | --- | --- | --- | --- | --- |")
        parts = {}
        for part, work in works.items():
            parts[part] = work()
            print(row(part, parts[part]), flush=True)
    if options.plot is not None:
        plot(parts, options.plot)


if __name__ == "__main__":
    main()
