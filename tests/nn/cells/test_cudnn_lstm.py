"""The LSTM layer in bf16 against PyTorch's, with an emulation of cuDNN's operators."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s2s.nn.cells.cudnn_lstm import (
    KERNELS,
    PARAMETERS,
    FlattenedLSTM,
    Kernels,
    is_accurate,
    kernels_for,
    sequence,
)
from s2s.nn.cells.lstm import LSTMLayer
from s2s.nn.encoders.recurrent import RecurrentEncoder
from s2s.nn.inference_model import BF16Encoder
from s2s.recipe.model import Encoder
from tests.fake_cudnn import FAKE

TIME, BATCH, INPUTS, WIDTH = 6, 4, 3, 5
CPU = torch.device("cpu")


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A CPU whose operators are the emulation of cuDNN's."""
    monkeypatch.setitem(KERNELS, "cpu", FAKE)
    is_accurate.cache_clear()
    yield
    is_accurate.cache_clear()


def drawn(kind: torch.dtype) -> tuple[nn.LSTM, list[Tensor]]:
    """A layer, and x, h and c; all need gradients."""
    torch.manual_seed(3)
    lstm = nn.LSTM(INPUTS, WIDTH).to(kind)
    shapes = [(TIME, BATCH, INPUTS), (1, BATCH, WIDTH), (1, BATCH, WIDTH)]
    return lstm, [torch.randn(shape, dtype=kind, requires_grad=True) for shape in shapes]


def parameters(lstm: nn.LSTM) -> list[Tensor]:
    return [lstm.get_parameter(name) for name in PARAMETERS]


READERS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "all": lambda y, h, c: y.square().sum() + (3.0 * h * c).sum(),
    "outputs": lambda y, h, c: y.square().sum(),
    "an output": lambda y, h, c: y[2, 1].sum(),
    "last h": lambda y, h, c: h.square().sum(),
    "last c": lambda y, h, c: c.square().sum(),
}


@pytest.mark.parametrize("read", READERS)
def test_gradients_are_those_of_pytorchs_layer(read: str) -> None:
    lstm, given = drawn(torch.float64)
    leaves = [*given, *parameters(lstm)]
    y, (h, c) = lstm(given[0], (given[1], given[2]))
    found = sequence(given, parameters(lstm), torch.float64, FAKE)
    torch.testing.assert_close(found, (y, h, c))
    expected = torch.autograd.grad(READERS[read](y, h, c), leaves)
    torch.testing.assert_close(torch.autograd.grad(READERS[read](*found), leaves), expected)


@pytest.mark.parametrize("needing", [[0], [1], [0, 2], [3, 4, 5, 6], [4]])
def test_only_needed_gradients_are_computed(needing: list[int]) -> None:
    lstm, given = drawn(torch.float64)
    leaves = [*given, *parameters(lstm)]
    for place, leaf in enumerate(leaves):
        leaf.requires_grad_(place in needing)
    wanted = [leaves[place] for place in needing]
    y, _ = lstm(given[0], (given[1], given[2]))
    expected = torch.autograd.grad(y.square().sum(), wanted)
    y, _, _ = sequence(given, parameters(lstm), torch.float64, FAKE)
    torch.testing.assert_close(torch.autograd.grad(y.square().sum(), wanted), expected)


def test_the_backward_pass_works_once() -> None:
    lstm, given = drawn(torch.float64)
    y, _, _ = sequence(given, parameters(lstm), torch.float64, FAKE)
    y.sum().backward(retain_graph=True)
    with pytest.raises(AssertionError, match="once"):
        y.sum().backward()


def test_nothing_is_saved_without_gradients() -> None:
    lstm, given = drawn(torch.float32)
    expected, _ = lstm(given[0], (given[1], given[2]))
    with torch.no_grad():
        found, _, _ = sequence(given, parameters(lstm), torch.float32, FAKE)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.detach())


def layer() -> LSTMLayer:
    torch.manual_seed(0)
    made = LSTMLayer(INPUTS, WIDTH)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def test_a_cpu_has_its_own_layer() -> None:
    x = torch.randn(TIME, BATCH, INPUTS)
    with torch.autocast("cpu", torch.bfloat16):
        assert kernels_for(x, layer().input_weight) is None


@pytest.mark.usefixtures("on_cpu")
def test_pytorch_computes_fp32() -> None:
    x = torch.randn(TIME, BATCH, INPUTS)
    assert kernels_for(x, layer().input_weight) is None
    with torch.autocast("cpu", torch.float16):
        assert kernels_for(x, layer().input_weight) is None
    assert kernels_for(x, layer().bfloat16().input_weight) is FAKE


