"""Beam search for several length penalties at once.

A length penalty ranks ended hypotheses; it decides neither which prefixes stay in the beam nor
which of them end. So one search that ends only when its beam is used up finds the hypotheses of a
search with any length penalty, and ranking them again gives the best of that search. (A beam may
also stop when no live hypothesis can win, which loses nothing: see `Beam.bound`.)
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from s2s.data.features.lookup import FeatureRows
from s2s.recipe.search import BeamSearch
from s2s.search.hypothesis import Hypothesis
from s2s.search.inputs import Sources
from s2s.search.loop import search_stream
from s2s.search.scorer import M, S, Scorer
from s2s.search.strategies.base import Strategy
from s2s.search.strategies.build import build_complete, build_strategy


def num_searches(settings: Sequence[BeamSearch]) -> int:
    """Number of searches that `search_penalties` runs."""
    return len({_searched_as(one) for one in settings})


def search_penalties(
    scorer: Scorer[M, S],
    sources: Sources,
    settings: Sequence[BeamSearch],
    device: str,
    *,
    features: FeatureRows | None = None,
    progress: Callable[[BeamSearch, int], None] | None = None,
) -> list[list[Hypothesis]]:
    """For each of the settings, the best hypothesis of every source, as `search` gives it.

    Settings that differ only in their length penalty share a search, unless they have a coverage
    penalty, which is not stored apart from the score. `progress` is called with a setting of the
    current search and the number of sources done.
    """
    together: defaultdict[BeamSearch, list[int]] = defaultdict(list)
    for place, one in enumerate(settings):
        together[_searched_as(one)].append(place)
    found: list[list[Hypothesis]] = [[] for _ in settings]
    for shared, places in together.items():
        strategies = [build_strategy(settings[place]) for place in places]
        best: list[list[Hypothesis]] = [[] for _ in places]
        is_complete = shared.coverage_penalty == 0.0
        stream = search_stream(
            scorer,
            sources,
            shared,
            device,
            features=features,
            strategy=build_complete(shared) if is_complete else None,
        )
        indices = []
        for done, (index, ended) in enumerate(stream, start=1):
            indices.append(index)
            for kept, strategy in zip(best, strategies, strict=True):
                kept.append(_best(ended, strategy) if is_complete else ended[0])
            if progress is not None:
                progress(shared, done)
        order = np.argsort(indices)
        for place, kept in zip(places, best, strict=True):
            found[place] = [kept[i] for i in order]
    return found


def _searched_as(settings: BeamSearch) -> BeamSearch:
    """A key that settings have in common if they can share a search."""
    if settings.coverage_penalty:
        return settings
    return replace(settings, length_penalty=0.0, length_normalization="length")


def _best(ended: Sequence[Hypothesis], strategy: Strategy) -> Hypothesis:
    """The best ended hypothesis: among equal scores the earlier, which is the shorter.

    Hypotheses of equal length are ordered by log-probability, as their scores are.
    """
    log_probs = np.array([h.log_prob for h in ended])
    lengths = np.array([h.length for h in ended], dtype=np.int64)
    if not lengths.any():  # a source without tokens
        return ended[0]
    scores = strategy.score(log_probs, lengths).tolist()
    best = min(
        range(len(ended)),
        key=lambda i: (not ended[i].finished, -scores[i], ended[i].length, i),
    )
    return replace(ended[best], score=scores[best])
