"""An LSTM layer over whole sequences in bf16 on a GPU, by cuDNN.

`torch.lstm` has two faults here. Under `torch.autocast` cuDNN computes in fp16, whatever the type
of autocast is, and gradients below 6e-5 underflow unless the loss is scaled. Without autocast it
copies bf16 weights into one buffer at every call. So this module calls cuDNN with autocast off and
weights flattened beforehand. Where cuDNN refuses, or is inaccurate, the layer runs in fp32.

Dimension letters: T time, B sentences, D input width, H hidden width.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.cells.base import CellState
from s2s.nn.device import to_device

PARAMETERS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
"""Parameters of an `nn.LSTM` of one layer, in cuDNN's order."""

LSTM = 2
"""PyTorch's number of cuDNN's LSTM mode."""

TOLERANCE = 0.03
"""Largest norm of the difference between bf16 and fp32, relative to fp32's norm: several times what
rounding causes."""


class Kernels(NamedTuple):
    """PyTorch's operators of a device's library for recurrent layers."""

    forward: Callable[..., tuple[Tensor, ...]]
    """As `torch._cudnn_rnn`."""
    backward: Callable[..., tuple[Any, ...]]
    """As `torch.ops.aten._cudnn_rnn_backward`. It overwrites the memory that the forward pass
    reserved, so it may be called once."""
    flatten: Callable[..., Tensor]
    """As `torch._cudnn_rnn_flatten_weight`."""


KERNELS = {
    "cuda": Kernels(
        torch._cudnn_rnn, torch.ops.aten._cudnn_rnn_backward, torch._cudnn_rnn_flatten_weight
    )
}
"""The operators of each type of device."""


class FlatWeights(NamedTuple):
    """Weights of a layer in the layout of the library."""

    flat: Tensor
    """All weights in one tensor."""
    parts: tuple[Tensor, ...]
    """Each of `PARAMETERS`, a view of `flat`."""

    @classmethod
    def of(cls, weights: Sequence[Tensor], kind: torch.dtype, kernels: Kernels) -> "FlatWeights":
        """A copy of the weights in the type `kind`."""
        parts = [weight.detach().to(kind, copy=True) for weight in weights]
        width, input_width = parts[1].shape[1], parts[0].shape[1]
        with torch.no_grad():
            flat = kernels.flatten(
                parts, len(parts), input_width, LSTM, width, 0, 1, False, False
            )  # makes the parts views of it
        return cls(flat, tuple(parts))


