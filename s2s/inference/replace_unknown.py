"""Replaces unknown tokens of an output by source words or their translations.

An unknown token becomes the source word with the most attention when the token was predicted (Luong
et al. 2015, "Addressing the rare word problem in neural machine translation"; by attention: Jean et
al. 2015), or the translation of that word in a dictionary.

Dimension letters: U unknown tokens of an output, S source tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from s2s.errors import DataError, UsageError
from s2s.search.hypothesis import Hypothesis
from s2s.special import UNK
from s2s.text.lines import read_lines
from s2s.text.tags import untagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import UNKNOWN_TEXT, Characters, Words
from s2s.text.word_ids import source_units


def read_dictionary(path: Path) -> dict[str, str]:
    """A dictionary of source words and their translations: rows of two columns between tabs.

    The first of several rows for a word counts. Raises DataError, with file and line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 2 or not all(cells):
            raise DataError(
                f"{path}:{number}: expected source word, tab, target word, found {line[:40]!r}"
            )
        found.setdefault(cells[0], cells[1])
    return found


@dataclass(frozen=True)
class UnknownReplacer:
    """Replaces the unknown tokens of an output by words."""

    source: Tokenizer
    target: Tokenizer
    dictionary: Mapping[str, str] = field(default_factory=dict)

    def reduce(self, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis with the attention of its unknown tokens alone [U, S], None without any.

        All the attention of a window of long lines would fill the memory. Raises UsageError for a
        model without attention.
        """
        unknown_U = [t for t, token in enumerate(hypothesis.tokens) if token == UNK]
        if not unknown_U:
            return replace(hypothesis, attention=None)
        if hypothesis.attention is None:
            raise UsageError("--replace-unknown needs a model with attention")
        return replace(hypothesis, attention=hypothesis.attention[unknown_U])

    def text(self, hypothesis: Hypothesis, line: str, ids: Sequence[int]) -> str | None:
        """The output for `line` and its encoding `ids`, with unknown tokens replaced; None without
        any.

        `hypothesis` comes from `reduce`. The first of equally attended tokens is taken; the end of
        the sentence is not a word.
        """
        if hypothesis.attention is None:
            return None
        units = source_units(self.source, line, ids)
        is_text_S = np.array([unit is not None for unit in units])
        if not is_text_S.any():
            return None
        weights_US = np.where(is_text_S, hypothesis.attention[:, : len(units)], -1.0)
        words = iter([units[place] or "" for place in weights_US.argmax(axis=1).tolist()])
        return self._joined(hypothesis.tokens, [self.dictionary.get(w, w) for w in words])

    def _joined(self, tokens: Sequence[int], words: Sequence[str]) -> str:
        """The text of the tokens, with one of `words` for each unknown one."""
        left = iter(words)
        target = untagged(self.target)
        between = target.between if isinstance(target, Characters | Words) else " "
        parts: list[str] = []
        for is_unknown, group in groupby(tokens, key=lambda token: token == UNK):
            if is_unknown:
                parts.extend(next(left) for _ in group)
            else:
                parts.append(self.target.decode([list(group)])[0])
        if isinstance(target, Characters):
            return target.normalize("".join(parts))
        return between.join(kept for part in parts if (kept := part.strip(between)))


__all__ = ["UNKNOWN_TEXT", "UnknownReplacer", "read_dictionary"]
