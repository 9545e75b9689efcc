"""Pointer-generator and coverage: textbook formulas, and teacher forcing is step by step."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.batch import Batch
from s2s.nn.memory import Memory
from s2s.nn.model import Seq2Seq
from s2s.nn.pointer import NEVER, copied_log_probs, extended_ids, first_positions, mixed_logits
from s2s.recipe.model import (
    AdditiveAttention,
    AnyDecoder,
    Dropout,
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    StackedDecoder,
)
from s2s.special import BOS, EOS, PAD, UNK
from s2s.tasks.seq2seq.loss import LossWeights, batch_loss
from s2s.training.loss import cross_entropy as loss_module
from s2s.training.loss.attention import coverage_losses
from s2s.training.loss.cross_entropy import CopyInputs, linear_cross_entropy
from tests.nn.test_model import DECODERS

SIZE, KNOWN = 11, 13
"""Source and target vocabulary."""
TARGET_OF_SOURCE = torch.tensor([-2, -2, -2, -2, 4, 9, -1, 12, 5, -1, 6])
LENGTHS = torch.tensor([9, 5, 1])
SOURCE = torch.tensor(
    [
        [4, 6, 24, 6, 5, 26, 7, 26, EOS],  # only the source has 6; no vocabulary has 24 and 26
        [10, 9, 8, 9, EOS, PAD, PAD, PAD, PAD],
        [EOS, PAD, PAD, PAD, PAD, PAD, PAD, PAD, PAD],
    ]
)
COPIES = torch.tensor(
    [
        [4, KNOWN + 1, KNOWN, KNOWN + 1, 9, KNOWN + 2, 12, KNOWN + 2, PAD],
        [6, KNOWN + 1, 5, KNOWN + 1, PAD, PAD, PAD, PAD, PAD],
        [PAD] * 9,
    ]
)
TARGET = torch.tensor([[4, KNOWN + 1, 7, KNOWN + 2], [KNOWN + 1, 6, 11, 5], [8, 5, UNK, 4]])

COVERED: dict[str, dict[str, Any]] = {
    "copy": {"copy": "pointer"},
    "coverage": {"coverage": True},
    "both": {"copy": "pointer", "coverage": True},
}


def recipe_of(decoder: AnyDecoder, **changes: Any) -> Model:
    chosen: dict[str, Any] = {"attention": GeneralAttention(kind="general"), **changes}
    return Model(embeddings=6, encoder=Encoder(width=5), decoder=decoder, **chosen)


def build(recipe: Model) -> Seq2Seq:
    torch.manual_seed(3)
    table = TARGET_OF_SOURCE if recipe.copy == "pointer" else None
    model = Seq2Seq(recipe, SIZE, KNOWN, None, table)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def ids(recipe: Model) -> tuple[Tensor, Tensor]:
    """Extended ids, if the model copies."""
    if recipe.copy == "pointer":
        return SOURCE, TARGET
    return SOURCE.masked_fill(SOURCE >= SIZE, UNK), TARGET.masked_fill(TARGET >= KNOWN, UNK)


def words_in(source: Tensor) -> Tensor:
    return (source != EOS) & (source != PAD)


RECIPES = [
    *(recipe_of(decoder, **changes) for decoder in DECODERS for changes in COVERED.values()),
    recipe_of(
        StackedDecoder(kind="stacked", width=12),
        attention=AdditiveAttention(kind="additive", width=7),
        **COVERED["both"],
    ),
]


def name(recipe: Model) -> str:
    feeding = "-feeding" * getattr(recipe.decoder, "input_feeding", False)
    kind = f"{recipe.decoder.kind}{recipe.decoder.layers}{feeding}-{recipe.attention.kind}"
    return f"{kind}{'-copy' * (recipe.copy != 'none')}{'-coverage' * recipe.coverage}"


def test_every_source_token_has_an_id_of_the_target() -> None:
    words = words_in(SOURCE)
    # 24 - 11 = 13 is V + 0.
    assert torch.equal(extended_ids(SOURCE, words, TARGET_OF_SOURCE, KNOWN), COPIES)
    shared = torch.arange(SIZE)
    shared[[UNK, 8]] = -2  # tokens without an extended id, or without text, are not copied
    assert torch.equal(
        extended_ids(torch.tensor([[4, 8, SIZE + 5, UNK]]), torch.ones(1, 4) > 0, shared, SIZE),
        torch.tensor([[4, PAD, 5, PAD]]),
    )
    assert first_positions(COPIES)[0].tolist() == [0, 1, 2, 1, 4, 5, 6, 5, 8]


def mixture(generator: torch.Generator, rows: int) -> tuple[Tensor, Tensor, Tensor, Memory]:
    """Random logits, gates and scores of some rows a sentence, and a memory with `COPIES`."""
    nothing, words = torch.zeros(3, 0), words_in(SOURCE)
    mask = SOURCE != PAD
    memory = Memory(nothing, nothing, mask, nothing, words, COPIES, first_positions(COPIES))
    logits = 3 * torch.randn(3 * rows, KNOWN, generator=generator)
    gates = 2 * torch.randn(3 * rows, generator=generator)
    return logits, gates, 2 * torch.randn(3 * rows, 9, generator=generator), memory


def textbook(logits: Tensor, gates: Tensor, scores: Tensor, rows: int) -> Tensor:
    """Equation 9 of See et al., written with loops, in float64."""
    found = torch.zeros(len(logits), KNOWN + SOURCE.shape[1], dtype=torch.float64)
    for row in range(len(logits)):
        sentence = row // rows
        words = [j for j in range(9) if SOURCE[sentence, j] not in (EOS, PAD)]
        attention = scores[row, words].double().softmax(-1)
        g = gates[row].double().sigmoid() if words else torch.tensor(1.0)
        found[row, :KNOWN] = g * logits[row].double().softmax(-1)
        for j, weight in zip(words, attention, strict=True):
            found[row, COPIES[sentence, j]] += (1 - g) * weight
    return found


def test_the_mixture_is_the_textbooks_and_sums_to_one() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, gates, scores, memory = mixture(generator, 2)
    mixed = mixed_logits(logits, gates, scores, memory)
    found, expected = mixed.double().softmax(-1), textbook(logits, gates, scores, 2)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(found.sum(-1), torch.ones(6, dtype=torch.float64))
    # PAD and EOS are not copied: they have the probabilities of the generator.
    g = torch.where(torch.arange(6) < 4, gates.sigmoid(), 1.0).double().unsqueeze(1)
    only = g * logits.double().softmax(-1)
    special = [PAD, BOS, EOS, UNK]
    torch.testing.assert_close(found[:, special], only[:, special], atol=1e-7, rtol=1e-5)
    # Without words every token is generated, bit for bit; ids of no token are impossible.
    assert torch.equal(mixed[4:, :KNOWN], logits[4:])
    unused = torch.ones_like(mixed, dtype=torch.bool)
    unused[:, :KNOWN] = False
    unused.scatter_(1, COPIES.repeat_interleave(2, 0), False)
    assert (mixed[unused] == -torch.inf).all()
    assert (mixed[~unused] > -torch.inf).all()


@pytest.mark.parametrize("size", [3.0, 300.0])
def test_extremes_stay_finite(size: float) -> None:
    generator = torch.Generator().manual_seed(2)
    logits, gates, scores, memory = mixture(generator, 1)
    mixed = mixed_logits(logits, size * gates, size * scores, memory)
    chosen = mixed.log_softmax(-1).gather(1, COPIES)
    assert torch.isfinite(chosen).all()


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_step_by_step_is_teacher_forced(recipe: Model) -> None:
    model, (source, target) = build(recipe), ids(recipe)
    whole = model(source, LENGTHS, target)
    memory = model.encode(source, LENGTHS)
    state = model.start(memory)
    for t in range(target.shape[1]):
        step = model.step(memory, state, target[:, t])
        state = step.state
        torch.testing.assert_close(step.logits, whole[:, t], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_a_sentence_alone_is_the_sentence_in_a_batch(recipe: Model) -> None:
    model, (source, target) = build(recipe), ids(recipe)
    whole = model(source, LENGTHS, target)
    beyond = recipe.copy == "pointer"
    for row, length in enumerate(LENGTHS.tolist()):
        one = slice(row, row + 1)
        alone = model(source[one, :length], LENGTHS[one], target[one])
        real = whole[one, :, : KNOWN + length * beyond]
        torch.testing.assert_close(alone, real, atol=1e-5, rtol=1e-5)
        assert (whole[one, :, KNOWN + length * beyond :] == -torch.inf).all()


def batch() -> Batch:
    """Two pairs, and one with an empty source, which validation may have."""
    output = torch.tensor([[4, KNOWN + 1, 7, EOS], [KNOWN + 1, 6, EOS, PAD], [8, EOS, PAD, PAD]])
    inputs = torch.tensor([[BOS, 4, KNOWN + 1, 7], [BOS, KNOWN + 1, 6, PAD], [BOS, 8, PAD, PAD]])
    return Batch(SOURCE, LENGTHS, inputs, output, torch.tensor([4, 3, 2]))


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.copy == "pointer"], ids=name)
def test_the_loss_is_that_of_the_logits_in_value_and_gradient(recipe: Model) -> None:
    """The fused loss of the mixture against autograd through the logits."""
    model, pairs = build(recipe), batch()
    parameters = dict(model.named_parameters())
    found = batch_loss(model, pairs)[0]
    gradients = torch.autograd.grad(found.smoothed, list(parameters.values()))
    logits = model(pairs.source, pairs.source_lengths, pairs.target_input)
    expected = F.cross_entropy(
        logits.flatten(0, 1), pairs.target_output.flatten(), ignore_index=PAD, reduction="sum"
    )
    torch.testing.assert_close(found.nll, expected.detach(), rtol=1e-5, atol=1e-5)
    wanted = torch.autograd.grad(expected, list(parameters.values()))
    for key, one, other in zip(parameters, gradients, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=key)
        assert one.any(), key


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("chunk", "r_drop"), [(3, 0.0), (64, 0.0), (4, 1.7), (64, 1.7)])
def test_value_and_gradients_are_the_formulas(
    smoothing: float, chunk: int, r_drop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against autograd of -log(g P_vocab + (1 - g) sum a) in float64; R-Drop is of P_vocab."""
    monkeypatch.setattr(loss_module, "CPU_CHUNK", chunk)
    torch.manual_seed(0)
    shapes = ((10, 4), (7, 4), (7,), (10,), (10, 5))
    tensors = [torch.randn(shape, requires_grad=True) for shape in shapes]
    readout, weight, bias, gates, scores = tensors
    targets = torch.randint(0, 9, (10,))  # 7 and 8 are not in the vocabulary
    copies = torch.tensor([0, 3, 7, 8, 3]).expand(10, 5)
    is_match, words = copies == targets.unsqueeze(1), torch.ones(10, 5, dtype=torch.bool)
    copy_inputs = CopyInputs(gates, copied_log_probs(scores, words, is_match), targets < 7)
    known = targets.masked_fill(targets >= 7, UNK)
    found = linear_cross_entropy(
        readout, weight, bias, known, smoothing, copy_inputs=copy_inputs, r_drop=r_drop
    )
    gradients = torch.autograd.grad(found.smoothed, tensors)

    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    readout, weight, bias, gates, scores = exact
    generated = F.linear(readout, weight, bias).softmax(-1)
    extended = F.pad(generated, (0, 2)).gather(1, targets.unsqueeze(1)).squeeze(1)
    copied = (scores.softmax(-1) * is_match).sum(-1)
    g = gates.sigmoid()
    nll = -(g * extended + (1 - g) * copied).log().sum()
    uniform = -generated.log().mean(-1).sum()
    first, second = generated[0::2], generated[1::2]
    apart = ((first - second) * (first.log() - second.log())).sum()
    expected = (1 - smoothing) * nll + smoothing * uniform + r_drop * apart / 2
    torch.testing.assert_close(found.nll.double(), nll.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.smoothed.double(), expected, rtol=1e-6, atol=1e-6)
    for one, other in zip(gradients, torch.autograd.grad(expected, exact), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)


