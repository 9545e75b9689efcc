"""A model for search, with weights packed once for the products of its decoding step.

The step's matrix products run in one of the precisions of `s2s.nn.matmul`. Other operations and the
sums of log-probabilities stay in fp32. In int8 an input's scale comes from its bound: outputs of
cells within `Cell.output_bound`, contexts within the bounds of encoder states, readouts within 1,
embeddings within the largest values of their table. Products whose input has no bound are in bf16.

Dimension letters: N rows, D input channels, O output channels, H hidden width.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from s2s.nn.batch import Regions
from s2s.nn.cells.base import Cell
from s2s.nn.cells.lstm import flatten_parameters
from s2s.nn.decoders.base import DecoderOutput
from s2s.nn.decoders.hard import Hard
from s2s.nn.decoders.labels import TextLabels
from s2s.nn.encoders.recurrent import RecurrentEncoder
from s2s.nn.encoders.regions import RegionEncoder
from s2s.nn.kernels import choose_search_precision, has_fast_bf16, product
from s2s.nn.matmul import Product, Weights
from s2s.nn.memory import DecoderState, Memory
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.recipe.choices import SearchPrecision, SearchPrecisionChoice

PROBE = (16, 16)
"""Time and sentences of the batch that tests whether an encoder's sentences are independent."""


class QuantizedLinear(nn.Module):
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


