"""The recipe's `model`: encoder, attention, decoder."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.image_features import ImageFeatureEncoder
from s2s.recipe.section import PositiveInt, Probability, Section


@dataclass(frozen=True, kw_only=True)
class Encoder(Section):
    """Stacked bidirectional LSTM over the embedded source (Jurafsky & Martin ch. 9)."""

    layers: PositiveInt = 1
    """Layers; layer l reads layer l-1."""
    width: PositiveInt = 256
    """Units per direction."""
    bidirectional: bool = True
    """Read the source in both directions, h = [forward; backward]."""


@dataclass(frozen=True, kw_only=True)
class DotAttention(Section):
    """score(h, s) = h . s, the encoder states projected to the decoder's width if they differ;
    `scaled_dot` divides by the square root of the width."""

    kind: Literal["dot", "scaled_dot"]


@dataclass(frozen=True, kw_only=True)
class GeneralAttention(Section):
    """score(h, s) = h W s (Luong et al. 2015, section 3.1)."""

    kind: Literal["general"]


@dataclass(frozen=True, kw_only=True)
class AdditiveAttention(Section):
    """score(h, s) = v . tanh(W h + U s + b), h the decoder's state and s the encoder's (Bahdanau et
    al. 2015, appendix A.1.2, who write s for h, h for s, and no b)."""

    kind: Literal["additive"]
    width: PositiveInt | None = None
    """Width of the hidden layer; the decoder's width if not given."""


@dataclass(frozen=True, kw_only=True)
class NoAttention(Section):
    """The bottleneck: the encoder's last state is the context of every step."""

    kind: Literal["none"]


Attention = Annotated[
    DotAttention | GeneralAttention | AdditiveAttention | NoAttention, Field(discriminator="kind")
]


@dataclass(frozen=True, kw_only=True)
class LuongDecoder(Section):
    """Attention after the recurrence, on its top layer (Luong et al. 2015, section 3)."""

    kind: Literal["luong"]
    layers: PositiveInt = 1
    """LSTM layers below the attention."""
    width: PositiveInt = 512
    """Units per layer."""
    input_feeding: bool = False
    """Feed the attentional state into the next step (section 3.3); training becomes a loop."""


@dataclass(frozen=True, kw_only=True)
class BahdanauDecoder(Section):
    """The context of h_{i-1} enters the recurrence (Bahdanau et al. 2015); training is a loop."""

    kind: Literal["bahdanau"]
    layers: PositiveInt = 1
    """LSTM layers; the first reads the context."""
    width: PositiveInt = 512
    """Units per layer."""


@dataclass(frozen=True, kw_only=True)
class StackedDecoder(Section):
    """Layer 1 attends, layer 2 reads [h1; c] and so on: training needs no loop over time."""

    kind: Literal["stacked"]
    layers: Annotated[int, Field(ge=2)] = 2
    """LSTM layers, the attending one included."""
    width: PositiveInt = 512
    """Units per layer."""


Decoder = Annotated[LuongDecoder | BahdanauDecoder | StackedDecoder, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True)
class Dropout(Section):
    """Variational dropout, one mask per sentence for all steps (Gal & Ghahramani 2016)."""

    embedding: Probability = 0.2
    """Channels of the embeddings, source and target."""
    word: Probability = 0.0
    """Whole words of the source and of the target read so far."""
    encoder: Probability = 0.2
    """Channels of every encoder layer's output."""
    decoder: Probability = 0.2
    """Channels between decoder layers and of the attention's context."""
    readout: Probability = 0.2
    """Channels of the readout below the softmax."""

    @property
    def is_on(self) -> bool:
        """Whether anything is ever dropped."""
        rates = (self.embedding, self.word, self.encoder, self.decoder, self.readout)
        return any(rates)


@dataclass(frozen=True, kw_only=True)
class Model(Section):
    """Encoder, attention and decoder."""

    embeddings: PositiveInt = 256
    """Width of the word embeddings, source and target, and of the readout."""
    tied: Literal["none", "output", "all"] = "output"
    """`output`: target embeddings are the output matrix (Press & Wolf 2017); `all`: the source's
    too, which needs a shared tokenizer."""
    encoder: Encoder = field(default_factory=Encoder)
    """How the source's text is read."""
    image_features: tuple[ImageFeatureEncoder, ...] = ()
    """Encoders of image features: a section for each of data.image_features, or one for all of
    them; as by default if none is given."""
    attention: Attention = field(default_factory=lambda: GeneralAttention(kind="general"))
    """How a decoder state looks at the source."""
    decoder: Decoder = field(default_factory=lambda: StackedDecoder(kind="stacked"))
    """How the target is written."""
    dropout: Dropout = field(default_factory=Dropout)
    """Regularization of the layers."""
    copy: Literal["none", "pointer"] = "none"
    """`pointer`: every step generates a token or copies one from where attention lies, tokens
    outside the vocabulary too (See et al. 2017, section 2.2); needs attention."""
    coverage: bool = False
    """What attention a source token got so far adds to its score (See et al. 2017, section 2.3);
    needs attention, and helps with train.coverage_loss."""
    context_gate: bool = False
    """Every step multiplies what attention found by a number between 0 and 1 that it makes of the
    decoder's state, to look or not to look (Xu et al. 2015, section 4.2.1); needs attention."""

    def __post_init__(self) -> None:
        if self.attention.kind == "none" and self.context_gate:
            raise ValueError("context_gate needs attention; with attention 'none' leave it out")
        if self.attention.kind == "none" and (self.copy != "none" or self.coverage):
            what = "coverage" if self.copy == "none" else f"copy '{self.copy}'"
            raise ValueError(f"{what} needs attention; with attention 'none' leave it out")
        if self.attention.kind == "none" and self.decoder.kind == "stacked":
            raise ValueError(
                "decoder 'stacked' attends between its layers; with attention 'none' use 'luong'"
            )

    def image_feature_encoder(self, place: int) -> ImageFeatureEncoder:
        """How the features of a place among data.image_features are read."""
        if not self.image_features:
            return ImageFeatureEncoder()
        return self.image_features[place if len(self.image_features) > 1 else 0]

    def state_width(self, has_text: bool) -> int:
        """Width of what the decoder attends to."""
        own = self.encoder.width * (2 if self.encoder.bidirectional else 1)
        widths = () if has_text else tuple(one.width for one in self.image_features if one.width)
        return widths[0] if widths else own
