"""Stored weights are rounded as search rounds them, once and for all."""

import pytest
import torch
from torch import Tensor

from s2s.errors import RunError
from s2s.nn.int8 import LEVELS, NARROW_LEVELS, OneDNNInt8Product
from s2s.nn.kernels import speeds
from s2s.nn.matmul import Weights
from s2s.nn.stored_weights import read_weights, round_weights
from s2s.recipe.choices import SearchPrecision

NAMES = ("lstm.w", "lstm.u")
WIDTHS = (7, 12)
ROWS = 40


def matrices(seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Two parts of a matrix, with rows of zeros, of ties and of tiny numbers, and bounds of their
    channels, one of them 0."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(ROWS, width, generator=generator) for width in WIDTHS]
    parts[0][0] = parts[1][0] = 0.0
    parts[0][1] = parts[1][1] = -0.25
    parts[0][2] *= 1e-30
    parts[1][2] *= 1e-30
    bound_D = 3.0 * torch.rand(sum(WIDTHS), generator=generator)
    bound_D[3] = 0.0
    return dict(zip(NAMES, parts, strict=True)), bound_D


def whole(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([weights[name] for name in NAMES], dim=1)


def stored(seed: int, precision: SearchPrecision) -> dict[str, Tensor]:
    weights, bound_D = matrices(seed)
    return round_weights(weights | {"bias": torch.ones(3)}, {NAMES: bound_D}, precision)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("factor", [1.0, 0.5])
@pytest.mark.parametrize("levels", [LEVELS, NARROW_LEVELS])
def test_int8_of_stored_weights_is_that_of_the_trained_ones(
    seed: int, factor: float, levels: int
) -> None:
    if "int8" not in speeds():
        pytest.skip("no fast int8 here")
    weights, bound_D = matrices(seed)
    back = read_weights(stored(seed, "int8"), "here")
    bias_O = torch.zeros(ROWS)
    ours, other = (
        OneDNNInt8Product(Weights(factor * whole(one), bias_O, bound_D), levels)
        for one in (weights, back)
    )
    assert torch.equal(ours.scale_O, other.scale_O)
    assert torch.equal(ours.levels_D, other.levels_D)
    x_ND = (2.0 * torch.rand(64, sum(WIDTHS)) - 1.0) * bound_D
    assert torch.equal(ours(x_ND), other(x_ND))
    assert not torch.equal(whole(weights), whole(back))  # they are not the trained weights


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_storing_again_changes_nothing(precision: SearchPrecision) -> None:
    first = stored(1, precision)
    _, bound_D = matrices(1)
    again = round_weights(read_weights(first, "here"), {NAMES: bound_D}, precision)
    assert first.keys() == again.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name
        assert tensor.dtype == again[name].dtype


def test_bf16_of_bf16_is_bf16_and_the_rest_is_fp32() -> None:
    weights, _ = matrices(2)
    found = stored(2, "bf16")
    back = read_weights(found, "here")
    assert torch.equal(whole(back).bfloat16(), whole(weights).bfloat16())
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        **dict.fromkeys(NAMES, torch.bfloat16),
        "bias": torch.float32,
    }
    assert all(tensor.dtype == torch.float32 for tensor in back.values())


def test_int8_is_a_quarter_of_fp32() -> None:
    found = stored(3, "int8")
    assert all(found[name].dtype == torch.int8 for name in NAMES)
    assert all(int(found[name].abs().max()) <= LEVELS for name in NAMES)


@pytest.mark.parametrize("fault", ["missing", "dtype", "column", "shape"])
def test_damaged_scales_are_one_error(fault: str) -> None:
    found = stored(4, "int8")
    joined = "|".join(NAMES)
    match fault:
        case "missing":
            del found[f"largest:{joined}"]
        case "dtype":
            found[NAMES[0]] = found[NAMES[0]].float()
            found[NAMES[1]] = found[NAMES[1]].float()
        case "column":
            found[f"column:{joined}"][0] = 1 << 30
        case "shape":
            found[f"bound:{joined}"] = torch.ones(3)
    with pytest.raises(RunError, match=r"^here: expected a matrix in int8"):
        read_weights(found, "here")


def test_whole_numbers_without_scales_are_refused() -> None:
    with pytest.raises(RunError, match="expected 'bias' in floating point"):
        read_weights({"bias": torch.ones(3, dtype=torch.int8)}, "here")
