"""The assembled model: teacher forcing is step by step, and each decoder is that of its paper."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2s.nn.attention import attend_rows
from s2s.nn.decoders.bahdanau import Bahdanau
from s2s.nn.decoders.luong import Luong
from s2s.nn.model import Seq2Seq
from s2s.recipe.model import (
    AdditiveAttention,
    AnyDecoder,
    Attention,
    BahdanauDecoder,
    ConditionalDecoder,
    DotAttention,
    Dropout,
    Encoder,
    GeneralAttention,
    HardAttention,
    LuongDecoder,
    Model,
    NoAttention,
    StackedDecoder,
)

DECODERS: list[AnyDecoder] = [
    LuongDecoder(kind="luong", layers=1, width=12),
    LuongDecoder(kind="luong", layers=2, width=12),
    LuongDecoder(kind="luong", layers=2, width=12, input_feeding=True),
    BahdanauDecoder(kind="bahdanau", layers=1, width=12),
    BahdanauDecoder(kind="bahdanau", layers=2, width=12),
    StackedDecoder(kind="stacked", layers=2, width=12),
    StackedDecoder(kind="stacked", layers=3, width=12),
    ConditionalDecoder(kind="conditional", layers=1, width=12),
    ConditionalDecoder(kind="conditional", layers=2, width=12),
]
NEED_ATTENTION = ("stacked", "conditional")
ATTENTIONS: list[Attention] = [
    DotAttention(kind="dot"),
    GeneralAttention(kind="general"),
    AdditiveAttention(kind="additive", width=7),
    NoAttention(kind="none"),
]
RECIPES = [
    Model(embeddings=6, encoder=Encoder(layers=2, width=5), attention=attention, decoder=decoder)
    for decoder in DECODERS
    for attention in ATTENTIONS
    if not (decoder.kind in NEED_ATTENTION and attention.kind == "none")
]
RECIPES += [
    replace(RECIPES[0], attention=attention, decoder=decoder)
    for decoder, attention in (
        (DECODERS[1], DotAttention(kind="dot", heads=3)),
        (DECODERS[2], DotAttention(kind="scaled_dot", heads=4)),
        (DECODERS[3], AdditiveAttention(kind="additive", width=8, heads=4)),
        (DECODERS[5], GeneralAttention(kind="general", heads=2)),
    )
]
START = [
    replace(RECIPES[0], attention=NoAttention(kind="none", context="start"), decoder=decoder)
    for decoder in DECODERS
    if decoder.kind not in NEED_ATTENTION
]
HARD = [
    replace(
        RECIPES[0],
        attention=HardAttention(kind=kind, score=score),
        decoder=LuongDecoder(kind="luong", layers=layers, width=12),
    )
    for kind, score, layers in (
        ("hard", GeneralAttention(kind="general"), 2),
        ("hard_monotonic", GeneralAttention(kind="general"), 1),
        ("hard_monotonic", AdditiveAttention(kind="additive", width=7), 2),
    )
]
SOURCE_VOCABULARY, TARGET_VOCABULARY = 11, 13
LENGTHS = torch.tensor([9, 4, 1])


def name(recipe: Model) -> str:
    feeding = "-feeding" if getattr(recipe.decoder, "input_feeding", False) else ""
    start = "-start" if getattr(recipe.attention, "context", "") == "start" else ""
    heads = f"-heads{recipe.attention.heads}" if heads_of(recipe) > 1 else ""
    score = getattr(recipe.attention, "score", None)
    kind = recipe.attention.kind if score is None else f"{recipe.attention.kind}-{score.kind}"
    decoder = f"{recipe.decoder.kind}{recipe.decoder.layers}{feeding}"
    return f"{decoder}-{kind}{start}{heads}"


def heads_of(recipe: Model) -> int:
    return getattr(recipe.attention, "heads", 1)


def build(recipe: Model) -> Seq2Seq:
    torch.manual_seed(3)
    model = Seq2Seq(recipe, SOURCE_VOCABULARY, TARGET_VOCABULARY)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def pairs() -> tuple[Tensor, Tensor]:
    torch.manual_seed(4)
    source = torch.randint(4, SOURCE_VOCABULARY, (3, 9))
    return source, torch.randint(4, TARGET_VOCABULARY, (3, 8))


@pytest.mark.parametrize("recipe", RECIPES + START + HARD, ids=name)
def test_step_by_step_is_teacher_forced(recipe: Model) -> None:
    model, (source, target) = build(recipe), pairs()
    whole = model(source, LENGTHS, target)
    memory = model.encode(source, LENGTHS)
    state = model.start(memory)
    for t in range(target.shape[1]):
        step = model.step(memory, state, target[:, t])
        state = step.state
        torch.testing.assert_close(step.logits, whole[:, t], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gated", [False, True], ids=["", "gated"])
@pytest.mark.parametrize("recipe", RECIPES + START, ids=name)
def test_gradients_step_by_step_are_those_of_teacher_forcing(recipe: Model, gated: bool) -> None:
    has_attention = recipe.attention.kind != "none"
    more = replace(recipe, context_gate=gated and has_attention, coverage=gated and has_attention)
    model, (source, target) = build(more).double(), pairs()
    parameters = list(model.parameters())
    memory = model.encode(source, LENGTHS)
    state, logits = model.start(memory), []
    for tokens in target.t():
        # `model.step` would round the logits.
        decoded, state = model.step_readout(memory, state, tokens)
        logits.append(model.output(decoded.readout))
    by_steps = torch.stack(logits, dim=1)
    expected = torch.autograd.grad(by_steps.square().mean(), parameters)
    whole = model(source, LENGTHS, target)
    found = torch.autograd.grad(whole.square().mean(), parameters)
    # Scores and weights of attention are float32 for any type of the model.
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("recipe", RECIPES + START + HARD, ids=name)
def test_a_sentence_alone_is_the_sentence_in_a_batch(recipe: Model) -> None:
    model, (source, target) = build(recipe), pairs()
    whole = model(source, LENGTHS, target)
    for row, length in enumerate(LENGTHS.tolist()):
        one = slice(row, row + 1)
        alone = model(source[one, :length], LENGTHS[one], target[one])
        torch.testing.assert_close(alone, whole[one], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES + START + HARD, ids=name)
def test_every_parameter_is_trained(recipe: Model) -> None:
    model, (source, target) = build(recipe).train(), pairs()
    model(source, LENGTHS, target).square().sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


@pytest.mark.parametrize("recipe", RECIPES + START + HARD, ids=name)
def test_hypotheses_of_a_sentence_share_its_memory(recipe: Model) -> None:
    model, (source, target) = build(recipe), pairs()
    memory = model.encode(source, LENGTHS)
    state = model.start(memory).select(torch.tensor([0, 0, 1, 1, 2, 2]))
    tokens = target[:, :2].reshape(-1)
    together = model.step(memory, state, tokens)
    for k in range(2):
        apart = model.step(memory, model.start(memory), target[:, k])
        torch.testing.assert_close(together.logits[k::2], apart.logits)


@pytest.mark.parametrize("decoder", [DECODERS[1], DECODERS[4]], ids=["luong", "bahdanau"])
def test_a_source_that_is_context_at_the_start_only_reaches_steps_through_the_state(
    decoder: AnyDecoder,
) -> None:
    attention = NoAttention(kind="none", context="start")
    model = build(replace(RECIPES[0], attention=attention, decoder=decoder))
    source, target = pairs()
    memory = model.encode(source, LENGTHS)
    state = model.start(memory)
    expected = model.step(memory, state, target[:, 0]).logits
    other = replace(memory, final_BD=torch.randn_like(memory.final_BD))
    assert torch.equal(model.step(other, state, target[:, 0]).logits, expected)
    every = replace(attention, context="every_step")
    model = build(replace(RECIPES[0], attention=every, decoder=decoder))
    expected = model.step(memory, state, target[:, 0]).logits
    assert not torch.allclose(model.step(other, state, target[:, 0]).logits, expected)


def test_bahdanau_reads_the_context_of_the_previous_state() -> None:
    recipe = replace(RECIPES[0], decoder=BahdanauDecoder(kind="bahdanau", width=12))
    model, (source, target) = build(recipe), pairs()
    decoder = model.decoder
    assert isinstance(decoder, Bahdanau)
    memory = model.encode(source, LENGTHS)
    state = model.start(memory)
    embedded = model.target_embedding(target[:, 0])
    context, weights, _, _ = attend_rows(decoder.scores, memory, decoder.top(state))  # h_{i-1}
    h, c = decoder.layer(0).step(torch.cat((embedded, context), dim=-1), state.layers[0])
    expected = model.output(decoder.readout(h, context, embedded))
    step = model.step(memory, state, target[:, 0])
    torch.testing.assert_close(step.logits, expected)
    torch.testing.assert_close(step.attention, weights)
    torch.testing.assert_close(step.state.layers[0], (h, c))


def test_luong_attends_with_the_new_state_and_feeds_its_readout() -> None:
    wiring = LuongDecoder(kind="luong", width=12, input_feeding=True)
    model, (source, target) = build(replace(RECIPES[0], decoder=wiring)), pairs()
    decoder = model.decoder
    assert isinstance(decoder, Luong)
    memory = model.encode(source, LENGTHS)
    state = model.step(memory, model.start(memory), target[:, 0]).state
    embedded = model.target_embedding(target[:, 1])
    assert state.fed is not None
    h, _ = decoder.layer(0).step(torch.cat((embedded, state.fed), dim=-1), state.layers[0])
    context, *_ = attend_rows(decoder.scores, memory, h)
    readout = decoder.readout(h, context)
    step = model.step(memory, state, target[:, 1])
    torch.testing.assert_close(step.logits, model.output(readout))
    torch.testing.assert_close(step.state.fed, readout)


def test_the_bottleneck_sees_the_source_only_through_its_last_states() -> None:
    recipe = replace(RECIPES[0], attention=NoAttention(kind="none"))
    model, (source, target) = build(recipe), pairs()
    memory = model.encode(source, LENGTHS)
    blind = replace(memory, states_BSD=torch.zeros_like(memory.states_BSD))
    state = model.start(memory)
    seen = model.step(memory, state, target[:, 0])
    torch.testing.assert_close(model.step(blind, state, target[:, 0]).logits, seen.logits)
    assert seen.attention is None


@pytest.mark.parametrize(
    ("tied", "shared"),
    [("none", []), ("output", ["output"]), ("all", ["output", "source_embedding"])],
)
def test_tied_weights_are_one_parameter(tied: str, shared: list[str]) -> None:
    recipe = replace(RECIPES[0], tied=tied)
    model = Seq2Seq(recipe, 13, 13)
    for module in ("output", "source_embedding"):
        is_same = getattr(model, module).weight is model.target_embedding.weight
        assert is_same == (module in shared)
    names = [n for n, _ in model.named_parameters()]
    assert len(names) == len(set(names))


def test_output_bias_starts_at_log_unigram() -> None:
    frequencies = torch.softmax(torch.randn(TARGET_VOCABULARY), dim=0)
    model = Seq2Seq(RECIPES[0], SOURCE_VOCABULARY, TARGET_VOCABULARY, frequencies)
    torch.testing.assert_close(model.output.bias.exp(), frequencies)


def test_dropout_is_one_mask_per_sentence_and_none_in_evaluation() -> None:
    recipe = replace(RECIPES[0], dropout=Dropout(embedding=0.5, encoder=0, decoder=0, readout=0))
    model, (source, target) = build(recipe), pairs()
    quiet = model(source, LENGTHS, target)
    assert torch.equal(quiet, model(source, LENGTHS, target))
    model.train()
    torch.manual_seed(0)
    loud = model(source, LENGTHS, target)
    assert not torch.equal(loud, quiet)
    torch.manual_seed(0)
    assert torch.equal(model(source, LENGTHS, target), loud)
    embedded = model._embed(model.source_embedding, torch.full((9, 3), 5))
    dropped = embedded == 0
    assert dropped.any()
    assert torch.equal(dropped[0], dropped[-1])
    assert not torch.equal(dropped[0, 0], dropped[0, 1])
