"""The recipe: every choice of a run as frozen types, one section per dataclass.

Only types and the rules that tie fields together live here; `s2s.recipe_io` reads and writes YAML
and turns every violation into `file:line: path: what`. Code behind that boundary trusts its types.
Sizes known only at run time (vocabulary, number of updates) are arguments of `build`, not fields.

The text under a field is its documentation: `s2s recipes schema` carries it into editors.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

PositiveInt = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonEmpty = Annotated[str, Field(min_length=1)]


class Section:
    """Base of every section: unknown keys and silent conversions ("3" for 3) are faults."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "use_attribute_docstrings": True,
    }


# --------------------------------------------------------------------------------------- data


@dataclass(frozen=True, kw_only=True)
class Columns(Section):
    """Which columns (or JSON keys) hold the text; `a.b` reaches into a nested column."""

    source: NonEmpty = "source"
    """Column of the source text."""
    target: NonEmpty = "target"
    """Column of the target text."""


@dataclass(frozen=True, kw_only=True)
class Splits(Section):
    """What the data set calls its splits; `train[:1000]` slices as `datasets` does."""

    train: NonEmpty = "train"
    """Split to train on."""
    validation: NonEmpty | None = "validation"
    """Split that chooses the best checkpoint."""
    test: NonEmpty | None = "test"
    """Split that `s2s bleu` scores; never looked at before."""


@dataclass(frozen=True, kw_only=True)
class Filters(Section):
    """What is left out of the training split; validation and test are never filtered."""

    max_length: PositiveInt = 200
    """Longest source or target side kept, in tokens."""
    max_ratio: Annotated[float, Field(ge=1.0)] = 9.0
    """Largest ratio between the two lengths in tokens (of pairs longer than 10 on a side)."""
    duplicates: bool = False
    """Drop exact repetitions of a pair, keeping the first."""
    max_dropped: Fraction = 0.5
    """Fail when a larger share of the training pairs is dropped: something is wrong then."""


@dataclass(frozen=True, kw_only=True)
class DatasetData(Section):
    """A data set of the Hugging Face hub, or a local folder laid out like one."""

    kind: Literal["dataset"]
    dataset: NonEmpty
    """Hub name (`owner/name`) or path of a local folder."""
    config: NonEmpty | None = None
    """Configuration of the data set (`de-en`), where it has several."""
    revision: NonEmpty | None = None
    """Hub revision (commit, tag) to pin."""
    columns: Columns = field(default_factory=Columns)
    """Columns that hold source and target."""
    splits: Splits = field(default_factory=Splits)
    """Names of the splits."""
    filters: Filters = field(default_factory=Filters)
    """What is left out of the training split."""


@dataclass(frozen=True, kw_only=True)
class FileSet(Section):
    """One split as files: two parallel text files, or one table with two columns."""

    source: NonEmpty | None = None
    """Plain text, one source sentence a line (`.gz` too)."""
    target: NonEmpty | None = None
    """Plain text, line i the target of line i of `source`."""
    table: NonEmpty | None = None
    """`.tsv`, `.csv`, `.jsonl` or `.parquet` (`.gz` too) with the columns of `data.columns`."""

    def __post_init__(self) -> None:
        if self.table is None and (self.source is None or self.target is None):
            raise ValueError("expected 'source' and 'target' (parallel text), or 'table'")
        if self.table is not None and (self.source is not None or self.target is not None):
            raise ValueError("'table' excludes 'source' and 'target'; give one or the other")


@dataclass(frozen=True, kw_only=True)
class FilesData(Section):
    """Files of your own; paths are relative to the folder the command runs in."""

    kind: Literal["files"]
    train: FileSet
    """Pairs to train on."""
    validation: FileSet | None = None
    """Pairs that choose the best checkpoint."""
    test: FileSet | None = None
    """Pairs that `s2s bleu` scores; never looked at before."""
    columns: Columns = field(default_factory=Columns)
    """Columns of tables: names of the header line or JSON keys; `0`, `1` for a table without."""
    header: bool = True
    """Whether TSV and CSV tables open with a line of column names."""
    filters: Filters = field(default_factory=Filters)
    """What is left out of the training split."""


