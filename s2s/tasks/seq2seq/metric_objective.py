"""The objective of training on a metric: candidates of the current weights, and their rewards.

Dimension letters: M candidates of all pairs of a batch.
"""

import math
from typing import Any

import torch
from torch import Tensor

from s2s.data.store import Corpus
from s2s.nn.batch import Batch
from s2s.nn.device import to_device
from s2s.nn.model import Seq2Seq
from s2s.recipe.metric_loss import MetricLoss, MinimumRisk, num_candidates
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch, SampleSearch
from s2s.tasks.seq2seq.candidates import Candidates, log_probs, rehearsed, targets_of
from s2s.tasks.seq2seq.drawing import CandidateDrawer
from s2s.tasks.seq2seq.metric_loss import (
    MINIMUM_RISK_MEASURES,
    SELF_CRITICAL_MEASURES,
    Draws,
    MetricLosses,
    mean_of_others,
    minimum_risk,
    self_critical,
)
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.tasks.seq2seq.rewards import Rewards, TrainingTexts
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.training.objective import REHEARSAL, BatchLoss


class MetricObjective:
    """A loss on a metric of whole outputs, and cross-entropy beside it."""

    def __init__(self, recipe: Recipe, tokenizers: TokenizerPair, train: Corpus) -> None:
        """`train` is the prepared corpus, with texts.

        Raises UsageError for a tokenization of the metric without its package.
        """
        assert recipe.train.metric_loss is not None
        self.recipe = recipe
        self.settings: MetricLoss = recipe.train.metric_loss
        self.draw = CandidateDrawer(recipe, train)
        self.cross_entropy = Seq2SeqObjective(recipe.train, tokenizers.target.size)
        self.texts = TrainingTexts(recipe, tokenizers, train)
        self.rewards = Rewards(self.settings.metric, recipe.scoring, self.texts)

    @property
    def measures(self) -> tuple[str, ...]:
        """See `Objective`."""
        if not self.settings.weight:
            return ()
        is_risk = isinstance(self.settings, MinimumRisk)
        return MINIMUM_RISK_MEASURES if is_risk else SELF_CRITICAL_MEASURES

    def loss(self, model: Seq2Seq, batch: Batch, update: int, carried: Any = None) -> BatchLoss:
        """See `Objective`. Both losses are summed over pairs.

        The candidates of a pair depend on the weights, the update and its place in the data, not on
        the pairs around it.
        """
        settings = self.settings
        has_begun = update == REHEARSAL or update > settings.start
        share = settings.cross_entropy if has_begun else 1.0
        found = None
        if has_begun and settings.weight:
            # First: weights that autocast casts without gradients would keep none for this pass.
            found = self._metric_losses(model, batch, update)
        with torch.set_grad_enabled(share > 0.0):
            plain = self.cross_entropy.loss(model, batch, update, carried)
        loss = share * plain.loss
        if found is None:
            return plain._replace(loss=loss)
        pairs = found.measures.new_tensor([float(len(batch.target_lengths))])
        return plain._replace(
            loss=loss + settings.weight * found.loss, measures=torch.cat((pairs, found.measures))
        )

    def has_diverged(self, loss: float, nll: float) -> bool:
        """See `Objective`. Rewards bound neither loss, so only one that is not finite says so."""
        return not (math.isfinite(loss) and math.isfinite(nll))

    def _metric_losses(self, model: Seq2Seq, batch: Batch, update: int) -> MetricLosses:
        """The loss of the metric, and its measures."""
        settings, device = self.settings, model.output.bias.device
        candidates = self._candidates(model, batch, update)
        rewards_M = self._rewards(batch, candidates, update)
        log_probs_M = log_probs(model, batch, candidates)
        rewards_M, lengths_M, mask_BK = (
            to_device(one, device) for one in (rewards_M, candidates.lengths, candidates.mask)
        )
        if isinstance(settings, MinimumRisk):
            return minimum_risk(log_probs_M, rewards_M, lengths_M, mask_BK, settings.alpha)
        times_M = torch.tensor(candidates.draws, dtype=torch.float64)
        draws = Draws(to_device(times_M, device), settings.samples)
        if settings.baseline == "greedy":
            baselines_M = to_device(self._greedy(model, batch, candidates, update), device)
        else:
            baselines_M = mean_of_others(rewards_M, draws, mask_BK)
        return self_critical(log_probs_M, rewards_M, lengths_M, draws, baselines_M)

    def _candidates(self, model: Seq2Seq, batch: Batch, update: int) -> Candidates:
        """The different outputs of each pair."""
        settings = self.settings
        chosen = (
            settings.candidates
            if isinstance(settings, MinimumRisk)
            else SampleSearch(kind="sample", samples=settings.samples)
        )
        has_target = isinstance(settings, MinimumRisk) and settings.reference
        if update == REHEARSAL:
            return rehearsed(batch, num_candidates(chosen) + has_target)
        drawn = self.draw(model, batch, chosen, update)
        if has_target:
            pairs = zip(drawn, targets_of(batch), strict=True)
            drawn = [[*one, target] for one, target in pairs]
        return Candidates.of(drawn)

    def _rewards(self, batch: Batch, candidates: Candidates, update: int) -> Tensor:
        """The rewards of candidates, float64 [M]."""
        if update == REHEARSAL:
            return torch.zeros(len(candidates.outputs), dtype=torch.float64)
        assert batch.places is not None, "a batch of training data"
        pairs = batch.places.tolist()
        places = [pairs[owner] for owner in candidates.owners]
        texts = self.texts.written(candidates.outputs, places)
        references = [self.texts.references[place] for place in places]
        return torch.from_numpy(self.rewards(texts, references))

    def _greedy(self, model: Seq2Seq, batch: Batch, candidates: Candidates, update: int) -> Tensor:
        """The rewards of the outputs of greedy search, for each candidate that of its pair:
        float64 [M]."""
        if update == REHEARSAL:
            return torch.zeros(len(candidates.outputs), dtype=torch.float64)
        outputs = self.draw(model, batch, GreedySearch(kind="greedy"), update)
        rewards_B = self._rewards(batch, Candidates.of(outputs), update)
        return rewards_B[torch.tensor(candidates.owners)]
