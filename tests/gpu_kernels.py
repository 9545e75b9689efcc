"""The stages of `tests/gpu_check.py` about the kernels written in Triton: right, then fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.cells.lstm import lstm_cell
from s2s.nn.fused import attention, choice
from s2s.nn.fused.lstm_cell import choose_lstm_cell
from s2s.nn.fused.lstm_cell import trial as try_cell
from s2s.training.loss import cross_entropy_fused
from s2s.training.loss.cross_entropy import Loss, SoftTargets, linear_cross_entropy
from tests.gpu_check import Check
from tests.gpu_correct import share
from tests.gpu_models import device_of
from tests.gpu_speed import seconds_of

NO_KERNELS = "a CPU has no kernels; tests/nn/fused runs them in Triton's interpreter"
MOST = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
"""Largest difference, as a share of the norm."""

HOW: dict[str, Callable[[], Any]] = {"plain": choice.plain, "kernels": nullcontext}


def kernels(check: Check) -> None:
    """Every kernel beside the equations, at many sizes, odd ones too; the loss in chunks."""
    device = device_of(check)
    if not check.is_gpu:
        check.skip("kernels", NO_KERNELS)
        return
    for kind, most in MOST.items():
        check.expect(f"kernels may run, {name_of(kind)}", choice.runs_on(device, kind))
        for what, pairs in _trials(device, kind):
            worst = max(float(choice.difference(*pair)) for pair in pairs)
            check.record(f"{what}, {name_of(kind)}", worst, most=most)
        for vocabulary, tokens in ((300, 2 * cross_entropy_fused.CHUNK + 5), (8_003, 700)):
            for is_soft in (False, True):
                worst = _loss_in_chunks(device, kind, vocabulary, tokens, is_soft=is_soft)
                told = f"loss of {tokens} tokens, {vocabulary} words, soft targets: {is_soft}"
                check.record(f"{told}, {name_of(kind)}", worst, most=most)
    check.expect("the same bits at every call", _repeats(device))


def name_of(kind: torch.dtype) -> str:
    return str(kind)[6:]


def _trials(
    device: torch.device, kind: torch.dtype
) -> Iterator[tuple[str, Iterator[tuple[Tensor, Tensor]]]]:
    for vocabulary in (2, 100, 4_096, 8_003, 32_000, 50_001):
        yield f"cross-entropy of {vocabulary}", cross_entropy_fused.trial(device, kind, vocabulary)
    for width in (1, 64, 100, 512, 1000, 1024, 1500):
        yield f"LSTM cell of {width}", try_cell(device, kind, width, lstm_cell)
    for sizes in ((128, 128), (1024, 1024), (1000, 520), (300, 60)):
        for is_additive in (False, True):
            for times in ((1, 7, 16), (24, 64, 65), (130, 200), (256, 512)):
                name = "additive" if is_additive else "dot"
                how: dict[str, Any] = {"is_additive": is_additive, "times": times}
                found = attention.trial(device, kind, sizes, **how)
                yield f"{name} attention of {sizes}, {times} positions", found


def _loss_in_chunks(
    device: torch.device, kind: torch.dtype, vocabulary: int, tokens: int, *, is_soft: bool
) -> float:
    """The largest difference of loss, nll and gradients from float64's."""
    torch.manual_seed(1)
    readout = torch.tanh(torch.randn(tokens, 64, device=device)).to(kind).requires_grad_()
    weight = (torch.randn(vocabulary, 64, device=device) / 4).to(kind).float().requires_grad_()
    bias = torch.randn(vocabulary, device=device, requires_grad=True)
    targets = torch.randint(vocabulary, (tokens,), device=device)
    ids = torch.randint(vocabulary, (tokens, 6), device=device)
    soft = SoftTargets(ids, torch.rand(tokens, 6, device=device).softmax(1), 0.4)
    tensors = (readout, weight, bias)
    found = linear_cross_entropy(*tensors, targets, 0.1, soft=soft if is_soft else None)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    logits = F.linear(*exact)
    nll = F.cross_entropy(logits, targets, reduction="sum")
    loss = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=0.1)
    if is_soft:
        said = (logits.log_softmax(1).gather(1, ids) * soft.probabilities_NK).sum()
        loss = (1 - soft.mix) * loss - soft.mix * said
    pairs = zip(
        (found.smoothed, found.nll, *torch.autograd.grad(found.smoothed / tokens, tensors)),
        (loss, nll, *torch.autograd.grad(loss / tokens, exact)),
        strict=True,
    )
    return max(share(*pair) for pair in pairs)


