"""The translators of loaded models: one for each precision and shortlist that is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from s2s.inference.load import load_ensemble, with_precision, with_reranker, with_shortlist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2s.inference.fusion import Fusion
    from s2s.inference.load import FilesOfFeatures
    from s2s.inference.translator import LineTranslator
    from s2s.nn.model import Seq2Seq
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run
    from s2s.search.scorer import Scorer


@dataclass(frozen=True, eq=False)
class Translators:
    """The models of one or several runs, read once, as translators with any search.

    Another precision packs the weights again, a shortlist reads it; both are kept.
    """

    runs: tuple[Run, ...]
    base: LineTranslator
    """Without a shortlist."""
    models: tuple[Seq2Seq, ...]
    """The trained models, in the order of the runs."""
    lm: tuple[Seq2Seq, float] | None = None
    """A language model that search adds, and its weight."""
    _scorers: dict[tuple[Any, ...], Scorer[Any, Any]] = field(default_factory=dict)
    """By precision and shortlist."""

    @classmethod
    def load(
        cls,
        runs: Sequence[Run],
        *,
        search: Search,
        device: str,
        checkpoint: Which,
        features: FilesOfFeatures | None = None,
        fusion: Fusion | None = None,
    ) -> Translators:
        """Read the models; raises as `load_ensemble` does."""
        from s2s.nn.inference_model import InferenceModel
        from s2s.search.ensemble import Ensemble
        from s2s.search.fusion import Fused, without_lm

        base = load_ensemble(
            runs,
            search=search,
            device=device,
            checkpoint=checkpoint,
            shortlists=False,
            features=features,
            fusion=fusion,
        )
        scorer, lm = without_lm(base.scorer), None
        if isinstance(base.scorer, Fused):
            assert isinstance(base.scorer.lm, InferenceModel), "what a run loads"
            lm = (base.scorer.lm.model, base.scorer.weight)
        members = scorer.members if isinstance(scorer, Ensemble) else (scorer,)
        models = tuple(member.model for member in members if isinstance(member, InferenceModel))
        assert len(models) == len(runs), "what runs load"
        return cls(tuple(runs), base, models, lm, {(base.search.precision,): base.scorer})

    def with_search(self, search: Search) -> LineTranslator:
        """The translator with a search.

        Raises UsageError for a precision that the device lacks, and as `with_shortlist` does.
        """
        import torch

        settings = with_precision(search, torch.device(self.base.device))
        plain = replace(self.base, search=settings, scorer=self._scorer(settings.precision))
        if plain.reranker is None:
            plain = with_reranker(plain, self.runs[0])
        if settings.shortlist == 0:
            return plain
        key = (settings.precision, settings.shortlist, settings.shortlist_frequent)
        if key not in self._scorers:
            self._scorers[key] = with_shortlist(plain, self.runs[0]).scorer
        return replace(plain, scorer=self._scorers[key])

    def _scorer(self, precision: Any) -> Scorer[Any, Any]:
        from s2s.nn.inference_model import inference_model
        from s2s.search.ensemble import ensemble
        from s2s.search.fusion import fuse

        if (precision,) not in self._scorers:
            members = [inference_model(model, precision) for model in self.models]
            scorer = ensemble(members)
            if self.lm is not None:
                model, weight = self.lm
                scorer = fuse(scorer, inference_model(model, precision), weight)
            self._scorers[precision,] = scorer
        return self._scorers[precision,]
