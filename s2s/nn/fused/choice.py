"""Where the kernels written in Triton run: on a GPU, if Triton is installed and a trial succeeds.

Triton comes with PyTorch's builds for CUDA; it is no requirement. Whether it works depends on more
than its presence: it compiles for the GPU at hand and needs a C compiler to launch what it
compiled. So each kernel is tried at its real width before its first use, beside the equations
computed by PyTorch. Where it fails or differs, PyTorch's operations take its place, and a warning
says so.
"""

import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from s2s.nn.cuda import ieee_products

VARIABLE = "S2S_FUSED"
"""Environment variable; `0` turns the kernels off."""

DEVICES = {"cuda"}
"""Types of device that have the kernels."""

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.03}
"""Types that the kernels compute in, and the largest norm of the difference in a trial, relative to
the expected norm: several times what rounding causes."""

CAPABILITY = (8, 0)
"""The first GPUs with bf16."""

Trial = Callable[[torch.device, torch.dtype], Iterator[tuple[Tensor, Tensor]]]
"""Runs a kernel on random input of its own: each result beside the expected one."""

_verdicts: dict[tuple[object, ...], bool] = {}
_plain = [False]


@contextmanager
def plain() -> Iterator[None]:
    """Context in which PyTorch's operations are used instead, to compare the two."""
    before, _plain[0] = _plain[0], True
    try:
        yield
    finally:
        _plain[0] = before


def runs_on(device: torch.device, kind: torch.dtype) -> bool:
    """Whether kernels may run on a device, in a type, if their trial succeeds."""
    if device.type not in DEVICES or kind not in TOLERANCES or _plain[0]:
        return False
    if os.environ.get(VARIABLE) == "0" or not has_triton():
        return False
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= CAPABILITY


@cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def passes(
    name: str, device: torch.device, kind: torch.dtype, sizes: Sequence[int], trial: Trial
) -> bool:
    """Whether a kernel agrees with the expected results at these sizes, so that it can be used.

    The trial is made once in a process for each device, type and sizes. It must not draw from the
    global random generators, or the random numbers of training would change. A RuntimeWarning tells
    of a failure.
    """
    if not runs_on(device, kind):
        return False
    key = (name, device, kind, *sizes)
    if key not in _verdicts:
        _verdicts[key] = _try(f"{name} {list(sizes)} in {str(kind)[6:]}", device, kind, trial)
    return _verdicts[key]


def _try(name: str, device: torch.device, kind: torch.dtype, trial: Trial) -> bool:
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            ieee_products(),
            torch.autocast(device.type, enabled=False),
        ):
            worst = torch.stack([difference(*pair) for pair in trial(device, kind)]).amax()
        # NaN compares false with any tolerance.
        fault = "" if float(worst) <= TOLERANCES[kind] else f"differs by {float(worst):.2g}"
    except torch.OutOfMemoryError:
        raise  # it does not show a fault of the kernel
    except Exception as error:  # of the compiler, the file system or the driver
        fault = f"fails ({type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]})"
    if fault:
        text = f"the kernel of the {name} {fault} on {device}; PyTorch's operations are used"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    return not fault


def difference(found: Tensor, expected: Tensor) -> Tensor:
    """The norm of the difference, relative to the expected one."""
    assert found.shape == expected.shape, "a result of the expected shape"
    found, expected = found.detach().double(), expected.detach().double()
    share: Tensor = (found - expected).norm() / expected.norm().clamp_min(1e-30)
    return share
