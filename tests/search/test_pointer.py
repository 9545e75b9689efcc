"""What holds of search holds of models that copy, tokens outside the vocabulary included."""

import math
import random
from typing import Any

import pytest
import torch

from s2s.errors import UsageError
from s2s.nn.inference_model import inference_model
from s2s.nn.model import Seq2Seq
from s2s.recipe.model import (
    AdditiveAttention,
    AnyDecoder,
    Attention,
    BahdanauDecoder,
    DotAttention,
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    StackedDecoder,
)
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.search.ensemble import Ensemble
from s2s.search.forced_decoding import forced
from s2s.search.loop import search
from s2s.special import BOS, EOS, PAD, UNK
from tests.search.toys import log_probs, plain_beam, rescored

KNOWN = 61
LENGTHS: dict[str, Any] = {"max_ratio": 1.2, "max_offset": 3}
GREEDY = GreedySearch(kind="greedy", **LENGTHS)
BEAM = BeamSearch(kind="beam", width=3, **LENGTHS)
SAMPLE = SampleSearch(kind="sample", samples=3, top_p=0.9, **LENGTHS)
SEARCHES: list[Search] = [
    GREEDY,
    BEAM,
    SAMPLE,
    BeamSearch(kind="beam", width=5, no_repeat_ngram=2, repetition_penalty=1.3, **LENGTHS),
    BeamSearch(kind="beam", width=4, coverage_penalty=0.3, min_ratio=0.5, **LENGTHS),
    ExhaustiveSearch(kind="exhaustive", nodes=60, min_ratio=0.6, **LENGTHS),
]
IDS = ["greedy", "beam", "sample", "no-repeat", "coverage", "exhaustive"]
WIRINGS: list[tuple[AnyDecoder, Attention]] = [
    (LuongDecoder(kind="luong", width=37), GeneralAttention(kind="general")),
    (LuongDecoder(kind="luong", width=37, input_feeding=True), DotAttention(kind="dot")),
    (BahdanauDecoder(kind="bahdanau", width=37), AdditiveAttention(kind="additive", width=19)),
    (StackedDecoder(kind="stacked", width=37), GeneralAttention(kind="general")),
    (StackedDecoder(kind="stacked", width=33), GeneralAttention(kind="general", heads=3)),
]
every_wiring = pytest.mark.parametrize(
    "index", range(5), ids=["luong", "fed", "bahdanau", "stacked", "heads"]
)


def network(index: int, seed: int = 5) -> Seq2Seq:
    """A random network that copies and covers; half of the source's tokens mean another target."""
    torch.manual_seed(seed)
    decoder, attention = WIRINGS[index]
    recipe = Model(
        embeddings=29,
        encoder=Encoder(width=21),
        attention=attention,
        decoder=decoder,
        copy="pointer",
        coverage=True,
    )
    table = torch.arange(KNOWN)
    table[30:50] = -1
    table[[PAD, BOS, EOS]] = -1
    model = Seq2Seq(recipe, KNOWN, KNOWN, None, table).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(6.0 if "embedding" in name else 2.0)
        assert model.decoder.coverage is not None
        model.decoder.coverage.fill_(-1.5)
        model.output.bias[EOS] += 4.0
        assert model.decoder.gate is not None
        model.decoder.gate.linear.bias -= 2.0
    return model


def sentences(count: int, longest: int = 14) -> list[list[int]]:
    """Every fourth token is one of three that no vocabulary knows, so that some come again."""
    draw = random.Random(1)
    return [extended(draw, draw.randint(1, longest)) for _ in range(count)]


def extended(draw: random.Random, length: int) -> list[int]:
    first: dict[int, int] = {}
    source = []
    for place in range(length):
        unknown = draw.randrange(12)
        if unknown < 3:
            source.append(KNOWN + KNOWN + first.setdefault(unknown, place))
        else:
            source.append(draw.randrange(4, KNOWN))
    return source


def facts(found: list[Any]) -> list[Any]:
    return [[(h.tokens, h.log_prob, h.score, h.finished) for h in one] for one in found]


@pytest.mark.kernels
@every_wiring
@pytest.mark.parametrize("settings", SEARCHES, ids=IDS)
def test_company_number_and_order_change_nothing(index: int, settings: Search) -> None:
    model, sources = inference_model(network(index), "fp32"), sentences(30)

    def outcome(order: list[int]) -> list[Any]:
        chosen = [sources[i] for i in order]
        return facts(search(model, chosen, settings, "cpu", places=order))

    together = outcome(list(range(len(sources))))
    tokens = [token for one in together for token in one[0][0]]
    assert sum(token >= KNOWN for token in tokens) > 5
    assert not {PAD, BOS, EOS} & set(tokens)
    for i in range(0, len(sources), 9):
        assert outcome([i]) == [together[i]]
    mixed = random.Random(2).sample(range(len(sources)), 17)
    assert outcome(mixed) == [together[i] for i in mixed]


