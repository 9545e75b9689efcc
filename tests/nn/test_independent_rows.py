"""Search rounds every row independently of others: its operators do, and kernels are tested.

Dimension letters: B sentences, Q rows of a sentence, N = B*Q rows, J vectors of a sentence,
S source time, D input channels.
"""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from s2s.nn import kernels
from s2s.nn.cells import lstm as lstm_module
from s2s.nn.cells.base import UnrolledLayer
from s2s.nn.cells.lstm import LSTMLayer
from s2s.nn.inference_model import (
    InferenceModel,
    has_independent_sentences,
    inference_model,
)
from s2s.nn.kernels import product
from s2s.nn.matmul import Product, RowIndependent, RowwiseProduct, Weights
from s2s.nn.model import Seq2Seq
from s2s.nn.weighted_sum import weighted_sum
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import AdditiveAttention, BahdanauDecoder, Encoder, Model
from tests.nn.test_model import HARD, RECIPES, build, name

pytestmark = pytest.mark.kernels

every_recipe = pytest.mark.parametrize("recipe", RECIPES + HARD, ids=name)


def shuffled(count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(2))


# ------------------------------------------------------------------------------------ weighted sums


@pytest.mark.parametrize(("sentences", "rows"), [(1, 1), (1, 7), (6, 1), (5, 3)])
@pytest.mark.parametrize(("count", "width"), [(1, 1), (3, 5), (16, 37), (19, 64)])
def test_a_weighted_sum_is_a_batched_product(
    sentences: int, rows: int, count: int, width: int
) -> None:
    torch.manual_seed(1)
    weights_BQJ = torch.randn(sentences, rows, count)
    vectors_BJD = torch.randn(sentences, count, width)
    expected = torch.bmm(weights_BQJ.double(), vectors_BJD.double()).flatten(0, 1)
    found_ND = weighted_sum(weights_BQJ.flatten(0, 1), vectors_BJD)
    torch.testing.assert_close(found_ND.double(), expected, rtol=1e-5, atol=1e-5)
    transposed_BJD = vectors_BJD.mT.contiguous().mT  # another memory layout
    assert torch.equal(weighted_sum(weights_BQJ.flatten(0, 1), transposed_BJD), found_ND)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_the_same_for_a_row_alone(threads: int) -> None:
    """Bit for bit, at widths with rows of any alignment."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(1)
        weights_BQJ, vectors_BJD = torch.randn(25, 5, 19), torch.randn(25, 19, 37)
        together_BKD = weighted_sum(weights_BQJ.flatten(0, 1), vectors_BJD).view(25, 5, 37)
        for b in range(25):
            for k in range(5):
                alone = weighted_sum(weights_BQJ[b, k : k + 1], vectors_BJD[b : b + 1])
                assert torch.equal(alone[0], together_BKD[b, k])
    finally:
        torch.set_num_threads(before)


def test_its_gradient_is_that_of_the_product() -> None:
    """Also after a use in inference mode, which caches the places of the rows."""
    torch.manual_seed(1)
    weights_NJ = torch.randn(6, 4, requires_grad=True)
    vectors_BJD = torch.randn(3, 4, 5, requires_grad=True)
    with torch.inference_mode():
        weighted_sum(weights_NJ.detach(), vectors_BJD.detach())
    out_ND = torch.randn(6, 5)
    found = torch.autograd.grad(
        weighted_sum(weights_NJ, vectors_BJD), [weights_NJ, vectors_BJD], out_ND
    )
    plain_ND = torch.bmm(weights_NJ.view(3, 2, 4), vectors_BJD).flatten(0, 1)
    expected = torch.autograd.grad(plain_ND, [weights_NJ, vectors_BJD], out_ND)
    torch.testing.assert_close(found, expected)


def test_other_types_take_the_product() -> None:
    weights_NJ, vectors_BJD = torch.randn(6, 4).bfloat16(), torch.randn(3, 4, 5).bfloat16()
    expected = torch.bmm(weights_NJ.view(3, 2, 4), vectors_BJD).flatten(0, 1)
    assert torch.equal(weighted_sum(weights_NJ, vectors_BJD), expected)


# ---------------------------------------------------------------------------------- by construction

MATRIX_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "linear", "_mkl_linear"}
"""Operators of libraries that may round a row by its place."""

UNEVEN = {"sigmoid", "sigmoid_", "logaddexp", "addcmul", "addcmul_"}
"""Operators whose kernel rounds the last elements of a thread's part differently."""


