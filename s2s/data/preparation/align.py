"""Writes the alignments of the training pairs beside them, where training reads some."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s2s.data.alignment import write_alignment
from s2s.data.ibm_alignment import learned_links
from s2s.data.preparation.alignments import GivenAlignments
from s2s.data.preparation.encode import SplitEncoder
from s2s.data.sources.chunks import file_fingerprint
from s2s.data.store import Corpus
from s2s.errors import DataError
from s2s.recipe.recipe import Recipe

STAGE = "aligning words"


@contextmanager
def aligning(
    recipe: Recipe,
    folder: Path,
    encoder: SplitEncoder,
    progress: Callable[[str, int, int | None], None],
) -> Iterator[None]:
    """Write the alignments of the training pairs that the block encodes into `folder`.

    Raises DataError where those of a file do not belong to the pairs.
    """
    guided = recipe.train.guided_alignment
    if guided is None:
        yield
        return
    with write_alignment(folder) as writer:
        if guided.alignments is None:
            yield
            progress(STAGE, 0, 1)
            for links, counts in learned_links(Corpus.open(folder / "train.arrow"), recipe.seed):
                writer.append(links, counts)
            progress(STAGE, 1, 1)
            return
        given = GivenAlignments(Path(guided.alignments), encoder.tokenizers)
        encoder.alignments = given, writer
        yield
        given.check_end()


def alignment_fingerprint(recipe: Recipe) -> dict[str, Any]:
    """The fingerprint of what alignments are made from. Raises DataError for a missing file."""
    guided = recipe.train.guided_alignment
    if guided is None:
        return {}
    if guided.alignments is None:
        return {"alignments": {"learned": recipe.seed}}
    try:
        return {"alignments": {"file": file_fingerprint(Path(guided.alignments))}}
    except DataError as error:
        raise DataError(f"train.guided_alignment.alignments: {error}") from error