def test_a_target_that_cannot_be_copied_moves_no_attention() -> None:
    scores = torch.randn(2, 5, requires_grad=True)
    words = torch.tensor([[True] * 5, [False] * 5])
    log_probs = copied_log_probs(scores, words, torch.zeros(2, 5, dtype=torch.bool))
    assert (log_probs == NEVER).all()
    (gradient,) = torch.autograd.grad(log_probs.sum(), scores)
    assert not gradient.any()


def test_coverage_is_the_sum_of_earlier_attention() -> None:
    wiring = StackedDecoder(kind="stacked", width=12)
    recipe = recipe_of(wiring, coverage=True)
    model, (source, target) = build(recipe), ids(recipe)
    memory = model.encode(source, LENGTHS)
    weights = model.decoded(memory, target).weights
    assert weights is not None
    state = model.start(memory)
    covered = torch.zeros(3, 9)
    for t in range(target.shape[1]):
        torch.testing.assert_close(state.coverage, covered)
        state = model.step(memory, state, target[:, t]).state
        covered = covered + weights[:, t] * words_in(source)
    # The weight starts at 0: a new model attends as one without coverage.
    with torch.no_grad():
        assert model.decoder.coverage is not None
        model.decoder.coverage.zero_()
    plain = build(replace(recipe, coverage=False))
    plain.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(
        model(source, LENGTHS, target), plain(source, LENGTHS, target), atol=1e-6, rtol=1e-6
    )


