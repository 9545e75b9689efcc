"""Chooses the matrix product of oneDNN for a precision.

Dimension letters: N rows, D input channels, O output channels.
"""

from functools import cache
from typing import assert_never

import torch

from s2s.nn.int8 import OneDNNInt8Product, weight_levels
from s2s.nn.matmul import OneDNNProduct, Product, Weights
from s2s.recipe.choices import SearchPrecision


def onednn_product(weights: Weights, precision: SearchPrecision) -> Product:
    """The product by oneDNN's kernel, even if it is slow."""
    match precision:
        case "fp32":
            return OneDNNProduct(weights, torch.float32)
        case "bf16":
            return OneDNNProduct(weights, torch.bfloat16)
        case "int8":
            return OneDNNInt8Product(weights, weight_levels())
        case _:
            assert_never(precision)


@cache
def runs_onednn(precision: SearchPrecision) -> bool:
    """Whether this PyTorch multiplies in a precision by oneDNN on this CPU, tested by a product.

    PyTorch may be built without oneDNN, lack one of its operators, or reject an older CPU.
    """
    ones = torch.ones(16, 16, dtype=torch.float32)
    try:
        found = onednn_product(Weights(ones, ones[0], ones[0]), precision)(ones)
    except (RuntimeError, AttributeError):  # AttributeError: no such operator
        return False
    return torch.allclose(found, 17.0 * ones, rtol=0.01)
