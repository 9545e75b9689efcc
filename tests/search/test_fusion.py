"""Shallow fusion: sums by hand, what one of two models alone would find, rows by themselves."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from s2s.nn.inference_model import inference_model
from s2s.nn.model import Seq2Seq
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import (
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    NoAttention,
    PlainDecoder,
)
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.search.ensemble import Ensemble
from s2s.search.forced_decoding import forced
from s2s.search.fusion import Fused, forced_scores, fuse, without_lm
from s2s.search.length_penalty_grid import search_penalties
from s2s.search.loop import search
from s2s.special import BOS, EOS, PAD
from tests.search.toys import RecurrentToy, TiedToy, brute_force, log_probs, plain_beam, rescored

VOCABULARY = 83
LIMIT: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 4}
GREEDY = GreedySearch(kind="greedy", **LIMIT)
BEAM = BeamSearch(kind="beam", width=5, **LIMIT)
SAMPLE = SampleSearch(kind="sample", samples=2, **LIMIT)
SEARCHES: list[Search] = [GREEDY, BEAM, replace(BEAM, groups=5, diversity=0.3), SAMPLE]
every_search = pytest.mark.parametrize("settings", SEARCHES, ids=lambda s: s.kind)


def translation_model(seed: int = 1) -> Seq2Seq:
    torch.manual_seed(seed)
    recipe = Model(
        embeddings=29,
        encoder=Encoder(width=21),
        attention=GeneralAttention(kind="general"),
        decoder=LuongDecoder(kind="luong", width=37),
    )
    return sharpened(Seq2Seq(recipe, VOCABULARY, VOCABULARY))


def language_model(seed: int = 2) -> Seq2Seq:
    torch.manual_seed(seed)
    recipe = Model(
        embeddings=13,
        attention=NoAttention(kind="none", context="start"),
        decoder=PlainDecoder(kind="plain", layers=2, width=17),
    )
    return sharpened(Seq2Seq(recipe, None, VOCABULARY))


def sharpened(model: Seq2Seq) -> Seq2Seq:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(6.0 if "embedding" in name else 2.0)
    return model.eval()


def sentences(count: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 14, (count,), generator=generator).tolist()
    return [torch.randint(4, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]


# ------------------------------------------------------------------------------- what is predicted


@pytest.mark.parametrize("weight", [0.1, 1.0, 2.5])
def test_predictions_are_the_weighted_sum(weight: float) -> None:
    model, lm = RecurrentToy(7, 1), RecurrentToy(7, 2)
    for prefix in [(), (4,), (5, 4, 6), (6, 6, 6, 6)]:
        found = log_probs(Fused(model, lm, weight), [4, 5, 6], prefix)
        own, other = (log_probs(one, [4, 5, 6], prefix) for one in (model, lm))
        for token in range(7):
            if token not in (PAD, BOS):
                expected = own[token] + weight * other[token]
                assert found[token] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("vocabulary", [83, 127])
def test_a_row_is_computed_alike_wherever_it_lies(vocabulary: int) -> None:
    fused = Fused(RecurrentToy(vocabulary, 1), RecurrentToy(vocabulary, 2), 0.3)
    memory = fused.encode(torch.tensor([[4, 3]]), torch.tensor([2]))
    state = fused.start(memory).select(torch.zeros(60, dtype=torch.int64))
    step = fused.step(memory, state, torch.full((60,), BOS))
    assert step.normalizer is not None
    assert torch.equal(step.logits, step.logits[:1].expand_as(step.logits))
    assert torch.equal(step.normalizer, step.normalizer[:1].expand_as(step.normalizer))


def test_the_sum_is_never_positive() -> None:
    fused = Fused(RecurrentToy(9, 1, sharpness=40.0), RecurrentToy(9, 2, sharpness=40.0), 0.7)
    for prefix in [(), (4,), (5, 6, 7)]:
        assert max(log_probs(fused, [5, 6], prefix)) <= 1e-5


# ------------------------------------------------------------------------------- what is found


@every_search
def test_a_weight_of_zero_is_the_model(settings: Search) -> None:
    model, lm, sources = RecurrentToy(40, 1), RecurrentToy(40, 2), sentences(20)
    assert fuse(model, lm, 0.0) is model
    assert without_lm(fuse(model, lm, 0.5)) is model
    alone = search(model, sources, settings, "cpu")
    faint = search(Fused(model, lm, 1e-9), sources, settings, "cpu")
    for expected, found in zip(alone, faint, strict=True):
        assert [h.tokens for h in found] == [h.tokens for h in expected]
        assert [h.log_prob for h in found] == pytest.approx(
            [h.log_prob for h in expected], abs=1e-4
        )


@pytest.mark.parametrize("settings", [GREEDY, BEAM, SAMPLE], ids=lambda s: s.kind)
def test_beside_a_uniform_model_the_language_model_decides_alone(settings: Search) -> None:
    lm, sources = RecurrentToy(40, 2), sentences(20)
    alone = search(lm, sources, settings, "cpu")
    fused = search(Fused(TiedToy(40), lm, 1.0), sources, settings, "cpu")
    for expected, found in zip(alone, fused, strict=True):
        assert [h.tokens for h in found] == [h.tokens for h in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.log_prob == pytest.approx(
                other.log_prob - one.length * math.log(40), abs=1e-4
            )


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beam_search_is_what_a_plain_one_finds(penalty: float) -> None:
    fused = Fused(RecurrentToy(60, 1), RecurrentToy(60, 2), 0.6)
    settings, sources = replace(BEAM, length_penalty=penalty), sentences(8)
    for source, (found,) in zip(sources, search(fused, sources, settings, "cpu"), strict=True):
        expected = plain_beam(fused, source, settings)[0]
        assert found.tokens == expected[1]
        assert found.log_prob == pytest.approx(expected[2], abs=1e-4)


def test_exhaustive_search_finds_the_largest_sum() -> None:
    fused = Fused(RecurrentToy(6, 3, sharpness=3.0), RecurrentToy(6, 4, sharpness=3.0), 0.5)
    limits: dict[str, Any] = {"max_ratio": 1e-9, "max_offset": 4}
    settings = ExhaustiveSearch(kind="exhaustive", width=2, **limits)
    ((found,),) = search(fused, [[5]], settings, "cpu")
    wanted = BeamSearch(kind="beam", width=2, length_penalty=0.0, **limits)
    best = next(one for one in brute_force(fused, [5], wanted) if one[3])
    assert (found.tokens, found.proven) == (best[1], True)
    assert found.log_prob == pytest.approx(best[2], abs=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_beam_of_one_is_greedy_search(precision: SearchPrecision) -> None:
    fused = Fused(
        inference_model(translation_model(), precision),
        inference_model(language_model(), precision),
        0.4,
    )
    sources = sentences(20)
    greedy, one = (search(fused, sources, s, "cpu") for s in (GREEDY, replace(BEAM, width=1)))
    assert [[h.tokens for h in row] for row in one] == [[h.tokens for h in row] for row in greedy]
    model = search(fused.model, sources, GREEDY, "cpu")
    assert [h[0].tokens for h in greedy] != [h[0].tokens for h in model]


@every_search
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_company_and_order_change_nothing(settings: Search, precision: SearchPrecision) -> None:
    both = [inference_model(translation_model(seed), precision) for seed in (1, 5)]
    fused = Fused(Ensemble(both), inference_model(language_model(), precision), 0.4)
    sources = sentences(30)
    numbers = list(range(30))
    together = search(fused, sources, settings, "cpu", places=numbers)
    order = numbers[::-3]
    mixed = search(fused, [sources[i] for i in order], settings, "cpu", places=order)
    for place, found in zip(order, mixed, strict=True):
        assert facts(found) == facts(together[place])
    (alone,) = search(fused, [sources[7]], settings, "cpu", places=[7])
    assert facts(alone) == facts(together[7])


def facts(found: Any) -> list[tuple[Any, ...]]:
    return [(h.tokens, h.log_prob, h.score, h.finished) for h in found]


def test_tuned_penalties_are_those_of_searches() -> None:
    fused = Fused(RecurrentToy(40, 1), RecurrentToy(40, 2), 0.5)
    settings = [replace(BEAM, length_penalty=penalty) for penalty in (0.0, 1.0, 2.0)]
    sources = sentences(15)
    tuned = search_penalties(fused, sources, settings, "cpu")
    for one, found in zip(settings, tuned, strict=True):
        expected = search(fused, sources, one, "cpu")
        assert [h.tokens for h in found] == [h[0].tokens for h in expected]


# ------------------------------------------------------------------------------- what is scored


def test_the_scores_of_search_are_steps_and_forced_scores_of_both() -> None:
    model, lm = translation_model(), language_model()
    for one in (model, lm):
        one.output.bias.data[EOS] += 8.0  # else few outputs end
    fused = Fused(inference_model(model, "fp32"), inference_model(lm, "fp32"), 0.4)
    sources = [*sentences(20), []]
    found = [one[0] for one in search(fused, sources, BEAM, "cpu")]
    ended = [place for place, one in enumerate(found) if one.finished]
    assert len(ended) > 5
    pairs = [(sources[place], found[place].tokens) for place in ended]
    by_hand = [
        own + 0.4 * other
        for own, other in zip(forced(model, pairs, "cpu"), forced(lm, pairs, "cpu"), strict=True)
    ]
    assert forced_scores(fused, pairs, "cpu") == by_hand
    for place, expected in zip(ended, by_hand, strict=True):
        assert found[place].log_prob == pytest.approx(expected, abs=1e-3)
        assert found[place].score == found[place].log_prob / max(1, found[place].length)
        if sources[place]:
            stepwise = rescored(fused, sources[place], found[place].tokens, end=True)
            assert found[place].log_prob == pytest.approx(stepwise, abs=1e-3)
