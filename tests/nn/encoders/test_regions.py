"""Features of images in memory, alone or after a text: teacher forcing is step by step, padding and
the order of regions change nothing.

Dimension letters: B samples, R regions, W width of features, S source time, T target time.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2s.nn.attention import attend_rows
from s2s.nn.batch import Regions
from s2s.nn.encoders.regions import FeatureShape, RegionEncoder
from s2s.nn.inference_model import inference_model
from s2s.nn.int8 import LEVELS, weight_levels
from s2s.nn.model import Seq2Seq
from s2s.nn.state_dict import feature_shapes
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.image_features import ImageFeatureEncoder
from s2s.recipe.model import (
    AdditiveAttention,
    BahdanauDecoder,
    DotAttention,
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    NoAttention,
    StackedDecoder,
)
from s2s.training.loss.attention import doubly_stochastic_losses

SOURCE_VOCABULARY, TARGET_VOCABULARY = 11, 13
LENGTHS = torch.tensor([9, 4, 1])
SHAPES = (FeatureShape(7, 6), FeatureShape(3, 1))
COUNTS = (torch.tensor([4, 6, 2]), torch.tensor([1, 1, 1]))

BASE = Model(
    embeddings=6, encoder=Encoder(width=5), image_features=(ImageFeatureEncoder(dropout=0.3),)
)
RECIPES = [
    replace(BASE, attention=attention, decoder=decoder, context_gate=gated, coverage=covers)
    for attention, decoder, gated, covers in (
        (
            AdditiveAttention(kind="additive"),
            BahdanauDecoder(kind="bahdanau", width=12),
            True,
            False,
        ),
        (GeneralAttention(kind="general"), StackedDecoder(kind="stacked", width=12), True, True),
        (
            DotAttention(kind="scaled_dot"),
            StackedDecoder(kind="stacked", layers=3, width=12),
            False,
            False,
        ),
        (
            GeneralAttention(kind="general"),
            LuongDecoder(kind="luong", layers=2, width=12, input_feeding=True),
            True,
            False,
        ),
        (DotAttention(kind="dot"), LuongDecoder(kind="luong", width=12), False, True),
        (NoAttention(kind="none"), LuongDecoder(kind="luong", width=12), False, False),
        (NoAttention(kind="none"), BahdanauDecoder(kind="bahdanau", width=12), False, False),
    )
]


def name(recipe: Model) -> str:
    gated = "-gated" if recipe.context_gate else ""
    return f"{recipe.decoder.kind}{recipe.decoder.layers}-{recipe.attention.kind}{gated}"


every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=name)
with_and_without_text = pytest.mark.parametrize("has_text", [True, False], ids=["text", "images"])


def build(recipe: Model, has_text: bool, files: int = 2) -> Seq2Seq:
    torch.manual_seed(3)
    vocabulary = SOURCE_VOCABULARY if has_text else None
    model = Seq2Seq(recipe, vocabulary, TARGET_VOCABULARY, features=SHAPES[:files])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def samples(has_text: bool, files: int = 2) -> tuple[Tensor, Tensor, list[Regions], Tensor]:
    """Sources, their lengths, features and targets of three samples."""
    torch.manual_seed(4)
    source = torch.randint(4, SOURCE_VOCABULARY, (3, 9))
    features = []
    for shape, counts in list(zip(SHAPES, COUNTS, strict=True))[:files]:
        values = torch.randn(3, shape.regions, shape.width)
        values *= (torch.arange(shape.regions) < counts.unsqueeze(1)).unsqueeze(-1)
        features.append(Regions(values, counts))
    lengths = LENGTHS if has_text else torch.zeros_like(LENGTHS)
    target = torch.randint(4, TARGET_VOCABULARY, (3, 8))
    return (source if has_text else source[:, :0]), lengths, features, target


def permuted(regions: Regions) -> Regions:
    """Each sample's regions in reverse order."""
    values = regions.values_BRD.clone()
    for row, count in enumerate(regions.lengths_B.tolist()):
        values[row, :count] = values[row, :count].flip(0)
    return Regions(values, regions.lengths_B)


