"""Everything of s2s that a GPU does, checked and timed on one: a line for each finding.

    python tests/gpu_check.py --out DIR [--seconds 450] [--device cuda] [--stages lstm wirings ...]

Every stage is a process with a time limit of its own, so that neither a crash nor a stuck kernel
costs the others. What it finds is appended at once to DIR/results.jsonl, what it prints is in
DIR/STAGE.log; a table comes last. The exit status is 1 where something is not as it should be. With
`--device cpu` all stages run in small sizes, but for what only a GPU can do: on a GPU nothing but
the GPU is new then.

Nothing is installed and no network is needed. Stages whose packages are missing are skipped, and
told first. Training and layers are timed with the kernels written in Triton and without; a fault of
theirs is a line, and training goes on without them. There is nothing here yet for steps captured as
graphs, as there are none.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = "results.jsonl"

S2S = ("numpy", "pyarrow", "pydantic", "rich", "ruamel.yaml", "safetensors", "sentencepiece")
KERNELS = (*S2S, "triton")
QUICKSTART = (*S2S, "babel", "filelock", "sacrebleu", "unicode_rbnf")


@dataclass(frozen=True)
class Stage:
    """A group of checks."""

    seconds: int
    """Its limit."""
    module: str
    """Of tests/, where a function of its name is."""
    needs: tuple[str, ...] = S2S


STAGES = {
    "machine": Stage(60, "gpu_speed", ()),
    "lstm": Stage(60, "gpu_correct"),
    "kernels": Stage(90, "gpu_kernels", KERNELS),
    "wirings": Stage(60, "gpu_correct"),
    "waits": Stage(45, "gpu_correct"),
    "repeats": Stage(45, "gpu_correct"),
    "rows": Stage(45, "gpu_correct"),
    "memory": Stage(45, "gpu_correct"),
    "training": Stage(180, "gpu_speed"),
    "layers": Stage(60, "gpu_speed"),
    "parts": Stage(45, "gpu_kernels", KERNELS),
    "decoding": Stage(75, "gpu_speed"),
    "quickstart": Stage(90, "gpu_speed", QUICKSTART),
}


@dataclass
class Check:
    """What a stage tells."""

    stage: str
    out: Path
    device: str
    faults: int = field(default=0, init=False)

    @property
    def is_gpu(self) -> bool:
        """Whether sizes are those of a GPU."""
        return self.device != "cpu"

    def record(
        self, what: str, value: Any, unit: str = "", *, most: float | None = None, **more: Any
    ) -> None:
        """A finding, which is one fault if it is above `most` or NaN."""
        is_good = None if most is None else bool(value <= most)
        self.faults += is_good is False
        self._append(what=what, value=value, unit=unit, most=most, is_good=is_good, **more)

    def expect(self, what: str, is_so: bool, *, is_due: bool = True) -> None:
        """A finding that should be true; or, where it is not due, may be."""
        self.faults += is_due and not is_so
        self._append(what=what, value=is_so, is_good=is_so if is_due else None)

    def skip(self, what: str, reason: str) -> None:
        """What cannot be found here."""
        self._append(what=what, value=f"skipped: {reason}")

    def _append(self, **found: Any) -> None:
        append(self.out, {"stage": self.stage, **found})


def append(out: Path, line: dict[str, Any]) -> None:
    """A line of results, on the disk before anything else happens."""
    with (out / RESULTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def missing(needs: tuple[str, ...]) -> list[str]:
    """Packages that are not installed."""
    return [name for name in needs if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of what is before the dot
        return False


def run_stage(name: str, out: Path, device: str) -> int:
    """A stage, in this process: its exit status."""
    sys.path.insert(0, str(ROOT))
    module = importlib.import_module(f"tests.{STAGES[name].module}")
    check = Check(name, out, device)
    getattr(module, name)(check)
    return 1 if check.faults else 0


def start_stage(name: str, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """A stage in a process of its own: how it ended."""
    absent = missing(("torch", *STAGES[name].needs))
    if absent or seconds <= 1.0:
        reason = f"missing {', '.join(absent)}" if absent else "no time left"
        return {"status": "skipped", "seconds": 0.0, "note": reason}
    own = ("--stage", name, "--out", str(arguments.out), "--device", arguments.device)
    command = [sys.executable, str(Path(__file__).resolve()), *own]
    log = arguments.out / f"{name}.log"
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            status = process.wait(timeout=seconds)
            ended = {0: "good", 1: "faults"}.get(status, f"exit status {status}")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            ended = "stopped"
    note = "" if ended == "good" else _last_line(log)
    return {"status": ended, "seconds": round(time.monotonic() - began, 1), "note": note}


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:200]


def _ended(found: dict[str, Any]) -> str:
    if found["status"] == "skipped":
        return f"skipped: {found['note']}"
    return f"{found['status']} after {found['seconds']} s  {found['note']}".rstrip()


def table(out: Path) -> Iterator[str]:
    """All that was found, in lines."""
    for line in (out / RESULTS).read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        if "status" in found:
            yield f"{found['stage']:<11}{_ended(found)}"
            continue
        mark = {None: " ", True: "+", False: "!"}[found.get("is_good")]
        value = found["value"]
        told = f"{value:.4g}" if isinstance(value, float) else str(value)
        most = "" if found.get("most") is None else f" (at most {found['most']:g})"
        unit = found.get("unit", "")
        yield f"{found['stage']:<11}{mark} {found['what']:<58} {told} {unit}{most}".rstrip()


def main() -> int:
    """Run the stages and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=450.0)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--stages", choices=STAGES, nargs="+", default=list(STAGES))
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.stage:
        return run_stage(arguments.stage, arguments.out, arguments.device)
    (arguments.out / RESULTS).write_text("", encoding="utf-8")
    for name in arguments.stages:
        if absent := missing(STAGES[name].needs):
            print(f"{name}: skipped, as these are missing: {', '.join(absent)}", flush=True)
    end = time.monotonic() + arguments.seconds
    is_good = True
    for name in arguments.stages:
        ended = start_stage(name, arguments, min(STAGES[name].seconds, end - time.monotonic()))
        append(arguments.out, {"stage": name, **ended})
        print(f"{name}: {_ended(ended)}", flush=True)
        is_good = is_good and ended["status"] in {"good", "skipped"}
    print(*table(arguments.out), sep="\n")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
