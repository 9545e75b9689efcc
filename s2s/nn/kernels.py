"""The kernel of matrix products on this machine, in each precision, chosen by measured speed.

The name of a CPU does not determine the fastest kernel. bf16 is five times as fast as fp32 with
AMX, twice with the AVX512-BF16 of some CPUs, slower with that of others, and four times slower
where it is emulated. oneDNN may be limited by `ONEDNN_MAX_CPU_ISA`, or have no optimized kernel for
a type and use its reference implementation, thousands of times slower.
"""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal, assert_never

import torch
from torch import Tensor

from s2s.errors import UsageError
from s2s.nn.int8 import int8_product
from s2s.nn.matmul import (
    NO_POST_OP,
    PlainProduct,
    Product,
    RoundedProduct,
    RowIndependent,
    RowwiseProduct,
    Weights,
)
from s2s.nn.onednn import onednn_product, runs_onednn
from s2s.recipe.choices import SearchPrecision, SearchPrecisionChoice

Kernel = Literal["fp32", "bf16", "rounded", "int8"]
"""A CPU's kernel: one of its own for a precision, or bf16 computed by a product in fp32."""

KERNELS: tuple[Kernel, ...] = ("fp32", "bf16", "rounded", "int8")

Shape = tuple[int, int, int]

MEASURED: Shape = (128, 512, 1024)
"""Rows, inputs and outputs of the measured product: about those of a decoding step."""

SMALL: Shape = (8, 64, 64)
"""The same of a product that detects oneDNN's reference implementation in a millisecond."""

BY_REFERENCE = 20.0
"""Smallest time of oneDNN's reference implementation for a small product, in multiples of fp32's;
its optimized kernels are all faster."""

ROUNDS = {SMALL: 20, MEASURED: 5}
"""Measurements of each product, of which the fastest counts."""

UNBOUNDED = 4.0
"""Largest input of the test of a product whose inputs have no bound."""

GAIN = 1.2
"""Speed, in multiples of fp32's, from which `auto` chooses another precision."""

INTEL = "GenuineIntel"
VENDORS = (INTEL, "AuthenticAMD", "HygonGenuine", "CentaurHauls")
"""Vendor ids of x86 CPUs."""

PRECISIONS: tuple[SearchPrecision, ...] = ("fp32", "bf16", "int8")


def product(
    weights: Weights, precision: SearchPrecision, rebuild: Callable[[], Weights] | None = None
) -> Product:
    """The product of a precision, on the device of the weights.

    On a CPU its rows are independent. Where an input channel has no bound, int8 has no scale for
    it, and the product is in bf16. `rebuild` makes the same weights again; with it, they are not
    kept for a product row by row, which is rarely needed. Raises UsageError as `check_precision`
    does.
    """
    device = weights.weight_OD.device
    check_precision(precision, device)
    if not weights.bound_D.isfinite().all():
        precision = "bf16" if precision == "int8" else precision
        weights = _with_bounds(weights)
        again = rebuild
        rebuild = None if again is None else lambda: _with_bounds(again())
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if device.type != "cpu":
        return PlainProduct(weights, dtype)
    kernel = _laid_out("rounded" if precision == "bf16" and _rounds() else precision, weights)
    remake = rebuild or partial(Weights, *weights)
    return RowIndependent(kernel, weights.bound_D, lambda: RowwiseProduct(remake(), dtype))


def _with_bounds(weights: Weights) -> Weights:
    """The weights, with a likely value for each bound of a channel that has none."""
    return weights._replace(bound_D=weights.bound_D.nan_to_num(posinf=UNBOUNDED))


def _rounds() -> bool:
    """Whether bf16 is faster by a product in fp32."""
    found = measured()
    return found.get("bf16", 0.0) < found["rounded"]


def _laid_out(kernel: Kernel, weights: Weights) -> Product:
    match kernel:
        case "fp32":
            has_kernel = runs_onednn("fp32")
            return onednn_product(weights, kernel) if has_kernel else PlainProduct(weights)
        case "rounded":
            return RoundedProduct(weights, partial(_laid_out, "fp32"))
        case "bf16":
            return onednn_product(weights, kernel)
        case "int8":
            return int8_product(weights)
        case _:
            assert_never(kernel)


_adopted: dict[Kernel, float] = {}


def adopt(found: Mapping[Kernel, float]) -> None:
    """Use the speeds that another process measured, so that both choose the same kernels."""
    _adopted.update(found)
    measured.cache_clear()


def choices() -> dict[str, bool]:
    """The choices of a search in bf16 or int8 that depend on this machine's speeds."""
    return {"rounded": _rounds(), "encoder": has_fast_bf16(torch.device("cpu"))}


@cache
def measured() -> dict[Kernel, float]:
    """Operations per second of a product on one core of this CPU, by each kernel that it has.

    Takes a twentieth of a second where all are fast. A worker uses those that its command measured.
    """
    if _adopted:
        return dict(_adopted)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy CPU several threads would wait for each other
    try:
        there = [one for one in KERNELS if one in ("fp32", "rounded") or runs_onednn(one)]
        small = _seconds(there, SMALL)
        fast = [one for one in there if small[one] < BY_REFERENCE * small["fp32"]]
        rows, inputs, outputs = MEASURED
        operations = 2.0 * rows * inputs * outputs
        return {one: operations / taken for one, taken in _seconds(fast, MEASURED).items()}
    finally:
        torch.set_num_threads(threads)