class _Sequence(torch.autograd.Function):
    """Outputs [T, B, H] and last h and c [1, B, H], from input, first h and c, and weights."""

    @staticmethod
    def forward(  # noqa: PLR0917 (the interface of autograd)
        ctx: Any,
        x_TBD: Tensor,
        h_1BH: Tensor,
        c_1BH: Tensor,
        kind: torch.dtype,
        kernels: Kernels,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        flat_weights = FlatWeights.of(weights, kind, kernels)
        given = [part.to(kind).contiguous() for part in (x_TBD, h_1BH, c_1BH)]
        output, h, c, reserve = _run(given, flat_weights, kernels, is_training=True)
        ctx.save_for_backward(*given, output, reserve, flat_weights.flat, *flat_weights.parts)
        ctx.kinds = [part.dtype for part in (x_TBD, h_1BH, c_1BH, *weights)]
        ctx.kernels, ctx.is_done = kernels, False
        ctx.set_materialize_grads(False)
        return output, h, c

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        assert not ctx.is_done, "the backward pass works once"
        ctx.is_done = True
        x, h, c, output, reserve, flat, *weights = ctx.saved_tensors
        needed = ctx.needs_input_grad
        with without_autocast(x.device.type):
            *of_given, of_weights = ctx.kernels.backward(
                *(x, weights, len(weights), flat, h, c, output, *gradients),
                *(*_shape(h, is_training=True), reserve),
                [*needed[:3], any(needed[5:])],
            )
        found = [*of_given, *(of_weights or [None] * len(weights))]
        first = [g if g is None else g.to(kind) for g, kind in zip(found, ctx.kinds, strict=True)]
        return (*first[:3], None, None, *first[3:])


def _shape(h_1BH: Tensor, *, is_training: bool) -> tuple[Any, ...]:
    """The operators' arguments that describe a layer: mode, hidden width, no projection, one layer,
    time first, no dropout, one direction, no packed sequences."""
    return LSTM, h_1BH.shape[-1], 0, 1, False, 0.0, is_training, False, [], None


def _run(
    given: Sequence[Tensor], flat_weights: FlatWeights, kernels: Kernels, *, is_training: bool
) -> tuple[Tensor, ...]:
    """Output, last h, last c and the gradient's reserve, from x, h and c in the weights' type."""
    x_TBD, h_1BH, c_1BH = given
    flat, parts = flat_weights
    with without_autocast(x_TBD.device.type):
        found = kernels.forward(
            *(x_TBD, list(parts), len(parts), flat, h_1BH, c_1BH),
            *_shape(h_1BH, is_training=is_training),
        )
    return found[:4]


def sequence(
    given: Sequence[Tensor], weights: Sequence[Tensor], kind: torch.dtype, kernels: Kernels
) -> tuple[Tensor, Tensor, Tensor]:
    """Output [T, B, H] and last h and c [1, B, H], all in the type `kind`.

    `given` are x [T, B, D] and the first h and c [1, B, H], `weights` those of `PARAMETERS`. The
    backward pass works once.
    """
    if torch.is_grad_enabled() and any(t.requires_grad for t in (*given, *weights)):
        found: tuple[Tensor, Tensor, Tensor] = _Sequence.apply(*given, kind, kernels, *weights)  # type: ignore[no-untyped-call]
        return found
    given = [part.to(kind).contiguous() for part in given]
    flat_weights = FlatWeights.of(weights, kind, kernels)
    output, h, c, _ = _run(given, flat_weights, kernels, is_training=False)
    return output, h, c


def kernels_for(x: Tensor, weight: Tensor) -> Kernels | None:
    """The operators to use for input `x`; None where `torch.lstm` computes in the right type."""
    kernels = KERNELS.get(x.device.type)
    if kernels is None or weight.dtype == torch.bfloat16:
        return kernels
    device = x.device.type
    is_bf16 = torch.is_autocast_enabled(device) and (
        torch.get_autocast_dtype(device) == torch.bfloat16
    )
    return kernels if is_bf16 else None


def lstm_in_bf16(
    weights: Sequence[Tensor], x_TBD: Tensor, state: CellState | None, kernels: Kernels
) -> tuple[Tensor, CellState]:
    """Outputs [T, B, H] and the last (h, c), bf16, from the state (zeros if None).

    `weights` are those of `PARAMETERS`.
    """
    width = weights[1].shape[1]
    given = (x_TBD, *_first(x_TBD, state, width))
    if is_accurate(kernels, x_TBD.device, x_TBD.shape[-1], width):
        output, h_1BH, c_1BH = sequence(given, weights, torch.bfloat16, kernels)
    else:
        output, h_1BH, c_1BH = _in_fp32(given, weights)
    return output, (h_1BH[0], c_1BH[0])


def _first(x_TBD: Tensor, state: CellState | None, width: int) -> tuple[Tensor, Tensor]:
    """The first h and c [1, B, H]."""
    if state is not None:
        return state[0].unsqueeze(0), state[1].unsqueeze(0)
    zeros_1BH = torch.zeros(1, x_TBD.shape[1], width, dtype=torch.bfloat16, device=x_TBD.device)
    return zeros_1BH, zeros_1BH


def _in_fp32(given: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """`sequence` computed in fp32, with results in bf16."""
    x, h, c = (part.float().contiguous() for part in given)
    is_training = torch.is_grad_enabled()  # in cuDNN's sense: whether a backward pass may follow
    with without_autocast(x.device.type):
        whole = [weight.float() for weight in weights]
        found = torch.lstm(x, (h, c), whole, True, 1, 0.0, is_training, False, False)
    return tuple(part.to(torch.bfloat16) for part in found)


class FlattenedLSTM(nn.Module):
    """A layer in bf16 without gradients, whose weights are flattened once."""

    def __init__(self, lstm: nn.LSTM, kernels: Kernels) -> None:
        super().__init__()
        weights = [lstm.get_parameter(name) for name in PARAMETERS]
        self.kernels = kernels
        self.width = lstm.hidden_size
        self.flat_weights: FlatWeights | None = None
        self.lstm: nn.LSTM | None = None
        if is_accurate(kernels, weights[0].device, lstm.input_size, lstm.hidden_size):
            self.flat_weights = FlatWeights.of(weights, torch.bfloat16, kernels)
        else:
            self.lstm = lstm.float()

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """See `lstm_in_bf16`."""
        given: Sequence[Tensor] = (x_TBD, *_first(x_TBD, state, self.width))
        if self.flat_weights is None:
            assert self.lstm is not None
            found = _in_fp32(given, [self.lstm.get_parameter(name) for name in PARAMETERS])
        else:
            given = [part.to(torch.bfloat16).contiguous() for part in given]
            found = _run(given, self.flat_weights, self.kernels, is_training=False)
        return found[0], (found[1][0], found[2][0])


@cache
def is_accurate(kernels: Kernels, device: torch.device, input_width: int, width: int) -> bool:
    """Whether a layer of these widths in bf16 agrees with fp32, gradients included.

    It is tested once on a short sequence; if it does not agree, a RuntimeWarning says so. The test
    uses a generator of its own, so that the random numbers of training do not change.
    """
    try:
        with torch.inference_mode(False), torch.enable_grad(), without_autocast(device.type):
            is_near = _worst_difference(kernels, device, input_width, width) <= TOLERANCE
        fault = "gives wrong results"
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "ALLOC" in str(error):
            raise  # it does not show a fault of the kernels
        is_near, fault = False, f"refuses ({error})"
    if not is_near:
        text = f"an LSTM layer of {input_width} inputs and {width} units runs in fp32 on {device}"
        warnings.warn(f"{text}: in bf16 cuDNN {fault}", RuntimeWarning, stacklevel=2)
    return is_near


def _worst_difference(
    kernels: Kernels, device: torch.device, input_width: int, width: int
) -> float:
    """The largest difference of outputs and gradients from the equations' (see `TOLERANCE`)."""
    tensors, tiny_TBH = _random_inputs(input_width, width, device)

    def outcome(run: Callable[..., tuple[Tensor, ...]]) -> list[Tensor]:
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        output, h, c = (part.float() for part in run(leaves[:3], leaves[3:]))
        loss = (output * tiny_TBH).sum() + ((h + c) * tiny_TBH[:1]).sum()
        return [part.detach() for part in (output, h, c, *torch.autograd.grad(loss, leaves))]

    found = outcome(lambda given, weights: sequence(given, weights, torch.bfloat16, kernels))
    expected = outcome(_by_equations)
    pairs = zip(found, expected, strict=True)
    worst = torch.stack([(one - other).norm() / other.norm() for one, other in pairs]).amax()
    return float(worst)  # NaN compares false with any tolerance


def _random_inputs(
    input_width: int, width: int, device: torch.device
) -> tuple[list[Tensor], Tensor]:
    """x, h, c and weights, fp32 but exact in bf16; gradients [T, B, H] that underflow in fp16."""
    time, batch = 5, 16
    scale_of: list[tuple[tuple[int, ...], float]] = [
        ((time, batch, input_width), 1.0),
        ((1, batch, width), 0.5),
        ((1, batch, width), 0.5),
        ((4 * width, input_width), input_width**-0.5),
        ((4 * width, width), width**-0.5),
        ((4 * width,), 0.1),
        ((4 * width,), 0.1),
        ((time, batch, width), 2.0**-30),
    ]
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(shape, generator=generator) * scale for shape, scale in scale_of]
    *given, tiny_TBH = (to_device(one.bfloat16().float(), device) for one in tensors)
    return given, tiny_TBH


def _by_equations(given: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """`sequence`, step by step (the equations are those of `s2s.nn.cells.lstm`)."""
    (x_TBD, h_1BH, c_1BH), (w_GD, u_GH, b_G, d_G) = given, weights
    h_BH, c_BH, outputs = h_1BH[0], c_1BH[0], []
    for x_BD in x_TBD.unbind(0):
        gates_BG = F.linear(x_BD, w_GD, b_G) + F.linear(h_BH, u_GH, d_G)
        i, f, g, o = gates_BG.chunk(4, dim=-1)
        c_BH = torch.sigmoid(f) * c_BH + torch.sigmoid(i) * torch.tanh(g)
        h_BH = torch.sigmoid(o) * torch.tanh(c_BH)
        outputs.append(h_BH)
    return torch.stack(outputs), h_BH.unsqueeze(0), c_BH.unsqueeze(0)


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Context without autocast on a type of device."""
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)
