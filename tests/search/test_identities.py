"""Search against enumeration, against a plain implementation and against itself."""

import math
import random

import numpy as np
import pytest
import torch

from s2s.errors import S2sError, UsageError
from s2s.nn.step import Step
from s2s.recipe.search import BeamSearch, GreedySearch
from s2s.search.bucketing import bucket, longest_output, shape_of
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search, search_stream
from s2s.search.strategies.beam import Beam
from s2s.search.topk import CHUNK, best_tokens, digest, first_largest, largest
from s2s.special import BOS, EOS, PAD, UNK
from tests.search.toys import Numbers, RecurrentToy, TiedToy, brute_force, plain_beam, rescored

GREEDY = GreedySearch(kind="greedy", max_ratio=1.5, max_offset=3)


def beam(width: int, penalty: float = 1.0, ratio: float = 1.5, offset: int = 3) -> BeamSearch:
    return BeamSearch(
        kind="beam", width=width, length_penalty=penalty, max_ratio=ratio, max_offset=offset
    )


WIDE = beam(70)


def sentences(count: int, seed: int, longest: int = 30) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(4, 60) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def facts(found: list[list[Hypothesis]]) -> list[list[tuple[tuple[int, ...], float, float, bool]]]:
    """All but the key, for comparison to the last bit."""
    return [[(h.tokens, h.log_prob, h.score, h.finished) for h in one] for one in found]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_of_one_is_greedy_search(seed: int, penalty: float) -> None:
    scorer, sources = RecurrentToy(23, seed), sentences(50, seed)
    greedy = search(scorer, sources, GREEDY, "cpu")
    one = search(scorer, sources, beam(1, penalty), "cpu")
    for (a,), (b,) in zip(greedy, one, strict=True):
        assert (a.tokens, a.log_prob, a.finished) == (b.tokens, b.log_prob, b.finished)
        assert b.score == b.log_prob / b.length**penalty


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
def test_a_beam_wide_enough_is_enumeration(seed: int, penalty: float) -> None:
    scorer = RecurrentToy(6, seed, sharpness=3.0)
    settings = beam(6**4, penalty, ratio=0.5, offset=2)
    for source in sentences(3, seed, longest=4):
        expected = brute_force(scorer, source, settings)[0]
        (found,) = search(scorer, [source], settings, "cpu")[0]
        assert found.tokens == expected[1]
        assert found.finished == expected[3]
        assert found.score == pytest.approx(expected[0], abs=1e-5)


def test_the_n_best_of_a_wide_beam_are_those_of_enumeration() -> None:
    scorer = RecurrentToy(6, 3, sharpness=3.0)
    settings = beam(6**3, 1.0, ratio=1e-9, offset=3)
    expected = brute_force(scorer, [5], settings)
    found = search(scorer, [[5]], settings, "cpu", keep=len(expected))[0]
    assert [h.tokens for h in found] == [e[1] for e in expected]


@pytest.mark.parametrize("width", [2, 3, 5, 12])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beam_search_is_what_a_plain_one_finds(width: int, penalty: float) -> None:
    scorer, sources = RecurrentToy(150, width), sentences(12, width, longest=12)
    settings = beam(width, penalty)
    found = search(scorer, sources, settings, "cpu")
    everything = search(scorer, sources, settings, "cpu", keep=width)
    for source, (best,), all_of_it in zip(sources, found, everything, strict=True):
        expected = plain_beam(scorer, source, settings)
        assert best.tokens == expected[0][1] == all_of_it[0].tokens
        assert best.log_prob == pytest.approx(expected[0][2], abs=1e-4)
        assert [h.tokens for h in all_of_it] == [e[1] for e in expected[:width]]


