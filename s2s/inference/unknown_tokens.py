"""Counts the tokens of an input that its tokenizer does not know, and words one note about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from s2s.special import UNK
from s2s.text.characters import describe
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.tags import untagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import Characters, Words

NOTABLE = 0.001
"""Share of unknown tokens from which a note is worth a line."""

SHOWN = 3
"""The most examples of a note."""


@dataclass(slots=True)
class UnknownTokens:
    """Counts of an input, which workers make of their shares and the stream adds up."""

    tokens: int = 0
    unknown: int = 0
    examples: list[str] = field(default_factory=list)
    """The first unknown texts, each once."""

    def add(self, tokenizer: Tokenizer, lines: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
        """Count the tokens of lines, given with their ids."""
        for line, row in zip(lines, ids, strict=True):
            self.tokens += len(row)
            if UNK in row:
                self.unknown += row.count(UNK)
                if len(self.examples) < SHOWN:
                    self._show(tokenizer.unknown([line])[0])

    def merge(self, other: "UnknownTokens") -> None:
        """Add the counts of other lines."""
        self.tokens += other.tokens
        self.unknown += other.unknown
        self._show(other.examples)

    def _show(self, found: Sequence[str]) -> None:
        new = dict.fromkeys(text for text in found if text and text not in self.examples)
        self.examples += list(new)[: SHOWN - len(self.examples)]

    def note(self, tokenizer: Tokenizer) -> str | None:
        """The note about all lines; None where nothing notable is unknown."""
        if not self.unknown or self.unknown < NOTABLE * self.tokens:
            return None
        shown = [describe(text) for text in self.examples]
        if len(shown) == SHOWN < self.unknown:
            shown.append("...")
        listed = f": {', '.join(shown)}" if shown else ""
        return (
            f"{self.unknown:,} of {self.tokens:,} {_unit(tokenizer)} of the input "
            f"({_percent(self.unknown / self.tokens)}) are unknown to the tokenizer{listed}"
        )


def _unit(tokenizer: Tokenizer) -> str:
    base = untagged(tokenizer)
    if isinstance(base, SourceFeatureTokenizer):
        return "tokens"
    return {Words: "words", Characters: "characters"}.get(type(base), "tokens")


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
