"""Hard attention is the sum over all alignments, which the tests enumerate in float64."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn import hard_attention
from s2s.nn.batch import Batch
from s2s.nn.hard_attention import log_posterior, log_prior, log_priors, masked_scores
from s2s.nn.inference_model import rounded_matrices
from s2s.nn.model import Seq2Seq
from s2s.nn.pointer import NEVER
from s2s.recipe.model import Dropout, Model
from s2s.special import BOS, PAD
from s2s.tasks.seq2seq.loss import LossWeights, batch_loss
from tests.nn.test_model import HARD, LENGTHS, build, name, pairs

TIME, POSITIONS = 4, 3
both_kinds = pytest.mark.parametrize("is_monotonic", [False, True], ids=["hard", "monotonic"])
every_recipe = pytest.mark.parametrize("recipe", HARD, ids=name)


def transition(scores_S: Tensor, before: int, is_monotonic: bool) -> list[float]:
    """p(a_i = j | a_{i-1} = before), as the papers define it."""
    first = before if is_monotonic else 0
    weights = [math.exp(float(e)) if j >= first else 0.0 for j, e in enumerate(scores_S)]
    return [weight / sum(weights) for weight in weights]


def enumerated(scores_TS: Tensor, said_TS: Tensor, is_monotonic: bool, steps: int) -> float:
    """p(y_1 ... y_steps): the sum over all alignments of the products along them."""
    positions, total = range(scores_TS.shape[1]), 0.0
    for alignment in itertools.product(positions, repeat=steps):
        product, before = 1.0, 0
        for i, j in enumerate(alignment):
            product *= transition(scores_TS[i], before, is_monotonic)[j]
            product *= math.exp(float(said_TS[i, j]))
            before = j
        total += product
    return total


def random_case(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Scores and log-probabilities float64 [1, T, S]."""
    size = (1, TIME, POSITIONS)
    scores = 2 * torch.randn(size, generator=generator, dtype=torch.float64)
    return scores, -3 * torch.rand(size, generator=generator, dtype=torch.float64)


@both_kinds
def test_the_likelihood_is_the_sum_over_all_alignments(is_monotonic: bool) -> None:
    scores, said = random_case(torch.Generator().manual_seed(1))
    prior = log_priors(scores, said, is_monotonic)
    steps = (prior + said).logsumexp(-1)[0]
    for count in range(1, TIME + 1):
        expected = enumerated(scores[0], said[0], is_monotonic, count)
        assert float(steps[:count].sum().exp()) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(prior.exp().sum(-1), torch.ones(1, TIME, dtype=torch.float64))


@both_kinds
def test_step_by_step_is_the_whole(is_monotonic: bool) -> None:
    scores, said = random_case(torch.Generator().manual_seed(2))
    expected = log_priors(scores, said, is_monotonic)
    start = torch.tensor([[0.0, NEVER, NEVER]], dtype=torch.float64)
    posterior = start if is_monotonic else None
    for t in range(TIME):
        prior = log_prior(scores[:, t], posterior)
        torch.testing.assert_close(prior, expected[:, t])
        posterior = log_posterior(prior, said[:, t]) if is_monotonic else None


def test_monotonic_alignments_never_go_back() -> None:
    """A token that one position alone can have made leaves nothing to those before it."""
    scores = torch.randn(1, 2, POSITIONS)
    said = torch.full((1, 2, POSITIONS), NEVER)
    said[:, :, 1] = -0.5
    second = log_priors(scores, said, is_monotonic=True)[0, 1].exp()
    assert second[0] == 0.0
    torch.testing.assert_close(second[1:], scores[0, 1, 1:].softmax(-1))
    free = log_priors(scores, said, is_monotonic=False)[0, 1].exp()
    assert free[0] > 0.0


@both_kinds
def test_padding_changes_nothing_and_has_no_gradient(is_monotonic: bool) -> None:
    scores, said = random_case(torch.Generator().manual_seed(3))
    expected = log_priors(scores, said, is_monotonic)
    wide_scores = F.pad(scores, (0, 2), value=7.0).requires_grad_()
    wide_said = F.pad(said, (0, 2), value=-0.1).requires_grad_()
    mask = torch.tensor([[True] * POSITIONS + [False] * 2])
    found = log_priors(masked_scores(wide_scores, mask), wide_said, is_monotonic)
    torch.testing.assert_close(found[..., :POSITIONS], expected)
    assert not found[..., POSITIONS:].exp().any()
    likelihood = (found + wide_said).logsumexp(-1).sum()
    for gradient in torch.autograd.grad(likelihood, (wide_scores, wide_said)):
        assert gradient.isfinite().all()
        assert not gradient[..., POSITIONS:].any()


@both_kinds
def test_gradients_are_those_of_finite_differences(is_monotonic: bool) -> None:
    given = tuple(part.requires_grad_() for part in random_case(torch.Generator().manual_seed(4)))

    def likelihood(scores: Tensor, said: Tensor) -> Tensor:
        return (log_priors(scores, said, is_monotonic) + said).logsumexp(-1)

    assert torch.autograd.gradcheck(likelihood, given)


