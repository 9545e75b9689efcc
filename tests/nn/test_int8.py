"""Products in int8 by both libraries: exact sums, and the choice between them.

Dimension letters: N rows, D input channels, O output channels.
"""

from collections.abc import Callable

import pytest
import torch

from s2s.nn import int8
from s2s.nn.int8 import (
    LEVELS,
    NARROW_LEVELS,
    FBGEMMProduct,
    OneDNNInt8Product,
    int8_product,
    runs_fbgemm,
    weight_levels,
)
from s2s.nn.matmul import Product, Weights
from s2s.nn.onednn import runs_onednn

pytestmark = pytest.mark.kernels

Library = Callable[[Weights, int], Product]


@pytest.fixture(params=[OneDNNInt8Product, FBGEMMProduct])
def library(request: pytest.FixtureRequest) -> Library:
    has = runs_fbgemm() if request.param is FBGEMMProduct else runs_onednn("int8")
    if not has:
        pytest.skip("this PyTorch has no such library")
    found: Library = request.param
    return found


@pytest.mark.parametrize("rows", [1, 5, 128])
@pytest.mark.parametrize("inputs", [1, 3, 64, 257, 1030])
@pytest.mark.parametrize("outputs", [1, 17, 256])
def test_sums_are_exact(library: Library, rows: int, inputs: int, outputs: int) -> None:
    """With the largest values too, where sums in 16 bits would saturate."""
    draw = torch.Generator().manual_seed(rows * inputs + outputs)
    whole_ND = torch.randint(-LEVELS, LEVELS + 1, (rows, inputs), generator=draw)
    largest = NARROW_LEVELS
    whole_OD = torch.randint(-largest, largest + 1, (outputs, inputs), generator=draw)
    whole_ND[0], whole_OD[:, 0], whole_OD[0] = LEVELS, largest, largest
    whole_OD[outputs // 2, 1:] = -largest
    bound_D = torch.full((inputs,), float(LEVELS))
    weights = Weights(whole_OD.float(), torch.zeros(outputs), bound_D)
    found_NO = library(weights, largest)(whole_ND.float())
    expected_NO = (whole_ND @ whole_OD.T).double()
    torch.testing.assert_close(found_NO.double(), expected_NO, rtol=1e-6, atol=0.5)


def test_each_channel_has_its_bound_and_a_value_beyond_it_is_the_bound(library: Library) -> None:
    draw = torch.Generator().manual_seed(4)
    bound_D = torch.rand(29, generator=draw) + 0.1
    weight_OD, bias_O = torch.randn(17, 29, generator=draw), torch.randn(17, generator=draw)
    times = library(Weights(weight_OD, bias_O, bound_D), NARROW_LEVELS)
    x_ND = (2.0 * torch.rand(11, 29, generator=draw) - 1.0) * bound_D
    whole_ND = (x_ND.double() / bound_D * LEVELS).round() * bound_D / LEVELS
    scale_O1 = (weight_OD * bound_D).abs().amax(1, keepdim=True) / LEVELS
    step = LEVELS / NARROW_LEVELS  # fewer levels are a second rounding
    levels_OD = ((weight_OD * bound_D / scale_O1).round() / step).round() * step
    whole_OD = levels_OD * scale_O1 / bound_D
    # fp32 may round a half to the other side: one unit of one input channel.
    half_O = (whole_OD * bound_D).abs().amax(1) / LEVELS
    error_NO = times(x_ND).double() - (whole_ND @ whole_OD.double().T + bias_O)
    assert (error_NO.abs() <= half_O + 1e-4).all()
    assert torch.equal(times(3.0 * bound_D.expand(2, -1)), times(bound_D.expand(2, -1)))


def test_packing_leaves_the_library_that_was_chosen() -> None:
    if not runs_fbgemm():
        pytest.skip("this PyTorch has no FBGEMM")
    before = torch.backends.quantized.engine
    FBGEMMProduct(Weights(torch.ones(2, 3), torch.zeros(2), torch.ones(3)), LEVELS)
    assert torch.backends.quantized.engine == before


@pytest.mark.parametrize("has_fbgemm", [True, False])
@pytest.mark.parametrize("levels", [LEVELS, NARROW_LEVELS])
def test_fbgemm_multiplies_where_sums_of_16_bits_saturate(
    levels: int, has_fbgemm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not runs_onednn("int8") or not runs_fbgemm():
        pytest.skip("this PyTorch has one library at most")
    monkeypatch.setattr(int8, "weight_levels", lambda: levels)
    monkeypatch.setattr(int8, "runs_fbgemm", lambda: has_fbgemm)
    made = int8_product(Weights(torch.ones(2, 3), torch.zeros(2), torch.ones(3)))
    is_fbgemm = has_fbgemm and levels == NARROW_LEVELS
    assert isinstance(made, FBGEMMProduct if is_fbgemm else OneDNNInt8Product)


def test_without_its_operators_fbgemm_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object) -> None:
        raise AttributeError("'_OpNamespace' 'quantized' object has no attribute")

    monkeypatch.setattr(int8.FBGEMMProduct, "__call__", missing)
    runs_fbgemm.cache_clear()
    try:
        assert not runs_fbgemm()
    finally:
        runs_fbgemm.cache_clear()


def test_weights_have_the_levels_that_this_cpu_sums_exactly() -> None:
    assert weight_levels() in (LEVELS, NARROW_LEVELS)
