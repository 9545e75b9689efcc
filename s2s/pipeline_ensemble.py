"""Several runs as one translator, which averages what their models predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from s2s.errors import UsageError
from s2s.pipeline import load_translator
from s2s.pipeline_shortlist import narrowed
from s2s.recipe import features_of, has_source_text

if TYPE_CHECKING:
    from s2s.pipeline import FilesOfFeatures
    from s2s.recipe import Search
    from s2s.run import Run
    from s2s.run_checkpoints import Which
    from s2s.text.tokenizer import Tokenizer
    from s2s.translate import LineTranslator


def load_ensemble(
    runs: Sequence[Run],
    *,
    search: Search | None = None,
    device: str = "auto",
    checkpoint: Which = "best",
    shortlists: bool = True,
    features: FilesOfFeatures | None = None,
) -> LineTranslator:
    """The runs' models as one; the first recipe's search if none is given.

    Of one run, this is `pipeline.load_translator`; but where the search asks for shortlists, the
    first run's are used, unless `shortlists` is false. Raises UsageError for runs whose tokenizers
    or features differ: their models would read and predict different tokens under the same ids.
    """
    from s2s.search.ensemble import ensemble

    search = search or runs[0].recipe.search
    loaded = [
        load_translator(run, search=search, device=device, checkpoint=checkpoint, features=features)
        for run in runs
    ]
    first = loaded[0]
    _check_features(runs)
    for run, other in zip(runs[1:], loaded[1:], strict=True):
        _check_same("source", (runs[0], first.source), (run, other.source))
        _check_same("target", (runs[0], first.target), (run, other.target))
        if (first.copying is None) != (other.copying is None):
            raise UsageError(
                f"{runs[0].folder} and {run.folder}: expected models that copy (model.copy) or "
                "models that do not, found one of each"
            )
    together = replace(
        first,
        scorer=ensemble([one.scorer for one in loaded]),
        longest=min(one.longest for one in loaded),
        truncate=min((one.truncate for one in loaded if one.truncate), default=None),
    )
    return narrowed(together, runs[0]) if shortlists else together


def _check_features(runs: Sequence[Run]) -> None:
    """Raises UsageError unless all read the same features, with text or without."""
    first, *others = (
        (has_source_text(run.recipe.data), [(f.path, f.ids) for f in features_of(run.recipe.data)])
        for run in runs
    )
    for run, other in zip(runs[1:], others, strict=True):
        if other != first:
            raise UsageError(
                f"{runs[0].folder} and {run.folder}: expected runs that read the same features, "
                "with source text or without, found runs that differ (data.features)"
            )


def _check_same(side: str, one: tuple[Run, Tokenizer], other: tuple[Run, Tokenizer]) -> None:
    if one[1] != other[1]:
        raise UsageError(
            f"{one[0].folder} and {other[0].folder}: expected one {side} tokenizer, found two that "
            "differ; the recipes of an ensemble need the same data and tokenizer, and for subwords "
            "of more than max_sentences lines the same seed"
        )
