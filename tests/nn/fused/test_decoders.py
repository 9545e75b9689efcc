"""Whole models whose decoders feed back, with kernels (interpreted) and without."""

import importlib

import pytest
import torch
from torch import Tensor

from s2s.nn.batch import Batch
from s2s.nn.fused.choice import plain
from s2s.nn.model import Seq2Seq
from s2s.recipe.model import (
    AdditiveAttention,
    BahdanauDecoder,
    ConditionalDecoder,
    Dropout,
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
)
from s2s.tasks.seq2seq.loss import LossWeights, batch_loss

pytestmark = pytest.mark.usefixtures("interpreted")

ADDITIVE, GENERAL = AdditiveAttention(kind="additive"), GeneralAttention(kind="general")
MODELS = {
    "bahdanau": (BahdanauDecoder(kind="bahdanau", width=5), ADDITIVE),
    "fed": (LuongDecoder(kind="luong", width=5, layers=2, input_feeding=True), GENERAL),
    "conditional": (ConditionalDecoder(kind="conditional", width=5), GENERAL),
}
BATCH = Batch(
    source=torch.tensor([[5, 6, 7, 2], [8, 2, 0, 0], [9, 4, 2, 0]]),
    source_lengths=torch.tensor([4, 2, 3]),
    target_input=torch.tensor([[1, 5, 9, 4], [1, 6, 0, 0], [1, 7, 8, 0]]),
    target_output=torch.tensor([[5, 9, 4, 2], [6, 2, 0, 0], [7, 8, 2, 0]]),
    target_lengths=torch.tensor([4, 2, 3]),
)
DOUBLY = LossWeights(smoothing=0.1, doubly_stochastic=0.5)
"""A loss that reads the weights of attention too."""


def network(name: str) -> Seq2Seq:
    decoder, attention = MODELS[name]
    torch.manual_seed(3)
    recipe = Model(
        embeddings=6,
        encoder=Encoder(width=4),
        decoder=decoder,
        attention=attention,
        dropout=Dropout(embedding=0.0, encoder=0.0, decoder=0.3, readout=0.3),
    )
    return Seq2Seq(recipe, 11, 13).train()


def outcome(model: Seq2Seq, *, is_bf16: bool) -> tuple[Tensor, Tensor]:
    """Loss, and all gradients in a row."""
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
        loss, _ = batch_loss(model, BATCH, DOUBLY)
    gradients = torch.autograd.grad(loss.smoothed, list(model.parameters()))
    return loss.smoothed.detach(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize(("is_bf16", "most"), [(False, 1e-5), (True, 0.03)], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_without_kernels(
    name: str, is_bf16: bool, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(name)
    with plain():
        expected = outcome(model, is_bf16=False)
    outcome(model, is_bf16=is_bf16)  # the trials are over
    calls = dict.fromkeys(("attention_kernel", "cross_entropy_kernel", "lstm_cell_kernel"), 0)
    for file in calls:
        _count(file, calls, monkeypatch)
    found = outcome(model, is_bf16=is_bf16)
    cells = {"bahdanau": 4, "fed": 8, "conditional": 8}[name]
    assert list(calls.values()) == [4, 1, cells], "a kernel for each step and layer"
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= most * other.norm()


def _count(file: str, calls: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the calls of a kernel's function of the forward pass."""
    name = f"s2s.nn.fused.{file}.{'cross_entropy' if 'cross' in file else 'forward'}"
    module, _, function = name.rpartition(".")
    right = getattr(importlib.import_module(module), function)

    def counted(*given: object, **how: object) -> object:
        calls[file] += 1
        return right(*given, **how)

    monkeypatch.setattr(name, counted)


def test_without_gradients_the_loss_is_the_same() -> None:
    """As in validation, with the same dropout."""
    model = network("bahdanau")
    expected, _ = outcome(model, is_bf16=False)
    torch.manual_seed(5)
    with torch.no_grad():
        loss, _ = batch_loss(model, BATCH, DOUBLY)
    torch.testing.assert_close(loss.smoothed, expected)
