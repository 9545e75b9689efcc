"""The fused cross-entropy against PyTorch's."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.kernels import has_slow_mkl
from s2s.training.loss import cross_entropy as loss_module
from s2s.training.loss.cross_entropy import CopyInputs, linear_cross_entropy, linear_token_nll
from s2s.training.loss.cross_entropy_bf16 import CHUNK, runs_packed

Found = tuple[Tensor, ...]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [3, 64])
def test_value_and_gradients_are_pytorchs(
    smoothing: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "CPU_CHUNK", chunk)
    torch.manual_seed(0)
    tensors = [torch.randn(shape, requires_grad=True) for shape in ((10, 4), (7, 4), (7,))]
    targets = torch.randint(0, 7, (10,))
    readout, weight, bias = tensors
    found = linear_cross_entropy(readout, weight, bias, targets, smoothing)
    gradients = torch.autograd.grad(found.smoothed / 10, tensors)
    logits = F.linear(readout, weight, bias)
    expected = F.cross_entropy(logits, targets, label_smoothing=smoothing)
    torch.testing.assert_close(found.smoothed / 10, expected)
    torch.testing.assert_close(found.nll / 10, F.cross_entropy(logits, targets))
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, tensors))


@pytest.mark.parametrize("type_", [torch.float32, torch.float64])
def test_the_nll_of_tokens_and_its_gradients_are_pytorchs(
    type_: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each token with a factor of its own."""
    monkeypatch.setattr(loss_module, "CPU_CHUNK", 3)
    torch.manual_seed(0)
    shapes = ((10, 4), (7, 4), (7,))
    tensors = [torch.randn(shape, dtype=type_, requires_grad=True) for shape in shapes]
    targets, factors = torch.randint(0, 7, (10,)), torch.randn(10, dtype=type_)
    found = linear_token_nll(*tensors, targets)
    expected = F.cross_entropy(F.linear(*tensors), targets, reduction="none")
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad((factors * one).sum(), tensors) for one in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_with_copies_the_nll_of_tokens_sums_to_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "CPU_CHUNK", 3)
    torch.manual_seed(0)
    shapes = ((10, 4), (7, 4), (7,), (10,), (10,))
    tensors = [torch.randn(shape, requires_grad=True) for shape in shapes]
    targets = torch.randint(0, 7, (10,))
    copies = CopyInputs(tensors[3], -tensors[4].abs(), torch.arange(10) % 3 > 0)
    found = linear_token_nll(*tensors[:3], targets, copy_inputs=copies)
    expected = linear_cross_entropy(*tensors[:3], targets, copy_inputs=copies).smoothed
    torch.testing.assert_close(found.sum(), expected)
    gradients = [
        torch.autograd.grad(2.0 * one, tensors, retain_graph=True)
        for one in (found.sum(), expected)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_they_are_by_onednns_product_too(smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on x86 CPUs that are not Intel's; sizes are pairwise different."""
    torch.manual_seed(0)
    tensors = [torch.randn(shape, requires_grad=True) for shape in ((10, 4), (7, 4), (7,))]
    targets = torch.randint(0, 7, (10,))
    outcomes = []
    for is_slow in (False, True):
        monkeypatch.setattr("s2s.nn.kernels.has_slow_mkl", lambda is_slow=is_slow: is_slow)
        found = linear_cross_entropy(*tensors, targets, smoothing)
        gradients = torch.autograd.grad(found.smoothed, tensors)
        assert all(g.is_contiguous() for g in gradients)
        outcomes.append((found.smoothed, found.nll, *gradients))
    torch.testing.assert_close(outcomes[1], outcomes[0])


@pytest.mark.parametrize(
    ("cpuinfo", "is_slow"),
    [
        ("processor : 0\nvendor_id\t: GenuineIntel\n", False),
        ("processor : 0\nvendor_id\t: AuthenticAMD\n", True),
        ("processor : 0\nCPU implementer : 0x41\n", False),
    ],
    ids=["intel", "amd", "arm"],
)
def test_mkl_is_slow_where_it_is_not_at_home(
    cpuinfo: str, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2s.nn.kernels.Path.read_text", lambda path, encoding: cpuinfo)
    monkeypatch.setattr("s2s.nn.kernels.runs_onednn", lambda precision: True)
    has_slow_mkl.cache_clear()
    try:
        assert has_slow_mkl() is is_slow
    finally:
        has_slow_mkl.cache_clear()


def test_large_logits_do_not_overflow() -> None:
    readout = torch.full((1, 1), 1000.0, requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    found = linear_cross_entropy(readout, weight, torch.zeros(2), torch.tensor([1]))
    torch.testing.assert_close(found.nll, torch.tensor(2000.0))


def drawn_twice() -> tuple[list[Tensor], Tensor]:
    """Readouts [10, 4] of five tokens under two masks, output weights and bias of 7; targets."""
    torch.manual_seed(3)
    tensors = [torch.randn(shape, requires_grad=True) for shape in ((10, 4), (7, 4), (7,))]
    return tensors, torch.randint(0, 7, (5,)).repeat_interleave(2)


def divergences(logits: Tensor) -> Tensor:
    """(KL(P|Q) + KL(Q|P)) / 2, summed over pairs of rows (Liang et al. 2021, equation 2)."""
    first, second = logits[0::2].log_softmax(-1), logits[1::2].log_softmax(-1)
    there = F.kl_div(second, first, log_target=True, reduction="sum")
    back = F.kl_div(first, second, log_target=True, reduction="sum")
    return (there + back) / 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [4, 64])
def test_r_drop_is_that_of_pytorchs_divergence(
    smoothing: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "CPU_CHUNK", chunk)
    tensors, targets = drawn_twice()
    readout, weight, bias = tensors
    found = linear_cross_entropy(readout, weight, bias, targets, smoothing, r_drop=1.7)
    gradients = torch.autograd.grad(found.smoothed, tensors)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    logits = F.linear(*exact)
    entropy = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
    apart = divergences(logits)
    expected = entropy + 1.7 * apart
    assert apart > 1.0
    torch.testing.assert_close(found.smoothed.double(), expected, rtol=1e-6, atol=1e-6)
    nll = F.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(found.nll.double(), nll, rtol=1e-6, atol=1e-6)
    for one, other in zip(gradients, torch.autograd.grad(expected, exact), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)


def _bf16(tokens: int, smoothing: float, scale: float, *, is_exact: bool) -> Found:
    """Losses per token and gradients for the readouts, weights and biases, all of one seed: through
    logits in float64 where `is_exact`, else as training in bf16 has them."""
    torch.manual_seed(tokens)
    readout = torch.tanh(torch.randn(tokens, 12)).bfloat16().requires_grad_()
    weight = (torch.randn(37, 12) * scale).requires_grad_()
    bias = (torch.randn(37) * 2 - 5).requires_grad_()
    targets = torch.randint(0, 37, (tokens,))
    if is_exact:
        logits = F.linear(readout.double(), weight.double(), bias.double())
        smoothed = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        nll = F.cross_entropy(logits, targets)
    else:
        with torch.autocast("cpu", torch.bfloat16):
            found = linear_cross_entropy(readout, weight, bias, targets, smoothing)
        smoothed, nll = found.smoothed / tokens, found.nll / tokens
    gradients = torch.autograd.grad(smoothed, (readout, weight, bias))
    return smoothed.detach(), nll.detach(), *gradients


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tokens", [1, CHUNK - 1, CHUNK, 2 * CHUNK + 5])
def test_bf16_is_exact_to_its_rounding(
    is_packed: bool, smoothing: float, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bf16 rounds by up to 2^-9; weights, logits and probabilities are rounded once each."""
    if is_packed and not runs_packed():
        pytest.skip("no packed bf16 here")
    monkeypatch.setattr(loss_module, "runs_packed", lambda: is_packed)
    found = _bf16(tokens, smoothing, 0.3, is_exact=False)
    expected = _bf16(tokens, smoothing, 0.3, is_exact=True)
    for value, oracle in zip(found, expected, strict=True):
        assert value.shape == oracle.shape
        assert _error(value, oracle) < 0.01


@pytest.mark.skipif(not runs_packed(), reason="no packed bf16 here")
def test_bf16_finds_a_loss_whose_probability_is_none() -> None:
    """Logits hundreds apart: most targets' probabilities are below the smallest number."""
    found, expected = (_bf16(9, 0.1, 200.0, is_exact=is_exact) for is_exact in (False, True))
    assert expected[1] > 150
    assert _error(found[1], expected[1]) < 0.01
    assert _error(found[0], expected[0]) < 0.01
