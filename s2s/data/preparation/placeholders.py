"""Placeholders in the text that tokenizers are trained on, and as their symbols."""

from collections.abc import Iterable, Iterator, Sequence

from s2s.errors import DataError
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import SeparateTokenizers, Tokenizers, symbols_of, with_symbols
from s2s.text.line_placeholders import LinePlaceholders, lacking
from s2s.text.placeholders import Placeholders
from s2s.text.tokenizer_pair import TokenizerPair

Chunks = Iterable[tuple[Sequence[str], Sequence[str]]]
"""Source lines and target lines."""


def with_placeholders(
    recipe: Recipe, tags: Sequence[str], chunks: Chunks
) -> tuple[Tokenizers, Chunks]:
    """The tokenizers to train, which have the recipe's placeholders as symbols, and their text,
    with the entities replaced that both sides of a pair have."""
    section, kinds = recipe.tokenizer, recipe.data.placeholders
    if not kinds:
        return section, chunks
    placeholders = Placeholders(kinds, (*symbols_of(section), *tags))
    is_featured = isinstance(section, SeparateTokenizers) and section.source_features is not None
    lines = LinePlaceholders(placeholders, {}, is_featured)
    return with_symbols(section, placeholders.symbols), _replaced(lines, chunks)


def _replaced(lines: LinePlaceholders, chunks: Chunks) -> Iterator[tuple[list[str], list[str]]]:
    for sources, targets in chunks:
        yield lines.replace_pairs(sources, targets)


def check_symbols(recipe: Recipe, pair: TokenizerPair) -> None:
    """Raise DataError for tokenizers that were taken over without the recipe's placeholders."""
    for side, tokenizer in (("source", pair.source), ("target", pair.target)):
        if symbol := lacking(recipe.data.placeholders, tokenizer):
            raise DataError(
                f"data.placeholders: the {side} tokenizer, which is not trained here, has no "
                f"symbol {symbol}; take that of a run with these placeholders, or train one"
            )
