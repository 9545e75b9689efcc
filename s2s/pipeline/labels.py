"""Predicts labels."""

from dataclasses import replace

from s2s.errors import UsageError
from s2s.recipe.search import BeamSearch, GreedySearch, Search
from s2s.run.directory import Run


def label_search(run: Run, nbest: int) -> Search:
    """The search of a run of labels that finds its `nbest` best outputs.

    A single label is the most probable one; several are found by a beam as wide as they are many.
    Raises UsageError for more than a beam can have.
    """
    search = run.recipe.search
    if nbest == 1 or (isinstance(search, BeamSearch) and search.width >= nbest):
        return search
    if isinstance(search, BeamSearch):
        return replace(search, width=nbest)
    if not isinstance(search, GreedySearch):
        raise UsageError(
            f"--nbest: expected a run whose search is 'greedy' or 'beam', found '{search.kind}'"
        )
    return BeamSearch(
        kind="beam",
        width=nbest,
        max_ratio=search.max_ratio,
        max_offset=search.max_offset,
        precision=search.precision,
    )
