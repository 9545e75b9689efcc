"""Choice of the device, precision and number of threads."""

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from s2s.errors import UsageError
from s2s.nn import cuda
from s2s.nn.kernels import has_fast_bf16, runs_bf16_lstm
from s2s.nn.threads import requested_threads, warn_of_threads
from s2s.recipe.model import Model


def to_device(tensor: Tensor, device: str | torch.device) -> Tensor:
    """A copy on `device` of a tensor on the host; the tensor itself where `device` is the CPU.

    The copy uses pinned memory. From pageable memory it would begin only after all work queued on
    the device, and the host would wait. PyTorch keeps pinned memory and reuses it.
    """
    if torch.device(device).type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


Precision = Literal["fp32", "tf32", "bf16"]


THREADED_WIDTH = 512
"""Smallest decoder width for which several threads are worth it: on two idle cores a second one
made training 1.1 times as fast at width 256 and 1.6 times at 512, and on busy ones several times
slower at 256."""


def choose_device(name: str) -> torch.device:
    """The device of a name: `auto` is the first GPU if there is one, else the CPU.

    A GPU is set up by `cuda.prepare`. Raises UsageError if there is no such device.
    """
    device = _device_of(name)
    if device.type == "cuda":
        cuda.prepare(device)
    return device


def _device_of(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UsageError(f"--device {name}: found {found} CUDA devices; use --device cpu")
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision of a name: `auto` is bf16 where that is faster than fp32, else fp32.

    Raises UsageError for tf32 on hardware without it, and for bf16 on a CPU without LSTMs in bf16.
    """
    if name == "tf32":
        cuda.check_tf32(device)
        return "tf32"
    if name == "bf16" and device.type == "cpu" and not runs_bf16_lstm():
        raise UsageError(
            "train.precision: bf16: on this CPU, PyTorch has no recurrent layers in bf16; use auto "
            "or fp32"
        )
    if name in {"fp32", "bf16"}:
        return "bf16" if name == "bf16" else "fp32"
    return "bf16" if has_fast_bf16(device) else "fp32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Context of a forward pass whose products and recurrences run in `precision`.

    Parameters stay fp32. `fp32_of` is the context of the whole update.
    """
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def fp32_of(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Context, forward and backward, that sets how a GPU computes what `autocast` leaves in fp32.

    With bf16 these are recurrences that cuDNN lacks in bf16; TF32 is more precise than bf16.
    """
    if device.type == "cpu" or precision == "fp32":
        return nullcontext()
    return cuda.tf32(products=precision == "tf32")


def limit_threads(recipe: Model, device: torch.device, processes: int = 1) -> None:
    """Set PyTorch's threads on a CPU: one for a small model, otherwise the cores' number divided by
    `processes`; OMP_NUM_THREADS takes precedence.

    Below `THREADED_WIDTH` two threads wait for each other longer than they compute, and without a
    core for each they hardly advance. A line on stderr warns of an unsuitable OMP_NUM_THREADS.
    """
    if device.type != "cpu":
        return
    warn_of_threads()
    if requested_threads() is not None:
        return
    if recipe.decoder.width < THREADED_WIDTH:
        torch.set_num_threads(1)
    elif processes > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def keep_freed_memory() -> None:
    """Have glibc reuse large freed blocks instead of returning them to the system.

    Every training step allocates the same large arrays. By default each is a new mapping whose
    pages fault one by one, which took 40 % of a step. No effect with another C library.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
