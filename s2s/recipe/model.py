"""The recipe's `model`: encoder, attention, decoder."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from s2s.recipe.cells import AnyCell, ElementwiseCell, LSTMCell
from s2s.recipe.dropout import Dropout
from s2s.recipe.embeddings import Characters, Pretrained
from s2s.recipe.image_features import ImageFeatureEncoder
from s2s.recipe.section import PositiveInt, Section


def _lstm() -> LSTMCell:
    return LSTMCell(kind="lstm")


LayerCell = Annotated[AnyCell, Field(description="Cell of every layer.")]
Transitions = Annotated[
    PositiveInt,
    Field(
        description="Cells of each layer and step: the first reads the input, each other the state "
        "of the one before it (deep transition, Pascanu et al. 2014; with several layers BiDeep, "
        "Miceli Barone et al. 2017). Above 1 training loops over steps."
    ),
]
Residual = Annotated[
    bool,
    Field(
        description="Add the input of each layer from the second on to its output, where both are "
        "equally wide (Wu et al. 2016, section 3.1)."
    ),
]
Heads = Annotated[
    PositiveInt,
    Field(
        description="Heads, each with a score and values of its own in its part of the decoder's "
        "width, which they divide (Vaswani et al. 2017, section 3.2.2; Chen et al. 2018). 1: no "
        "projection of values and contexts."
    ),
]
LayerNorm = Annotated[
    bool,
    Field(
        description="Layer normalization of each layer's output, after the residual sum (Ba et al. "
        "2016)."
    ),
]


@dataclass(frozen=True, kw_only=True)
class Encoder(Section):
    """Stacked bidirectional layers over the source embeddings (Jurafsky & Martin ch. 9)."""

    layers: PositiveInt = 1
    """Number of layers; layer l reads the outputs of layer l-1."""
    width: PositiveInt = 256
    """Units per direction."""
    bidirectional: bool = True
    """Read the source in both directions, h = [forward; backward]."""
    cell: LayerCell = field(default_factory=_lstm)
    transitions: Transitions = 1
    residual: Residual = False
    layer_norm: LayerNorm = False


@dataclass(frozen=True, kw_only=True)
class DotAttention(Section):
    """score(h, s) = h . s; encoder states are projected to the decoder's width if their widths
    differ. `scaled_dot` divides by the square root of the width. Several heads project both."""

    kind: Literal["dot", "scaled_dot"]
    heads: Heads = 1


@dataclass(frozen=True, kw_only=True)
class GeneralAttention(Section):
    """score(h, s) = h W s (Luong et al. 2015, section 3.1)."""

    kind: Literal["general"]
    heads: Heads = 1


@dataclass(frozen=True, kw_only=True)
class AdditiveAttention(Section):
    """score(h, s) = v . tanh(W h + U s + b), h the decoder's state and s the encoder's (Bahdanau et
    al. 2015, appendix A.1.2, who write s for h, h for s, and no b)."""

    kind: Literal["additive"]
    width: PositiveInt | None = None
    """Width of the hidden layer; by default the decoder's."""
    heads: Heads = 1


@dataclass(frozen=True, kw_only=True)
class NoAttention(Section):
    """No attention: the encoder's last state initializes the decoder and, unless `context` says
    otherwise, is the context of every step."""

    kind: Literal["none"]
    context: Literal["every_step", "start"] = "every_step"
    """`every_step`: every step reads the last state (Cho et al. 2014, section 2.2). `start`: it
    initializes the decoder alone (Sutskever et al. 2014)."""


AttentionScore = Annotated[
    DotAttention | GeneralAttention | AdditiveAttention, Field(discriminator="kind")
]


@dataclass(frozen=True, kw_only=True)
class HardAttention(Section):
    """Each target token comes from a single source position, which is latent: probabilities are
    sums over all alignments, computed exactly. `hard`: a position for each token, whatever the
    others are (Wu et al. 2018). `hard_monotonic`: no position lies before that of the token before
    (Wu & Cotterell 2019, their 0-MONO). Needs decoder `luong`; for small target vocabularies, such
    as characters or phones."""

    kind: Literal["hard", "hard_monotonic"]
    score: AttentionScore = field(default_factory=lambda: GeneralAttention(kind="general"))
    """Score of a position, whose softmax is its probability before the token is known."""


Attention = Annotated[
    DotAttention | GeneralAttention | AdditiveAttention | HardAttention | NoAttention,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True)
class LuongDecoder(Section):
    """Attention after the recurrence, from its top layer (Luong et al. 2015, section 3)."""

    kind: Literal["luong"]
    layers: PositiveInt = 1
    """Recurrent layers below the attention."""
    width: PositiveInt = 512
    """Units per layer."""
    input_feeding: bool = False
    """Feed the attentional state into the next step (section 3.3); training loops over steps."""
    cell: LayerCell = field(default_factory=_lstm)
    transitions: Transitions = 1
    residual: Residual = False
    layer_norm: LayerNorm = False


