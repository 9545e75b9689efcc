"""cuDNN's recurrent layers on any device, of PyTorch's plain operations: the operators' signatures,
what they refuse, and that a gradient can be had once.
"""

from typing import Any

import torch
from torch import Tensor

from s2s.nn.cells.cudnn_lstm import LSTM, Kernels


def flatten(
    weights: list[Tensor], stride: int, inputs: int, mode: int, width: int, *rest: Any
) -> Tensor:
    """See `torch._cudnn_rnn_flatten_weight`, but that the weights stay where they are."""
    assert (stride, mode, rest) == (4, LSTM, (0, 1, False, False))
    shapes = [(4 * width, inputs), (4 * width, width), (4 * width,), (4 * width,)]
    assert [tuple(weight.shape) for weight in weights] == shapes
    return torch.cat([weight.flatten() for weight in weights])


def _equations(x: Tensor, weights: list[Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    """In fp32 or better, rounded to the type of x at the end."""
    kind = x.dtype
    w, u, b, d, x, h, c = (t.to(_wide(kind)) for t in (*weights, x, h[0], c[0]))
    outputs = []
    for one in x.unbind(0):
        i, f, g, o = (one @ w.t() + h @ u.t() + b + d).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return tuple(t.to(kind) for t in (torch.stack(outputs), h.unsqueeze(0), c.unsqueeze(0)))


def _wide(kind: torch.dtype) -> torch.dtype:
    return torch.float64 if kind == torch.float64 else torch.float32


def _check(
    x: Tensor, weights: list[Tensor], flat: Tensor, h: Tensor, c: Tensor, shape: Any
) -> None:
    assert len({t.dtype for t in (x, *weights, flat, h, c)}) == 1, "cuDNN wants one type"
    assert flat.numel() == sum(weight.numel() for weight in weights), "weights in one buffer"
    assert all(t.is_contiguous() for t in (x, h, c)), "cuDNN refuses parts of wider tensors"
    width = weights[1].shape[1]
    assert h.shape == c.shape == (1, x.shape[1], width)
    assert shape == (LSTM, width, 0, 1, False, 0.0, shape[6], False, [], None)


def forward(
    x: Tensor, weights: list[Tensor], stride: int, flat: Tensor, h: Tensor, c: Tensor, *shape: Any
) -> tuple[Tensor, ...]:
    """See `torch._cudnn_rnn`."""
    assert stride == 4
    _check(x, weights, flat, h, c, shape)
    is_training = shape[6]
    reserve = torch.ones(1 if is_training else 0, device=x.device)
    return (*_equations(x, weights, h, c), reserve, flat)


def backward(*arguments: Any) -> tuple[Any, ...]:
    """See `torch.ops.aten._cudnn_rnn_backward`."""
    x, weights, stride, flat, h, c, _, *gradients = arguments[:10]
    *shape, reserve, mask = arguments[10:]
    assert stride == 4
    _check(x, weights, flat, h, c, tuple(shape))
    assert shape[6], "cuDNN goes back in training only"
    assert reserve.numel(), "the forward pass was not one of training"
    reserve.zero_()
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in (x, h, c, *weights)]
        found = _equations(leaves[0], leaves[3:], *leaves[1:3])
        pairs = [(y, g) for y, g in zip(found, gradients, strict=True) if g is not None]
        assert all(y.dtype == g.dtype for y, g in pairs)
        ys, gs = zip(*pairs, strict=True)
        of = torch.autograd.grad(ys, leaves, gs, allow_unused=True, materialize_grads=True)
    wanted = [one if is_wanted else None for one, is_wanted in zip(of[:3], mask, strict=False)]
    return (*wanted, list(of[3:]) if mask[3] else [])


FAKE = Kernels(forward, backward, flatten)
