"""Checks labels as they are encoded: one of a text, one of each word, none that is new."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from s2s.data.sources.split import SplitName
from s2s.data.store import Encoded
from s2s.errors import DataError
from s2s.metrics.labels import is_span_tag, not_spans
from s2s.recipe.data import Data, FilesData
from s2s.special import SPECIAL_PIECES, UNK
from s2s.text.spelled_words import SpelledWords
from s2s.text.tokenizer import Tokenizer
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.vocabulary import Words

MOST_NAMED = 12
"""The most labels that a message lists."""


@dataclass(frozen=True)
class LabelCheck:
    """The check of a task of labels."""

    task: str
    data: Data
    tokenizers: TokenizerPair

    def check_metrics(self, metrics: Sequence[str]) -> None:
        """Raise DataError where a metric cannot score the labels of the training data."""
        if "span_f1" not in metrics:
            return
        labels = self.tokenizers.target.spellings()[len(SPECIAL_PIECES) :]
        if other := [label for label in labels if not is_span_tag(str(label))]:
            raise DataError(not_spans(str(other[0])))

    def __call__(
        self, split: SplitName, first: int, texts: tuple[Sequence[str], Sequence[str]], ids: Encoded
    ) -> None:
        """Check pairs `first` (from 0) and on of a split: sources, targets and ids of the targets.

        Raises DataError, with the place, for the first that is wrong. An empty training pair is
        left to the filters.
        """
        sources, targets = texts
        is_new_N = np.zeros(len(targets), dtype=bool)
        is_new_N[np.repeat(np.arange(len(targets)), ids.lengths)[ids.values == UNK]] = True
        for row, (source, target, count) in enumerate(
            zip(sources, targets, ids.lengths.tolist(), strict=True)
        ):
            wanted = 1 if self.task == "classify" else self._num_words(source)
            is_left_out = split == "train" and (not source.strip() or not target.strip())
            if count != wanted and not is_left_out:
                raise self._wrong_count(self._place(split, first + row), wanted, count)
            if is_new_N[row]:
                raise self._unseen(self._place(split, first + row), target)

    def _num_words(self, source: str) -> int:
        tokenizer = self.tokenizers.source
        assert isinstance(tokenizer, Words | SpelledWords), "a tagger reads words"
        return len(tokenizer.written(source))

    def _place(self, split: SplitName, row: int) -> str:
        """Where a pair is: in files of text their line, elsewhere its number."""
        files = getattr(self.data, split, None) if isinstance(self.data, FilesData) else None
        if files is not None and isinstance(files.source, str) and isinstance(files.target, str):
            return f"{files.source}:{row + 1} and {files.target}:{row + 1}"
        where = f"data.{split}"
        if files is not None and isinstance(files.table, str):
            where = files.table
        return f"{where}, pair {row + 1:,}"

    def _wrong_count(self, place: str, wanted: int, found: int) -> DataError:
        if self.task == "classify":
            return DataError(f"{place}: expected one label, found {found or 'none'}")
        words = f"{wanted:,} word" + ("s" if wanted != 1 else "")
        labels = f"{found:,} label" + ("s" if found != 1 else "")
        return DataError(
            f"{place}: {words} and {labels}; expected a label for each word, both between spaces"
        )

    def _unseen(self, place: str, target: str) -> DataError:
        tokenizer: Tokenizer = self.tokenizers.target
        new = tokenizer.unknown([target])[0][0]
        known = [str(one) for one in tokenizer.spellings()[len(SPECIAL_PIECES) :]]
        close = get_close_matches(new, known, n=1)
        listed = ", ".join(known[:MOST_NAMED]) + (", ..." if len(known) > MOST_NAMED else "")
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        return DataError(
            f"{place}: label '{new:.60}' does not occur in the training data{hint}; it has {listed}"
        )
