"""The recipe's `tokenizer`: how text becomes tokens."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.section import NonEmpty, PositiveInt, Section


@dataclass(frozen=True, kw_only=True)
class Sampling(Section):
    """Another segmentation of every training text in every epoch, drawn at random.

    Validation, test and translation read the best one.
    """

    alpha: Annotated[float, Field(gt=0.0, le=1.0)]
    """`unigram`: a segmentation is drawn with its probability to this power, so less is more varied
    (Kudo 2018, section 3); `bpe`: the probability of leaving a merge out, so more is more varied
    (BPE-dropout, Provilkov et al. 2020)."""
    sides: Literal["both", "source", "target"] = "both"
    """Which sides, where they share the tokenizer."""


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
    sampling: Sampling | None = None
    """Draw another segmentation of the training texts in every epoch; none if not given."""


@dataclass(frozen=True, kw_only=True)
class CharacterTokenizer(Section):
    """Every character a token, the space included."""

    kind: Literal["character"]
    decompose: bool = False
    """Split a character into its letter and marks, a Hangul syllable into its letters (Unicode
    NFD); text comes back composed (NFC)."""
    min_count: PositiveInt = 1
    """Characters seen less often become unknown."""


@dataclass(frozen=True, kw_only=True)
class WordTokenizer(Section):
    """Every space-separated word a token, as in phone strings or text tokenized before."""

    kind: Literal["word"]
    separators: NonEmpty = " "
    """Each of these characters ends a word; text comes back with the first between words."""
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
    source_features: SideTokenizer | None = None
    """Tokenizer of the source features after a source and a tab, as `data.columns.source_features`
    puts them; they have a vocabulary of their own."""

    def __post_init__(self) -> None:
        for name, side in (("source", self.source), ("target", self.target)):
            sampling = _sampling(side)
            if sampling is not None and sampling.sides != "both":
                raise ValueError(
                    f"{name}.sampling.sides is for a tokenizer that both sides share; here each "
                    "side has its own 'sampling'"
                )
        if self.source_features is not None and _sampling(self.source_features) is not None:
            raise ValueError("source_features.sampling: source features are never sampled")


def _sampling(side: SideTokenizer) -> Sampling | None:
    return side.sampling if isinstance(side, SubwordTokenizer) else None


# Any other kind than `separate` is one tokenizer, trained on both sides and shared by them.
Tokenizers = Annotated[
    SubwordTokenizer | CharacterTokenizer | WordTokenizer | SeparateTokenizers,
    Field(discriminator="kind"),
]


def sampling_alphas(recipe: Tokenizers) -> tuple[float | None, float | None]:
    """The `alpha` of the source and of the target; None for a side that is not sampled."""
    if isinstance(recipe, SeparateTokenizers):
        source, target = _sampling(recipe.source), _sampling(recipe.target)
        return (source.alpha if source else None, target.alpha if target else None)
    shared = _sampling(recipe)
    if shared is None:
        return None, None
    return (
        shared.alpha if shared.sides != "target" else None,
        shared.alpha if shared.sides != "source" else None,
    )
