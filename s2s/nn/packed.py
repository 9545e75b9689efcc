"""A model made ready for search: weights laid out once for the products of its decoding step.

The step's matrix products run in one of three precisions; everything between them, and the sums
of the log-probabilities, stays in fp32.

- `fp32`: as in training, but the weights are in the order that the kernel reads.
- `bf16`: weights and what they are multiplied with are rounded to 8 bits of mantissa, products are
  summed in fp32 and rounded to bf16 again; biases are added in fp32.
- `int8`: both are rounded to whole multiples of a scale. Each row of a weight matrix has its own
  scale. What it is multiplied with has a fixed one per channel: states, contexts and readouts lie
  within -1 and 1 by construction, and embeddings within what the table holds. So nothing has to be
  calibrated, and no row's scale depends on its neighbours. Products are summed exactly.

Dimension letters: N rows, D input channels, O output channels, H hidden width.
"""

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.data.feature_lines import Regions
from s2s.errors import UsageError
from s2s.nn.attention import AdditiveScores, BilinearScores
from s2s.nn.cudnn_lstm import KERNELS, GatheredLSTM
from s2s.nn.decoder import Decoded, Decoder
from s2s.nn.encoder import RecurrentEncoder
from s2s.nn.memory import DecoderState, Memory
from s2s.nn.model import Seq2Seq
from s2s.nn.rnn import LSTMLayer, gather_weights
from s2s.nn.step import Step
from s2s.recipe import SearchPrecision

LEVELS = 127
"""Whole numbers on each side of zero in int8."""

AS_IS: tuple[Any, ...] = ("none", [], "")
"""What oneDNN is to do with a product's result."""


class Weights(NamedTuple):
    """Of y = W x + b."""

    weight_OD: Tensor
    bias_O: Tensor
    bound_D: Tensor
    """What the absolute value of each input channel does not exceed."""


class Product(Protocol):
    """y = W x + b."""

    def __call__(self, x_ND: Tensor, /) -> Tensor:
        """float32 [N, O] of float32 [N, D]."""
        ...


class PlainProduct:
    """In a floating-point type, wherever the weights are."""

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        self.weight_OD = weights.weight_OD.to(dtype)
        self.bias_O = weights.bias_O.float()

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        return F.linear(x_ND.to(self.weight_OD.dtype), self.weight_OD) + self.bias_O


class OneDNNProduct:
    """In a floating-point type on a CPU, by oneDNN's kernel over weights in its own order.

    `F.linear` brings the weights into that order at every call (bf16), or leaves the product to
    another library (fp32).
    """

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        self.dtype = dtype
        weight_OD = weights.weight_OD.to(dtype).contiguous()
        self.weight_OD = torch.ops.mkldnn._reorder_linear_weight(weight_OD)
        self.bias_O = weights.bias_O.float()

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        is_fp32 = self.dtype == torch.float32
        bias_O = self.bias_O if is_fp32 else None
        y_NO: Tensor = torch.ops.mkldnn._linear_pointwise(
            x_ND.to(self.dtype), self.weight_OD, bias_O, "none", [], ""
        )
        return y_NO if is_fp32 else y_NO + self.bias_O


class Int8Product:
    """In whole numbers on a CPU, by oneDNN's kernel."""

    def __init__(self, weights: Weights) -> None:
        least = torch.finfo(torch.float32).tiny
        reach_OD = weights.weight_OD.float() * weights.bound_D
        self.scale_O = reach_OD.abs().amax(1).clamp_min(least) / LEVELS
        whole_OD = (reach_OD / self.scale_O.unsqueeze(1)).round_().to(torch.int8)
        self.weight_OD = torch.ops.onednn.qlinear_prepack(whole_OD, None)
        self.zeros_O = torch.zeros(len(whole_OD), dtype=torch.int64)
        self.bias_O = weights.bias_O.float()
        self.levels_D = LEVELS / weights.bound_D.clamp_min(least)

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        whole_ND = (x_ND * self.levels_D).round_().clamp_(-LEVELS, LEVELS).to(torch.int8)
        of_input = (1.0 / LEVELS, 0)  # scale and zero point
        of_weight = (self.scale_O, self.zeros_O)
        of_output = (1.0, 0, torch.float32)
        y_NO: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(whole_ND, *of_input), *(self.weight_OD, *of_weight), self.bias_O, *of_output, *AS_IS
        )
        return y_NO