@dataclass(frozen=True, kw_only=True)
class BahdanauDecoder(Section):
    """The context from h_{i-1} enters the recurrence (Bahdanau et al. 2015). Training loops over
    steps."""

    kind: Literal["bahdanau"]
    layers: PositiveInt = 1
    """Recurrent layers; the first reads the context."""
    width: PositiveInt = 512
    """Units per layer."""
    cell: LayerCell = field(default_factory=_lstm)
    transitions: Transitions = 1
    residual: Residual = False
    layer_norm: LayerNorm = False


@dataclass(frozen=True, kw_only=True)
class StackedDecoder(Section):
    """Layer 1 attends, and layer 2 reads [h1; c]. Training needs no loop over steps."""

    kind: Literal["stacked"]
    layers: Annotated[int, Field(ge=2)] = 2
    """Recurrent layers, the attending one included."""
    width: PositiveInt = 512
    """Units per layer."""
    cell: LayerCell = field(default_factory=_lstm)
    transitions: Transitions = 1
    residual: Residual = False
    layer_norm: LayerNorm = False


@dataclass(frozen=True, kw_only=True)
class ConditionalDecoder(Section):
    """Two cells a step: the first attends, the second reads the context and hands its state to the
    first of the next step (Sennrich et al. 2017, section 2). Training loops over steps."""

    kind: Literal["conditional"]
    layers: PositiveInt = 1
    """Recurrent layers; the first one has both cells."""
    width: PositiveInt = 512
    """Units per cell."""
    cell: LayerCell = field(default_factory=_lstm)
    transitions: Transitions = 1
    residual: Residual = False
    layer_norm: LayerNorm = False


@dataclass(frozen=True, kw_only=True)
class PlainDecoder(Section):
    """A language model: recurrent layers over the tokens so far, without a source."""

    kind: Literal["plain"]
    layers: PositiveInt = 2
    """Recurrent layers; the output layer reads the last one."""
    width: PositiveInt = 512
    """Units per layer."""
    cell: LayerCell = field(default_factory=_lstm)
    transitions: Transitions = 1
    residual: Residual = False
    layer_norm: LayerNorm = False


@dataclass(frozen=True, kw_only=True)
class LabelDecoder(Section):
    """What both kinds of labels share: a decoder without a recurrence."""

    layers: ClassVar[int] = 0
    width: ClassVar[int] = 0
    cell: ClassVar[AnyCell] = _lstm()
    transitions: ClassVar[int] = 1
    residual: ClassVar[bool] = False
    layer_norm: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Classifier(LabelDecoder):
    """One label of a text, from the encoder's states as one vector (Jurafsky & Martin ch. 9)."""

    kind: Literal["classifier"]
    pooling: Literal["final", "max", "mean", "attention"] = "final"
    """The vector: the last states of both directions; the largest or the mean value of each channel
    over time; or a weighted mean with learned weights (Yang et al. 2016, equations 5 to 7)."""


@dataclass(frozen=True, kw_only=True)
class Tagger(LabelDecoder):
    """A label of each word, from the encoder's state at it (Huang et al. 2015)."""

    kind: Literal["tagger"]
    crf: bool = False
    """Add a learned score for every two labels in a row: a linear-chain conditional random field
    (Lafferty et al. 2001; Lample et al. 2016, section 2.2)."""


AnyDecoder = Annotated[
    LuongDecoder
    | BahdanauDecoder
    | StackedDecoder
    | ConditionalDecoder
    | PlainDecoder
    | Classifier
    | Tagger,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True)
