"""Compiles every kernel for a Hopper GPU, which need not be there: sizes of the binaries, as JSON.

Run as a script, for Triton's functions are either compiled or interpreted in a process.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from s2s.nn.fused import (
    additive_kernel,
    attention_kernel,
    cross_entropy_kernel,
    lstm_cell_kernel,
)

HOPPER = GPUTarget("cuda", 90, 32)


def compiled(kernel: Any, types: str, constants: dict[str, Any], warps: int) -> int:
    """Bytes of the binary of a kernel whose arguments have these types, but for constants."""
    names = [name for name in kernel.arg_names if name not in constants]
    signature = dict(zip(names, types.split(), strict=True))
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, {n: signature[n] for n in kernel.arg_names}, constants)
    binary = triton.compile(source, target=HOPPER, options={"num_warps": warps})
    return len(binary.asm["cubin"])


def cross_entropy(kind: str) -> int:
    """With soft targets, as large as a model's."""
    types = f"*{kind} *fp32 *i64 *i64 *fp32 *fp32 fp32 fp32 fp32"
    constants = {"VOCABULARY": 32_001, "WIDTH": 32_064, "NUM_SOFT": 5, "SOFT_BLOCK": 8}
    constants |= {"WRITES": True, "BLOCK": cross_entropy_kernel.BLOCK}
    return compiled(cross_entropy_kernel.cross_entropy_rows, types, constants, 8)


def lstm_forward(kind: str) -> int:
    """With c of an earlier step."""
    types = f"*{kind} *fp32 *{kind} *fp32"
    constants = {"WIDTH": 1000, "BLOCK": 1024}
    return compiled(lstm_cell_kernel.lstm_cell_forward, types, constants, 4)


def lstm_backward(kind: str) -> int:
    """Of both results."""
    types = f"*{kind} *fp32 *{kind} *fp32 *{kind} *fp32"
    constants = {"WIDTH": 1000, "BLOCK": 1024, "HAS_H": True, "HAS_C": True}
    return compiled(lstm_cell_kernel.lstm_cell_backward, types, constants, 4)


SIZES = {"WIDTH": 1000, "VALUE_WIDTH": 520, "TIME": 64, "BLOCK": 64}
"""Of attention over some 60 positions."""

BOTH = {"HAS_WEIGHTS": True, "HAS_SCORES": True}


def attention_forward(kind: str, *, is_additive: bool) -> int:
    """Of either score."""
    types = f"*{kind} *{kind} *{kind} *fp32 *i8 *fp32 *fp32 *{kind} i32 i32 i32 i32 fp32 i32"
    constants = {"IS_ADDITIVE": is_additive, **SIZES}
    return compiled(attention_kernel.attention_forward, types, constants, 4)


def bilinear_backward(kind: str) -> int:
    """With gradients of weights and scores."""
    types = f"*{kind} *{kind} *fp32 *{kind} *fp32 *fp32 *{kind} *{kind} i32 i32 i32 i32 fp32 i32"
    return compiled(attention_kernel.bilinear_backward, types, {**SIZES, **BOTH}, 4)


def additive_backward(kind: str) -> int:
    """As `bilinear_backward`."""
    types = f"*{kind} *{kind} *{kind} *fp32 *fp32 *{kind} *fp32 *fp32 *{kind} *fp32 *fp32"
    types += " i32 i32 i32"
    return compiled(additive_kernel.additive_backward, types, {**SIZES, **BOTH}, 4)


KERNELS = {
    "cross_entropy": cross_entropy,
    "lstm_forward": lstm_forward,
    "lstm_backward": lstm_backward,
    "bilinear_forward": partial(attention_forward, is_additive=False),
    "bilinear_backward": bilinear_backward,
    "additive_forward": partial(attention_forward, is_additive=True),
    "additive_backward": additive_backward,
}

if __name__ == "__main__":
    found = {
        f"{name} {kind}": make(kind) for name, make in KERNELS.items() for kind in ("bf16", "fp32")
    }
    print(json.dumps(found))
