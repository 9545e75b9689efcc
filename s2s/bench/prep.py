"""Measures `s2s prep` of generated text, with the recipe's kinds of tokenizers."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

from s2s.bench.report import PrepResults
from s2s.bench.timing import Measurements, Turn, rate
from s2s.data.preparation.prepare import prepare
from s2s.data.synthetic.corpus import generate
from s2s.recipe.data import FilesData, FileSet, GeneratedData
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import (
    FromRunTokenizer,
    SentencePieceTokenizer,
    SeparateTokenizers,
    SideTokenizer,
    SubwordTokenizer,
    Tokenizers,
)

NAME = "prep"

PIECES = 500
"""The most pieces of a subword tokenizer: generated text has too few words for more."""


class Preparation:
    """Preparation of the same files in every repeat."""

    def __init__(self, recipe: Recipe, pairs: int, folder: Path) -> None:
        self.pairs = pairs
        self.folder = folder
        files = FileSet(source=str(folder / "train.source"), target=str(folder / "train.target"))
        self.recipe = Recipe(
            task="translation",
            seed=recipe.seed,
            data=FilesData(kind="files", train=files),
            tokenizer=_fitting(recipe.tokenizer),
        )
        self.is_written = False

    @property
    def turns(self) -> list[Turn]:
        """A turn that prepares tokenizer and data, then the data alone."""
        return [Turn(NAME, self._run)]

    def _write(self) -> None:
        made = generate(GeneratedData(kind="generated", corpus="dates", pairs=self.pairs), "train")
        with (
            (self.folder / "train.source").open("w", encoding="utf-8", newline="\n") as source,
            (self.folder / "train.target").open("w", encoding="utf-8", newline="\n") as target,
        ):
            for pair in made:
                source.write(f"{pair[0]}\n")
                target.write(f"{pair[1]}\n")
        self.is_written = True

    def _run(self) -> tuple[float, float]:
        """Seconds of both, and of the data alone."""
        if not self.is_written:
            self._write()
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        began = time.perf_counter()
        prepare(self.recipe, run)
        whole = time.perf_counter() - began
        shutil.rmtree(run / "data")
        began = time.perf_counter()
        prepare(self.recipe, run)
        return whole, time.perf_counter() - began

    def results(self, taken: Measurements) -> PrepResults | None:
        """The results; None if nothing was measured."""
        if NAME not in taken:
            return None
        whole, encoding = zip(*taken[NAME], strict=True)
        return PrepResults(
            pairs=self.pairs,
            pairs_per_second=rate(self.pairs, whole),
            encoded_per_second=rate(self.pairs, encoding),
        )


def _fitting(tokenizer: Tokenizers) -> Tokenizers:
    """The same kinds of tokenizers, with fewer pieces and without source features."""
    if isinstance(tokenizer, SeparateTokenizers):
        source, target = _fewer(tokenizer.source), _fewer(tokenizer.target)
        return SeparateTokenizers(kind="separate", source=source, target=target)
    return _fewer(tokenizer)


def _fewer(side: SideTokenizer) -> SideTokenizer:
    if isinstance(side, FromRunTokenizer | SentencePieceTokenizer):
        return SubwordTokenizer(kind="unigram", vocabulary=PIECES)
    if isinstance(side, SubwordTokenizer):
        return replace(side, vocabulary=min(side.vocabulary, PIECES))
    return side