def _seconds(kernels: Sequence[Kernel], shape: Shape) -> dict[Kernel, float]:
    """Seconds of the fastest call of each kernel, after one call that prepares it."""
    rows, inputs, outputs = shape
    generator = torch.Generator().manual_seed(1)
    kind = torch.float32
    x_ND = torch.rand(rows, inputs, generator=generator, dtype=kind)
    weight_OD = torch.rand(outputs, inputs, generator=generator, dtype=kind)
    weights = Weights(weight_OD, torch.zeros(outputs, dtype=kind), torch.ones(inputs, dtype=kind))
    best = dict.fromkeys(kernels, float("inf"))
    with torch.inference_mode():
        calls = {one: _laid_out(one, weights) for one in kernels}
        for call in calls.values():
            call(x_ND)
        for _ in range(ROUNDS[shape]):
            for one, call in calls.items():
                began = time.perf_counter()
                call(x_ND)
                best[one] = min(best[one], time.perf_counter() - began)
    return best


def speeds() -> dict[SearchPrecision, float]:
    """Operations per second on one core of this CPU, in each precision that has a fast kernel."""
    found = measured()
    by_precision: dict[SearchPrecision, float] = {"fp32": found["fp32"]}
    by_precision["bf16"] = max(found.get("bf16", 0.0), found["rounded"])
    if "int8" in found:
        by_precision["int8"] = found["int8"]
    return by_precision


def multiply(a_NK: Tensor, b_KM: Tensor) -> Tensor:
    """The matrix product [N, M] of two matrices, in their type, for training: no gradients.

    On a CPU `torch.mm` calls MKL. Where that is slow (`has_slow_mkl`), oneDNN multiplies fp32.
    """
    is_fp32 = a_NK.dtype == b_KM.dtype == torch.float32
    if a_NK.device.type != "cpu" or not is_fp32 or not has_slow_mkl():
        return torch.mm(a_NK, b_KM)
    if a_NK.is_contiguous():
        y_NM: Tensor = torch.ops.mkldnn._linear_pointwise(a_NK, b_KM.t(), None, *NO_POST_OP)
        return y_NM
    # This transposes `b` instead of `a`; in a gradient it is the smaller one.
    y_MN: Tensor = torch.ops.mkldnn._linear_pointwise(
        b_KM.t().contiguous(), a_NK, None, *NO_POST_OP
    )
    return y_MN.t().contiguous()


@cache
def has_slow_mkl() -> bool:
    """Whether this is an x86 CPU of another vendor than Intel, and oneDNN multiplies fp32 on it.

    There MKL uses AVX2 at most, while oneDNN uses all that the CPU has: it was 1.1 to 2.3 times as
    fast on an AMD EPYC. The vendor decides and no measurement, so that a resumed training rounds
    as it did before.
    """
    return _vendor() not in ("", INTEL) and runs_onednn("fp32")


def _vendor() -> str:
    """The vendor id of an x86 CPU; empty where it is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = [f"vendor_id : {platform.processor().rpartition(' ')[2]}"]  # the form of Windows
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return named[0] if named and named[0] in VENDORS else ""


def has_fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 faster than fp32.

    A GPU does from the Ampere generation on; a CPU is measured.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    found = measured()
    return found.get("bf16", 0.0) >= GAIN * found["fp32"] and runs_bf16_lstm()


@cache
def runs_bf16_lstm() -> bool:
    """Whether an `nn.LSTM` runs under autocast to bf16 on this CPU, gradients included.

    PyTorch calls oneDNN for it, which may have no kernel on this CPU.
    """
    with torch.random.fork_rng(devices=[]):  # the layer initializes its weights
        lstm = torch.nn.LSTM(16, 16, dtype=torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            with torch.autocast("cpu", torch.bfloat16):
                h_TBH, _ = lstm(torch.ones(2, 4, 16, dtype=torch.float32))
            h_TBH.float().sum().backward()
    except RuntimeError:
        return False
    return True


def choose_search_precision(choice: SearchPrecisionChoice, device: torch.device) -> SearchPrecision:
    """The precision of a name: `auto` is the fastest one, and fp32 unless that is clearly faster.

    Raises UsageError as `check_precision` does.
    """
    if choice != "auto":
        check_precision(choice, device)
        return choice
    if device.type != "cpu":
        return "bf16" if has_fast_bf16(device) else "fp32"
    found = speeds()
    best = max(found, key=found.__getitem__)
    return best if found[best] >= GAIN * found["fp32"] else "fp32"


def check_precision(precision: SearchPrecision, device: torch.device) -> None:
    """Raise UsageError where a device has no kernel for a precision, or oneDNN none but its
    reference implementation."""
    if precision == "int8" and device.type != "cpu":
        raise UsageError(
            f"precision int8: expected a CPU, found device {device.type}; use bf16 or fp32, or "
            "--device cpu"
        )
    if precision == "int8" and precision not in speeds():
        raise UsageError(
            "precision int8: this CPU, with this build of PyTorch, has no fast kernel for it; use "
            "fp32 or bf16"
        )


def slower_than_fp32(precision: SearchPrecision, device: torch.device) -> str | None:
    """A warning in a line where the chosen precision is slower than fp32."""
    if precision == "fp32" or device.type != "cpu":
        return None
    found = speeds()
    if precision not in found or found[precision] >= found["fp32"]:
        return None
    return (
        f"precision {precision} is slower than fp32 on this CPU "
        f"({found[precision] / 1e9:.0f} against {found['fp32'] / 1e9:.0f} GFLOP/s); "
        "fp32, or auto, is faster"
    )


def slow_training(precision: str, device: torch.device) -> str | None:
    """The same for training, which always uses the CPU's own bf16."""
    if precision != "bf16" or device.type != "cpu" or has_fast_bf16(device):
        return None
    found = measured()
    if found.get("bf16", 0.0) >= found["fp32"]:
        return None
    return "precision bf16 is slower than fp32 on this CPU; fp32, or auto, is faster"