@dataclass(frozen=True, kw_only=True)
class GeneratedData(Section):
    """A corpus that s2s makes itself from a language's own rules: nothing to download."""

    kind: Literal["generated"]
    corpus: Literal["dates"]
    """`dates`: dates and numbers as people write them, and as they are read aloud."""
    pairs: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    """Training pairs."""
    held_out: Annotated[int, Field(ge=10, le=100_000)] = 500
    """Pairs in validation, and again in test; none occurs in another split."""
    seed: Count = 1
    """Seed of the generator."""
    filters: Filters = field(default_factory=Filters)
    """What is left out of the training split."""


Data = Annotated[DatasetData | FilesData | GeneratedData, Field(discriminator="kind")]

# ---------------------------------------------------------------------------------- tokenizer


@dataclass(frozen=True, kw_only=True)
class SubwordTokenizer(Section):
    """Subwords by sentencepiece (Kudo & Richardson 2018)."""

    kind: Literal["unigram", "bpe"]
    """`unigram` (Kudo 2018) or `bpe` (Sennrich et al. 2016)."""
    vocabulary: Annotated[int, Field(ge=8, le=1_000_000)] = 8000
    """Number of pieces, the four special ones included."""
    character_coverage: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the text's characters that get a piece (0.9995 for Chinese or Japanese)."""
    byte_fallback: bool = False
    """Spell unknown characters as bytes, so that no text is out of vocabulary."""
    normalization: Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"] = "nmt_nfkc"
    """Unicode normalization before tokenizing; `_cf` folds case."""
    # 500,000 take twice the time and memory of all preparation for 0.1 % fewer tokens (measured on
    # a million pairs, 8,000 pieces).
    max_sentences: PositiveInt = 200_000
    """Sentences sampled to train the tokenizer on."""


@dataclass(frozen=True, kw_only=True)
class CharacterTokenizer(Section):
    """Every character a token, the space included."""

    kind: Literal["character"]
    min_count: PositiveInt = 1
    """Characters seen less often become unknown."""


@dataclass(frozen=True, kw_only=True)
class WordTokenizer(Section):
    """Every space-separated word a token, as in phone strings or text tokenized before."""

    kind: Literal["word"]
    vocabulary: PositiveInt | None = None
    """Keep this many of the most frequent words."""
    min_count: PositiveInt = 1
    """Words seen less often become unknown."""


SideTokenizer = Annotated[
    SubwordTokenizer | CharacterTokenizer | WordTokenizer, Field(discriminator="kind")
]


@dataclass(frozen=True, kw_only=True)
class SeparateTokenizers(Section):
    """A vocabulary of its own for each side."""

    kind: Literal["separate"]
    source: SideTokenizer
    """Tokenizer of the source."""
    target: SideTokenizer
    """Tokenizer of the target."""


# Any other kind than `separate` is one tokenizer, trained on both sides and shared by them.
Tokenizers = Annotated[
    SubwordTokenizer | CharacterTokenizer | WordTokenizer | SeparateTokenizers,
    Field(discriminator="kind"),
]

# -------------------------------------------------------------------------------------- model


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
    """score(h, s) = v . tanh(W h + U s) (Bahdanau et al. 2015, appendix A.1.2)."""

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


@dataclass(frozen=True, kw_only=True)
class Model(Section):
    """Encoder, attention and decoder."""

    embeddings: PositiveInt = 256
    """Width of the word embeddings, source and target, and of the readout."""
    tied: Literal["none", "output", "all"] = "output"
    """`output`: target embeddings are the output matrix (Press & Wolf 2017); `all`: the source's
    too, which needs a shared tokenizer."""
    encoder: Encoder = field(default_factory=Encoder)
    """How the source is read."""
    attention: Attention = field(default_factory=lambda: GeneralAttention(kind="general"))
    """How a decoder state looks at the source."""
    decoder: Decoder = field(default_factory=lambda: StackedDecoder(kind="stacked"))
    """How the target is written."""
    dropout: Dropout = field(default_factory=Dropout)
    """Regularization of the layers."""

    def __post_init__(self) -> None:
        if self.attention.kind == "none" and self.decoder.kind == "stacked":
            raise ValueError(
                "decoder 'stacked' attends between its layers; with attention 'none' use 'luong'"
            )


# -------------------------------------------------------------------------------------- train


