"""A model for search: the same step, within the precision's rounding.

Dimension letters: N rows, D input channels, O output channels.
"""

import platform
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.errors import UsageError
from s2s.nn.cells.lstm import LSTMLayer, QuantizedLSTMLayer
from s2s.nn.inference_model import InferenceModel, inference_model
from s2s.nn.int8 import weight_levels
from s2s.nn.kernels import (
    SMALL,
    Kernel,
    Shape,
    choose_search_precision,
    measured,
    product,
    slower_than_fp32,
    speeds,
)
from s2s.nn.matmul import (
    OneDNNProduct,
    PlainProduct,
    Product,
    RoundedProduct,
    RowIndependent,
    Weights,
)
from s2s.nn.model import Seq2Seq
from s2s.nn.onednn import runs_onednn
from s2s.nn.step import Step
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import Model
from tests.nn.test_model import HARD, RECIPES, START, build, name

pytestmark = pytest.mark.kernels

PRECISIONS: list[SearchPrecision] = ["fp32", "bf16", "int8"]
every_precision = pytest.mark.parametrize("precision", PRECISIONS)
every_recipe = pytest.mark.parametrize("recipe", RECIPES + HARD, ids=name)

SOURCE = torch.tensor([[5, 7, 4, 9, 3], [6, 3, 0, 0, 0], [8, 4, 10, 3, 0]])
LENGTHS = torch.tensor([5, 2, 4])


def random_weights(outputs: int, inputs: int) -> Weights:
    draw = torch.Generator().manual_seed(4)
    bound_D = torch.rand(inputs, generator=draw) + 0.1
    return Weights(
        torch.randn(outputs, inputs, generator=draw), torch.randn(outputs, generator=draw), bound_D
    )


def inputs_within(weights: Weights, rows: int) -> Tensor:
    draw = torch.Generator().manual_seed(6)
    return (2 * torch.rand(rows, len(weights.bound_D), generator=draw) - 1) * weights.bound_D


def two_steps(model: Seq2Seq | InferenceModel) -> list[Step]:  # type: ignore[type-arg]
    memory = model.encode(SOURCE, LENGTHS)
    first = model.step(memory, model.start(memory), torch.tensor([2, 2, 2]))
    return [first, model.step(memory, first.state, torch.tensor([4, 11, 7]))]


@pytest.mark.parametrize("recipe", RECIPES + START + HARD, ids=name)
def test_in_fp32_the_step_is_that_of_training(recipe: Model) -> None:
    model = build(recipe).eval()
    with torch.no_grad():
        for expected, found in zip(
            two_steps(model), two_steps(inference_model(model, "fp32")), strict=True
        ):
            torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(found.state.layers, expected.state.layers)


@every_recipe
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_in_bf16_and_int8_the_step_is_near_that_of_training(
    recipe: Model, precision: SearchPrecision
) -> None:
    """Rounding to 8 bits moves logits by about a hundredth of their standard deviation."""
    model = build(recipe).eval()
    with torch.no_grad():
        steps = zip(two_steps(model), two_steps(inference_model(model, precision)), strict=True)
        for expected, found in steps:
            assert found.logits.dtype == torch.float32
            error = (found.logits - expected.logits).std() / expected.logits.std()
            assert 0.0 < error < 0.06


def test_int8_is_the_product_of_integers() -> None:
    weights = random_weights(17, 29)
    x_ND = inputs_within(weights, 11)
    reach_OD = weights.weight_OD.double() * weights.bound_D
    scale_O = reach_OD.abs().amax(1) / 127
    whole_OD = (reach_OD / scale_O[:, None]).round()
    step = 127 / weight_levels()  # fewer levels are a second rounding
    whole_OD, scale_O = (whole_OD / step).round(), scale_O * step
    whole_ND = (x_ND.double() / weights.bound_D * 127).round()
    expected_NO = whole_ND @ whole_OD.T / 127 * scale_O + weights.bias_O
    assert whole_ND.abs().max() > 100
    found_NO = product(weights, "int8")(x_ND)
    # fp32 may round a half to the other side: one unit of one input channel.
    assert (found_NO - expected_NO).abs().max() < 1e-4
    error_NO = found_NO - F.linear(x_ND, weights.weight_OD, weights.bias_O)
    bound_O = 29 * (scale_O / 2 + weights.weight_OD.abs().amax(1) * weights.bound_D.amax() / 254)
    assert (error_NO.abs() <= bound_O).all()


