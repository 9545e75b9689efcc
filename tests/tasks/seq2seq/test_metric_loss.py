"""Training on a metric: gradients are those of the expected metric over all outputs there are."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2s.nn.batch import Batch
from s2s.nn.model import Seq2Seq
from s2s.search.hypothesis import Hypothesis
from s2s.special import BOS, EOS, PAD
from s2s.tasks.seq2seq.candidates import Candidates, log_probs, output_of, targets_of
from s2s.tasks.seq2seq.metric_loss import Draws, mean_of_others, minimum_risk, self_critical
from tests.nn import test_pointer as pointer
from tests.training.toys import NO_DROPOUT, small_model

VOCABULARY = 5
LONGEST = 3
SOURCE = torch.tensor([[4, 5, 6, EOS], [5, EOS, PAD, PAD]])
LENGTHS = torch.tensor([4, 2])


def all_outputs() -> list[tuple[int, ...]]:
    """All outputs of at most `LONGEST` predictions, those that are cut there included."""
    tokens = [one for one in range(VOCABULARY) if one not in (PAD, BOS, EOS)]
    found: list[tuple[int, ...]] = []
    for length in range(LONGEST):
        found += [(*one, EOS) for one in itertools.product(tokens, repeat=length)]
    return found + list(itertools.product(tokens, repeat=LONGEST))


OUTPUTS = all_outputs()


def batch() -> Batch:
    """Two pairs; their targets do not matter here."""
    target = torch.tensor([[4, EOS], [4, EOS]])
    before = torch.tensor([[BOS, 4], [BOS, 4]])
    return Batch(SOURCE, LENGTHS, before, target, torch.tensor([2, 2]))


@pytest.fixture(scope="module")
def model() -> Seq2Seq:
    """A model of float64 that never predicts padding or a second begin."""
    torch.manual_seed(11)
    made = Seq2Seq(small_model(dropout=NO_DROPOUT), 7, VOCABULARY).double()
    with torch.no_grad():
        made.output.bias.normal_()
        made.output.bias[torch.tensor([PAD, BOS])] = -1e9
    return made


@pytest.fixture(scope="module")
def rewards() -> Tensor:
    """Any number for each output of each source."""
    return torch.rand(2, len(OUTPUTS), dtype=torch.float64, generator=torch.manual_seed(5))


def brute_log_probs(model: Seq2Seq, row: int) -> Tensor:
    """The log-probability of each output, one after the other, by the whole model."""
    found = []
    for output in OUTPUTS:
        before = torch.tensor([[BOS, *output[:-1]]])
        logits = model(SOURCE[row : row + 1], LENGTHS[row : row + 1], before)
        each = torch.log_softmax(logits[0], dim=-1)
        found.append(sum(each[time, token] for time, token in enumerate(output)))
    return torch.stack(found)  # type: ignore[arg-type]


def gradients(model: Seq2Seq, loss: Tensor) -> dict[str, Tensor]:
    named = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {n: g for n, g in zip(named, found, strict=True) if g is not None}


@pytest.fixture(scope="module")
def expected(model: Seq2Seq, rewards: Tensor) -> dict[str, Tensor]:
    """The gradient of the expected reward, negated, summed over sources."""
    each = [brute_log_probs(model, row).exp() for row in range(2)]
    for one in each:
        torch.testing.assert_close(one.sum(), torch.tensor(1.0, dtype=torch.float64))
    return gradients(model, -sum((p * r).sum() for p, r in zip(each, rewards, strict=True)))


def everything() -> Candidates:
    return Candidates.of([OUTPUTS, OUTPUTS])


def test_log_probs_are_those_of_the_whole_model(model: Seq2Seq) -> None:
    found = log_probs(model, batch(), everything())
    brute = torch.cat([brute_log_probs(model, row) for row in range(2)])
    torch.testing.assert_close(found, brute)


def test_the_risk_of_all_outputs_is_the_expected_metric(
    model: Seq2Seq, rewards: Tensor, expected: dict[str, Tensor]
) -> None:
    all_ = everything()
    log_probs_M = log_probs(model, batch(), all_)
    risk = minimum_risk(log_probs_M, rewards.flatten(), all_.lengths, all_.mask, alpha=1.0)
    torch.testing.assert_close(gradients(model, risk.loss), expected)
    p, loss = log_probs_M.detach().exp(), risk.loss.detach()
    assert float(loss) == pytest.approx(-float(p @ rewards.flatten()))
    assert risk.measures[0] == -loss
    assert float(risk.measures[1]) == float(rewards.amax(1).sum())
    assert float(risk.measures[2]) == pytest.approx(-float((p * p.log()).sum()))
    assert float(risk.measures[3]) == 2 * len(OUTPUTS)


def test_the_risk_is_that_of_the_paper(model: Seq2Seq, rewards: Tensor) -> None:
    """Few candidates, of another number for each source, and another alpha."""
    chosen = [OUTPUTS[3:9], OUTPUTS[1:5]]
    candidates, alpha = Candidates.of(chosen), 0.3
    each = [brute_log_probs(model, 0)[3:9], brute_log_probs(model, 1)[1:5]]
    given = [rewards[0, 3:9], rewards[1, 1:5]]
    wanted = torch.zeros((), dtype=torch.float64)
    for log_prob, reward in zip(each, given, strict=True):
        sharp = log_prob.exp() ** alpha
        wanted = wanted - (sharp / sharp.sum() * reward).sum()
    found = minimum_risk(
        log_probs(model, batch(), candidates),
        torch.cat(given),
        candidates.lengths,
        candidates.mask,
        alpha,
    )
    torch.testing.assert_close(found.loss, wanted)
    torch.testing.assert_close(gradients(model, found.loss), gradients(model, wanted))


def test_self_critical_gradients_are_those_of_the_expected_metric(
    model: Seq2Seq, rewards: Tensor, expected: dict[str, Tensor]
) -> None:
    """The expectation over one sample of each source, whatever its baseline."""
    log_probs_M = log_probs(model, batch(), everything())
    p_M, baseline = log_probs_M.detach().exp(), torch.tensor([0.4], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for place, reward in enumerate(rewards.flatten()):
        sample = slice(place, place + 1)
        found = self_critical(log_probs_M[sample], reward.view(1), one, Draws(one, 1), baseline)
        assert float(found.loss.detach()) == pytest.approx(-float(reward))
        total = total + p_M[place] * found.loss
    torch.testing.assert_close(gradients(model, total), expected)


def test_the_mean_of_other_samples_is_a_baseline_without_bias(
    model: Seq2Seq, rewards: Tensor, expected: dict[str, Tensor]
) -> None:
    """The expectation over two samples of each source, equal ones among them."""
    log_probs_BK = log_probs(model, batch(), everything()).view(2, -1)
    total = torch.zeros((), dtype=torch.float64)
    for row, first, second in itertools.product(range(2), *[range(len(OUTPUTS))] * 2):
        own = Candidates.of([[OUTPUTS[first], OUTPUTS[second]]])
        places = torch.tensor([OUTPUTS.index(one) for one in own.outputs])
        draws = Draws(torch.tensor(own.draws, dtype=torch.float64), 2)
        reward = rewards[row, places]
        baseline = mean_of_others(reward, draws, own.mask)
        chosen = log_probs_BK[row, places]
        found = self_critical(chosen, reward, own.lengths, draws, baseline)
        p = log_probs_BK[row, [first, second]].detach().sum().exp()
        total = total + p * found.loss
    torch.testing.assert_close(gradients(model, total), expected)


def test_equal_candidates_count_once_and_samples_as_often_as_drawn() -> None:
    cut = Hypothesis(0, (4, 5), -1.0, -1.0, finished=False)
    ended = replace(cut, finished=True)
    outputs = [output_of(one) for one in (cut, ended, cut, ended, cut)]
    found = Candidates.of([outputs, targets_of(batch())[:1]])
    assert found.outputs == [(4, 5), (4, 5, EOS), (4, EOS)]
    assert found.draws == [3, 2, 1]
    assert found.sizes == [2, 1]
    assert found.owners == [0, 0, 1]
    assert found.mask.tolist() == [[True, True], [True, False]]


def test_copied_tokens_have_the_probability_of_the_mixture() -> None:
    recipe = next(one for one in pointer.RECIPES if one.copy == "pointer")
    model = pointer.build(recipe)
    source, target = pointer.ids(recipe)
    lengths = (target != PAD).sum(1).tolist()
    outputs = [tuple(row[1:length]) for row, length in zip(target.tolist(), lengths, strict=True)]
    outputs = [(*one, EOS) for one in outputs]
    given = Batch(source, pointer.LENGTHS, target, target, torch.tensor(lengths))
    found = log_probs(model, given, Candidates.of([[one] for one in outputs]))
    for row, output in enumerate(outputs):
        one = slice(row, row + 1)
        before = torch.tensor([[BOS, *output[:-1]]])
        logits = model(source[one], pointer.LENGTHS[one], before)
        each = torch.log_softmax(logits[0], dim=-1)
        wanted = sum(each[time, token] for time, token in enumerate(output))
        torch.testing.assert_close(found[row], wanted, rtol=1e-4, atol=1e-4)
