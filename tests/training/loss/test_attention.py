"""Guided alignment: cross-entropy of attention and links, in every decoder with attention."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2s.nn.batch import Batch
from s2s.recipe.model import Model
from s2s.special import BOS, PAD
from s2s.tasks.seq2seq.loss import LossWeights, batch_loss
from s2s.training.loss.attention import guided_alignment_losses
from tests.nn.test_model import LENGTHS, RECIPES, build, name, pairs

SOFT = [one for one in RECIPES if one.attention.kind in ("general", "additive")]


def textbook(weights_TS: Tensor, links_TS: Tensor) -> Tensor:
    """-sum_t sum_s A_ts log a_ts, the rows of A summing to one or empty, with loops."""
    total = torch.zeros((), dtype=weights_TS.dtype)
    for weights_S, links_S in zip(weights_TS, links_TS, strict=True):
        linked = links_S.nonzero().flatten().tolist()
        for s in linked:
            total = total - weights_S[s].log() / len(linked)
    return total


def batch() -> Batch:
    """Three pairs with some links, none of them in the last pair."""
    source, target = pairs()
    source[torch.arange(9) >= LENGTHS.unsqueeze(1)] = PAD
    lengths = torch.tensor([8, 3, 5])
    target[torch.arange(8) >= lengths.unsqueeze(1)] = PAD
    shifted = torch.cat((torch.full((3, 1), BOS), target[:, :-1]), dim=1)
    links = torch.zeros(3, 8, 9, dtype=torch.bool)
    links[0, 0, 2] = links[0, 3, 1] = links[0, 3, 7] = links[1, 2, 0] = True
    return Batch(source, LENGTHS, shifted, target, lengths, alignment=links)


def test_it_is_cross_entropy_and_positions_without_text_have_no_links() -> None:
    log_weights = (3 * torch.randn(2, 4, 5)).log_softmax(-1)
    links = torch.zeros(2, 4, 3, dtype=torch.bool)
    links[0, 1, 0] = links[0, 1, 2] = links[1, 3, 1] = True
    found = guided_alignment_losses(log_weights, links)
    assert found.shape == (2, 4)
    for row in range(2):
        expected = textbook(log_weights[row].exp(), links[row])
        torch.testing.assert_close(found[row].sum(), expected)
    assert (found[0, [0, 2, 3]] == 0.0).all()
    uniform = guided_alignment_losses(torch.zeros(1, 1, 5).log_softmax(-1), links[:1, 1:2])
    assert float(uniform) == pytest.approx(math.log(5))


@pytest.mark.parametrize("recipe", SOFT, ids=name)
def test_the_loss_has_it_for_every_decoder(recipe: Model) -> None:
    model, given = build(recipe), batch()
    memory = model.encode(given.source, LENGTHS)
    weights = model.decoded(memory, given.target_input).weights
    assert weights is not None and given.alignment is not None
    expected = sum(map(textbook, weights, given.alignment))
    plain, _ = batch_loss(model, given)
    loss, _ = batch_loss(model, given, LossWeights(guided_alignment=0.5))
    assert torch.equal(loss.nll, plain.nll)
    torch.testing.assert_close(loss.smoothed - plain.smoothed, 0.5 * expected, atol=1e-4, rtol=1e-4)
    twice, _ = batch_loss(model, given, LossWeights(guided_alignment=0.5, r_drop=1e-12))
    torch.testing.assert_close(twice.smoothed, loss.smoothed)


def test_weight_zero_is_the_loss_without_and_only_links_have_gradients() -> None:
    model, given = build(SOFT[0]), batch()
    parameters = list(model.parameters())

    def gradients(one: Batch, weight: float) -> tuple[Tensor, ...]:
        loss, _ = batch_loss(model, one, LossWeights(guided_alignment=weight))
        return torch.autograd.grad(loss.smoothed, parameters)

    without = gradients(replace(given, alignment=None), 0.0)
    assert given.alignment is not None
    nothing = replace(given, alignment=torch.zeros_like(given.alignment))
    for other in (gradients(given, 0.0), gradients(nothing, 0.7)):
        assert all(map(torch.equal, without, other))
    assert not all(map(torch.equal, without, gradients(given, 0.7)))