@pytest.mark.parametrize("rows", [1, 5, 128])
@pytest.mark.parametrize("inputs", [1, 3, 64, 257, 1030])
@pytest.mark.parametrize("outputs", [1, 17, 83, 256])
def test_int8_sums_are_exact(rows: int, inputs: int, outputs: int) -> None:
    """With the largest values too, where sums in 16 bits would saturate."""
    levels = weight_levels()
    draw = torch.Generator().manual_seed(rows * inputs + outputs)
    whole_ND = torch.randint(-127, 128, (rows, inputs), generator=draw)
    whole_OD = torch.randint(-levels, levels + 1, (outputs, inputs), generator=draw)
    whole_ND[0], whole_OD[:, 0], whole_OD[0] = 127, levels, levels
    whole_OD[outputs // 2, 1:] = -levels
    weights = Weights(whole_OD.float(), torch.zeros(outputs), torch.ones(inputs))
    found_NO = product(weights, "int8")(whole_ND / 127)
    expected_NO = (whole_ND @ whole_OD.T).double() / 127
    # Above 2^24 a kernel may round a sum to fp32 before it subtracts the zero point's part.
    lost = 0.0 if 255 * levels * inputs < 2**24 else 2 / 127
    torch.testing.assert_close(found_NO.double(), expected_NO, rtol=1e-6, atol=lost + 1e-5)


def test_int8_saturates_beyond_its_bound() -> None:
    """A value beyond the bound becomes the bound and does not wrap around."""
    weights = random_weights(5, 3)
    x_ND = weights.bound_D.expand(2, -1)
    times = product(weights, "int8")
    assert torch.equal(times(x_ND * 3.0), times(x_ND))


def test_bf16_rounds_what_it_multiplies_and_adds_the_bias_in_fp32() -> None:
    weights = random_weights(17, 29)
    x_ND = inputs_within(weights, 11)
    as_read_NO = F.linear(x_ND.bfloat16().double(), weights.weight_OD.bfloat16().double())
    found_NO = product(weights, "bf16")(x_ND) - weights.bias_O
    torch.testing.assert_close(found_NO.double(), as_read_NO, rtol=1 / 256, atol=1e-5)


@every_precision
@pytest.mark.parametrize("rows", [1, 12, 64, 120])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_are_independent(precision: SearchPrecision, rows: int, threads: int) -> None:
    """Bit for bit: neither a row's place nor its neighbours change its product."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        weights = random_weights(83, 37)
        times, x_ND = product(weights, precision), inputs_within(weights, rows)
        expected_NO = times(x_ND)
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(1))
        assert torch.equal(times(x_ND[order]), expected_NO[order])
        others_ND = x_ND.flip(0) / 3
        others_ND[rows // 2] = x_ND[rows // 2]
        assert torch.equal(times(others_ND)[rows // 2], expected_NO[rows // 2])
    finally:
        torch.set_num_threads(before)


@every_precision
@pytest.mark.parametrize("width", [5, 12, 50, 203])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_rows_are_independent_in_a_recurrent_step(
    precision: SearchPrecision, width: int, threads: int
) -> None:
    """Detects kernels that round a tensor's last elements differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(3)
        layer = LSTMLayer(7, width).requires_grad_(False)
        quantized = QuantizedLSTMLayer(layer, torch.ones(7), precision)
        x_ND, h_NH, c_NH = (torch.rand(252, size) * 2 - 1 for size in (7, width, width))
        expected = quantized.step(x_ND, (h_NH, c_NH))
        order = torch.randperm(252)
        found = quantized.step(x_ND[order], (h_NH[order], c_NH[order]))
        assert all(
            torch.equal(one, other[order]) for one, other in zip(found, expected, strict=True)
        )
        plain = layer.step(x_ND, (h_NH, c_NH))
        error = {"fp32": 1e-5, "bf16": 0.05, "int8": 0.05}[precision]
        for one, other in zip(expected, plain, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=error)
    finally:
        torch.set_num_threads(before)


@every_precision
def test_packing_leaves_the_model_as_it_was(precision: SearchPrecision) -> None:
    model = build(RECIPES[-1]).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    expected = two_steps(model)[1].logits
    inference_model(model, precision)
    assert torch.equal(two_steps(model)[1].logits, expected)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_weights_of_zero_leave_the_bias() -> None:
    weights = Weights(torch.zeros(4, 3), torch.arange(4.0), torch.zeros(3))
    for precision in PRECISIONS:
        assert torch.equal(product(weights, precision)(torch.zeros(2, 3))[1], weights.bias_O)


def test_int8_needs_a_cpu() -> None:
    with pytest.raises(
        UsageError, match=r"^precision int8: expected a CPU, found device meta; use bf16"
    ):
        product(Weights(*(tensor.to("meta") for tensor in random_weights(5, 3))), "int8")


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A CPU without kernels of oneDNN."""

    def refuse(weights: Weights, precision: SearchPrecision) -> Product:
        raise RuntimeError("mkldnn: not on this CPU")

    monkeypatch.setattr("s2s.nn.onednn.onednn_product", refuse)
    for cached in (runs_onednn, measured):
        cached.cache_clear()
    yield
    for cached in (runs_onednn, measured):
        cached.cache_clear()


@pytest.mark.usefixtures("no_kernels")
def test_where_onednn_has_no_kernels_the_products_are_those_of_torch() -> None:
    weights = random_weights(17, 29)
    x_ND = inputs_within(weights, 11)
    found_NO = product(weights, "fp32")(x_ND)
    torch.testing.assert_close(found_NO, F.linear(x_ND, weights.weight_OD, weights.bias_O))
    near_NO = product(weights, "bf16")(x_ND)
    torch.testing.assert_close(near_NO, found_NO, atol=0.1, rtol=0.02)
    with pytest.raises(
        UsageError, match=r"^precision int8: this CPU, .* has no fast kernel for it; use"
    ):
        product(weights, "int8")


@pytest.mark.parametrize("rows", [1, 11])
def test_bf16_by_a_product_in_fp32_is_that_of_bf16(rows: int) -> None:
    """Every sum is rounded once."""
    weights = random_weights(17, 29)
    x_ND = inputs_within(weights, rows)
    sums_NO = x_ND.bfloat16().double() @ weights.weight_OD.bfloat16().double().T
    found_NO = RoundedProduct(weights, PlainProduct)(x_ND)
    expected_NO = sums_NO.bfloat16().float() + weights.bias_O
    # fp32 may round a sum to the other side of a half.
    assert (found_NO == expected_NO).double().mean() > 0.95
    torch.testing.assert_close(found_NO, expected_NO, rtol=1 / 128, atol=1e-5)


def by_kernel(monkeypatch: pytest.MonkeyPatch, **speeds: float) -> None:
    """A machine whose kernels have these speeds."""
    monkeypatch.setattr("s2s.nn.kernels.measured", lambda: speeds)


def test_bf16_takes_the_faster_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Kernel] = []

    def laid_out(kernel: Kernel, weights: Weights) -> Product:
        taken.append(kernel)
        return PlainProduct(weights)

    monkeypatch.setattr("s2s.nn.kernels._laid_out", laid_out)
    for speed in (3e11, 3e10):
        by_kernel(monkeypatch, fp32=1e11, rounded=9e10, bf16=speed)
        product(random_weights(5, 3), "bf16")
    assert taken == ["bf16", "rounded"]


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("found", "precision"),
    [
        ({"fp32": 1e11, "rounded": 9e10, "bf16": 5e11, "int8": 9e11}, "int8"),
        ({"fp32": 1e11, "rounded": 9e10, "bf16": 5e11, "int8": 4e11}, "bf16"),
        ({"fp32": 1e11, "rounded": 9e10, "bf16": 2e10, "int8": 1.1e11}, "fp32"),
        ({"fp32": 1e11, "rounded": 9e10}, "fp32"),
    ],
)
def test_auto_is_the_fastest_precision_if_clearly_faster(
    found: dict[str, float], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_kernel(monkeypatch, **found)
    assert choose_search_precision("auto", CPU) == precision


def test_a_slow_precision_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    by_kernel(monkeypatch, fp32=1e11, rounded=9e10, bf16=2e10, int8=5e10)
    assert slower_than_fp32("fp32", CPU) is None
    assert slower_than_fp32("bf16", CPU) == (
        "precision bf16 is slower than fp32 on this CPU (90 against 100 GFLOP/s); fp32, or auto, "
        "is faster"
    )
    said = slower_than_fp32("int8", CPU)
    assert said is not None and "(50 against 100 GFLOP/s)" in said
    by_kernel(monkeypatch, fp32=1e11, rounded=9e10, bf16=2e11, int8=5e11)
    assert slower_than_fp32("bf16", CPU) is None
    assert slower_than_fp32("int8", CPU) is None


def test_reference_implementations_of_onednn_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test gives the times, so that the machine's load does not matter."""

    def seconds(kernels: Sequence[Kernel], shape: Shape) -> dict[Kernel, float]:
        assert shape == SMALL or "int8" not in kernels
        return {one: 1e-3 if one == "int8" else 1e-5 for one in kernels}

    monkeypatch.setattr("s2s.nn.kernels._seconds", seconds)
    monkeypatch.setattr("s2s.nn.kernels.runs_onednn", lambda precision: True)
    measured.cache_clear()
    try:
        assert set(speeds()) == {"fp32", "bf16"}
        with pytest.raises(UsageError, match=r"^precision int8: this CPU, .* no fast kernel"):
            product(random_weights(5, 3), "int8")
        assert choose_search_precision("auto", CPU) == "fp32"
    finally:
        measured.cache_clear()


def test_this_machine_has_a_kernel_for_fp32() -> None:
    """Otherwise the tests above would compare torch with itself. Every wheel for x86 has one."""
    if platform.machine() != "x86_64":
        pytest.skip("oneDNN is optional elsewhere")
    made = product(random_weights(5, 3), "fp32")
    assert isinstance(made, RowIndependent)
    assert isinstance(made.kernel, OneDNNProduct)
