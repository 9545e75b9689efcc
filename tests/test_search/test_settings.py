"""Command-line choices on top of a recipe's search section."""

import pytest

from s2s.errors import UsageError
from s2s.recipe import BeamSearch, GreedySearch, Search
from s2s.search import override

GREEDY = GreedySearch(kind="greedy", max_ratio=3.0, max_offset=7)
BEAM = BeamSearch(kind="beam", width=4, length_penalty=0.5, max_ratio=3.0, max_offset=7)


@pytest.mark.parametrize("search", [GREEDY, BEAM])
def test_nothing_asked_nothing_changed(search: Search) -> None:
    assert override(search) == search
    assert override(search, kind=search.kind) == search


def test_choices_replace_those_of_the_recipe_and_lengths_stay() -> None:
    assert override(BEAM, kind="greedy") == GREEDY
    assert override(BEAM, width=9).width == 9  # type: ignore[union-attr]
    wide = BeamSearch(kind="beam", width=9, max_ratio=3.0, max_offset=7)
    assert override(GREEDY, width=9) == override(GREEDY, kind="beam", width=9) == wide
    changed = override(BEAM, length_penalty=0.0)
    assert isinstance(changed, BeamSearch)
    assert (changed.width, changed.length_penalty) == (4, 0.0)


def test_contradictions_and_nonsense_are_refused() -> None:
    with pytest.raises(UsageError, match="greedy search has no use for a beam width"):
        override(BEAM, kind="greedy", width=3)
    with pytest.raises(UsageError, match="greedy search has no use for a length penalty"):
        override(BEAM, kind="greedy", length_penalty=1.0)
    with pytest.raises(UsageError, match="beam width: expected 1 to 1000, found 0"):
        override(GREEDY, width=0)
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="length penalty: expected 0 or more"):
            override(BEAM, length_penalty=value)
    with pytest.raises(UsageError, match="expected 'greedy' or 'beam', found 'best'"):
        override(BEAM, kind="best")