@pytest.mark.parametrize("settings", [GREEDY, beam(3), beam(5, 0.0), WIDE])
def test_company_number_and_order_change_nothing(settings: GreedySearch | BeamSearch) -> None:
    scorer = RecurrentToy(40, 11)
    is_slow = settings == WIDE  # a block holds one sentence
    sources = sentences(40 if is_slow else 260, 2)
    together = facts(search(scorer, sources, settings, "cpu"))
    for index in range(0, len(sources), 13):
        assert facts(search(scorer, [sources[index]], settings, "cpu")) == [together[index]]
    for seed in range(3):
        order = random.Random(seed).sample(range(len(sources)), len(sources) * (1 + seed) // 3)
        mixed = facts(search(scorer, [sources[i] for i in order], settings, "cpu"))
        assert mixed == [together[i] for i in order]


def test_all_shapes_are_functions_of_the_sentence() -> None:
    """Or of a smaller batch that has been tested, once all have entered."""
    scorer, sources = RecurrentToy(40, 1), sentences(200, 1)
    search(scorer, sources, beam(5), "cpu")
    assert scorer.steps[0] == 120
    assert set(scorer.steps) <= {120, 60, 30, 15, 10, 5}
    assert set(scorer.encodings) <= {(count, time) for count in (16, 8, 4) for time in (16, 32)}


@pytest.mark.parametrize("width", [1, 4])
def test_log_probabilities_are_those_of_the_model(width: int) -> None:
    scorer, sources = RecurrentToy(30, 8), sentences(20, 8)
    for source, found in zip(
        sources, search(scorer, sources, beam(width), "cpu", keep=width), strict=True
    ):
        for h in found:
            expected = rescored(scorer, source, h.tokens, h.finished)
            assert h.log_prob == pytest.approx(expected, abs=1e-4)
            assert h.score == h.log_prob / h.length


def test_n_best_lists_are_sorted_and_distinct() -> None:
    found = search(RecurrentToy(30, 4), sentences(60, 4), beam(6), "cpu", keep=6)
    for key, hypotheses in enumerate(found):
        assert len(hypotheses) == 6
        assert len({(h.tokens, h.finished) for h in hypotheses}) == 6
        ranks = [(h.finished, h.score) for h in hypotheses]
        assert ranks == sorted(ranks, reverse=True)
        assert {h.key for h in hypotheses} == {key}


def test_the_longest_output_is_each_sentences_own() -> None:
    scorer = TiedToy(9, end=-50.0)
    sources = [[4] * n for n in (1, 2, 7, 8, 20)]
    for settings in (GREEDY, beam(2)):
        for source, (best,) in zip(sources, search(scorer, sources, settings, "cpu"), strict=True):
            assert len(best.tokens) == longest_output(len(source), settings) == best.length
            assert not best.finished


def test_special_tokens_but_unk_are_never_produced() -> None:
    found = search(TiedToy(9, end=-50.0), [[5]] * 3, beam(6), "cpu", keep=6)
    produced = {token for one in found for h in one for token in h.tokens}
    assert produced.isdisjoint({PAD, BOS, EOS})
    assert UNK in produced


def test_ties_go_to_the_end_then_the_lower_row_then_the_lower_token() -> None:
    (ended,) = search(TiedToy(8), [[5]], GREEDY, "cpu")[0]
    assert (ended.tokens, ended.finished) == ((), True)
    (cut,) = search(TiedToy(8, end=-50.0), [[5]], GREEDY, "cpu")[0]
    assert set(cut.tokens) == {UNK}
    settings = beam(4, ratio=1e-9, offset=3)
    found = search(TiedToy(8, end=-50.0), [[5]], settings, "cpu", keep=4)[0]
    assert [h.tokens for h in found] == [(1, 1, 1), (1, 1, 4), (1, 1, 5), (1, 1, 6)]


def test_an_empty_source_has_an_empty_output() -> None:
    found = search(RecurrentToy(20, 1), [[], [5, 6], []], beam(3), "cpu")
    for key in (0, 2):
        assert found[key] == [Hypothesis(key, (), 0.0, 0.0, finished=True)]
    assert search(RecurrentToy(20, 1), [], beam(3), "cpu") == []


@pytest.mark.parametrize("vocabulary", [5, 63, 64, 65, 200])
def test_a_beam_wider_than_the_vocabulary(vocabulary: int) -> None:
    scorer, settings = RecurrentToy(vocabulary, 5), beam(20)
    for source in sentences(4, 5, longest=5):
        expected = plain_beam(scorer, source, settings)
        found = search(scorer, [source], settings, "cpu", keep=20)[0]
        assert [h.tokens for h in found] == [e[1] for e in expected[:20]]


def test_the_stream_yields_every_source_once_and_progress_counts() -> None:
    sources = [*sentences(90, 6), []]
    stream = list(search_stream(RecurrentToy(20, 6), sources, GREEDY, "cpu"))
    assert sorted(index for index, _ in stream) == list(range(91))
    counted: list[int] = []
    search(RecurrentToy(20, 6), sources, GREEDY, "cpu", progress=counted.append)
    assert counted == list(range(1, 92))


def test_attention_is_a_row_per_prediction_and_a_column_per_source_position() -> None:
    class Looking(RecurrentToy):
        def step(self, memory: Numbers, state: Numbers, tokens: torch.Tensor) -> Step[Numbers]:
            step = super().step(memory, state, tokens)
            weights_NS = tokens.float().unsqueeze(1) + torch.arange(16.0)
            return Step(step.logits, step.state, weights_NS)

    sources = [s for s in sentences(80, 7, 15) if len(s) > 7]
    for settings in (GREEDY, beam(4)):
        with_it = search(Looking(20, 7), sources, settings, "cpu", want_attention=True)
        assert facts(with_it) == facts(search(Looking(20, 7), sources, settings, "cpu"))
        for source, (h,) in zip(sources, with_it, strict=True):
            read = [BOS, *h.tokens][: h.length]
            expected = np.array(read)[:, None] + np.arange(len(source) + 1)
            assert h.attention is not None
            np.testing.assert_array_equal(h.attention, expected)


def test_stopping_early_is_proven_safe() -> None:
    strategy = Beam(width=4, length_penalty=0.8)
    draw = np.random.default_rng(3)
    totals, limits = -draw.exponential(5.0, 500), draw.integers(1, 40, 500)
    bounds = strategy.bound(totals, limits)
    for _ in range(20):
        lengths = draw.integers(1, limits + 1)
        later = totals - draw.exponential(1.0, 500)
        assert (strategy.score(later, lengths) <= bounds).all()


def test_largest_and_best_tokens_are_a_stable_sort() -> None:
    generator = torch.Generator().manual_seed(9)
    for count in (1, 3, 8, 9, 40):
        values = torch.randint(0, 4, (5, 60), generator=generator).double()
        for row, index in zip(values, largest(values, count)[1], strict=True):
            expected = sorted(range(60), key=lambda j: -row[j])
            assert index.tolist() == expected[:count]
        # Without ties, with ties among those of one row alone, and with too few above -inf.
        distinct = torch.rand(5, 60, generator=generator, dtype=torch.float64)
        tied, few = distinct.clone(), torch.full_like(distinct, -torch.inf)
        tied[3, 7:50] = 2.0
        few[:, 5:7] = distinct[:, 5:7]
        for values in (distinct, tied, few):
            ordered, places = values.sort(dim=-1, descending=True, stable=True)
            found, index = largest(values, count)
            assert torch.equal(found, ordered[:, :count])
            is_real = found > -torch.inf
            assert torch.equal(index[is_real], places[:, :count][is_real])
        logits = torch.randint(0, 3, (2, count, 130), generator=generator).float()
        offsets = torch.randint(-3, 0, (2, count), generator=generator).double()
        best = best_tokens(logits, offsets, count)
        totals = (logits.double() + offsets.unsqueeze(-1)).flatten(1)
        for row, found in zip(totals, best.rows * 130 + best.tokens, strict=True):
            expected = sorted(range(count * 130), key=lambda j: -row[j])
            assert found.tolist() == expected[:count]


@pytest.mark.parametrize("vocabulary", [3, 63, 64, 130, 8000])
def test_a_digest_says_what_a_look_at_all_logits_says(vocabulary: int) -> None:
    """And whoever knows it chooses as one who does not, though the first chunk has changed."""
    generator = torch.Generator().manual_seed(vocabulary)
    for scale in (0.0, 1.0, 300.0):
        logits = scale * torch.randn(6, 7, vocabulary, generator=generator) - 1000.0
        found = digest(logits)
        torch.testing.assert_close(found.normalizer, logits.logsumexp(-1))
        for chunk, part in enumerate(logits.split(CHUNK, dim=-1)):
            assert torch.equal(found.maxima[..., chunk], part.amax(-1))
        logits[..., :3] = torch.tensor([-torch.inf, -torch.inf, 2000.0])
        values, tokens = first_largest(logits, found.maxima)
        assert (tokens == 2).all()
        assert (values == 2000.0).all()
        logits[..., 2] = -torch.inf
        if vocabulary > 3:
            values, tokens = first_largest(logits, found.maxima)
            assert torch.equal(values, logits.amax(-1))
            first = (logits == values.unsqueeze(-1)).int().argmax(-1)
            assert torch.equal(tokens, first)
        offsets = torch.randn(6, 7, generator=generator).double()
        for one, other in zip(
            best_tokens(logits, offsets, 5, found.maxima),
            best_tokens(logits, offsets, 5),
            strict=True,
        ):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("length", "padded"),
    [(1, 16), (16, 16), (17, 32), (128, 128), (129, 160), (256, 256), (257, 320), (1000, 1024)],
)
def test_padded_lengths(length: int, padded: int) -> None:
    assert bucket(length) == padded


def test_blocks_of_long_sources_are_bounded() -> None:
    for time in (8, 1024, 20_000, 1_000_000):
        for width in (1, 5, 1000):
            shape = shape_of(time, width, GREEDY, "cpu")
            assert shape.slots >= 1
            assert shape.slots == 1 or shape.slots * width * time <= 1 << 15


def test_more_outputs_than_the_beam_holds_are_refused() -> None:
    with pytest.raises(UsageError, match="the 6 best outputs need a beam of width 6 or more"):
        search(RecurrentToy(9, 1), [[5]], beam(5), "cpu", keep=6)


@pytest.mark.parametrize("settings", [GREEDY, beam(2)])
def test_nan_is_reported(settings: GreedySearch | BeamSearch) -> None:
    scorer = RecurrentToy(9, 1)
    scorer.output_DV[:] = math.nan
    with pytest.raises(S2sError, match="predicts NaN"):
        search(scorer, [[5]], settings, "cpu")
