"""Speed, memory and line order of `s2s translate` for a million lines.

    python benchmarks/stream.py [--lines 1000000] [--batch-size 8192] [--search greedy]

A small model learns to spell digits in a few seconds. Then lines of digits, drawn from 20,000
different ones, go through the command, with a terminal for stderr. The script reads the memory of
the process every second, and compares every output line with the output for the same line in an
earlier translation of the 20,000.
"""

import argparse
import os
import pty
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

RECIPE = """\
task: translation
name: spell
data:
  kind: files
  train: {source: train.x, target: train.y}
  validation: {source: validation.x, target: validation.y}
  filters: {max_length: 12}
tokenizer: {kind: word}
model: {embeddings: 32, encoder: {width: 32}, decoder: {kind: luong, width: 64}}
train: {epochs: 4, batch_tokens: 400, optimizer: {learning_rate: 5e-3}, precision: fp32}
search: {kind: greedy}
"""
WORDS = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben")
DIFFERENT = 20_000
PROGRAM = [sys.executable, "-c", "from s2s_cli.main import main; main()"]


def digits(draw: random.Random, longest: int) -> str:
    return " ".join(map(str, draw.choices(range(8), k=draw.randint(1, longest))))


def train() -> None:
    draw = random.Random(1)
    Path("recipe.yaml").write_text(RECIPE)
    for name, count in (("train", 4000), ("validation", 100)):
        sources = [digits(draw, 9) for _ in range(count)]
        Path(f"{name}.x").write_text("".join(f"{line}\n" for line in sources))
        targets = [" ".join(WORDS[int(d)] for d in reversed(line.split())) for line in sources]
        Path(f"{name}.y").write_text("".join(f"{line}\n" for line in targets))
    subprocess.run([*PROGRAM, "train"], check=True, stderr=subprocess.DEVNULL)


def memory(process: int) -> int:
    """Resident memory, KiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def processor_seconds() -> float:
    """Processor time of all processes that have ended, which depends less on other load than wall
    time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def translate(
    source: str, target: str, options: list[str]
) -> tuple[tuple[float, float], list[int], str]:
    """Translate; returns wall and processor seconds, memory every second, the terminal's text."""
    master, slave = pty.openpty()
    command = [*PROGRAM, "translate", "--run", "spell", "--input", source, "--output", target]
    begun, before = time.monotonic(), processor_seconds()
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # the other end is closed
                return
            shown.extend(part)

    with subprocess.Popen([*command, *options], stderr=slave) as process:
        os.close(slave)
        reader = threading.Thread(target=read)
        reader.start()
        found = []
        while process.poll() is None:
            found.append(memory(process.pid))
            time.sleep(1)
    reader.join()
    assert process.returncode == 0, shown.decode()
    seconds = (time.monotonic() - begun, processor_seconds() - before)
    return seconds, [size for size in found if size], shown.decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=8192)
    parser.add_argument("--search", default="greedy")
    asked = parser.parse_args()
    options = ["--search", asked.search, "--batch-size", str(asked.batch_size)]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        train()
        draw = random.Random(2)
        different = [digits(draw, 9) for _ in range(DIFFERENT)]
        Path("different").write_text("".join(f"{line}\n" for line in different))
        translate("different", "answers", options)
        answer = dict(zip(different, Path("answers").read_text().splitlines(), strict=True))
        chosen = draw.choices(different, k=asked.lines)
        Path("in").write_text("".join(f"{line}\n" for line in chosen))
        seconds, sizes, shown = translate("in", "out", options)
        with Path("out").open() as output:
            found = (line.removesuffix("\n") for line in output)
            wrong = sum(answer[line] != text for line, text in zip(chosen, found, strict=True))
        os.chdir("/")
    clock, processor = seconds
    print(f"{asked.lines:,} lines in {clock:.0f} s, {asked.lines / clock:,.0f} lines/s")
    print(f"processor {processor:.0f} s, {asked.lines / processor:,.0f} lines/s")
    places = [len(sizes) * share // 100 for share in (10, 25, 50, 75, 99)]
    print("memory at 10, 25, 50, 75, 99 %:", *(f"{sizes[p] / 1024:.0f}" for p in places), "MiB")
    print(f"peak {max(sizes) / 1024:.0f} MiB; {wrong:,} lines differ from the first translation")
    updates = shown.split("\r")
    print(f"shown {len(updates):,} times, half way: {updates[len(updates) // 2].strip()}")


if __name__ == "__main__":
    main()