@pytest.mark.kernels
@pytest.mark.parametrize("index", [1, 3], ids=["fed", "stacked"])
def test_packed_weights_copy_too(index: int) -> None:
    model, sources = network(index), sentences(20)
    scorer = inference_model(model, "fp32")
    found = search(scorer, sources, BEAM, "cpu")
    assert any(token >= KNOWN for (h,) in found for token in h.tokens)
    for (h,) in found:
        again = rescored(model, sources[h.key], h.tokens, h.finished)
        assert h.log_prob == pytest.approx(again, abs=1e-3)
    assert facts(search(scorer, [sources[7]], BEAM, "cpu")) == facts([found[7]])


@every_wiring
def test_a_beam_of_one_is_greedy_and_a_wide_one_a_plain_one(index: int) -> None:
    model, sources = network(index), sentences(16)
    one = BeamSearch(kind="beam", width=1, **LENGTHS)
    greedy = search(model, sources, GREEDY, "cpu")
    for (a,), (b,) in zip(greedy, search(model, sources, one, "cpu"), strict=True):
        assert (a.tokens, a.log_prob, a.finished) == (b.tokens, b.log_prob, b.finished)
    short = [source for source in sources if len(source) < 6][:3]
    for source, found in zip(short, search(model, short, BEAM, "cpu", keep=3), strict=True):
        expected = plain_beam(model, source, BEAM)
        assert [h.tokens for h in found] == [e[1] for e in expected[:3]]
        for h in found:
            again = rescored(model, source, h.tokens, h.finished)
            assert h.log_prob == pytest.approx(again, abs=1e-3)


@every_wiring
def test_forced_decoding_gives_what_search_gives(index: int) -> None:
    model, sources = network(index), sentences(12)
    found = search(model, sources, SAMPLE, "cpu", keep=3)
    outputs = [h for one in found for h in one if h.finished]
    assert any(token >= KNOWN for h in outputs for token in h.tokens)
    scores = forced(model, [(sources[h.key], h.tokens) for h in outputs], "cpu")
    for h, score in zip(outputs, scores, strict=True):
        assert score == pytest.approx(h.log_prob, rel=1e-5, abs=1e-4)


@every_wiring
def test_predictions_sum_to_one_and_only_over_what_is_there(index: int) -> None:
    model = network(index)
    (source,) = [s for s in sentences(40) if len(s) == 7][:1]
    beyond = {t - KNOWN for t in source if t >= 2 * KNOWN}
    beyond |= {KNOWN + source.index(t) for t in source if 30 <= t < 50}
    for prefix in [(), (7,), (min(beyond), UNK)]:
        found = log_probs(model, source, prefix)
        assert {i for i, p in enumerate(found) if i >= KNOWN and p > -math.inf} == beyond
        with torch.inference_mode():
            memory = model.encode(torch.tensor([[*source, EOS]]), torch.tensor([8]))
            logits = model.step(memory, model.start(memory), torch.tensor([BOS])).logits
        assert float(logits.double().log_softmax(-1).exp().sum()) == pytest.approx(1, abs=1e-6)


def test_what_is_exhausted_is_the_most_probable() -> None:
    model = network(0)
    settings = ExhaustiveSearch(kind="exhaustive", nodes=4000, max_ratio=0.5, max_offset=2)
    sources = [s for s in sentences(60) if 2 <= len(s) <= 4 and max(s) > KNOWN][:6]
    wide = BeamSearch(kind="beam", width=80, length_penalty=0, max_ratio=0.5, max_offset=2)
    for (best,), (other,) in zip(
        search(model, sources, settings, "cpu"), search(model, sources, wide, "cpu"), strict=True
    ):
        assert best.proven
        assert best.log_prob >= other.log_prob - 1e-4


def test_an_ensemble_is_the_mean_of_mixtures() -> None:
    members = [network(0), network(3, seed=6)]
    (source,) = [s for s in sentences(40) if len(s) == 7][:1]
    for prefix in [(), (7, KNOWN + 1)]:
        found = log_probs(Ensemble(members), source, prefix)
        by_hand = [log_probs(member, source, prefix) for member in members]
        for token, log_prob in enumerate(found):
            if token not in (PAD, BOS):
                mean = sum(math.exp(one[token]) for one in by_hand) / 2
                expected = math.log(mean) if mean else -math.inf
                assert log_prob == pytest.approx(expected, abs=1e-5)
    sources = sentences(20)
    together = facts(search(Ensemble(members), sources, BEAM, "cpu"))
    assert facts(search(Ensemble(members), [sources[7]], BEAM, "cpu")) == [together[7]]


def test_attention_is_that_of_teacher_forcing() -> None:
    model, sources = network(3), sentences(8)
    found = search(model, sources, GREEDY, "cpu", want_attention=True)
    for source, (h,) in zip(sources, found, strict=True):
        with torch.inference_mode():
            memory = model.encode(torch.tensor([[*source, EOS]]), torch.tensor([len(source) + 1]))
            read = torch.tensor([[BOS, *h.tokens][: h.length]])
            weights = model.decoded(memory, read).weights
        assert h.attention is not None
        assert weights is not None
        torch.testing.assert_close(torch.from_numpy(h.attention), weights[0], atol=1e-4, rtol=1e-4)


def test_a_coverage_penalty_still_wants_attention() -> None:
    with pytest.raises(UsageError, match="exhaustive search keeps no attention"):
        search(network(0), [[5]], SEARCHES[-1], "cpu", want_attention=True)
