"""The same identities on real networks, and what they rest on: independent rows of a fixed shape.

Dimension letters: N rows, B sentences, S source time, V vocabulary.
"""

import dataclasses
import random

import pytest
import torch

from s2s.nn.inference_model import InferenceModel, inference_model
from s2s.nn.model import Seq2Seq
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import (
    AdditiveAttention,
    AnyDecoder,
    Attention,
    BahdanauDecoder,
    ConditionalDecoder,
    DotAttention,
    Encoder,
    GeneralAttention,
    HardAttention,
    LuongDecoder,
    Model,
    NoAttention,
    StackedDecoder,
)
from s2s.recipe.search import BeamSearch, GreedySearch, Search
from s2s.search.loop import search
from s2s.search.topk import digest
from tests.search.toys import plain_beam, rescored

pytestmark = pytest.mark.kernels

VOCABULARY = 83
GREEDY = GreedySearch(kind="greedy", max_ratio=1.5, max_offset=4)
BEAM = BeamSearch(kind="beam", width=5, max_ratio=1.5, max_offset=4)

WIRINGS: list[tuple[AnyDecoder, Attention]] = [
    (LuongDecoder(kind="luong", width=37), GeneralAttention(kind="general")),
    (LuongDecoder(kind="luong", width=37, input_feeding=True), DotAttention(kind="dot")),
    (LuongDecoder(kind="luong", width=37, layers=2), NoAttention(kind="none")),
    (BahdanauDecoder(kind="bahdanau", width=37), AdditiveAttention(kind="additive", width=19)),
    (StackedDecoder(kind="stacked", width=37), GeneralAttention(kind="general")),
    (ConditionalDecoder(kind="conditional", width=37), AdditiveAttention(kind="additive")),
    (StackedDecoder(kind="stacked", width=33), GeneralAttention(kind="general", heads=3)),
    (LuongDecoder(kind="luong", width=37), HardAttention(kind="hard_monotonic")),
    (StackedDecoder(kind="stacked", width=512), DotAttention(kind="scaled_dot")),
]


def network(decoder: AnyDecoder, attention: Attention) -> Seq2Seq:
    """A random network whose logits are sharp enough for outputs to differ in length."""
    torch.manual_seed(5)
    encoder = Encoder(width=21 if decoder.width < 100 else 256)
    recipe = Model(embeddings=29, encoder=encoder, attention=attention, decoder=decoder)
    model = Seq2Seq(recipe, VOCABULARY, VOCABULARY).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(6.0 if "embedding" in name else 2.0)
    return model


def sentences(count: int, longest: int = 20) -> list[list[int]]:
    draw = random.Random(1)
    return [
        [draw.randrange(4, VOCABULARY) for _ in range(draw.randint(1, longest))]
        for _ in range(count)
    ]


NAMES = [f"{d.kind}-{a.kind}-{d.width}" for d, a in WIRINGS]
every_wiring = pytest.mark.parametrize(("decoder", "attention"), WIRINGS, ids=NAMES)
small_wiring = pytest.mark.parametrize(("decoder", "attention"), WIRINGS[:-1], ids=NAMES[:-1])


@small_wiring
def test_a_beam_of_one_is_greedy_search(decoder: AnyDecoder, attention: Attention) -> None:
    model, sources = network(decoder, attention), sentences(20)
    one = BeamSearch(kind="beam", width=1, max_ratio=1.5, max_offset=4)
    greedy = search(model, sources, GREEDY, "cpu")
    assert len({h.tokens for (h,) in greedy}) > 10
    for (a,), (b,) in zip(greedy, search(model, sources, one, "cpu"), strict=True):
        assert (a.tokens, a.log_prob, a.finished) == (b.tokens, b.log_prob, b.finished)


@small_wiring
def test_beam_search_is_what_a_plain_one_finds(decoder: AnyDecoder, attention: Attention) -> None:
    model, sources = network(decoder, attention), sentences(6, longest=6)
    for source, found in zip(sources, search(model, sources, BEAM, "cpu", keep=5), strict=True):
        expected = plain_beam(model, source, BEAM)
        assert [h.tokens for h in found] == [e[1] for e in expected[:5]]
        for h in found:
            again = rescored(model, source, h.tokens, h.finished)
            assert h.log_prob == pytest.approx(again, abs=1e-3)


