"""Builds the strategy of a recipe."""

from dataclasses import fields
from typing import assert_never

from s2s.errors import UsageError
from s2s.recipe.search import (
    BeamSearch,
    CandidateSearch,
    ExhaustiveSearch,
    GreedySearch,
    MbrSearch,
    Outputs,
    RerankSearch,
    SampleSearch,
    Search,
)
from s2s.search.strategies.base import Strategy
from s2s.search.strategies.beam import Beam
from s2s.search.strategies.diverse_beam import DiverseBeam
from s2s.search.strategies.dynamic_beam_allocation import DynamicBeamAllocation
from s2s.search.strategies.greedy import Greedy
from s2s.search.strategies.sampling import Sample

MOST = 1000
"""Most outputs of a line in exhaustive search: the widest beam."""


def most_outputs(search: Search) -> int:
    """Most outputs of a line that a search returns."""
    match search:
        case GreedySearch():
            return 1
        case BeamSearch():
            return search.width
        case SampleSearch():
            return search.samples
        case ExhaustiveSearch():
            return MOST
        case MbrSearch() | RerankSearch():
            return sum(map(most_outputs, candidate_searches(search)))
        case _:
            assert_never(search)


def candidate_searches(search: CandidateSearch) -> tuple[SampleSearch | BeamSearch, ...]:
    """The searches that find the candidates of minimum Bayes risk decoding, or of reranking."""
    shared = {field.name: getattr(search, field.name) for field in fields(Outputs)}
    beam = BeamSearch(
        **shared | {"kind": "beam"},
        width=search.candidates,
        length_penalty=search.length_penalty,
    )
    if isinstance(search, RerankSearch):
        return (beam,)
    sampled = SampleSearch(
        **shared | {"kind": "sample"},
        samples=search.candidates,
        temperature=search.temperature,
        top_k=search.top_k,
        top_p=search.top_p,
        min_p=search.min_p,
        seed=search.seed,
    )
    match search.candidates_from:
        case "sample":
            return (sampled,)
        case "beam":
            return (beam,)
        case "both":
            return sampled, beam
        case _:
            assert_never(search.candidates_from)


def build_complete(search: BeamSearch) -> Strategy:
    """A beam that returns every ended hypothesis.

    It stops only after `width` ends or at the longest output, so that its hypotheses are the same
    for any length penalty. A step ends at most `width` hypotheses, so fewer than twice as many
    finish; the best of those that were cut follow them. It has no coverage penalty.
    """
    return Beam(width=search.width, length_penalty=search.length_penalty, keep=2 * search.width)


def build_strategy(search: Search, keep: int = 1) -> Strategy:
    """The strategy of a recipe's search, which returns the `keep` best hypotheses.

    Sampling returns all samples. The strategy of exhaustive search is the beam it starts from, and
    that of a ranking of candidates is the first that finds candidates. Raises UsageError where
    the search does not return that many.
    """
    if isinstance(search, CandidateSearch) and keep > most_outputs(search):
        raise UsageError(
            f"the {keep} best outputs need as many candidates, found {most_outputs(search)}; "
            f"--candidates {keep} has them"
        )
    if keep > most_outputs(search):
        raise UsageError(
            f"the {keep} best outputs need a beam of width {keep} or more, found "
            f"{most_outputs(search)}"
        )
    match search:
        case GreedySearch():
            return Greedy()
        case BeamSearch():
            beam = Beam(
                width=search.width,
                length_penalty=search.length_penalty,
                keep=keep,
                is_gnmt=search.length_normalization == "gnmt",
                coverage_penalty=search.coverage_penalty,
            )
            if search.groups == 1:
                return beam
            return DiverseBeam(beam, search.groups, search.diversity)
        case SampleSearch():
            return Sample(search)
        case ExhaustiveSearch():
            width = max(search.width, keep)
            return Beam(width, length_penalty=0.0, keep=width)
        case MbrSearch() | RerankSearch():
            return build_strategy(candidate_searches(search)[0])
        case _:
            assert_never(search)


def build_constrained_strategy(search: Search, keep: int = 1) -> Strategy:
    """The strategy for sentences with positive constraints.

    Raises UsageError for any search but a beam, and as `build_strategy` does.
    """
    strategy = build_strategy(search, keep)
    if isinstance(search, RerankSearch) or (
        isinstance(search, MbrSearch) and search.candidates_from == "beam"
    ):
        return build_constrained_strategy(candidate_searches(search)[0])
    if isinstance(search, MbrSearch):
        raise UsageError(
            "terms that must appear need beam search, and samples are among the candidates; "
            "--candidates-from beam leaves them out"
        )
    if isinstance(strategy, DiverseBeam):
        raise UsageError("terms that must appear need a beam of one group; --groups 1 has it")
    if not isinstance(search, BeamSearch) or not isinstance(strategy, Beam):
        raise UsageError(
            f"terms that must appear need beam search, found {search.kind} search; "
            "--search beam chooses it"
        )
    return DynamicBeamAllocation(strategy)