@every_recipe
@with_and_without_text
def test_step_by_step_is_teacher_forced(recipe: Model, has_text: bool) -> None:
    model = build(recipe, has_text)
    source, lengths, features, target = samples(has_text)
    whole = model(source, lengths, target, features)
    memory = model.encode(source, lengths, features)
    assert memory.states_BSD.shape == (3, source.shape[1] + 6 + 1, 10)
    state = model.start(memory)
    for t in range(target.shape[1]):
        step = model.step(memory, state, target[:, t])
        state = step.state
        torch.testing.assert_close(step.logits, whole[:, t], atol=1e-5, rtol=1e-5)
        if step.attention is not None:
            torch.testing.assert_close(step.attention.sum(1), torch.ones(3))
            assert not step.attention[~memory.mask_BS].any()


@every_recipe
@with_and_without_text
def test_a_sample_alone_is_the_sample_in_a_batch(recipe: Model, has_text: bool) -> None:
    model = build(recipe, has_text)
    source, lengths, features, target = samples(has_text)
    whole = model(source, lengths, target, features)
    for row in range(3):
        one = slice(row, row + 1)
        own = [Regions(values[one, : counts[row]], counts[one]) for values, counts in features]
        alone = model(source[one, : lengths[row]], lengths[one], target[one], own)
        torch.testing.assert_close(alone, whole[one], atol=1e-5, rtol=1e-5)


@every_recipe
@with_and_without_text
def test_the_order_of_regions_changes_nothing(recipe: Model, has_text: bool) -> None:
    model = build(recipe, has_text)
    source, lengths, features, target = samples(has_text)
    whole = model(source, lengths, target, features)
    other = model(source, lengths, target, [permuted(one) for one in features])
    torch.testing.assert_close(other, whole, atol=1e-5, rtol=1e-5)
    # Other features do change it.
    less = [Regions(values * 0.5, counts) for values, counts in features]
    bare = replace(recipe, image_features=(ImageFeatureEncoder(normalization="none"),))
    model = build(bare, has_text)
    changed = model(source, lengths, target, less) - model(source, lengths, target, features)
    assert changed.abs().amax() > 1e-3


@pytest.mark.parametrize(
    "encoder",
    [ImageFeatureEncoder(positions=True), ImageFeatureEncoder(layers=2)],
    ids=["positions", "lstm"],
)
def test_with_positions_or_a_recurrence_the_order_counts(encoder: ImageFeatureEncoder) -> None:
    model = build(replace(RECIPES[0], image_features=(encoder,)), has_text=False)
    source, lengths, features, target = samples(has_text=False)
    whole = model(source, lengths, target, features)
    other = model(source, lengths, target, [permuted(one) for one in features])
    assert (other - whole).abs().amax() > 1e-3
    # Padding after the last region still changes nothing.
    longer = [
        Regions(torch.nn.functional.pad(values, (0, 0, 0, 0)), counts)
        for values, counts in features
    ]
    longer[0].values_BRD[0, 4:] = 9.0
    torch.testing.assert_close(model(source, lengths, target, longer), whole)


@every_recipe
@with_and_without_text
def test_every_parameter_is_trained(recipe: Model, has_text: bool) -> None:
    model = build(recipe, has_text).train()
    source, lengths, features, target = samples(has_text)
    model(source, lengths, target, features).square().sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # Without attention the marks reach the output through regions only.
    assert not idle
    assert (model.marks is not None) and model.marks.shape == (2 + has_text, 10)
    assert build(recipe, has_text=False, files=1).marks is None


@every_recipe
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_step_for_search_is_near(recipe: Model, precision: SearchPrecision) -> None:
    model = build(recipe, has_text=True)
    with torch.no_grad():
        assert model.marks is not None
        model.marks[0] = 3.0  # puts states of the text far beyond 1
    source, lengths, features, target = samples(has_text=True)
    quantized = inference_model(model, precision)
    found = []
    with torch.no_grad():
        for scorer in (model, quantized):
            memory = scorer.encode(source, lengths, features)
            step = scorer.step(memory, scorer.start(memory), target[:, 0])
            found.append(scorer.step(memory, step.state, target[:, 1]).logits)
    # A CPU with fewer levels of weights rounds these more coarsely.
    tolerance = {"fp32": 1e-5, "bf16": 0.15, "int8": 0.15 * LEVELS / weight_levels()}[precision]
    assert (found[0] - found[1]).abs().amax() < tolerance * found[0].std().clamp_min(1.0)