@dataclass(frozen=True, kw_only=True)
class Optimizer(Section):
    """Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019)."""

    kind: Literal["adam", "adamw"] = "adam"
    """Which optimizer."""
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate."""
    beta1: Probability = 0.9
    """Decay of the mean of gradients."""
    beta2: Probability = 0.98
    """Decay of the mean of squared gradients."""
    epsilon: PositiveFloat = 1e-9
    """Added to the denominator."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled decay of AdamW."""

    def __post_init__(self) -> None:
        if self.kind == "adam" and self.weight_decay > 0:
            raise ValueError("weight_decay needs optimizer 'adamw'")


@dataclass(frozen=True, kw_only=True)
class ConstantSchedule(Section):
    """Constant after a linear warm-up."""

    kind: Literal["constant"]
    warmup: Count = 0
    """Updates of linear warm-up."""


@dataclass(frozen=True, kw_only=True)
class InverseSqrtSchedule(Section):
    """Linear warm-up, then 1/sqrt(update) (Vaswani et al. 2017, section 5.3)."""

    kind: Literal["inverse_sqrt"]
    warmup: PositiveInt = 1000
    """Updates of linear warm-up."""


@dataclass(frozen=True, kw_only=True)
class CosineSchedule(Section):
    """Linear warm-up, then half a cosine down to `floor` at the last update."""

    kind: Literal["cosine"]
    warmup: Count = 200
    """Updates of linear warm-up."""
    floor: Fraction = 0.01
    """Final learning rate as a share of the peak."""


@dataclass(frozen=True, kw_only=True)
class PlateauSchedule(Section):
    """Linear warm-up, then times `factor` whenever validation has not improved `patience` times."""

    kind: Literal["plateau"]
    warmup: Count = 0
    """Updates of linear warm-up."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """What the learning rate is multiplied by."""
    patience: PositiveInt = 2
    """Validations without improvement before that."""


Schedule = Annotated[
    ConstantSchedule | InverseSqrtSchedule | CosineSchedule | PlateauSchedule,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True)
class Train(Section):
    """How the parameters are found: teacher forcing, cross-entropy averaged over tokens."""

    epochs: PositiveInt = 30
    """Passes over the training data."""
    max_updates: PositiveInt | None = None
    """Stop after this many updates even within the epochs."""
    batch_tokens: Annotated[int, Field(ge=16)] = 2000
    """Target tokens in a batch, padding included."""
    accumulate: PositiveInt = 1
    """Batches whose gradients make one update."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """How gradients change parameters."""
    schedule: Schedule = field(default_factory=lambda: CosineSchedule(kind="cosine"))
    """How the learning rate moves."""
    clip_norm: PositiveFloat | None = 1.0
    """Largest gradient norm (Pascanu et al. 2013); null for no clipping."""
    label_smoothing: Probability = 0.1
    """Share of probability spread over the vocabulary (Szegedy et al. 2016)."""
    average: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay of the exponential moving average of the weights; 0 for none. The average is what is
    validated, saved and used."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the hardware multiplies it natively, else fp32."""
    validate_every: PositiveInt | None = None
    """Updates between validations; every epoch if not given."""
    best: Literal["bleu", "chrf", "loss"] = "bleu"
    """Which validation figure chooses the best checkpoint and ends training early."""
    patience: PositiveInt | None = 10
    """Validations without improvement before training stops; null to go to the end."""
    save_minutes: PositiveFloat = 5.0
    """Longest time between checkpoints: what a power cut can cost."""


# ------------------------------------------------------------------------- search and metrics