class Watch(TorchDispatchMode):
    """Records every operator that might round a row by its place."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        operator = func.overloadpacket.__name__
        self.names.add(operator)
        if operator in MATRIX_PRODUCTS | UNEVEN:
            self.found.add(operator)
        return func(*args, **(kwargs or {}))


def search_steps(model: Seq2Seq | InferenceModel) -> Tensor:
    source_BS = torch.tensor([[5, 7, 4, 9, 3], [6, 3, 0, 0, 0], [8, 4, 10, 3, 0]])
    memory = model.encode(source_BS, torch.tensor([5, 2, 4]))
    first = model.step(memory, model.start(memory), torch.tensor([2, 2, 2]))
    return model.step(memory, first.state, torch.tensor([4, 11, 7])).logits


@every_recipe
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_step_has_no_operator_that_may_depend_on_other_rows(
    recipe: Model, precision: SearchPrecision
) -> None:
    quantized = inference_model(build(recipe).eval(), precision)
    with torch.inference_mode():
        search_steps(quantized)  # the first use tests the kernels, with any operator
        with Watch() as watch:
            search_steps(quantized)
    score = getattr(recipe.attention, "score", recipe.attention)
    assert "embedding_bag" in watch.names or score.kind in ("none", "additive")
    assert not watch.found


ONE_WIDE = [
    Model(
        embeddings=1 if place == "readout" else 5,
        encoder=Encoder(width=3),
        attention=AdditiveAttention(kind="additive", width=1 if place == "score" else 4),
        decoder=BahdanauDecoder(kind="bahdanau", width=1 if place == "bridge" else 7),
    )
    for place in ("readout", "score", "bridge")
]


@pytest.mark.parametrize("recipe", ONE_WIDE, ids=["readout", "score", "bridge"])
def test_a_layer_with_a_single_output_has_no_such_operator(recipe: Model) -> None:
    quantized = inference_model(build(recipe).eval(), "fp32")
    with torch.inference_mode():
        search_steps(quantized)
        with Watch() as watch:
            search_steps(quantized)
    assert not watch.found


def test_packing_keeps_no_second_copy_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stacked weights of a recurrent layer are freed after the kernel has packed them."""
    laid_out = []

    def recorded(*layer: Any) -> Weights:
        found = stacked_weights(*layer)
        laid_out.append(weakref.ref(found.weight_OD))
        return found

    stacked_weights = lstm_module._stacked_weights
    monkeypatch.setattr(lstm_module, "_stacked_weights", recorded)
    quantized = inference_model(build(RECIPES[0]).eval(), "int8")
    gc.collect()
    assert laid_out
    assert all(one() is None for one in laid_out)
    assert quantized.quantized is not None


def test_the_default_type_does_not_matter_to_tests_of_kernels() -> None:
    recipe, before = RECIPES[0], torch.get_default_dtype()
    model = build(recipe).eval()
    expected = search_steps(inference_model(model, "fp32"))
    for cached in (kernels.measured, kernels.runs_onednn, kernels.runs_bf16_lstm):
        cached.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        for precision in ("fp32", "bf16", "int8"):
            quantized = inference_model(model, precision)
        assert kernels.measured().keys() >= {"fp32", "rounded"}
    finally:
        torch.set_default_dtype(before)
    assert quantized.precision == "int8"
    assert torch.equal(search_steps(inference_model(model, "fp32")), expected)


def test_the_watch_records_products_in_training() -> None:
    with torch.inference_mode(), Watch() as watch:
        search_steps(build(RECIPES[0]).eval())
    assert watch.found & MATRIX_PRODUCTS


# -------------------------------------------------------------- kernels that depend on other rows