@every_wiring
@pytest.mark.parametrize("settings", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_company_number_and_order_change_nothing(
    decoder: AnyDecoder, attention: Attention, settings: Search
) -> None:
    check_company(inference_model(network(decoder, attention), "fp32"), settings)


def check_company(model: InferenceModel, settings: Search) -> None:
    sources = sentences(100)
    keys = range(len(sources))

    def outcome(order: list[int]) -> list[tuple[tuple[int, ...], float]]:
        found = search(model, [sources[i] for i in order], settings, "cpu")
        return [(h.tokens, h.log_prob) for (h,) in found]

    together = outcome(list(keys))
    for i in range(0, len(sources), 37):
        assert outcome([i]) == [together[i]]
    mixed = random.Random(2).sample(keys, len(sources))
    assert outcome(mixed) == [together[i] for i in mixed]
    some = random.Random(3).sample(keys, 41)
    assert outcome(some) == [together[i] for i in some]


@pytest.mark.parametrize("settings", [GREEDY, BEAM], ids=["greedy", "beam"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_nor_do_they_in_any_precision(settings: Search, precision: SearchPrecision) -> None:
    """With the shapes of that precision."""
    settings = dataclasses.replace(settings, precision=precision)
    check_company(inference_model(network(*WIRINGS[4]), precision), settings)


@every_wiring
@pytest.mark.parametrize("width", [1, 5])
def test_rows_of_a_block_do_not_see_each_other(
    decoder: AnyDecoder, attention: Attention, width: int
) -> None:
    """Bitwise: neither a row's place nor its neighbours change what it computes."""
    check_rows(decoder, attention, width)


@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize("threads", [2, 3])
def test_nor_do_they_with_several_threads(width: int, threads: int) -> None:
    """Two share the rows of a block evenly, three do not."""
    torch.set_num_threads(threads)
    check_rows(*WIRINGS[-1], width)


def check_rows(decoder: AnyDecoder, attention: Attention, width: int) -> None:
    model, slots = inference_model(network(decoder, attention), "fp32"), 64 // width
    source_BS = torch.randint(4, VOCABULARY, (slots, 16))
    lengths_B = torch.randint(1, 17, (slots,))
    source_BS[torch.arange(16) >= lengths_B.unsqueeze(1)] = 0
    tokens_BK = torch.randint(1, VOCABULARY, (slots, width))

    def logits(
        source_BS: torch.Tensor, lengths_B: torch.Tensor, tokens_BK: torch.Tensor
    ) -> torch.Tensor:
        memory = model.encode(source_BS, lengths_B)
        state = model.start(memory).select(torch.arange(slots).repeat_interleave(width))
        for shift in range(3):
            step = model.step(memory, state, (tokens_BK.flatten() + shift) % VOCABULARY)
            state = step.state
        return step.logits.view(slots, width, -1)

    with torch.inference_mode():
        before = logits(source_BS, lengths_B, tokens_BK)
        for _ in range(4):
            order = torch.randperm(slots)
            moved = logits(source_BS[order], lengths_B[order], tokens_BK[order])
            assert torch.equal(moved, before[order])
            stays = torch.rand(slots) < 0.3
            others = torch.where(stays.unsqueeze(1), source_BS, 7)
            lengths = torch.where(stays, lengths_B, 16)
            assert torch.equal(logits(others, lengths, tokens_BK)[stays], before[stays])


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("rows", "vocabulary"),
    [(112, 70_000), (64, 66_000), (120, 33_000), (125, 36_000), (5, 140_000)],
)
def test_the_normalizer_of_a_row_does_not_depend_on_its_place(
    rows: int, vocabulary: int, threads: int
) -> None:
    """With vocabularies of which few rows are looked at in one go, one row of them last."""
    torch.set_num_threads(threads)
    for seed in range(12):  # few rows show it
        row_V = 3.0 * torch.randn(vocabulary, generator=torch.Generator().manual_seed(seed))
        normalizer_N = digest(row_V.repeat(rows, 1)).normalizer
        assert len(set(normalizer_N.tolist())) == 1
    assert float(normalizer_N[0]) == pytest.approx(float(row_V.double().logsumexp(0)), abs=1e-5)
