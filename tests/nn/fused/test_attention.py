"""Steps of attention by kernels, interpreted on a CPU, beside float64 and PyTorch's operations."""

from typing import Any

import pytest
import torch
from torch import Tensor

from s2s.nn.attention import LoopMemory, attend_rows
from s2s.nn.attention_scores import AttentionScore, build_scores
from s2s.nn.fused import attention as fused
from s2s.nn.fused.choice import plain
from s2s.nn.memory import Memory
from s2s.recipe.model import AdditiveAttention, DotAttention, GeneralAttention

pytestmark = pytest.mark.usefixtures("interpreted")

SENTENCES, WIDTH, STATES, STEPS = 3, 6, 5, 2
SCORES: dict[str, Any] = {
    "dot": DotAttention(kind="dot"),
    "scaled_dot": DotAttention(kind="scaled_dot"),
    "general": GeneralAttention(kind="general"),
    "additive": AdditiveAttention(kind="additive", width=7),
}
READERS = {
    "all": lambda c, w, s: c.square().sum() + (w * w).sum() + 0.1 * s.square().sum(),
    "contexts": lambda c, w, s: c.square().sum(),
    "weights": lambda c, w, s: (w * w).sum(),
    "scores": lambda c, w, s: s.square().sum(),
}


def scores_of(kind: str) -> AttentionScore:
    """With weights that bf16 has exactly."""
    torch.manual_seed(4)
    made = build_scores(SCORES[kind], STATES, WIDTH)
    assert made is not None
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(parameter.bfloat16())
    return made


def drawn(time: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [T, B, H], encoder states [B, S, D] (not contiguous, as those of encoders), mask."""
    torch.manual_seed(time)
    queries = torch.randn(STEPS, SENTENCES, WIDTH).bfloat16().float().requires_grad_()
    states = torch.randn(time, SENTENCES, STATES).bfloat16().float().transpose(0, 1)
    lengths = torch.tensor([1, max(1, time - 2), time]).unsqueeze(1)
    return queries, states.detach().requires_grad_(), torch.arange(time) < lengths


def outcome(
    scores: AttentionScore, given: tuple[Tensor, Tensor, Tensor], read: str, *, is_bf16: bool
) -> list[Tensor]:
    """Contexts, weights, scores, and gradients of queries, states and parameters."""
    queries, states, mask = given
    kept = states * mask.unsqueeze(-1)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
        memory = Memory(kept, scores.keys(kept), mask, kept[:, 0], mask)
        loop = LoopMemory.of(scores, memory)
        assert loop is not None
        is_exact = kept.dtype == torch.float64
        assert (loop.fused_step is None) is is_exact
        outputs = [attend_rows(scores, memory, query, None, loop) for query in queries.unbind(0)]
    found = [torch.stack(parts) for parts in zip(*(one[:3] for one in outputs), strict=True)]
    loss = READERS[read](*(part.to(queries.dtype) for part in found))
    leaves = [queries, states, *scores.parameters()]
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return [*found, *gradients]


def compare(kind: str, read: str, time: int, most: float, *, is_bf16: bool) -> None:
    scores, given = scores_of(kind), drawn(time)
    found = outcome(scores, given, read, is_bf16=is_bf16)
    queries, states, mask = given
    exact = [one.detach().double().requires_grad_() for one in (queries, states)]
    expected = outcome(scores.double(), (exact[0], exact[1], mask), read, is_bf16=False)
    assert not found[1].masked_select(~mask).any(), "weights at padding are zero"
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        difference = (one.detach().double() - other.detach()).norm()
        assert difference <= most * other.detach().norm().clamp_min(1e-9), f"result {place}"


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", SCORES)
def test_values_and_gradients_are_those_of_float64(kind: str, read: str) -> None:
    compare(kind, read, 5, 5e-6, is_bf16=False)


@pytest.mark.parametrize("time", [1, 16, 19])
@pytest.mark.parametrize("kind", ["general", "additive"])
def test_sources_of_any_length_in_several_tiles(
    kind: str, time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2s.nn.fused.attention_kernel.TILE", 16)
    monkeypatch.setattr("s2s.nn.fused.attention_kernel.LEAST", 2)
    compare(kind, "all", time, 5e-6, is_bf16=False)


@pytest.mark.parametrize("kind", SCORES)
def test_bf16_rounds_what_it_has_to(kind: str) -> None:
    """Queries, keys, values and results, by 2^-9 each."""
    compare(kind, "all", 5, 0.02, is_bf16=True)


@pytest.mark.parametrize("kind", ["general", "additive"])
def test_what_the_kernels_do_not_take_goes_the_other_way(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long sources, and a switch."""
    scores, (_, states, mask) = scores_of(kind), drawn(5)

    def is_fused() -> bool:
        loop = LoopMemory.of(scores, Memory(states, scores.keys(states), mask, states[:, 0], mask))
        assert loop is not None
        return loop.fused_step is not None

    assert is_fused()
    with plain():
        assert not is_fused()
    monkeypatch.setattr(fused, "LONGEST", 4)
    assert not is_fused()


def test_without_gradients_the_values_are_the_same() -> None:
    scores, (queries, states, mask) = scores_of("additive"), drawn(5)
    results = []
    for is_training in (True, False):
        with torch.set_grad_enabled(is_training):
            memory = Memory(states, scores.keys(states), mask, states[:, 0], mask)
            loop = LoopMemory.of(scores, memory)
            results.append(attend_rows(scores, memory, queries[0], None, loop))
    for one, other in zip(*(result[:3] for result in results), strict=True):
        assert isinstance(one, Tensor)
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.0)
