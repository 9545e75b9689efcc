"""The fused cross-entropy against PyTorch's."""

import pytest
import torch
from torch.nn import functional as F

from s2s.train import loss as loss_module
from s2s.train.loss import linear_cross_entropy


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


def test_large_logits_do_not_overflow() -> None:
    readout = torch.full((1, 1), 1000.0, requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    found = linear_cross_entropy(readout, weight, torch.zeros(2), torch.tensor([1]))
    torch.testing.assert_close(found.nll, torch.tensor(2000.0))