class SeesPlaces:
    """A kernel whose rounding depends on a row's place, visibly in bf16 too."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def __call__(self, x_ND: Tensor) -> Tensor:
        y_NO = F.linear(x_ND, self.weights.weight_OD, self.weights.bias_O)
        return y_NO * (1.0 + 0.01 * (torch.arange(len(x_ND)) % 2).unsqueeze(1))


@pytest.fixture
def broken_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine all of whose kernels round rows by their place."""

    def made(weights: Weights, precision: SearchPrecision) -> Product:
        return SeesPlaces(weights)

    monkeypatch.setattr(kernels, "onednn_product", made)
    monkeypatch.setattr(kernels, "runs_onednn", lambda precision: True)


def weights(outputs: int, inputs: int) -> Weights:
    torch.manual_seed(4)
    return Weights(torch.randn(outputs, inputs), torch.randn(outputs), torch.ones(inputs))


@pytest.mark.usefixtures("broken_kernel")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_kernel_that_depends_on_other_rows_is_replaced(precision: SearchPrecision) -> None:
    given = weights(83, 37)
    times, x_ND, order_N = product(given, precision), torch.randn(24, 37), shuffled(24)
    assert isinstance(times, RowIndependent)
    assert not torch.equal(times.kernel(x_ND[order_N]), times.kernel(x_ND)[order_N])
    assert torch.equal(times(x_ND[order_N]), times(x_ND)[order_N])
    expected_NO = F.linear(x_ND, given.weight_OD, given.bias_O)
    error = 1e-5 if precision == "fp32" else 0.2
    torch.testing.assert_close(times(x_ND), expected_NO, rtol=0, atol=error)
    assert isinstance(times.chosen[24, torch.get_num_threads()], RowwiseProduct)
    times(x_ND[:1])  # a row alone has no place among others
    assert times.chosen[1, torch.get_num_threads()] is times.kernel


def test_an_independent_kernel_is_kept() -> None:
    times = product(weights(83, 37), "fp32")
    assert isinstance(times, RowIndependent)
    times(torch.randn(24, 37))
    assert list(times.chosen.values()) == [times.kernel]


@every_recipe
def test_row_by_row_the_model_is_the_same(recipe: Model, request: pytest.FixtureRequest) -> None:
    model = build(recipe).eval()
    with torch.inference_mode():
        expected = search_steps(inference_model(model, "fp32"))
        request.getfixturevalue("broken_kernel")
        torch.testing.assert_close(search_steps(inference_model(model, "fp32")), expected)


class SlidingLSTM(LSTMLayer):
    """A fused kernel that rounds a sentence by its place."""

    def forward(self, x_TBD, state=None):  # type: ignore[no-untyped-def]
        h_TBH, last = super().forward(x_TBD, state)
        place_B1 = torch.arange(h_TBH.shape[1], dtype=h_TBH.dtype).unsqueeze(1)
        return h_TBH * (1 + 1e-6 * place_B1), last


def with_class(layer: nn.Module, kind: type[nn.Module]) -> nn.Module:
    layer.__class__ = kind
    return layer


@pytest.mark.parametrize("recipe", RECIPES[:2], ids=name)
def test_a_dependent_encoder_layer_is_unrolled(recipe: Model) -> None:
    model = build(recipe).eval()
    assert model.encoder is not None
    layers = model.encoder.forward_layers
    layers[0] = with_class(layers[0], SlidingLSTM)
    with torch.inference_mode():
        assert not has_independent_sentences(layers[0])
        quantized = inference_model(model, "fp32")
        assert isinstance(quantized.quantized.encoder.forward_layers[0], UnrolledLayer)
        found = search_steps(quantized)
        layers[0] = with_class(layers[0], LSTMLayer)
        assert has_independent_sentences(layers[0])
        torch.testing.assert_close(
            found, search_steps(inference_model(model, "fp32")), rtol=1e-5, atol=1e-5
        )


def test_unrolled_layers_are_those_of_torch() -> None:
    torch.manual_seed(3)
    layer = LSTMLayer(7, 12).requires_grad_(False)
    stepped, x_TBD = UnrolledLayer(layer, "fp32"), torch.randn(9, 5, 7)
    found, expected = stepped(x_TBD), layer(x_TBD)
    torch.testing.assert_close(found, expected)
    order_B = shuffled(5)
    assert torch.equal(stepped(x_TBD[:, order_B])[0], found[0][:, order_B])