def test_copies_are_of_words_and_never_of_regions() -> None:
    torch.manual_seed(3)
    table = torch.arange(SOURCE_VOCABULARY)
    recipe = replace(RECIPES[1], copy="pointer")
    model = Seq2Seq(recipe, SOURCE_VOCABULARY, TARGET_VOCABULARY, None, table, features=SHAPES)
    model.eval()
    source, lengths, features, target = samples(has_text=True)
    whole = model(source, lengths, target, features)
    time = source.shape[1] + 6 + 1
    assert whole.shape == (3, 8, TARGET_VOCABULARY + time)
    assert torch.isneginf(whole[:, :, TARGET_VOCABULARY:]).all()  # every word is known
    memory = model.encode(source, lengths, features)
    assert memory.copies_BS is not None and memory.words_BS is not None
    assert not memory.copies_BS[:, 9:].any() and memory.words_BS[:, 9:].sum(1).tolist() == [5, 7, 3]
    state = model.start(memory)
    for t in range(target.shape[1]):
        step = model.step(memory, state, target[:, t])
        state = step.state
        torch.testing.assert_close(step.logits, whole[:, t], atol=1e-5, rtol=1e-5)


def test_the_context_gate_scales_the_context() -> None:
    model = build(RECIPES[0], has_text=False)
    source, lengths, features, _ = samples(has_text=False)
    memory = model.encode(source, lengths, features)
    state, decoder = model.start(memory), model.decoder
    assert decoder.context_gate is not None
    query = decoder.top(state)
    linear = decoder.context_gate.linear
    found = decoder.attend_rows(memory, query, state)
    beta = torch.sigmoid(query @ linear.weight[0] + linear.bias)
    plain = attend_rows(decoder.scores, memory, query)
    torch.testing.assert_close(found.context, beta.unsqueeze(1) * plain.context)
    torch.testing.assert_close(found.weights, plain.weights)


def test_a_state_is_the_tanh_of_a_projection_and_the_vector_their_mean() -> None:
    torch.manual_seed(5)
    encoder = RegionEncoder(ImageFeatureEncoder(), FeatureShape(7, 6), 8, 0.0).eval()
    regions = samples(has_text=False)[2][0]
    states, mask, words, final = encoder(regions, None)
    assert torch.equal(mask, words) and mask.sum(1).tolist() == COUNTS[0].tolist()
    x = regions.values_BRD[1, :6]
    normal = (x - x.mean(-1, keepdim=True)) / (
        x.var(-1, unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    expected = torch.tanh(normal @ encoder.projection.weight.t() + encoder.projection.bias)
    torch.testing.assert_close(states[1], expected)
    torch.testing.assert_close(final[1], expected.mean(0))
    assert not states[0, 4:].any()


def test_the_doubly_stochastic_loss_is_that_of_the_paper() -> None:
    weights = torch.softmax(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)), -1)
    inside = torch.tensor([[True, True, True], [True, True, False]])
    words = torch.tensor([[True, True, True, True], [True, False, True, False]])
    found = doubly_stochastic_losses(weights, inside, words).tolist()
    for row, (steps, places) in enumerate(((range(3), range(4)), (range(2), (0, 2)))):
        sums = [sum(float(weights[row, t, i]) for t in steps) for i in places]
        assert found[row] == pytest.approx(sum((1 - total) ** 2 for total in sums), rel=1e-5)


def test_weights_tell_what_features_they_are_for() -> None:
    positioned = replace(
        BASE, image_features=(ImageFeatureEncoder(positions=True), ImageFeatureEncoder())
    )
    model = build(positioned, has_text=True)
    assert feature_shapes(dict(model.named_parameters())) == ((7, 6), (3, 0))
    assert feature_shapes({"output.bias": torch.zeros(2)}) == ()
