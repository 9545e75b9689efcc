"""Requests a second and waiting times of `s2s serve`: batching against one request at a time.

    python benchmarks/serve.py RUN [--clients 1,8,32,64] [--seconds 10] [--search greedy]
        [--input FILE] [--seed 1]

Starts the server twice: as it is, and with --batch-lines 1, which searches a line at a time.
Each client sends a line, waits for its translation and sends the next, over one connection. Lines
are drawn from FILE, or from the test set that the run's recipe makes. Every answer is compared with
that of `s2s translate`. Clients run in a process of their own, which shares the cores with the
server. The processor's time of the server for each request does not depend on what else the
machine does.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from s2s.data.synthetic.corpus import generate
from s2s.run.finding import find_run

PROGRAM = [sys.executable, "-c", "from s2s_cli.main import main; main()"]

WARM_UP = 1.0
"""Seconds at the start that do not count."""


def lines_of(run: str, path: Path | None) -> list[str]:
    """The different lines that clients send."""
    if path is not None:
        found = path.read_text(encoding="utf-8").splitlines()
    else:
        data: Any = find_run(run).recipe.data
        found = [source for source, _ in generate(data, "test")]
    return sorted({line for line in found if line.strip()})


def translated(run: str, search: list[str], lines: list[str]) -> dict[str, str]:
    """What `s2s translate` makes of each line."""
    command = [*PROGRAM, "translate", "--run", run, *search]
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
    return dict(zip(lines, done.stdout.decode().splitlines(), strict=True))


@contextmanager
def server(run: str, *options: str) -> Iterator[tuple[int, psutil.Process]]:
    """The port of a running server, and its process."""
    command = [*PROGRAM, "serve", run, "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told = ""
    for told in process.stderr:
        if "serving" in told:
            break
    found = re.search(r":(\d+) \(", told)
    assert found is not None, told
    yield int(found[1]), psutil.Process(process.pid)
    process.terminate()
    process.wait()


async def client(
    port: int, lines: list[str], seed: int, end: float
) -> list[tuple[float, str, str]]:
    """Send lines until `end`: the seconds, the line and the answer of each request."""
    draw = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    while time.monotonic() < end:
        line = draw.choice(lines)
        body = json.dumps({"text": line}).encode()
        head = (
            "POST /v1/translate HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        writer.write(head.encode() + body)
        told = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"content-length: (\d+)", told.lower())
        assert told.startswith(b"HTTP/1.1 200 "), told
        assert size is not None
        answer = json.loads(await reader.readexactly(int(size[1])))
        seconds = time.perf_counter() - began
        found.append((seconds, line, answer["lines"][0]["text"]))
    writer.close()
    return found


def load(port: int, lines: list[str], count: int, seconds: float, seed: int) -> list[Any]:
    """What `count` clients at the same time find, each with its own seed."""

    async def together() -> list[Any]:
        end = time.monotonic() + seconds
        clients = [client(port, lines, 1000 * seed + place, end) for place in range(count)]
        return [row for rows in await asyncio.gather(*clients) for row in rows]

    return asyncio.run(together())


def _load(arguments: tuple[Any, ...], results: Any) -> None:
    results.put(load(*arguments))


def measured(port: int, lines: list[str], count: int, seconds: float, seed: int) -> list[Any]:
    """As `load`, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (port, lines, count, seconds, seed)
    process = context.Process(target=_load, args=(arguments, results))
    process.start()
    found: list[Any] = results.get()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--clients", default="1,8,32,64")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--search", default="")
    parser.add_argument("--input", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    search = ["--search", options.search] if options.search else []
    lines = lines_of(options.run, options.input)
    wanted = translated(options.run, search, lines)
    print(f"{len(lines)} different lines, {options.seconds:g} s each, seed {options.seed}")
    print("| clients | batches | requests/s | p50 ms | p99 ms | processor ms/request |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for name, batch in (("of waiting requests", "64"), ("of one line", "1")):
        with server(options.run, *search, "--batch-lines", batch) as (port, process):
            for count in map(int, options.clients.split(",")):
                measured(port, lines, count, WARM_UP, options.seed)
                before = process.cpu_times()
                rows = measured(port, lines, count, options.seconds, options.seed)
                after = process.cpu_times()
                assert all(text == wanted[line] for _, line, text in rows)
                times = sorted(1000 * seconds for seconds, _, _ in rows)
                p50 = statistics.median(times)
                p99 = times[int(0.99 * (len(times) - 1))]
                rate = len(rows) / options.seconds
                spent = after.user - before.user + after.system - before.system
                values = f"{rate:.0f} | {p50:.0f} | {p99:.0f} | {1000 * spent / len(rows):.1f}"
                print(f"| {count} | {name} | {values} |", flush=True)


if __name__ == "__main__":
    main()
