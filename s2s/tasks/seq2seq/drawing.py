"""Draws candidates: outputs of the current weights, found by search without dropout."""

from dataclasses import replace

import torch

from s2s.data.features.lookup import FeatureRows
from s2s.data.store import Corpus
from s2s.nn.batch import Batch
from s2s.nn.inference_model import InferenceModel, inference_model
from s2s.nn.model import Seq2Seq
from s2s.recipe.metric_loss import CandidateSearch
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import BeamSearch, SampleSearch
from s2s.search.loop import search
from s2s.tasks.seq2seq.candidates import Output, output_of
from s2s.training.update import update_seed


class CandidateDrawer:
    """Finds outputs of the sources of a batch.

    Those of a pair are a function of the weights, the recipe, the update and the pair's place in
    the data, not of the pairs around it or of the process.
    """

    def __init__(self, recipe: Recipe, train: Corpus) -> None:
        self.recipe = recipe
        self.train = train
        self._scorer: tuple[int, Seq2Seq, InferenceModel] | None = None

    def __call__(
        self, model: Seq2Seq, batch: Batch, settings: CandidateSearch, update: int
    ) -> list[list[Output]]:
        """All samples of each pair, or all outputs of its beam, best first."""
        assert batch.places is not None, "a batch of training data"
        places = batch.places.numpy()
        features = None
        if self.train.features is not None and self.train.rows_NF is not None:
            features = FeatureRows(self.train.features, self.train.rows_NF[places])
        rows = zip(batch.source.tolist(), batch.source_lengths.tolist(), strict=True)
        device = model.output.bias.device
        with torch.autocast(device.type, enabled=False):
            found = search(
                self._scorer_of(model, update),
                [row[: max(0, length - 1)] for row, length in rows],
                self._limited(settings, update),
                str(device),
                keep=settings.width if isinstance(settings, BeamSearch) else 1,
                places=places.tolist(),
                features=features,
            )
        return [[output_of(hypothesis) for hypothesis in one] for one in found]

    def _limited(self, settings: CandidateSearch, update: int) -> CandidateSearch:
        """The search with the lengths of the recipe's, and samples of their own in each update."""
        limits = self.recipe.search
        settings = replace(
            settings,
            max_ratio=limits.max_ratio,
            max_offset=limits.max_offset,
            min_ratio=limits.min_ratio,
            min_offset=limits.min_offset,
        )
        if isinstance(settings, SampleSearch):
            seed = update_seed(self.recipe.seed, update) + (settings.seed << 32)
            return replace(settings, seed=seed)
        return settings

    def _scorer_of(self, model: Seq2Seq, update: int) -> InferenceModel:
        """The model for search, made once in an update: weights change between updates alone."""
        known = self._scorer
        if known is None or known[0] != update or known[1] is not model:
            self._scorer = known = (update, model, inference_model(model, "fp32"))
        return known[2]
