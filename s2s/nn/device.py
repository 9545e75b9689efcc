"""Where and how precisely to compute: device, precision, memory allocator."""

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from s2s.errors import UsageError
from s2s.nn import cuda
from s2s.nn.kernels import has_fast_bf16, runs_bf16_lstm
from s2s.nn.threads import wanted_threads, warn_of_threads
from s2s.recipe.model import Model


def to_device(tensor: Tensor, device: str | torch.device) -> Tensor:
    """A host's tensor on `device`, or itself where that is the CPU.

    It goes by way of pinned memory: of any other the copy begins only when the device has done all
    it was asked for, and the host waits meanwhile. PyTorch keeps such memory and reuses it.
    """
    if torch.device(device).type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


Precision = Literal["fp32", "tf32", "bf16"]


THREADED_WIDTH = 512
"""Decoder width from which a second thread pays: at 256 it made training 1.1 times as fast on two
idle cores and several times slower on busy ones, at 512 1.6 times as fast on idle ones."""


def choose_device(wanted: str) -> torch.device:
    """The device of a name: `auto` is the first GPU if there is one, else the CPU.

    A GPU is set up for what follows. Raises UsageError for a device that is not there.
    """
    device = _device_of(wanted)
    if device.type == "cuda":
        cuda.prepare(device)
    return device


def _device_of(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(f"--device {wanted}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {wanted}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UsageError(f"--device {wanted}: found {found} CUDA devices; use --device cpu")
    return device


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """`auto` is bf16 where the device multiplies it faster than fp32, else fp32.

    Raises UsageError for tf32 where there is none, and for bf16 on a CPU without LSTMs in bf16.
    """
    if wanted == "tf32":
        cuda.check_tf32(device)
        return "tf32"
    if wanted == "bf16" and device.type == "cpu" and not runs_bf16_lstm():
        raise UsageError(
            "train.precision: bf16: on this CPU, PyTorch has no recurrent layers in bf16; use auto "
            "or fp32"
        )
    if wanted in {"fp32", "bf16"}:
        return "bf16" if wanted == "bf16" else "fp32"
    return "bf16" if has_fast_bf16(device) else "fp32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Context in which matrix products and recurrences run in `precision`; parameters stay fp32.

    Of a forward pass; `fp32_of` is that of a whole one.
    """
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def fp32_of(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Context in which what stays fp32 is computed as `precision` says, forward and backward.

    With bf16 those are recurrences that the GPU's library does not have in bf16: TF32 is more.
    """
    if device.type == "cpu" or precision == "fp32":
        return nullcontext()
    return cuda.tf32(products=precision == "tf32")


def limit_threads(recipe: Model, device: torch.device, processes: int = 1) -> None:
    """One thread for a small model on a CPU, unless the user has set OMP_NUM_THREADS; otherwise
    `processes` divide the cores.

    Below `THREADED_WIDTH` two threads wait for each other longer than they compute, and where they
    cannot have a core each they all but stop. A setting that does not suit is told on stderr.
    """
    if device.type != "cpu":
        return
    warn_of_threads()
    if wanted_threads() is not None:
        return
    if recipe.decoder.width < THREADED_WIDTH:
        torch.set_num_threads(1)
    elif processes > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def keep_freed_memory() -> None:
    """Have glibc reuse large freed blocks instead of returning them to the system.

    A training step allocates the same large arrays again and again; by default each is a fresh
    mapping whose pages fault in one by one, which made 40 % of a step. No effect elsewhere.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
