"""Scores of a model: metrics of its outputs as text, perplexity of the references, and the share of
outputs copied from training."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from s2s.data.training_targets import TrainingTargets
from s2s.inference.missing_features import has_input, refuse_missing
from s2s.inference.translator import LineTranslator
from s2s.metrics.base import Additive, References, Resampling, case_of, mean, write_signature
from s2s.metrics.corpus import Request, count_references, pair_up, resampled, score, scores_of
from s2s.metrics.scores import Score, Scores
from s2s.recipe.metrics import METRICS, VALUES, text_metrics
from s2s.search.ensemble import forcible
from s2s.search.forced_decoding import forced
from s2s.search.fusion import without_lm
from s2s.search.shortlist import whole
from s2s.text.lines import unless_blank
from s2s.version import __version__


def score_run(
    translator: LineTranslator,
    texts: tuple[Sequence[str], Sequence[str], Sequence[Sequence[str | None]]],
    request: Request,
    trained: TrainingTargets,
) -> Scores:
    """Scores of a model: `texts` are sources, its outputs and sets of references.

    Validation and test both use this function, so they agree. Raises as `metrics.score` does and,
    for the metric `copied`, as `trained` does.
    """
    sources, hypotheses, references = texts
    found = score(
        text_metrics(request.metrics),
        hypotheses,
        references,
        scoring=request.scoring,
        confidence=request.confidence,
    )
    values: list[Score] = []
    resampling = resampled(request.confidence)
    for name in dict.fromkeys(request.metrics):
        match name:
            case "perplexity":
                wanted = pair_up(hypotheses, references)[1]
                values += _perplexity(translator, sources, wanted, resampling)
            case "copied":
                values += _copied(trained, hypotheses, request.scoring.lowercase, resampling)
            case _:
                values += [score for score in found.values if score.name in VALUES[name]]
    return replace(found, values=tuple(values))


def _copied(
    trained: TrainingTargets,
    hypotheses: Sequence[str],
    lowercase: bool,
    resampling: Resampling | None,
) -> list[Score]:
    """The share of outputs that are, as a whole, a target of training."""
    is_copied = 100.0 * trained.have(hypotheses)
    statistics = Additive(np.stack([np.ones_like(is_copied), is_copied], axis=1), mean)
    details = [case_of(lowercase), "match:line", "in:train"]
    signature = write_signature("0", resampling, details, f"s2s-{__version__}")
    return scores_of(METRICS["copied"].values, statistics, len(hypotheses), (signature, resampling))


def _perplexity(
    translator: LineTranslator,
    sources: Sequence[str],
    references: References,
    resampling: Resampling | None,
) -> list[Score]:
    """Perplexity per token of the references under teacher forcing, end of sentence included.

    All references of a line count, each given the source in one piece, truncated only if the
    recipe says so. The probabilities are the model's own, also where search adds a language model:
    weighted sums are no distribution.
    """
    model = forcible(whole(without_lm(translator.scorer)))
    pairs = [
        (source, one)
        for source, options in zip(sources, references, strict=True)
        for one in options
    ]
    read = translator.read([unless_blank(source) for source, _ in pairs])
    read = [reading.cut(translator.truncate) for reading in read]
    source_ids = [reading.ids for reading in read]
    targets = [target for _, target in pairs]
    target_ids = translator.read_targets([unless_blank(target) for target in targets], read)
    refuse_missing(
        translator.features, ([source for source, _ in pairs], read), targets, "references", 0
    )
    features = translator.image_features_of(read)
    pairs_of_ids = list(zip(source_ids, target_ids, strict=True))
    log_probs = forced(model, pairs_of_ids, translator.device, features)
    # A blank source has an empty output of probability 1: no token is predicted.
    lengths = [
        len(target) + 1 if len(target) or has_input(source) else 0
        for source, target in zip(read, target_ids, strict=True)
    ]
    firsts = np.cumsum([0, *(len(options) for options in references[:-1])])
    each = np.array([log_probs, lengths], dtype=np.float64).T
    statistics = Additive(np.add.reduceat(each, firsts), _exp)
    details = ["unit:token", f"vocabulary:{translator.target.size}", "eos:yes"]
    signature = write_signature(
        count_references(references), resampling, details, f"s2s-{__version__}"
    )
    return scores_of(
        METRICS["perplexity"].values, statistics, len(references), (signature, resampling)
    )


def _exp(row_K: NDArray[np.float64]) -> tuple[float, ...]:
    log_prob, tokens = row_K.tolist()
    nll = -log_prob / max(tokens, 1.0)
    return (math.exp(nll) if nll < 700 else math.inf,)