def test_the_coverage_loss_is_the_formula() -> None:
    torch.manual_seed(5)
    weights = torch.rand(3, 4, 9).softmax(-1)
    words = words_in(SOURCE)
    expected = torch.zeros(3, 4)
    for b in range(3):
        for t in range(4):
            for j in range(9):
                if words[b, j]:
                    before = sum(float(weights[b, u, j]) for u in range(t))
                    expected[b, t] += min(float(weights[b, t, j]), before)
    torch.testing.assert_close(coverage_losses(weights, words), expected)


def test_the_coverage_loss_is_minimized_over_target_tokens() -> None:
    recipe = recipe_of(LuongDecoder(kind="luong", width=12))
    model, pairs = build(recipe), batch()
    pairs = replace(
        pairs,
        source=SOURCE.masked_fill(SOURCE >= SIZE, UNK),
        target_input=pairs.target_input.masked_fill(pairs.target_input >= KNOWN, UNK),
        target_output=pairs.target_output.masked_fill(pairs.target_output >= KNOWN, UNK),
    )
    memory = model.encode(pairs.source, pairs.source_lengths)
    weights = model.decoded(memory, pairs.target_input).weights
    assert weights is not None
    costs = coverage_losses(weights, words_in(SOURCE))
    total = (costs * (pairs.target_output != PAD)).sum()
    without, with_it = (
        batch_loss(model, pairs, LossWeights(smoothing=0.1, coverage=weight))[0]
        for weight in (0.0, 0.7)
    )
    torch.testing.assert_close(with_it.smoothed, without.smoothed + 0.7 * total)
    torch.testing.assert_close(with_it.nll, without.nll)
    assert total > 0


def test_dropout_reaches_every_decoder_that_copies() -> None:
    for decoder in DECODERS:
        model = build(replace(recipe_of(decoder, **COVERED["both"]), dropout=Dropout())).train()
        found = batch_loss(model, batch(), LossWeights(smoothing=0.1, coverage=1.0, r_drop=2.0))[0]
        found.smoothed.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
