"""Searches in two steps: some searches find candidates, and a rule ranks them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s2s.recipe.search import Search
from s2s.search.bucketing import longest_output
from s2s.search.hypothesis import Hypothesis
from s2s.search.inputs import Inputs

CANDIDATES = 1 << 14
"""Most candidates that are ranked together, unless those of one source are more."""

DECIMALS = 9
"""Decimals to which scores are compared: rounding errors decide no tie."""

CELLS = 1 << 25
"""Most cells of attention of these candidates, likewise."""

Texts = Callable[[Sequence[int], Sequence[Sequence[Hypothesis]]], list[list[str]]]
"""The texts of hypotheses of the sources with these indices."""

Found = Iterator[tuple[int, list[Hypothesis]]]


class Ranking(Protocol):
    """A rule that ranks the candidates of each source by themselves."""

    @property
    def searches(self) -> Sequence[Search]:
        """The searches whose results are the candidates, in this order."""
        ...

    @property
    def num_candidates(self) -> int:
        """Most candidates of a source."""
        ...

    def __call__(
        self, indices: Sequence[int], candidates: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Hypothesis]]:
        """The different candidates of the sources with these indices, best first."""
        ...


def ranked_stream(
    find: Callable[[Search, Sequence[int]], Found],
    ranking: Ranking,
    inputs: Inputs,
    *,
    keep: int,
    want_attention: bool,
) -> Found:
    """Pairs (index of source, its `keep` best candidates), a window of sources at a time.

    `find` searches the sources with these indices. What a source has does not depend on its window.
    """
    everything = range(len(inputs.sources))
    yield from find(ranking.searches[0], [index for index in everything if inputs.is_blank(index)])
    rest = [index for index in everything if not inputs.is_blank(index)]
    rest.sort(key=lambda i: -len(inputs.sources[i]))
    start = 0
    while start < len(rest):
        end = start + _window(ranking, inputs, rest[start], want_attention=want_attention)
        window = rest[start:end]
        candidates: dict[int, list[Hypothesis]] = {index: [] for index in window}
        for search in ranking.searches:
            for index, found in find(search, window):
                candidates[index] += found
        ranked = ranking(window, list(candidates.values()))
        yield from zip(window, (one[:keep] for one in ranked), strict=True)
        start = end


def ordered(hypotheses: Sequence[Hypothesis], scores_C: NDArray[np.float64]) -> list[Hypothesis]:
    """The hypotheses with these scores, the best first; of equal ones the more probable, then the
    one found first."""
    log_probs = np.array([one.log_prob for one in hypotheses])
    order = np.lexsort((-log_probs, -scores_C.round(DECIMALS)))
    return [replace(hypotheses[i], score=float(scores_C[i])) for i in order.tolist()]


def _window(ranking: Ranking, inputs: Inputs, longest: int, *, want_attention: bool) -> int:
    """The number of sources to rank together, none of which is longer than the one given."""
    most = CANDIDATES // ranking.num_candidates
    if want_attention:
        length = len(inputs.sources[longest])
        positions = length + 1 + sum(inputs.padded(longest)[1:])
        outputs = longest_output(length, ranking.searches[0])
        most = min(most, CELLS // (ranking.num_candidates * positions * outputs))
    return max(1, most)