def _repeats(device: torch.device) -> bool:
    """Whether two runs of the trials give equal bits."""
    first, again = (
        [found for _, pairs in _trials(device, torch.bfloat16) for found, _ in pairs]
        for _ in range(2)
    )
    return all(torch.equal(*pair) for pair in zip(first, again, strict=True))


def parts(check: Check) -> None:
    """Loss, attention and cell alone, forward and backward, by kernels and by PyTorch."""
    device = device_of(check)
    if not check.is_gpu:
        check.skip("kernels", NO_KERNELS)
        return
    for how, context in HOW.items():
        with context():
            for what, count, run in _timed(device):
                check.record(f"{what}, {how}", seconds_of(run, device, 5) / count * 1e6, "us")


def _timed(device: torch.device) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """What is timed, the steps in a call, and the call."""
    for tokens in (1_500, 8_192):
        yield f"loss of {tokens} tokens, 32000 words, bf16", 1, _loss_call(device, tokens)
    for rows in (64, 256, 1024):
        yield f"LSTM cell of 1024, {rows} rows: a step", 8, _cell_call(device, rows)
    for rows in (64, 1024):
        for is_additive in (False, True):
            run = _attention_call(device, rows, is_additive=is_additive)
            name = "additive" if is_additive else "general"
            yield f"{name} attention of 1024, {rows} rows of 32: a step", 8, run


def _loss_call(device: torch.device, tokens: int) -> Callable[[], object]:
    readout = torch.randn(tokens, 512, device=device, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(32_000, 512, device=device, requires_grad=True)
    bias = torch.zeros(32_000, device=device, requires_grad=True)
    targets = torch.randint(32_000, (tokens,), device=device)

    def run() -> object:
        loss: Loss = linear_cross_entropy(readout, weight, bias, targets, 0.1)
        return torch.autograd.grad(loss.smoothed, (readout, weight, bias))

    return run


def _cell_call(device: torch.device, rows: int) -> Callable[[], object]:
    """Eight steps, each with gates of its own."""
    gates = torch.randn(8, rows, 4096, device=device, dtype=torch.bfloat16, requires_grad=True)
    first = torch.randn(rows, 1024, device=device, dtype=torch.bfloat16)

    def run() -> object:
        cell = choose_lstm_cell(device, torch.bfloat16, 1024, lstm_cell)
        c, hs = first, []
        for one in gates.unbind(0):
            h, c = cell(one, c)
            hs.append(h)
        return torch.autograd.grad(torch.stack(hs).float().sum(), gates)

    return run


def _attention_call(device: torch.device, rows: int, *, is_additive: bool) -> Callable[[], object]:
    """Eight steps over the same sources, as decoders make them."""
    from s2s.nn.attention import LoopMemory, attend_rows
    from s2s.nn.attention_scores import build_scores
    from s2s.nn.memory import Memory
    from s2s.recipe.model import AdditiveAttention, Attention, GeneralAttention

    recipe: Attention = GeneralAttention(kind="general")
    if is_additive:
        recipe = AdditiveAttention(kind="additive")
    scores = build_scores(recipe, 1024, 1024)
    assert scores is not None
    scores = scores.to(device)
    queries = torch.randn(8, rows, 1024, device=device, requires_grad=True)
    states = torch.randn(rows, 32, 1024, device=device, requires_grad=True)
    mask = torch.ones(rows, 32, dtype=torch.bool, device=device)

    def run() -> object:
        with torch.autocast(device.type, torch.bfloat16):
            memory = Memory(states, scores.keys(states), mask, states[:, 0], mask)
            loop = LoopMemory.of(scores, memory)
            found = [attend_rows(scores, memory, one, None, loop).context for one in queries]
        return torch.autograd.grad(torch.stack(found).float().sum(), (queries, states))

    return run
