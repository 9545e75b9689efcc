"""The recipe's `tokenizer`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.section import Count, NonEmpty, PositiveInt, Section
from s2s.special import SPECIAL_PIECES


@dataclass(frozen=True, kw_only=True)
class Sampling(Section):
    """Subword sampling: in every epoch each training text has another random segmentation.

    Validation, test and translation use the best segmentation.
    """

    alpha: Annotated[float, Field(gt=0.0, le=1.0)]
    """`unigram`: segmentations are sampled by their probability to this power, so lower is more
    varied (Kudo 2018, section 3). `bpe`: the probability of leaving a merge out, so higher is more
    varied (BPE-dropout, Provilkov et al. 2020)."""
    sides: Literal["both", "source", "target"] = "both"
    """Sides to sample, if both share the tokenizer."""


MARK = "▁"
"""What sentencepiece writes for a space."""

JOINERS = "\u200c\u200d\ufe0f"
"""Characters that join or choose emoji."""


def _has_space(text: str) -> bool:
    """Whether a text has white space or a control character."""
    return any(one.isspace() or (not one.isprintable() and one not in JOINERS) for one in text)


def _check_symbols(symbols: tuple[str, ...]) -> None:
    """Raise ValueError unless these are different texts that can be tokens."""
    for place, symbol in enumerate(symbols):
        if _has_space(symbol) or MARK in symbol:
            raise ValueError(f"symbols: expected texts without spaces, found {symbol!r}")
        if symbol in SPECIAL_PIECES:
            raise ValueError(f"symbols: {symbol!r} is a special piece already; leave it out")
        if symbol in symbols[:place]:
            raise ValueError(f"symbols: expected each once, found {symbol!r} twice")


@dataclass(frozen=True, kw_only=True)
class SubwordTokenizer(Section):
    """Subwords of sentencepiece (Kudo & Richardson 2018)."""

    kind: Literal["unigram", "bpe"]
    """`unigram` (Kudo 2018) or `bpe` (Sennrich et al. 2016)."""
    vocabulary: Annotated[int, Field(ge=6, le=1_000_000)] = 8000
    """Number of pieces, including the four special ones."""
    character_coverage: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the text's characters that have a piece (0.9995 for Chinese or Japanese)."""
    byte_fallback: bool = False
    """Encode unknown characters as bytes, so that no text is out of vocabulary."""
    normalization: Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"] = "nmt_nfkc"
    """Unicode normalization before segmentation; `_cf` folds case."""
    # 500,000 sentences double the time and memory of preparation for 0.1 % fewer tokens (measured
    # on a million pairs, 8,000 pieces).
    max_sentences: PositiveInt = 200_000
    """Number of sentences, sampled at random, that train the tokenizer."""
    symbols: tuple[NonEmpty, ...] = ()
    """Texts such as `<b>`, `{0}` or an emoji that are a piece each wherever they stand: they are
    never split, joined with others or normalized. They count in `vocabulary`."""
    sampling: Sampling | None = None
    """Subword sampling; none by default."""

    def __post_init__(self) -> None:
        _check_symbols(self.symbols)
        if self.symbols and self.sampling is not None:
            raise ValueError(
                "symbols: subword sampling would split them; leave out 'sampling' or 'symbols'"
            )


@dataclass(frozen=True, kw_only=True)
class CharacterTokenizer(Section):
    """Every character, including the space, is a token."""

    kind: Literal["character"]
    decompose: bool = False
    """Split a character into its base and marks, and a Hangul syllable into its letters (Unicode
    NFD). Decoded text is composed again (NFC)."""
    min_count: PositiveInt = 1
    """Rarer characters become unknown."""
    symbols: tuple[NonEmpty, ...] = ()
    """Texts such as `<b>` that are a token each wherever they stand, and not one a character."""

    def __post_init__(self) -> None:
        _check_symbols(self.symbols)


@dataclass(frozen=True, kw_only=True)
class WordTokenizer(Section):
    """Every word between white space is a token, as in phone strings or tokenized text."""

    kind: Literal["word"]
    separators: NonEmpty = " "
    """Characters that separate words; decoded text has the first of them between words. A space
    stands for all white space."""
    vocabulary: PositiveInt | None = None
    """Number of most frequent words to keep; all by default."""
    min_count: PositiveInt = 1
    """Rarer words become unknown."""
    characters: bool = False
    """Encode the characters of each word after it, for `model.characters`, which sets it."""
    symbols: tuple[NonEmpty, ...] = ()
    """Texts such as `<b>` that are a word each wherever they stand: `word<b>` is two words, and
    decoded text has a separator between them. They do not count in `vocabulary`."""

    def __post_init__(self) -> None:
        _check_symbols(self.symbols)
        if self.symbols and self.characters:
            raise ValueError("symbols: 'characters' spell whole words; leave one of the two out")
        for symbol in self.symbols:
            if any(one in self.separators for one in symbol):
                raise ValueError(
                    f"symbols: expected texts without separators ({self.separators!r}), found "
                    f"{symbol!r}"
                )


