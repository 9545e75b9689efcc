"""Settings of a GPU: the current device, the memory allocator, TF32."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from s2s.errors import UsageError

ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Environment variables that configure PyTorch's allocator."""


def prepare(device: torch.device) -> None:
    """Set up a GPU for a command and make it the current device."""
    expand_segments()
    set_tf32(products=False, recurrences=False)
    if device.index is not None:  # kernels outside of PyTorch use the current device
        torch.cuda.set_device(device)


def expand_segments() -> None:
    """Have PyTorch's allocator use expandable segments, unless the user has configured it.

    Batches of many shapes otherwise fragment the memory. It is set by a call, because PyTorch's
    versions differ in the variable they read (2.9.1 ignores the new name, 2.8 to 2.11 warn of the
    old one). No effect once the GPU is in use.
    """
    is_chosen = any(name in os.environ for name in ALLOCATOR)
    is_possible = platform.system() == "Linux" and torch.version.cuda is not None
    if is_chosen or not is_possible or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    # The second is the name before PyTorch 2.9.
    for name in (
        "_accelerator_setAllocatorSettings",
        "_cuda_cudaCachingAllocator_set_allocator_settings",
    ):
        change = getattr(torch._C, name, None)
        if change is not None:
            change("expandable_segments:True")
            return


def set_tf32(*, products: bool, recurrences: bool) -> None:
    """Set whether fp32 matrix products, and cuDNN's recurrences and convolutions, use TF32.

    PyTorch's default is TF32 in cuDNN and fp32 in products, so that two ways to compute the same
    differ by 1e-3. Since PyTorch 2.9 it is an error to mix this interface with the older one,
    `allow_tf32`.
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
    """Context in which fp32 is TF32 on a GPU, in backward passes too; in products if `products`."""
    set_tf32(products=products, recurrences=True)
    try:
        yield
    finally:
        set_tf32(products=False, recurrences=False)


@contextmanager
def ieee_products() -> Iterator[None]:
    """Context in which fp32 products are IEEE fp32, whatever they are outside."""
    backends: Any = torch.backends
    is_new = hasattr(backends.cudnn.rnn, "fp32_precision")
    name, ieee = ("fp32_precision", "ieee") if is_new else ("allow_tf32", False)
    before = getattr(backends.cuda.matmul, name)
    setattr(backends.cuda.matmul, name, ieee)
    try:
        yield
    finally:
        setattr(backends.cuda.matmul, name, before)


def check_tf32(device: torch.device) -> None:
    """Raise UsageError where the hardware has no TF32."""
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if not has_tf32:
        found = "an older one" if device.type == "cuda" else f"--device {device}"
        raise UsageError(
            "train.precision: tf32 needs a GPU of the Ampere generation or a later one, found "
            f"{found}; use auto, bf16 or fp32"
        )
