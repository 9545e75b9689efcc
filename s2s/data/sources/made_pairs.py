"""Training pairs that other runs have made, in a folder of the run that trains on them.

    synthetic/NAME/source.txt  target.txt   the pairs, line i of one to line i of the other
                   made.json                what they were made from, and counts

The texts are as preparation reads them from other sources: one line each, source features and ids
of images behind their separators. `s2s.pipeline.synthetic` writes them.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2s.data.sources.chunks import CHUNK_PAIRS, Chunk
from s2s.data.sources.mixture import Mixture
from s2s.data.sources.open import open_split
from s2s.data.sources.split import Split
from s2s.errors import DataError
from s2s.files import read_json, remove, replace_file, sync_file, temporary_beside
from s2s.recipe.recipe import Recipe
from s2s.recipe.training_parts import training_parts
from s2s.text.byte_lines import NO_LINES
from s2s.text.line_blocks import read_blocks

SYNTHETIC_FOLDER = "synthetic"
MADE_FILE = "made.json"
SOURCE_FILE, TARGET_FILE = "source.txt", "target.txt"


@dataclass(frozen=True, kw_only=True)
class MadeReport:
    """Counts of the pairs that runs have made of some text."""

    place: str
    """The section of the recipe."""
    runs: tuple[str, ...]
    """The runs and their checkpoints."""
    search: str
    """The search in words."""
    read: int
    """Lines of text."""
    pairs: int
    """Pairs made."""
    blank: int = 0
    """Outputs without text, such as those of blank lines, which make no pair."""
    cut: int = 0
    """Outputs that were cut at the longest that the search allows, which make no pair."""
    repeated: int = 0
    """Outputs of a line that an earlier one equals, which make no pair."""
    in_held_out: int = 0
    """Lines of text that validation or test have too."""
    seconds: float = 0.0
    """Duration of the translation, as far as one command did it."""

    def __str__(self) -> str:
        """The report on one line."""
        left_out = {"blank": self.blank, "cut": self.cut, "repeated": self.repeated}
        without = ", ".join(f"{count:,} {name}" for name, count in left_out.items() if count)
        held_out = f"; {self.in_held_out:,} lines are in validation or test too"
        return (
            f"{self.place}: {self.pairs:,} pairs of {self.read:,} lines by {', '.join(self.runs)} "
            f"({self.search}, {self.seconds:.0f} s)"
            + (f"; left out: {without}" if without else "")
            + (held_out if self.in_held_out else "")
        )


@dataclass(frozen=True)
class MadePairs:
    """The pairs in a folder."""

    folder: Path

    def fingerprint(self) -> dict[str, Any]:
        """What the pairs were made from, as a hash; one that nothing has if they are not there."""
        return {"made": read_made(self.folder).get("digest", "nothing yet")}

    def expected(self) -> int | None:
        """The number of pairs."""
        report = read_made(self.folder).get("report")
        found = report.get("pairs") if isinstance(report, dict) else None
        return found if isinstance(found, int) else None

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError for pairs that are missing or damaged."""
        paths = self.folder / SOURCE_FILE, self.folder / TARGET_FILE
        sources, targets = (read_blocks(path, CHUNK_PAIRS) for path in paths)
        with closing(sources), closing(targets):
            num_pairs = 0
            while True:
                source, target = next(sources, NO_LINES), next(targets, NO_LINES)
                if len(source) != len(target):
                    raise DataError(
                        f"{self.folder}: damaged: unequal numbers of lines; "
                        "'s2s prep --force' makes it again"
                    )
                if not source:
                    break
                num_pairs += len(source)
                yield Chunk(source, target)
        if num_pairs == 0:
            raise DataError(f"{paths[0]}: no pairs; 's2s prep --force' makes them again")


def read_made(folder: Path) -> dict[str, Any]:
    """The content of `made.json`; empty if there is none that can be read."""
    try:
        found = read_json(folder / MADE_FILE)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def open_training(recipe: Recipe, folder: Path) -> Split:
    """The training split of a recipe, with the pairs that other runs have made in a run's folder.

    Nothing is read before a call of `fingerprint` or `chunks`.
    """
    parts = training_parts(recipe)
    opened: list[Split] = []
    for part in parts:
        if part.made is not None:
            opened.append(MadePairs(folder / SYNTHETIC_FOLDER / part.made))
            continue
        assert part.corpus is not None, "a part is a corpus or made"
        split = open_split(part.corpus, "train")
        assert split is not None, "every recipe names training pairs"
        opened.append(split.parts[0] if isinstance(split, Mixture) else split)
    return Mixture(tuple(opened), tuple(part.tag for part in parts))


def made_reports(recipe: Recipe, folder: Path) -> tuple[MadeReport, ...]:
    """The reports of all pairs that other runs have made in a run's folder."""
    found = []
    for part in training_parts(recipe):
        if part.made is None:
            continue
        report: Any = read_made(folder / SYNTHETIC_FOLDER / part.made).get("report")
        with suppress(TypeError, KeyError):  # of another version, or damaged
            found.append(MadeReport(**{**report, "runs": tuple(report["runs"])}))
    return tuple(found)


@contextmanager
def writing_lines(path: Path) -> Iterator[Callable[[str], object]]:
    """A function that writes a line; the file appears when the block ends without an error."""
    temporary = temporary_beside(path)
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield lambda line: file.write(f"{line}\n")
        sync_file(temporary)
        replace_file(temporary, path)
    finally:
        remove(temporary)