def trained(made: LSTMLayer, x: Tensor, state: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Outputs, last state, and gradients of parameters, in fp32."""
    y, (h, c) = made(x, state)
    found = torch.autograd.grad(y.float().square().sum() + c.float().sum(), list(made.parameters()))
    return [tensor.detach() for tensor in (y, h, c, *found)]


@pytest.mark.usefixtures("on_cpu")
def test_autocast_to_bf16_is_bf16_and_near_fp32() -> None:
    made, x = layer(), torch.randn(TIME, BATCH, INPUTS)
    wide = torch.randn(BATCH, 2 * WIDTH)
    state = wide[:, :WIDTH], wide[:, WIDTH:]  # views of a wider tensor
    expected = trained(made, x, state)
    with torch.autocast("cpu", torch.bfloat16):
        found = trained(made, x, state)
    assert [tensor.dtype for tensor in found] == [torch.bfloat16] * 3 + [torch.float32] * 4
    for one, other in zip(found, expected, strict=True):
        assert (one.float() - other).norm() < 0.02 * other.norm()
    assert not torch.equal(found[0].float(), expected[0])


def of_another(change: str) -> Kernels:
    """Kernels with a fault."""

    def forward(*arguments: Any) -> tuple[Tensor, ...]:
        if change == "refuses":
            raise RuntimeError("CUDNN_STATUS_NOT_SUPPORTED")
        y, *more = FAKE.forward(*arguments)
        return (y * 1.1 if change == "outputs" else y, *more)

    def backward(*arguments: Any) -> tuple[Any, ...]:
        *given, weights = FAKE.backward(*arguments)
        if change == "last weight":
            weights[3] = torch.full_like(weights[3], torch.nan)
        if change == "fp16":
            weights = [weight.half().bfloat16() for weight in weights]
        return *given, weights

    return Kernels(forward, backward, FAKE.flatten)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("refuses", "refuses .*NOT_SUPPORTED"),
        ("outputs", "wrong results"),
        ("last weight", "wrong results"),
        ("fp16", "wrong results"),
    ],
)
def test_inaccurate_kernels_are_not_used(
    change: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = of_another(change)
    monkeypatch.setitem(KERNELS, "cpu", kernels)
    made, x = layer(), torch.randn(TIME, BATCH, INPUTS)
    state = torch.randn(2, BATCH, WIDTH).unbind(0)
    expected = trained(made, x, state)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.warns(RuntimeWarning, match=f"3 inputs and 5 units runs in fp32.*{said}"):
            found = trained(made, x, state)
        repeated = trained(made, x, state)  # warns once
    assert found[0].dtype == torch.bfloat16
    torch.testing.assert_close(repeated, found, rtol=0, atol=0)
    torch.testing.assert_close(found[0], expected[0].bfloat16(), rtol=0, atol=0)
    for one, other in zip(found[3:], expected[3:], strict=True):  # y is rounded in the loss
        assert (one - other).norm() < 0.01 * other.norm()


@pytest.mark.parametrize("widths", [(1, 1), (3, 5), (24, 16), (40, 72)])
def test_accurate_kernels_are_used(widths: tuple[int, int]) -> None:
    before = torch.get_rng_state()
    with torch.inference_mode():
        assert is_accurate(FAKE, CPU, *widths)
    assert torch.equal(torch.get_rng_state(), before), "dropout draws what it drew before"


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("all gone"), RuntimeError("cuDNN: CUDNN_STATUS_ALLOC_FAILED")],
)
def test_a_lack_of_memory_is_no_fault_of_kernels(error: RuntimeError) -> None:
    errors = [error]

    def forward(*arguments: Any) -> tuple[Tensor, ...]:
        if errors:
            raise errors.pop()
        return FAKE.forward(*arguments)

    kernels = Kernels(forward, FAKE.backward, FAKE.flatten)
    with pytest.raises(RuntimeError):
        is_accurate(kernels, CPU, INPUTS, WIDTH)
    assert is_accurate(kernels, CPU, INPUTS, WIDTH)


@pytest.mark.parametrize("is_good", [True, False])
def test_an_encoder_for_search_flattens_its_weights_once(
    is_good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    encoder = RecurrentEncoder(Encoder(width=WIDTH, layers=2), INPUTS, 0.0).eval()
    x, lengths = torch.randn(TIME, BATCH, INPUTS), torch.tensor([6, 2, 5, 1])
    expected = encoder(x, lengths)
    flattened = []

    def flatten(*arguments: Any) -> Tensor:
        flattened.append(arguments)
        return FAKE.flatten(*arguments)

    forward = FAKE.forward if is_good else of_another("refuses").forward
    monkeypatch.setitem(KERNELS, "cpu", Kernels(forward, FAKE.backward, flatten))
    with torch.no_grad():
        if is_good:
            quantized = BF16Encoder(encoder)
        else:
            with pytest.warns(RuntimeWarning):
                quantized = BF16Encoder(encoder)
        flattened.clear()
        found = [quantized(x, lengths) for _ in range(2)]
    assert not flattened
    layers = [module for module in quantized.modules() if isinstance(module, FlattenedLSTM)]
    assert len(layers) == 4
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    for one, other in zip(found[0], expected, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.02 * other.norm()
