"""The cross-entropy by a kernel in Triton, interpreted on a CPU, beside float64."""

import importlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.fused import choice
from s2s.training.loss import cross_entropy_fused as fused
from s2s.training.loss.cross_entropy import CopyInputs, SoftTargets, linear_cross_entropy

pytestmark = pytest.mark.usefixtures("interpreted")

TOKENS, WIDTH = 7, 5
MOST = {torch.float32: 3e-6, torch.bfloat16: 0.01}
"""Errors, as shares of the norm. bf16 rounds weights, logits and gradients by 2^-9 each."""

Case = tuple[list[Tensor], Tensor]


def drawn(vocabulary: int, kind: torch.dtype, scale: float = 1.0) -> Case:
    """Readouts, output weights and bias that need gradients, and targets."""
    torch.manual_seed(vocabulary)
    readout = torch.tanh(torch.randn(TOKENS, WIDTH)).to(kind).requires_grad_()
    weight = (torch.randn(vocabulary, WIDTH) * scale).to(kind).float().requires_grad_()
    bias = torch.randn(vocabulary).requires_grad_()
    return [readout, weight, bias], torch.randint(0, vocabulary, (TOKENS,))


def teachers(vocabulary: int, mix: float) -> SoftTargets:
    """Of four tokens each, of which two are the same."""
    ids = torch.randint(0, vocabulary, (TOKENS, 4))
    ids[:, 3] = ids[:, 0]
    return SoftTargets(ids, torch.randn(TOKENS, 4).softmax(1), mix)


def exact(
    case: Case, smoothing: float, soft: SoftTargets | None
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Loss, nll and gradients in float64."""
    tensors = [tensor.detach().double().requires_grad_() for tensor in case[0]]
    logits, targets = F.linear(*tensors), case[1]
    loss = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
    if soft is not None:
        said = logits.log_softmax(1).gather(1, soft.ids_NK)
        loss = (1 - soft.mix) * loss - soft.mix * (said * soft.probabilities_NK).sum()
    nll = F.cross_entropy(logits, targets, reduction="sum")
    return loss.detach(), nll.detach(), torch.autograd.grad(2.0 * loss, tensors)


def error(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found.detach().double() - expected).norm() / expected.norm())


def compare(case: Case, smoothing: float, soft: SoftTargets | None, most: float) -> None:
    found = linear_cross_entropy(*case[0], case[1], smoothing, soft=soft)
    assert found.smoothed.grad_fn is not None
    assert "Fused" in found.smoothed.grad_fn.name()
    loss, nll, expected = exact(case, smoothing, soft)
    gradients = torch.autograd.grad(2.0 * found.smoothed, case[0])
    assert error(found.smoothed, loss) < most
    assert error(found.nll, nll) < most
    for one, other, leaf in zip(gradients, expected, case[0], strict=True):
        assert one.dtype == leaf.dtype
        assert error(one, other) < most


@pytest.mark.parametrize("kind", MOST, ids=str)
@pytest.mark.parametrize("vocabulary", [5, 64, 130])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradients_are_those_of_float64(
    smoothing: float, vocabulary: int, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several chunks of tokens, and blocks of the vocabulary of which the last is not full."""
    monkeypatch.setattr(fused, "CHUNK", 3)
    monkeypatch.setattr("s2s.nn.fused.cross_entropy_kernel.BLOCK", 64)
    compare(drawn(vocabulary, kind), smoothing, None, MOST[kind])


@pytest.mark.parametrize("kind", MOST, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_targets_are_those_of_float64(
    smoothing: float, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "CHUNK", 3)
    monkeypatch.setattr("s2s.nn.fused.cross_entropy_kernel.BLOCK", 16)
    compare(drawn(37, kind), smoothing, teachers(37, 0.3), MOST[kind])


def test_one_soft_target_is_a_target_too() -> None:
    """An integer of 1 is a constant to Triton's compiler."""
    case = drawn(9, torch.float32)
    soft = SoftTargets(torch.full((TOKENS, 1), 4), torch.ones(TOKENS, 1), 1.0)
    compare(case, 0.0, soft, MOST[torch.float32])


def test_logits_hundreds_apart_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2s.nn.fused.cross_entropy_kernel.BLOCK", 16)
    compare(drawn(50, torch.float32, scale=300.0), 0.1, None, 1e-4)  # of logits of 1,000


def test_without_gradients_the_losses_are_the_same() -> None:
    tensors, targets = drawn(40, torch.float32)
    soft = teachers(40, 0.4)
    found = linear_cross_entropy(*tensors, targets, 0.1, soft=soft)
    with torch.no_grad():
        again = linear_cross_entropy(*tensors, targets, 0.1, soft=soft)
        nothing = linear_cross_entropy(tensors[0][:0], *tensors[1:], targets[:0], 0.1)
    assert torch.equal(again.smoothed, found.smoothed)
    assert torch.equal(again.nll, found.nll)
    assert float(nothing.smoothed) == float(nothing.nll) == 0.0


def test_without_tokens_gradients_are_zero() -> None:
    tensors, targets = drawn(9, torch.float32)
    loss = linear_cross_entropy(tensors[0][:0], *tensors[1:], targets[:0]).smoothed
    gradients = torch.autograd.grad(loss, tensors)
    assert all(not gradient.any() for gradient in gradients)


@pytest.mark.parametrize(
    "more",
    [
        lambda: {"r_drop": 1.0},
        lambda: {
            "copy_inputs": CopyInputs(
                torch.zeros(6), -torch.ones(6), torch.ones(6, dtype=torch.bool)
            )
        },
    ],
    ids=["r-drop", "copies"],
)
def test_what_the_kernel_cannot_do_goes_the_other_way(more: Callable[[], dict]) -> None:
    tensors, targets = drawn(9, torch.float32)
    loss = linear_cross_entropy(tensors[0][:6], *tensors[1:], targets[:6], **more()).smoothed
    assert loss.grad_fn is not None
    assert "Fused" not in loss.grad_fn.name()


def test_it_can_be_turned_off() -> None:
    tensors, targets = drawn(9, torch.float32)
    with choice.plain():
        loss = linear_cross_entropy(*tensors, targets).smoothed
    assert loss.grad_fn is not None
    assert "Fused" not in loss.grad_fn.name()


@pytest.mark.parametrize("kind", MOST, ids=str)
def test_the_kernel_passes_its_trial(kind: torch.dtype) -> None:
    assert fused.runs_fused(torch.zeros(1, 1, dtype=kind), 70)


def test_a_kernel_that_computes_something_else_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "_verdicts", {})
    kernel = importlib.import_module("s2s.nn.fused.cross_entropy_kernel")
    right = kernel.cross_entropy
    monkeypatch.setattr(kernel, "cross_entropy", lambda *given, **how: 1.01 * right(*given, **how))
    tensors, targets = drawn(9, torch.float32)
    with pytest.warns(RuntimeWarning, match=r"kernel of the cross-entropy \[9\] in float32"):
        loss = linear_cross_entropy(*tensors, targets).smoothed
    assert loss.grad_fn is not None
    assert "Fused" not in loss.grad_fn.name()
    again = linear_cross_entropy(*tensors, targets).smoothed  # without a second warning
    assert torch.equal(again, loss)
