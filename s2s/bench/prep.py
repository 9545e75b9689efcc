"""`s2s prep` of text that s2s makes itself, with the recipe's kinds of tokenizers."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

from s2s.bench.report import PrepFigures
from s2s.bench.timing import Taken, Turn, rate
from s2s.data.preparation.prepare import prepare
from s2s.data.synthetic.corpus import generate
from s2s.recipe.data import FilesData, FileSet, GeneratedData
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import SeparateTokenizers, SideTokenizer, SubwordTokenizer, Tokenizers

NAME = "prep"

PIECES = 500
"""Most pieces of a subword tokenizer: generated text has few words, which do not make more."""


class Preparing:
    """Prepares the same files in every repeat."""

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
        """One: tokenizer and data, then the data alone."""
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
        """Seconds of all, and of the data alone."""
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

    def figures(self, taken: Taken) -> PrepFigures | None:
        """None where nothing was measured."""
        if NAME not in taken:
            return None
        whole, encoding = zip(*taken[NAME], strict=True)
        return PrepFigures(
            pairs=self.pairs,
            pairs_per_second=rate(self.pairs, whole),
            encoded_per_second=rate(self.pairs, encoding),
        )


def _fitting(tokenizer: Tokenizers) -> Tokenizers:
    """The same kinds, with no more pieces than the text makes and without features, of which it has
    none."""
    if isinstance(tokenizer, SeparateTokenizers):
        source, target = _fewer(tokenizer.source), _fewer(tokenizer.target)
        return SeparateTokenizers(kind="separate", source=source, target=target)
    return _fewer(tokenizer)


def _fewer(side: SideTokenizer) -> SideTokenizer:
    if isinstance(side, SubwordTokenizer):
        return replace(side, vocabulary=min(side.vocabulary, PIECES))
    return side
