"""The script for a GPU runs without one, and tells what it finds."""

import json
import math
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from tests import gpu_correct, gpu_kernels, gpu_speed
from tests.gpu_check import RESULTS, STAGES, Check, append, missing, start_stage, table

SCRIPT = Path(__file__).parent / "gpu_check.py"


def results(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / RESULTS).read_text().splitlines()]


def test_a_stage_runs_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path), "--device", "cpu"]
    done = subprocess.run(
        [*command, "--stages", "machine"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *found, last = results(tmp_path)
    assert {line["stage"] for line in found} == {"machine"}
    assert last["status"] == "good"
    assert any(line["what"].startswith("product of 512") and line["value"] > 0 for line in found)
    assert "skipped: no GPU" in done.stdout
    assert len(done.stdout.splitlines()) == 1 + len(found) + 1


def test_every_stage_is_a_function() -> None:
    modules = {"gpu_correct": gpu_correct, "gpu_kernels": gpu_kernels, "gpu_speed": gpu_speed}
    assert all(callable(getattr(modules[one.module], name)) for name, one in STAGES.items())


@pytest.mark.parametrize(
    ("value", "most", "faults", "mark"),
    [(1.0, 1.0, 0, "+"), (1.1, 1.0, 1, "!"), (math.nan, 1.0, 1, "!"), (5.0, None, 0, " ")],
)
def test_what_is_above_its_limit_is_a_fault(
    value: float, most: float | None, faults: int, mark: str, tmp_path: Path
) -> None:
    check = Check("lstm", tmp_path, "cpu")
    check.record("difference", value, most=most)
    assert check.faults == faults
    (line,) = table(tmp_path)
    assert line.startswith(f"lstm       {mark} difference")


def test_what_is_due_has_to_be_so(tmp_path: Path) -> None:
    check = Check("rows", tmp_path, "cuda")
    check.expect("equal", True)
    check.expect("equal to the last bit", False, is_due=False)
    assert check.faults == 0
    check.expect("finite", False)
    assert check.faults == 1


def test_a_stage_without_time_or_packages_is_skipped(tmp_path: Path) -> None:
    arguments = Namespace(out=tmp_path, device="cpu")
    ended = start_stage("lstm", arguments, 0.5)
    assert (ended["status"], ended["note"]) == ("skipped", "no time left")
    assert missing(("json", "no_such_package", "no_such_package.part")) == [
        "no_such_package",
        "no_such_package.part",
    ]
    append(tmp_path, {"stage": "lstm", **ended})
    assert list(table(tmp_path)) == ["lstm       skipped: no time left"]


def test_a_stage_that_breaks_is_reported(tmp_path: Path) -> None:
    arguments = Namespace(out=tmp_path, device="nowhere")
    ended = start_stage("machine", arguments, 60.0)
    assert ended["status"] == "exit status 2", "its command line was refused"
    assert "invalid choice: 'nowhere'" in ended["note"]


@pytest.mark.usefixtures("interpreted")
def test_what_compares_the_loss_finds_no_difference_in_the_interpreter() -> None:
    """The code of a stage that a CPU skips."""
    cpu = torch.device("cpu")
    for kind, most in gpu_kernels.MOST.items():
        for is_soft in (False, True):
            found = gpu_kernels._loss_in_chunks(cpu, kind, 50, 7, is_soft=is_soft)
            assert found < most
