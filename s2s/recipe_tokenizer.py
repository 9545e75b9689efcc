"""The recipe's `tokenizer`: how text becomes tokens."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe_section import NonEmpty, PositiveInt, Section


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
    features: SideTokenizer | None = None
    """Tokenizer of the features behind a source and a tab, as `data.columns.features` puts them;
    they have a vocabulary of their own."""


# Any other kind than `separate` is one tokenizer, trained on both sides and shared by them.
Tokenizers = Annotated[
    SubwordTokenizer | CharacterTokenizer | WordTokenizer | SeparateTokenizers,
    Field(discriminator="kind"),
]
