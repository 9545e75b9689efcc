"""Forced decoding gives to an output what search gives to it."""

import pytest
import torch

from s2s.nn.model import Seq2Seq
from s2s.recipe.search import BeamSearch, SampleSearch, Search
from s2s.search.forced_decoding import forced
from s2s.search.loop import search
from s2s.special import EOS
from tests.search.test_scorers import WIRINGS, network, sentences

BEAM = BeamSearch(kind="beam", width=4, max_ratio=1.5, max_offset=4)
SAMPLE = SampleSearch(kind="sample", samples=4, max_ratio=1.5, max_offset=4)


def small(index: int) -> Seq2Seq:
    torch.set_num_threads(1)
    model = network(*WIRINGS[index])
    with torch.no_grad():
        model.output.bias[EOS] += 5.0
    return model


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("settings", [BEAM, SAMPLE], ids=["beam", "sample"])
def test_every_output_of_search_is_scored_as_search_scored_it(index: int, settings: Search) -> None:
    model, sources = small(index), sentences(12)
    found = search(model, sources, settings, "cpu", keep=4)
    outputs = [h for one in found for h in one if h.finished]
    assert len(outputs) > 10
    scores = forced(model, [(sources[h.key], h.tokens) for h in outputs], "cpu")
    for h, score in zip(outputs, scores, strict=True):
        assert score == pytest.approx(h.log_prob, rel=1e-5, abs=1e-4)


def test_company_changes_a_score_by_rounding_at_most() -> None:
    model, sources = small(0), sentences(30)
    pairs = list(zip(sources, reversed(sources), strict=True))
    together = forced(model, pairs, "cpu")
    for pair, score in zip(pairs[::5], together[::5], strict=True):
        assert forced(model, [pair], "cpu") == [pytest.approx(score, rel=1e-5)]


def test_blank_pairs_are_certain_and_half_blank_ones_are_asked() -> None:
    model = small(0)
    both, no_target, no_source = forced(model, [([], []), ([5], []), ([], [5])], "cpu")
    assert both == 0.0
    assert no_target < 0.0
    assert no_source < 0.0
    assert forced(model, [], "cpu") == []