def product(weights: Weights, precision: SearchPrecision) -> Product:
    """The product of a precision, for the device the weights are on.

    Raises UsageError for int8 where there is no kernel for it.
    """
    device = weights.weight_OD.device.type
    has_kernel = device == "cpu" and runs_onednn(precision)
    if has_kernel:
        return _onednn(weights, precision)
    match precision:
        case "fp32":
            return PlainProduct(weights, torch.float32)
        case "bf16":
            return PlainProduct(weights, torch.bfloat16)
        case "int8":
            raise UsageError(
                f"precision int8 needs a CPU that oneDNN has kernels for, found {device} without; "
                "use fp32 or bf16"
            )
        case _:
            assert_never(precision)


def _onednn(weights: Weights, precision: SearchPrecision) -> Product:
    match precision:
        case "fp32":
            return OneDNNProduct(weights, torch.float32)
        case "bf16":
            return OneDNNProduct(weights, torch.bfloat16)
        case "int8":
            return Int8Product(weights)
        case _:
            assert_never(precision)


@cache
def runs_onednn(precision: SearchPrecision) -> bool:
    """Whether this CPU and this PyTorch multiply in a precision by oneDNN: a small product tells.

    PyTorch may be built without oneDNN, lack one of its operators, or refuse it on an older CPU.
    """
    ones = torch.ones(16, 16)
    try:
        found = _onednn(Weights(ones, ones[0], ones[0]), precision)(ones)
    except (RuntimeError, AttributeError):  # AttributeError: no such operator
        return False
    return torch.allclose(found, torch.full((16, 16), 17.0), rtol=0.01)


