"""Where kernels written in Triton run, and that they compile for a GPU that is not there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s2s.nn.fused import choice
from s2s.nn.fused.choice import VARIABLE, has_triton, passes, plain, runs_on

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[3]
needs_triton = pytest.mark.skipif(
    not has_triton(), reason="Triton comes with PyTorch's builds for CUDA alone"
)


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that has the kernels, as if Triton were there."""
    monkeypatch.setattr(choice, "DEVICES", {"cpu"})
    monkeypatch.setattr(choice, "_verdicts", {})
    monkeypatch.setattr(choice, "has_triton", lambda: True)


def test_a_cpu_has_no_kernels() -> None:
    assert not runs_on(CPU, torch.float32)


@pytest.mark.usefixtures("on_cpu")
def test_types_without_kernels_and_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs_on(CPU, torch.bfloat16)
    assert not runs_on(CPU, torch.float64)
    with plain():
        assert not runs_on(CPU, torch.float32)
    assert runs_on(CPU, torch.float32)
    monkeypatch.setenv(VARIABLE, "0")
    assert not runs_on(CPU, torch.float32)
    monkeypatch.setenv(VARIABLE, "1")
    assert runs_on(CPU, torch.float32)
    monkeypatch.setattr(choice, "has_triton", lambda: False)
    assert not runs_on(CPU, torch.float32)


def test_older_gpus_have_no_bf16(on_cpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "DEVICES", {"cuda"})
    for capability, is_new in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(
            torch.cuda, "get_device_capability", lambda device, found=capability: found
        )
        assert runs_on(torch.device("cuda"), torch.float32) is is_new


@pytest.mark.usefixtures("on_cpu")
def test_a_trial_is_made_once_for_each_size_and_sees_gradients() -> None:
    seen = []

    def trial(device: torch.device, kind: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        seen.append((device, kind, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        x = torch.ones(3, dtype=kind, requires_grad=True)
        yield x * 2, x + 1

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert passes("kernel", CPU, torch.float32, (5,), trial)
    assert passes("kernel", CPU, torch.float32, (5,), trial)
    assert seen == [(CPU, torch.float32, True, False)]
    assert passes("kernel", CPU, torch.float32, (6,), trial)
    assert len(seen) == 2


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("wrong", [1.1, torch.nan, torch.inf])
def test_a_kernel_that_differs_is_told_of_once(wrong: float) -> None:
    def trial(device: torch.device, kind: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.full((3,), wrong), torch.ones(3)

    with pytest.warns(RuntimeWarning, match=r"kernel of the sum \[4\] in float32 differs by"):
        assert not passes("sum", CPU, torch.float32, (4,), trial)
    assert not passes("sum", CPU, torch.float32, (4,), trial)


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("error", [RuntimeError, OSError, ValueError])
def test_a_kernel_that_fails_is_told_of_in_a_line(error: type[Exception]) -> None:
    def trial(device: torch.device, kind: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        raise error("no C compiler\nfor all that was tried")

    told = rf"sum \[4\] in float32 fails \({error.__name__}: no C compiler\) on cpu; PyTorch's"
    with pytest.warns(RuntimeWarning, match=told):
        assert not passes("sum", CPU, torch.float32, (4,), trial)


@pytest.mark.usefixtures("on_cpu")
def test_a_lack_of_memory_is_no_verdict() -> None:
    def trial(device: torch.device, kind: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        passes("sum", CPU, torch.float32, (4,), trial)
    assert choice._verdicts == {}


@needs_triton
def test_kernels_compile_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    script = Path(__file__).parent / "compiled.py"
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    sizes = json.loads(done.stdout)
    assert set(sizes) == {f"{name} {kind}" for name in KERNELS for kind in ("bf16", "fp32")}
    assert min(sizes.values()) > 1_000


KERNELS = [
    *("cross_entropy", "lstm_forward", "lstm_backward", "bilinear_forward"),
    *("bilinear_backward", "additive_forward", "additive_backward"),
]


def test_nothing_imports_triton_where_there_is_no_gpu() -> None:
    code = (
        "import sys, torch; from s2s.training.loss.cross_entropy import linear_cross_entropy as f; "
        "from s2s.nn.model import Seq2Seq; "
        "f(torch.ones(2, 3), torch.ones(4, 3), torch.ones(4), torch.tensor([1, 2])); "
        "raise SystemExit(any(name.startswith('s2s.nn.fused.') and name.endswith('_kernel') "
        "for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
