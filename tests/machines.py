"""Other machines, as far as this one can stand for them: `make test-machines`.

    python tests/machines.py [--only NAME ...] [--jobs 2]

Libraries choose their kernels by the processor, and settings of the environment make them believe
in a lesser one. Under each setting, in processes of their own:

- `s2s doctor`: outputs do not depend on the batch, in every precision
- tests: the contract and the identities of search, int8 against exact integers, resuming bit for
  bit
- `s2s bench --quick`: products and decoding in every precision, none by a kernel that never ends

What a setting cannot stand for: caches, the order in which AMD's and Apple's libraries sum, and
anything that is not x86. The time limit of a process only catches one that hangs.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent

SETTINGS: dict[str, dict[str, str]] = {
    "all AVX2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "oneDNN AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "oneDNN AVX-512 VNNI": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "oneDNN AVX-512 BF16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
    "ATen and MKL without AVX": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
    "MKL compatible": {"MKL_CBWR": "COMPATIBLE"},
}

TESTS = (
    "tests/inference/test_precision.py",
    "tests/nn/test_independent_rows.py",
    "tests/nn/test_inference_model.py",
    "tests/search/test_ensemble.py",
    "tests/search/test_networks.py",
    "tests/search/test_pointer.py",
    "tests/search/test_scorers.py",
    "tests/search/test_shortlist.py",
    "tests/training/test_resume.py",
)
"""Files with tests that depend on kernels, which have the marker `kernels`: names may change."""

COMMAND = (sys.executable, "-c", "from s2s_cli.main import main; main()")

HANGS = 1800
"""Seconds after which a process is taken to hang."""

SEARCH = "greedy"
"""Whose sentences per second the table has."""


@dataclass
class Result:
    """What came of a setting."""

    name: str
    faults: list[str] = field(default_factory=list)
    precisions: dict[str, str] = field(default_factory=dict)
    """What the doctor said of each."""
    tests: str = ""
    speeds: dict[str, str] = field(default_factory=dict)
    """Sentences per second in each precision, or why there are none."""
    seconds: float = 0.0


def run(command: Sequence[str], setting: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A process under a setting, on one core."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **setting}
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            capture_output=True,
            timeout=HANGS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"did not end in {HANGS} s")


def check(name: str) -> Result:
    """All of a setting."""
    began, setting, result = time.monotonic(), SETTINGS[name], Result(name)
    _doctor(setting, result)
    _tests(setting, result)
    _bench(setting, result)
    result.seconds = time.monotonic() - began
    return result


def _doctor(setting: dict[str, str], result: Result) -> None:
    done = run([*COMMAND, "doctor", "--device", "cpu"], setting)
    lines = [line.split() for line in done.stdout.splitlines()]
    for words in lines:
        if words and words[0] in ("fp32", "bf16", "int8"):
            result.precisions[words[0]] = next(w for w in words if w in ("yes", "no:", "not"))
    if done.returncode:
        result.faults.append(f"s2s doctor: {done.stdout}{done.stderr}")


def _tests(setting: dict[str, str], result: Result) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *TESTS,
        "-m",
        "kernels",
    ]
    done = run(command, setting)
    result.tests = done.stdout.strip().rpartition("\n")[2] or "nothing"
    if done.returncode:
        result.faults.append(f"tests: {done.stdout[-6000:]}{done.stderr[-2000:]}")


def _bench(setting: dict[str, str], result: Result) -> None:
    options = ("--quick", "--json", "--threads", "1", "--only", "matmul,decoding")
    done = run([*COMMAND, "bench", "recipes/multi30k-de-en.yaml", *options], setting)
    if done.returncode:
        result.faults.append(f"s2s bench: {done.stderr[-2000:]}")
        return
    found = json.loads(done.stdout)
    for one in found["skipped"]:
        result.speeds[one["what"]] = "–"
    for one in found["decoding"]:
        if one["search"] == SEARCH:
            speed = one["sentences_per_second"]["median"]
            result.speeds[one["precision"]] = f"{speed:,.0f}"
    for precision in ("fp32", "bf16", "int8"):
        if precision not in result.speeds:
            result.faults.append(f"s2s bench: no figure of decoding in {precision}")


def table(results: Sequence[Result]) -> str:
    """In Markdown."""
    names = ("fp32", "bf16", "int8")
    lines = [
        "| setting | independent of the batch: fp32 / bf16 / int8 | tests | sentences/s, "
        f"{SEARCH}: fp32 / bf16 / int8 | minutes |",
        "| --- | --- | --- | --- | ---: |",
    ]
    for one in results:
        doctor = " / ".join(one.precisions.get(name, "?") for name in names)
        speeds = " / ".join(one.speeds.get(name, "?") for name in names)
        tests = one.tests.partition(" in ")[0]
        lines.append(f"| {one.name} | {doctor} | {tests} | {speeds} | {one.seconds / 60:.1f} |")
    return "\n".join(lines)


def main() -> int:
    """Check the settings, some side by side; 1 where one has a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = []
        for one in pool.map(check, arguments.only):
            results.append(one)
            print(f"{one.name}: {'FAILED' if one.faults else 'ok'}, {one.tests}", flush=True)
            for fault in one.faults:
                print(fault, flush=True)
    print(f"\n{table(results)}")
    return 1 if any(one.faults for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