@both_kinds
def test_long_and_peaked_alignments_stay_finite(is_monotonic: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    scores = 40 * torch.randn(2, 60, 30, generator=generator)
    said = -60 * torch.rand(2, 60, 30, generator=generator)
    scores.requires_grad_()
    prior = log_priors(scores, said, is_monotonic)
    torch.testing.assert_close(prior.exp().sum(-1), torch.ones(2, 60), atol=1e-3, rtol=0)
    (gradient,) = torch.autograd.grad((prior + said).logsumexp(-1).sum(), scores)
    assert gradient.isfinite().all()


# ------------------------------------------------------------------------------------- the model


def batch() -> Batch:
    """Three pairs with targets of different lengths."""
    source, target = pairs()
    source[torch.arange(9) >= LENGTHS.unsqueeze(1)] = PAD
    lengths = torch.tensor([8, 3, 5])
    target[torch.arange(8) >= lengths.unsqueeze(1)] = PAD
    shifted = torch.cat((torch.full((3, 1), BOS), target[:, :-1]), dim=1)
    return Batch(source, LENGTHS, shifted, target, lengths)


@every_recipe
@torch.no_grad()
def test_what_the_model_says_is_the_sum_over_alignments(recipe: Model) -> None:
    """Of a pair, from the scores and the distributions of single positions."""
    model, given = build(recipe), batch()
    row, steps = 1, 3
    length = int(LENGTHS[row])
    memory = model.encode(given.source, LENGTHS)
    decoded = model.decoded(memory, given.target_input)
    assert decoded.scores is not None and memory.readouts_BSE is not None
    said = torch.empty(steps, length)
    for i, j in itertools.product(range(steps), range(length)):
        readout = torch.tanh(decoded.readout[i, row] + memory.readouts_BSE[row, j])
        said[i, j] = model.output(readout).log_softmax(-1)[given.target_output[row, i]]
    scores = decoded.scores[row, :steps, :length]
    is_monotonic = recipe.attention.kind == "hard_monotonic"
    expected = math.log(enumerated(scores, said, is_monotonic, steps))
    log_probs = model(given.source, LENGTHS, given.target_input)[row, :steps]
    found = log_probs.gather(1, given.target_output[row, :steps].unsqueeze(1)).sum()
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(steps))


@every_recipe
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("cells", [1 << 22, 200], ids=["whole", "chunks"])
def test_the_loss_is_cross_entropy_of_the_sums(
    recipe: Model, smoothing: float, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = build(recipe), batch()
    log_probs = model(given.source, LENGTHS, given.target_input).transpose(1, 2)
    options: dict[str, Any] = {"ignore_index": PAD, "reduction": "sum"}
    expected = F.cross_entropy(log_probs, given.target_output, label_smoothing=smoothing, **options)
    monkeypatch.setattr(hard_attention, "CELLS", cells)
    loss, _ = batch_loss(model, given, LossWeights(smoothing=smoothing))
    torch.testing.assert_close(loss.smoothed, expected)
    torch.testing.assert_close(loss.nll, F.cross_entropy(log_probs, given.target_output, **options))
    assert not loss.nll.requires_grad
    parameters = list(model.parameters())
    found = torch.autograd.grad(loss.smoothed, parameters)
    torch.testing.assert_close(
        found, torch.autograd.grad(expected, parameters), atol=1e-4, rtol=1e-3
    )


@every_recipe
@torch.no_grad()
def test_reported_attention_is_the_alignment_before_the_token(recipe: Model) -> None:
    model, (source, target) = build(recipe), pairs()
    memory = model.encode(source, LENGTHS)
    decoded = model.decoded(memory, target)
    assert decoded.scores is not None
    emissions = model.decoder.emissions(memory, decoded, model.output)  # type: ignore[operator]
    said = emissions.each(lambda logits: logits.log_softmax(-1)).view(8, 3, 9, -1).transpose(0, 1)
    next_tokens = target.roll(-1, dims=1).view(3, 8, 1, 1).expand(-1, -1, 9, -1)
    is_monotonic = recipe.attention.kind == "hard_monotonic"
    said = said.gather(-1, next_tokens).squeeze(-1)
    expected = log_priors(decoded.scores, said, is_monotonic).exp()
    state = model.start(memory)
    for t, tokens in enumerate(target.t()):
        step = model.step(memory, state, tokens)
        state = step.state
        torch.testing.assert_close(step.attention, expected[:, t], atol=1e-5, rtol=1e-4)
        assert not step.attention[~memory.mask_BS].any()


def test_dropout_of_readouts_is_one_mask_a_sentence() -> None:
    dropout = Dropout(embedding=0, encoder=0, decoder=0, readout=0.5)
    model, (source, target) = build(replace(HARD[0], dropout=dropout)).train(), pairs()
    decoded = model.decoded(model.encode(source, LENGTHS), target)
    assert decoded.kept is not None and decoded.kept.shape == (3, 6)
    assert set(decoded.kept.flatten().tolist()) == {0.0, 2.0}
    assert model.eval().decoded(model.encode(source, LENGTHS), target).kept is None


def test_export_rounds_no_matrix_that_alignments_read_in_fp32() -> None:
    def rounded(recipe: Model) -> set[str]:
        model = Seq2Seq(replace(recipe, tied="none"), 11, 13)
        return {one for names in rounded_matrices(model) for one in names}

    assert "output.weight" not in rounded(HARD[0])
    assert {"decoder.readout.state.weight", "decoder.readout.source.weight"} <= rounded(HARD[0])