class PackedLinear(nn.Module):
    """`nn.Linear` for search."""

    def __init__(self, linear: nn.Linear, bound_D: Tensor, precision: SearchPrecision) -> None:
        super().__init__()
        bias_O = (
            linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
        )
        self.weight = linear.weight
        self.bias = bias_O
        self.product = product(Weights(linear.weight, bias_O, bound_D), precision)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [..., O] of float32 [..., D]."""
        return self.product(x.flatten(0, -2)).view(*x.shape[:-1], -1)


class PackedLSTMLayer(nn.Module):
    """`LSTMLayer.step` in one product over [x; h], and sigmoids alone.

    tanh(z) = 2 sigmoid(2 z) - 1, so the weights of the candidate g are doubled beforehand, which
    rounds nothing, and c = f c + i (2 s - 1) with s the sigmoid of what they give.
    """

    def __init__(self, layer: LSTMLayer, bound_D: Tensor, precision: SearchPrecision) -> None:
        super().__init__()
        self.width = layer.width
        weight_OD = torch.cat((layer.input_weight, layer.recurrent_weight), dim=1)
        bias_O = layer.bias.clone()
        candidate = slice(2 * layer.width, 3 * layer.width)
        weight_OD[candidate] *= 2.0
        bias_O[candidate] *= 2.0
        bound_D = torch.cat((bound_D, bound_D.new_ones(layer.width)))
        self.product = product(Weights(weight_OD, bias_O, bound_D), precision)

    def step(self, x_ND: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """One step from (h, c), each [N, H], to the next."""
        h_NH, c_NH = state
        gates_NG = self.product(torch.cat((x_ND, h_NH), dim=-1))
        # In two parts, so that the kernel goes row by row: of a contiguous tensor it rounds the
        # last elements in another way, and which these are would depend on a row's place.
        gates_NG[:, : 3 * self.width].sigmoid_()
        gates_NG[:, 3 * self.width :].sigmoid_()
        i, f, s, o = gates_NG.chunk(4, dim=-1)
        c_NH = (f * c_NH).sub_(i).addcmul_(i, s, value=2.0)
        return c_NH.tanh().mul_(o), c_NH


class PackedEncoder(nn.Module):
    """An encoder that computes in bf16 and answers in fp32."""

    def __init__(self, encoder: RecurrentEncoder) -> None:
        super().__init__()
        self.encoder = encoder.to(torch.bfloat16)
        kernels = KERNELS.get(next(encoder.parameters()).device.type)
        for layers in (encoder.forward_layers, encoder.backward_layers):
            for index, layer in enumerate(layers):
                if kernels is not None and isinstance(layer, LSTMLayer):
                    layers[index] = GatheredLSTM(layer.lstm, kernels)

    def forward(self, x_SBE: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """See `RecurrentEncoder`."""
        states_SBD, final_BD = self.encoder(x_SBE.to(torch.bfloat16), lengths_B)
        return states_SBD.float(), final_BD.float()


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 natively.

    That is AVX512-BF16 or AMX on a CPU, the Ampere generation or a later one on a GPU.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    supports = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supports())


class Packed:
    """A model as a scorer for search, beside the one it was made from."""

    def __init__(self, model: Seq2Seq, ready: Seq2Seq, precision: SearchPrecision) -> None:
        self.model = model
        """As it was trained."""
        self.ready = ready
        """With packed weights: it can encode, start and step."""
        self.precision = precision
        self.output = model.output

    @property
    def vocabulary(self) -> int:
        """Size of the target vocabulary."""
        return self.ready.vocabulary

    def encode(self, source: Tensor, lengths: Tensor, features: Sequence[Regions] = ()) -> Memory:
        """See `Seq2Seq.encode`."""
        return self.ready.encode(source, lengths, features)

    def start(self, memory: Memory) -> DecoderState:
        """See `Seq2Seq.start`."""
        return self.ready.start(memory)

    def step(self, memory: Memory, state: DecoderState, tokens: Tensor) -> Step[DecoderState]:
        """See `Seq2Seq.step`."""
        return self.ready.step(memory, state, tokens)

    def step_readout(
        self, memory: Memory, state: DecoderState, tokens: Tensor
    ) -> tuple[Decoded, DecoderState]:
        """See `Seq2Seq.step_readout`."""
        return self.ready.step_readout(memory, state, tokens)

    def output_of(self, tokens: Tensor) -> Product:
        """See `Seq2Seq.output_of`."""
        weight_FE, bias_F = self.output.weight.detach()[tokens], self.output.bias.detach()[tokens]
        bound_E = weight_FE.new_ones(weight_FE.shape[1])  # of a readout, which is a tanh
        return product(Weights(weight_FE, bias_F, bound_E), self.precision)


def _state_readers(decoder: Decoder) -> list[nn.Linear]:
    """The products that read encoder states themselves, or vectors made of them."""
    match decoder.scores:
        case BilinearScores(projection=nn.Linear() as projection):
            return [decoder.bridge, projection]
        case AdditiveScores(source=source):
            return [decoder.bridge, source]
        case _:
            return [decoder.bridge]


@torch.no_grad()
def packed(model: Seq2Seq, precision: SearchPrecision) -> Packed:
    """`model`, in evaluation mode, made ready to decode in `precision`; it is left as it is.

    Raises UsageError as `product` does.
    """
    ready = copy.deepcopy(model).eval().requires_grad_(False)
    decoder = ready.decoder
    embedding_E = ready.target_embedding.weight.abs().amax(0)
    state_D = ready.state_bound()
    for index, bound_D in enumerate(decoder.layer_bounds(embedding_E, state_D)):
        decoder.layers[index] = PackedLSTMLayer(decoder.layer(index), bound_D, precision)
    # All others read states of LSTMs or readouts, which are within 1.
    bounds = {decoder.readout.linear: decoder.readout_bound(embedding_E, state_D)}
    bounds |= dict.fromkeys(_state_readers(decoder), state_D)
    parents = [ready, decoder, decoder.readout, decoder.scores]
    for parent in [parent for parent in parents if parent is not None]:
        for name, linear in list(parent.named_children()):
            if isinstance(linear, nn.Linear) and linear.out_features > 1:
                bound_D = bounds.get(linear, embedding_E.new_ones(linear.in_features))
                parent.register_module(name, PackedLinear(linear, bound_D, precision))
    if precision != "fp32" and has_bf16(embedding_E.device) and ready.encoder is not None:
        ready.register_module("encoder", PackedEncoder(ready.encoder))
    gather_weights(ready)
    return Packed(model, ready, precision)