@dataclass(frozen=True, kw_only=True)
class Outputs(Section):
    """What every search asks of an output; lengths are in tokens.

    Descriptions stand in `Field`: for a schema, pydantic reads docstrings of a class's own fields
    only.
    """

    kind: str  # first in a recipe that is written out; each kind narrows it
    max_ratio: Annotated[
        PositiveFloat, Field(description="Longest output as a multiple of the source's length ...")
    ] = 2.0
    max_offset: Annotated[Count, Field(description="... plus this many.")] = 20
    min_ratio: Annotated[
        NonNegativeFloat,
        Field(description="Shortest output as a multiple of the source's length ..."),
    ] = 0.0
    min_offset: Annotated[
        Count,
        Field(description="... plus this many; never more than the longest has room for."),
    ] = 0
    no_repeat_ngram: Annotated[
        PositiveInt | None,
        Field(description="No n-gram of this many tokens occurs twice (Paulus et al. 2018)."),
    ] = None
    repetition_penalty: Annotated[
        PositiveFloat,
        Field(
            description="What the log-probability of a token is multiplied by when the output "
            "holds it already, in choosing it, not in its score; above 1 against repetition."
        ),
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class GreedySearch(Outputs):
    """The most probable token at every step."""

    kind: Literal["greedy"]


@dataclass(frozen=True, kw_only=True)
class BeamSearch(Outputs):
    """Beam search, keeping the `width` best prefixes."""

    kind: Literal["beam"]
    width: Annotated[int, Field(ge=1, le=1000)] = 5
    """Hypotheses kept at every step."""
    length_penalty: NonNegativeFloat = 1.0
    """Hypotheses are ranked by log-probability / length^length_penalty; 0 for none."""
    length_normalization: Literal["length", "gnmt"] = "length"
    """What is raised to that power: the `length`, or (5 + length) / 6 (`gnmt`; Wu et al. 2016)."""
    coverage_penalty: NonNegativeFloat = 0.0
    """Weight of the penalty for source words that got little attention (Wu et al. 2016, section
    7); needs a model with attention."""


@dataclass(frozen=True, kw_only=True)
class SampleSearch(Outputs):
    """Outputs drawn at random, each token by its probability."""

    kind: Literal["sample"]
    samples: Annotated[int, Field(ge=1, le=1000)] = 1
    """Outputs drawn for a line, each independent of the others."""
    temperature: NonNegativeFloat = 1.0
    """What logits are divided by: 1 is the model's own distribution, 0 greedy search."""
    top_k: PositiveInt | None = None
    """Draw from this many of the most probable tokens (Fan et al. 2018)."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draw from the fewest tokens that hold this much probability (Holtzman et al. 2020)."""
    min_p: Probability = 0.0
    """Draw from tokens at least this many times as probable as the most probable one (Nguyen et
    al. 2024)."""
    seed: Count = 1
    """What line i's samples depend on, beside the model, the line and i."""


@dataclass(frozen=True, kw_only=True)
class ExhaustiveSearch(Outputs):
    """The most probable of all outputs, by branch and bound; says where it could not prove it."""

    kind: Literal["exhaustive"]
    nodes: PositiveInt = 10_000
    """Prefixes looked at for a line before it is given up as not proven."""
    width: Annotated[int, Field(ge=1, le=1000)] = 5
    """Width of the beam whose best outputs it starts from."""

    def __post_init__(self) -> None:
        if self.repetition_penalty != 1.0:
            raise ValueError(
                "repetition_penalty has no use in exhaustive search, which ranks by probability"
            )


Search = Annotated[
    GreedySearch | BeamSearch | SampleSearch | ExhaustiveSearch, Field(discriminator="kind")
]


@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """One run, from raw data to score."""

    task: Literal["translation"]
    """What the pair is: `translation` scores with BLEU and chrF."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """Name of the run's folder in `runs/`; if not given, the recipe file's name (its folder's for
    a file called recipe.yaml)."""
    seed: Count = 1
    """Seed of everything random."""
    data: Data
    """Where the pairs come from."""
    tokenizer: Tokenizers
    """How text becomes tokens."""
    model: Model = field(default_factory=Model)
    """Encoder, attention and decoder."""
    train: Train = field(default_factory=Train)
    """How the parameters are found."""
    search: Search = field(default_factory=lambda: BeamSearch(kind="beam"))
    """How `s2s translate` and `s2s bleu` look for an output."""
    metrics: Annotated[tuple[Literal["bleu", "chrf"], ...], Field(min_length=1)] = ("bleu", "chrf")
    """What validation and test report."""

    def __post_init__(self) -> None:
        if self.model.tied == "all" and self.tokenizer.kind == "separate":
            raise ValueError("model.tied 'all' needs one tokenizer for both sides, not 'separate'")
        if self.train.best != "loss" and self.train.best not in self.metrics:
            raise ValueError(f"train.best '{self.train.best}' is not among the metrics")
