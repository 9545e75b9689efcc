"""What a GPU is told before it computes: which it is, how it keeps memory, what fp32 means."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from s2s.errors import UsageError

ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Where users say how PyTorch is to keep memory."""


def prepare(device: torch.device) -> None:
    """For all commands that compute on a GPU: set it up, and make it the current one."""
    expand_segments()
    set_tf32(products=False, recurrences=False)
    if device.index is not None:  # or kernels that are no operators of PyTorch start on the first
        torch.cuda.set_device(device)


def expand_segments() -> None:
    """Have PyTorch's memory grow where it lies, unless the user has said how it is to be kept.

    Batches of ever new shapes otherwise leave blocks that none of the next ones fits in. By a call,
    as variables of the environment are read under one name or the other (2.9.1 ignores the new
    one, 2.8 to 2.11 warn of the old one). No effect once the GPU is in use.
    """
    is_chosen = any(name in os.environ for name in ALLOCATOR)
    is_possible = platform.system() == "Linux" and torch.version.cuda is not None
    if is_chosen or not is_possible or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    # The second is the name before 2.9.
    for name in (
        "_accelerator_setAllocatorSettings",
        "_cuda_cudaCachingAllocator_set_allocator_settings",
    ):
        change = getattr(torch._C, name, None)
        if change is not None:
            change("expandable_segments:True")
            return


def set_tf32(*, products: bool, recurrences: bool) -> None:
    """Whether products, and cuDNN's recurrences and convolutions, of fp32 round their factors to
    TF32 on a GPU.

    By default PyTorch has cuDNN do so, but not products: two ways to compute the same would differ
    by 1e-3. Mixing this interface with the older one, `allow_tf32`, is an error from PyTorch 2.9.
    """
    backends: Any = torch.backends
    if hasattr(backends.cudnn.rnn, "fp32_precision"):
        backends.cuda.matmul.fp32_precision = "tf32" if products else "ieee"
        for backend in (backends.cudnn.conv, backends.cudnn.rnn):
            backend.fp32_precision = "tf32" if recurrences else "ieee"
    else:
        backends.cuda.matmul.allow_tf32 = products
        backends.cudnn.allow_tf32 = recurrences


@contextmanager
def tf32(*, products: bool = True) -> Iterator[None]:
    """Context in which fp32 is TF32 on a GPU, in backward passes too, but for `products` if so."""
    set_tf32(products=products, recurrences=True)
    try:
        yield
    finally:
        set_tf32(products=False, recurrences=False)


def check_tf32(device: torch.device) -> None:
    """Raises UsageError where the hardware has no TF32."""
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if not has_tf32:
        found = "an older one" if device.type == "cuda" else f"--device {device}"
        raise UsageError(
            "train.precision: tf32 needs a GPU of the Ampere generation or a later one, found "
            f"{found}; use auto, bf16 or fp32"
        )
