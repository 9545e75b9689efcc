"""The linear recurrence h_t = a_t * h_{t-1} + b_t, element by element, over whole sequences.

On a CPU it is a loop of one operation a step, which reads each number once: more passes over whole
tensors would take longer than the steps. On a GPU, where a launch costs more than its numbers, it
takes log2(T) passes (Hillis & Steele 1986).

Dimension letters: T time, B sentences, H channels.
"""

from typing import Any

import torch
from torch import Tensor


def linear_recurrence(a_TBH: Tensor, b_TBH: Tensor, h_BH: Tensor) -> Tensor:
    """All h_t [T, B, H], from h_0 [B, H]; all of one type."""
    found: Tensor = _Recurrence.apply(a_TBH, b_TBH, h_BH)  # type: ignore[no-untyped-call]
    return found


class _Recurrence(torch.autograd.Function):
    """With g the gradients of all h, those of b are the recurrence from the end: d_t = g_t +
    a_{t+1} * d_{t+1}. Those of a are d_t * h_{t-1}."""

    @staticmethod
    def forward(ctx: Any, a_TBH: Tensor, b_TBH: Tensor, h_BH: Tensor) -> Tensor:
        outputs_TBH = _scan(a_TBH, b_TBH, h_BH)
        ctx.save_for_backward(a_TBH, h_BH, outputs_TBH)
        return outputs_TBH

    @staticmethod
    def backward(ctx: Any, gradient_TBH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a_TBH, h_BH, outputs_TBH = ctx.saved_tensors
        later_TBH = torch.cat((a_TBH[1:], torch.zeros_like(a_TBH[:1])))
        zeros_BH = torch.zeros_like(h_BH)
        of_b = _scan(later_TBH, gradient_TBH, zeros_BH, backwards=True)
        before_TBH = torch.cat((h_BH.unsqueeze(0), outputs_TBH[:-1]))
        return of_b * before_TBH, of_b, a_TBH[0] * of_b[0]


def _scan(a_TBH: Tensor, b_TBH: Tensor, h_BH: Tensor, *, backwards: bool = False) -> Tensor:
    """The recurrence, in either direction."""
    if a_TBH.device.type == "cpu":
        return _by_steps(a_TBH, b_TBH, h_BH, backwards)
    if backwards:
        return _by_doubling(a_TBH.flip(0), b_TBH.flip(0), h_BH).flip(0)
    return _by_doubling(a_TBH, b_TBH, h_BH)


def _by_steps(a_TBH: Tensor, b_TBH: Tensor, h_BH: Tensor, backwards: bool) -> Tensor:
    """One operation a step, into the place of its result."""
    outputs_TBH = torch.empty_like(b_TBH, memory_format=torch.contiguous_format)
    steps = list(zip(a_TBH.unbind(0), b_TBH.unbind(0), outputs_TBH.unbind(0), strict=True))
    for a_BH, b_BH, out_BH in reversed(steps) if backwards else steps:
        h_BH = torch.addcmul(b_BH, a_BH, h_BH, out=out_BH)
    return outputs_TBH


def _by_doubling(a_TBH: Tensor, b_TBH: Tensor, h_BH: Tensor) -> Tensor:
    """Each pass joins spans of steps into spans twice as long."""
    first_BH = torch.addcmul(b_TBH[0], a_TBH[0], h_BH)
    b_TBH = torch.cat((first_BH.unsqueeze(0), b_TBH[1:]))
    span = 1
    while span < len(a_TBH):
        joined_b = torch.addcmul(b_TBH[span:], a_TBH[span:], b_TBH[:-span])
        joined_a = a_TBH[span:] * a_TBH[:-span]
        a_TBH = torch.cat((a_TBH[:span], joined_a))
        b_TBH = torch.cat((b_TBH[:span], joined_b))
        span *= 2
    return b_TBH