class BF16Encoder(nn.Module):
    """An encoder that computes in bf16 and returns fp32."""

    def __init__(self, encoder: RecurrentEncoder) -> None:
        super().__init__()
        self.encoder = encoder.to(torch.bfloat16)
        for layers in (encoder.forward_layers, encoder.backward_layers):
            for index, layer in enumerate(layers):
                assert isinstance(layer, Cell)
                layers[index] = layer.for_encoder()

    def forward(self, x_SBE: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """See `RecurrentEncoder`."""
        states_SBD, final_BD = self.encoder(x_SBE.to(torch.bfloat16), lengths_B)
        return states_SBD.float(), final_BD.float()


def _make_sentences_independent(encoder: RecurrentEncoder, precision: SearchPrecision) -> None:
    """Replace the layers in which a sentence may depend on others, in place."""
    for layers in (encoder.forward_layers, encoder.backward_layers):
        for index, layer in enumerate(layers):
            assert isinstance(layer, Cell)
            if not (layer.is_kernel and has_independent_sentences(layer)):
                layers[index] = layer.for_rows(precision)


def has_independent_sentences(layer: Cell) -> bool:
    """Whether a layer gives the same outputs, bit for bit, for sentences in two orders."""
    generator = torch.Generator().manual_seed(1)
    size = (*PROBE, layer.input_width)
    x_TBD = 2.0 * torch.rand(size, generator=generator, dtype=torch.float32) - 1.0
    x_TBD = x_TBD.to(next(layer.parameters()).dtype)
    order_B = torch.randperm(x_TBD.shape[1], generator=generator)
    h_TBH, _ = layer(x_TBD)
    permuted_TBH, _ = layer(x_TBD[:, order_B])
    return torch.equal(permuted_TBH, h_TBH[:, order_B])


class InferenceModel:
    """A model as a scorer for search, with the trained one it was made from."""

    def __init__(self, model: Seq2Seq, quantized: Seq2Seq, precision: SearchPrecision) -> None:
        self.model = model
        """The trained model."""
        self.quantized = quantized
        """The same with packed weights; only `encode`, `start` and `step` work."""
        self.precision = precision
        self.output = model.output

    @property
    def vocabulary(self) -> int:
        """Size of the target vocabulary."""
        return self.quantized.vocabulary

    def encode(self, source: Tensor, lengths: Tensor, features: Sequence[Regions] = ()) -> Memory:
        """See `Seq2Seq.encode`."""
        return self.quantized.encode(source, lengths, features)

    def start(self, memory: Memory) -> DecoderState:
        """See `Seq2Seq.start`."""
        return self.quantized.start(memory)

    def step(self, memory: Memory, state: DecoderState, tokens: Tensor) -> Step[DecoderState]:
        """See `Seq2Seq.step`."""
        return self.quantized.step(memory, state, tokens)

    def step_readout(
        self, memory: Memory, state: DecoderState, tokens: Tensor
    ) -> tuple[DecoderOutput, DecoderState]:
        """See `Seq2Seq.step_readout`."""
        return self.quantized.step_readout(memory, state, tokens)

    def output_of(self, tokens: Tensor) -> Product:
        """See `Seq2Seq.output_of`."""
        weight_FE, bias_F = self.output.weight.detach()[tokens], self.output.bias.detach()[tokens]
        bound_E = weight_FE.new_full(weight_FE.shape[1:], self.model.decoder.output_layer_bound)
        return product(Weights(weight_FE, bias_F, bound_E), self.precision)


@torch.no_grad()
def inference_model(model: Seq2Seq, choice: SearchPrecisionChoice) -> InferenceModel:
    """`model` in evaluation mode, packed for decoding in a precision; `model` does not change.

    Raises UsageError as `choose_search_precision` does.
    """
    precision = choose_search_precision(choice, model.output.bias.device)
    quantized = copy.deepcopy(model).eval().requires_grad_(False)
    decoder = quantized.decoder
    embedding_E, state_D = _input_bounds(quantized)
    for index, bound_D in enumerate(decoder.layer_bounds(embedding_E, state_D)):
        # Of the trained model, which stays: the layer of the copy is freed.
        decoder.layers[index] = model.decoder.layer(index).quantized(bound_D, precision)
    for parent, name, bound_D in _linear_layers(quantized, embedding_E, state_D):
        linear = parent.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        parent.register_module(name, QuantizedLinear(linear, bound_D, precision))
    _pack_encoders(quantized, precision)
    flatten_parameters(quantized)
    return InferenceModel(model, quantized, precision)


@torch.no_grad()
def rounded_matrices(model: Seq2Seq) -> dict[tuple[str, ...], Tensor]:
    """The names of the parameters that search reads only as matrices of products in its precision.

    See `Cell.rounded_matrices`. An output layer that is the embedding too is none of them.
    """
    embedding_E, state_D = _input_bounds(model)
    embeddings = [one.weight for one in model.modules() if isinstance(one, nn.Embedding)]
    if isinstance(model.decoder, Hard):  # reads rows of the output layer in fp32
        embeddings.append(model.output.weight)
    names = {id(one): name for name, one in model.named_parameters()}
    found: dict[tuple[str, ...], Tensor] = {}
    for index, bound_D in enumerate(model.decoder.layer_bounds(embedding_E, state_D)):
        for own, whole_D in model.decoder.layer(index).rounded_matrices(bound_D).items():
            found[tuple(f"decoder.layers.{index}.{name}" for name in own)] = whole_D
    for parent, child, bound_D in _linear_layers(model, embedding_E, state_D):
        linear = parent.get_submodule(child)
        assert isinstance(linear, nn.Linear)
        if not any(linear.weight is one for one in embeddings):
            found[names[id(linear.weight)],] = bound_D
    return {names: bound_D for names, bound_D in found.items() if bound_D.isfinite().all()}


def _input_bounds(model: Seq2Seq) -> tuple[Tensor, Tensor]:
    """Bounds of the channels of target embeddings and of encoder states."""
    return model.target_embedding.weight.abs().amax(0), model.state_bound()


def _linear_layers(
    model: Seq2Seq, embedding_E: Tensor, state_D: Tensor
) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """The layers to replace: parent, name and bounds of the input, see `Decoder.layer_bounds`."""
    decoder = model.decoder
    yield model, "output", torch.full_like(embedding_E, decoder.output_layer_bound)
    if model.combination is not None:
        yield (
            model,
            "combination",
            torch.full_like(model.combination.weight[0], model.encoder_bound()),
        )
    if decoder.bridge is not None:
        yield decoder, "bridge", state_D
    if isinstance(decoder, TextLabels) and decoder.pool is not None:
        yield decoder, "pool", state_D
    for name, bound_D in decoder.readout_bounds(embedding_E, state_D).items():
        yield decoder.readout, name, bound_D
    if decoder.scores is not None:
        query_H = state_D.new_full((decoder.width,), decoder.output_bound)
        for name, bound_D in decoder.scores.input_bounds(state_D, query_H).items():
            yield decoder.scores, name, bound_D


def _pack_encoders(quantized: Seq2Seq, precision: SearchPrecision) -> None:
    """Pack the encoders of texts and of features, in place; those of features in fp32."""
    device = quantized.output.bias.device
    in_bf16 = precision != "fp32" and has_fast_bf16(device)
    if quantized.encoder is not None:
        text = quantized.encoder
        if in_bf16:
            quantized.register_module("encoder", BF16Encoder(text))
        texts = [text]
        if quantized.characters is not None:
            spelled = quantized.characters.recurrence
            assert isinstance(spelled, RecurrentEncoder)
            texts.append(spelled)
            if in_bf16:
                quantized.characters.recurrence = BF16Encoder(spelled)
        for one in texts if device.type == "cpu" else ():
            _make_sentences_independent(one, "bf16" if in_bf16 else "fp32")
    for regions in quantized.features:
        assert isinstance(regions, RegionEncoder)
        bound_W = regions.projection.weight.new_ones(regions.projection.in_features)
        regions.register_module("projection", QuantizedLinear(regions.projection, bound_W, "fp32"))
        for sweep in regions.sweeps if device.type == "cpu" else ():
            assert isinstance(sweep, RecurrentEncoder)
            _make_sentences_independent(sweep, "fp32")