@dataclass(frozen=True, kw_only=True)
class FromRunTokenizer(Section):
    """The tokenizer of a trained run: that of the same side, or both with their sharing."""

    kind: Literal["from_run"]
    run: NonEmpty
    """A run by its name or folder, a file of `s2s export`, or a model of the hub."""
    extend: Count = 0
    """The most tokens that a vocabulary gets in addition, from the training data: words or
    characters that it lacks, or pieces joined of its pieces, most frequent first. Old tokens keep
    their meaning and their ids."""
    extend_min_count: PositiveInt = 5
    """Occurrences in the training data that a new token has at least."""
    sampling: Sampling | None = None
    """Subword sampling; none by default."""


@dataclass(frozen=True, kw_only=True)
class SentencePieceTokenizer(Section):
    """A sentencepiece model that was trained elsewhere, unigram or BPE."""

    kind: Literal["sentencepiece"]
    model: NonEmpty
    """The model's file. Its special pieces get the ids of s2s."""
    sampling: Sampling | None = None
    """Subword sampling; none by default."""


TrainedTokenizer = Annotated[
    SubwordTokenizer | CharacterTokenizer | WordTokenizer, Field(discriminator="kind")
]
"""A tokenizer that preparation trains on the data."""

SideTokenizer = Annotated[
    SubwordTokenizer
    | CharacterTokenizer
    | WordTokenizer
    | FromRunTokenizer
    | SentencePieceTokenizer,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True)
class SeparateTokenizers(Section):
    """A tokenizer with its own vocabulary for each side."""

    kind: Literal["separate"]
    source: SideTokenizer
    """Tokenizer of the source."""
    target: SideTokenizer
    """Tokenizer of the target."""
    source_features: TrainedTokenizer | None = None
    """Tokenizer of the source features after a source and a tab, as `data.columns.source_features`
    puts them; they have a vocabulary of their own."""
    source_features_place: Literal["after", "before"] = "after"
    """Whether the model reads the source features after the source or before it. Lines have them
    after it, behind a tab, either way."""

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
        if self.source_features is None and self.source_features_place == "before":
            raise ValueError("source_features_place needs source_features, the tokenizer of them")


def _sampling(side: SideTokenizer) -> Sampling | None:
    sampled = SubwordTokenizer | FromRunTokenizer | SentencePieceTokenizer
    return side.sampling if isinstance(side, sampled) else None


# A kind other than `separate` is one tokenizer, trained on both sides and shared by them, or the
# tokenizers of a run, shared or not.
Tokenizers = Annotated[
    SubwordTokenizer
    | CharacterTokenizer
    | WordTokenizer
    | FromRunTokenizer
    | SentencePieceTokenizer
    | SeparateTokenizers,
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


def sides_of(recipe: Tokenizers) -> dict[str, SideTokenizer]:
    """The sections of tokenizers by their place in the recipe."""
    if isinstance(recipe, SeparateTokenizers):
        return {"tokenizer.source": recipe.source, "tokenizer.target": recipe.target}
    return {"tokenizer": recipe}


def with_symbols(recipe: Tokenizers, symbols: Sequence[str]) -> Tokenizers:
    """The tokenizers with more symbols, on both sides; those that are not trained stay."""
    if isinstance(recipe, SeparateTokenizers):
        source, target = (_with_symbols(side, symbols) for side in (recipe.source, recipe.target))
        return replace(recipe, source=source, target=target)
    return _with_symbols(recipe, symbols)


def _with_symbols(side: SideTokenizer, symbols: Sequence[str]) -> SideTokenizer:
    if isinstance(side, FromRunTokenizer | SentencePieceTokenizer):
        return side
    own = side.symbols
    return replace(side, symbols=(*own, *(one for one in symbols if one not in own)))


def symbols_of(recipe: Tokenizers) -> tuple[str, ...]:
    """The symbols that the sections of tokenizers name."""
    trained = SubwordTokenizer | CharacterTokenizer | WordTokenizer
    sides = (side for side in sides_of(recipe).values() if isinstance(side, trained))
    return tuple(symbol for side in sides for symbol in side.symbols)


def taken_over(recipe: Tokenizers) -> dict[str, FromRunTokenizer]:
    """The sections that take tokenizers from runs, by their place in the recipe."""
    sides = sides_of(recipe).items()
    return {place: side for place, side in sides if isinstance(side, FromRunTokenizer)}