class Model(Section):
    """Encoder, attention and decoder."""

    embeddings: PositiveInt = 256
    """Width of the source and target embeddings and of the readout."""
    tied: Literal["none", "output", "all"] = "output"
    """Shared matrices. `output`: target embeddings and output (Press & Wolf 2017); `all`: source
    embeddings too, which needs a shared tokenizer."""
    pretrained: Pretrained | None = None
    """Word vectors that the embeddings start from; null for random ones."""
    encoder: Encoder = field(default_factory=Encoder)
    """Encoder of the source text."""
    image_features: tuple[ImageFeatureEncoder, ...] = ()
    """Encoders of image features: a section for each of data.image_features, or one for all of
    them; as by default if none is given."""
    attention: Attention = field(default_factory=lambda: GeneralAttention(kind="general"))
    """Score of a decoder state and an encoder state."""
    decoder: AnyDecoder = field(default_factory=lambda: StackedDecoder(kind="stacked"))
    """Decoder of the target."""
    characters: Characters | None = None
    """What words are made of, for unknown ones above all; null for words alone. Needs the source
    tokenizer `word`; for tasks `classify` and `tag`."""
    dropout: Dropout = field(default_factory=Dropout)
    """Dropout rates."""
    copy: Literal["none", "pointer"] = "none"
    """`pointer`: every step generates a token or copies a source token by attention, including
    tokens outside the vocabulary (See et al. 2017, section 2.2). Needs attention."""
    coverage: bool = False
    """Attention scores depend on the sum of earlier attention weights (See et al. 2017, section
    2.3). Needs attention; helps together with train.coverage_loss."""
    context_gate: bool = False
    """Every step multiplies the context by a gate between 0 and 1, which depends on the decoder's
    state (Xu et al. 2015, section 4.2.1). Needs attention."""

    def __post_init__(self) -> None:
        for side, section in (("encoder", self.encoder), ("decoder", self.decoder)):
            if section.transitions > 1 and isinstance(section.cell, ElementwiseCell):
                raise ValueError(
                    f"{side}.transitions: expected 1, found {section.transitions}: cell "
                    f"'{section.cell.kind}' has no recurrent matrix; choose 'lstm', 'gru' or 'tanh'"
                )
        cells = [self.encoder.cell, self.decoder.cell]
        if isinstance(self.decoder, LabelDecoder):
            cells.pop()
        if self.dropout.recurrent and all(isinstance(one, ElementwiseCell) for one in cells):
            raise ValueError(
                f"dropout.recurrent: cell '{cells[-1].kind}' has no recurrent matrix; remove it"
            )
        if (
            self.tied == "all"
            and self.pretrained is not None
            and all(vars(self.pretrained).values())
        ):
            raise ValueError(
                "pretrained: with tied 'all' both sides have one matrix; name one file, as "
                "'source' or as 'target'"
            )
        self._check_heads()
        if self.attention.kind == "none" and self.context_gate:
            raise ValueError(
                "context_gate needs attention; remove it, or choose an attention other than 'none'"
            )
        if self.attention.kind == "none" and (self.copy != "none" or self.coverage):
            what = "coverage" if self.copy == "none" else f"copy '{self.copy}'"
            raise ValueError(
                f"{what} needs attention; remove it, or choose an attention other than 'none'"
            )
        if self.attention.kind == "none" and self.decoder.kind in ("stacked", "conditional"):
            raise ValueError(
                f"decoder '{self.decoder.kind}' needs attention; with attention 'none' use 'luong'"
            )
        if fault := _hard_attention_fault(self):
            raise ValueError(fault)

    def _check_heads(self) -> None:
        """Raises ValueError where heads do not divide a width."""
        if not isinstance(self.attention, DotAttention | GeneralAttention | AdditiveAttention):
            return
        heads, widths = self.attention.heads, {"decoder.width": self.decoder.width}
        if isinstance(self.attention, AdditiveAttention) and self.attention.width is not None:
            widths["attention.width"] = self.attention.width
        for name, width in widths.items():
            if width % heads:
                raise ValueError(
                    f"attention.heads: expected a number that divides {name}, {width}, found "
                    f"{heads}; change one of the two"
                )

    def image_feature_encoder(self, place: int) -> ImageFeatureEncoder:
        """How the features of a place among data.image_features are read."""
        if not self.image_features:
            return ImageFeatureEncoder()
        return self.image_features[place if len(self.image_features) > 1 else 0]

    def state_width(self, has_text: bool) -> int:
        """Width of the states that the decoder attends to."""
        own = self.encoder.width * (2 if self.encoder.bidirectional else 1)
        widths = () if has_text else tuple(one.width for one in self.image_features if one.width)
        return widths[0] if widths else own


def _hard_attention_fault(model: Model) -> str | None:
    """A fault of what hard attention excludes, else None."""
    if not isinstance(model.attention, HardAttention):
        return None
    kind = f"attention '{model.attention.kind}'"
    if not isinstance(model.decoder, LuongDecoder):
        return (
            f"{kind} needs a decoder whose recurrence reads no context: expected decoder 'luong', "
            f"found '{model.decoder.kind}'"
        )
    if model.attention.score.heads > 1:
        return f"attention.score.heads: {kind} has one alignment, and so one head; remove it"
    if model.decoder.input_feeding:
        return f"decoder.input_feeding feeds a context, which {kind} does not have; remove it"
    if model.copy != "none":
        return f"copy '{model.copy}' copies by soft attention, not by {kind}; remove it"
    if model.coverage:
        return f"coverage is of soft attention, not of {kind}; remove it"
    if model.context_gate:
        return f"context_gate weighs a context, which {kind} does not have; remove it"
    return None
