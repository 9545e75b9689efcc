"""Loads runs as translators: one model or an ensemble, with a language model if one is given."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from s2s.errors import RunError, UsageError
from s2s.messages import note
from s2s.recipe.data import has_source_text, image_features_of
from s2s.recipe.label_rules import DECODERS
from s2s.run.directory import Run
from s2s.run.rerank_weights import other_runs, read_rerank_weights
from s2s.run.shortlist import read_lexicon

if TYPE_CHECKING:
    import torch

    from s2s.inference.fusion import Fusion
    from s2s.inference.translator import LineTranslator
    from s2s.nn.encoders.regions import FeatureShape
    from s2s.nn.model import Seq2Seq
    from s2s.recipe.recipe import Recipe
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.text.tokenizer import Tokenizer
    from s2s.text.tokenizer_pair import TokenizerPair


FilesOfFeatures = Sequence[tuple[Path, Path | None]]
"""Files of features, each with a file of its ids if it does not contain them."""


def build_model(
    recipe: Recipe,
    tokenizers: TokenizerPair,
    frequencies: torch.Tensor | None = None,
    *,
    features: Sequence[FeatureShape] = (),
) -> Seq2Seq:
    """An untrained model for these tokenizers, target tokens of these frequencies [V] and feature
    files of these shapes."""
    import torch

    from s2s.nn.model import Seq2Seq
    from s2s.recipe.data import has_source_text
    from s2s.text.extended_vocabulary import extended_vocabulary_of
    from s2s.text.spelled_words import SpelledWords
    from s2s.text.tags import untagged

    extended_vocabulary = extended_vocabulary_of(recipe.model, tokenizers)
    table = (
        None
        if extended_vocabulary is None
        else torch.from_numpy(extended_vocabulary.target_of_source)
    )
    words = untagged(tokenizers.source)
    return Seq2Seq(
        recipe.model,
        tokenizers.source.size if has_source_text(recipe.data) else None,
        tokenizers.target.size,
        frequencies,
        table,
        features=features,
        num_source_words=words.num_words if isinstance(words, SpelledWords) else None,
    )


def model_of_weights(
    recipe: Recipe,
    tokenizers: TokenizerPair,
    weights: Mapping[str, torch.Tensor],
    place: str,
) -> Seq2Seq:
    """The recipe's model with these weights.

    Raises RunError, naming `place`, for weights of another model, before it takes memory.
    """
    from s2s.nn.state_dict import feature_shapes, load_weights

    shapes = feature_shapes(weights)
    _check_size(recipe, tokenizers, shapes, weights, place)
    model = build_model(recipe, tokenizers, features=shapes)
    load_weights(dict(model.named_parameters()), weights, place)
    return model


def load_translator(
    run: Run,
    *,
    search: Search | None = None,
    device: str = "auto",
    checkpoint: Which = "best",
    features: FilesOfFeatures | None = None,
) -> LineTranslator:
    """A run's model as a function from lines to lines; the recipe's search if none is given.

    `features` replace the files of the recipe: as many, of the same widths. The translator has no
    shortlist, which `load_ensemble` adds.

    Raises RunError for a checkpoint that is missing, damaged or of another model, DataError for
    features that it cannot read.
    """
    from s2s.data.features.lookup import check_shapes, open_features
    from s2s.inference.translator import LineTranslator
    from s2s.nn.device import choose_device, keep_freed_memory, limit_threads
    from s2s.nn.inference_model import inference_model
    from s2s.nn.state_dict import feature_shapes
    from s2s.text.extended_vocabulary import extended_vocabulary_of
    from s2s.text.line_placeholders import line_placeholders
    from s2s.text.tokenizer_pair import load_tokenizers

    chosen = choose_device(device)
    recipe = run.recipe
    limit_threads(recipe.model, chosen)
    keep_freed_memory()
    weights = run.read_weights(checkpoint)
    tokenizers = load_tokenizers(run.tokenizer_folder)
    shapes = feature_shapes(weights)
    lines = open_features(recipe.data, features, run.features_cache)
    if lines is not None:
        check_shapes(lines, shapes, recipe.model)
    model = model_of_weights(recipe, tokenizers, weights, run.place).to(chosen).eval()
    settings = with_precision(search or recipe.search, chosen)
    return LineTranslator(
        scorer=inference_model(model, settings.precision),
        source=tokenizers.source,
        target=tokenizers.target,
        search=settings,
        device=str(chosen),
        longest=recipe.data.longest_source,
        truncate=recipe.data.truncate.source,
        scoring=recipe.scoring,
        extended_vocabulary=extended_vocabulary_of(recipe.model, tokenizers),
        placeholders=line_placeholders(recipe.data.placeholders, tokenizers),
        features=lines,
        has_prompts=recipe.task == "lm",
        has_labels=recipe.task in DECODERS,
        report=note,
    )


def _check_size(
    recipe: Recipe,
    tokenizers: TokenizerPair,
    shapes: Sequence[FeatureShape],
    weights: Mapping[str, torch.Tensor],
    place: str,
) -> None:
    """Raise RunError for weights of another model than the recipe's, before it takes memory.

    A recipe that comes with weights from elsewhere could describe a model of any size.
    """
    import torch

    from s2s.nn.state_dict import check_weights

    sections = (recipe.model.encoder, recipe.model.decoder, *recipe.model.image_features)
    if max(section.layers for section in sections) > len(weights):
        raise RunError(f"{place}: the recipe has more layers than there are weights")
    try:
        with torch.device("meta"):
            model = build_model(recipe, tokenizers, features=shapes)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise RunError(f"{place}: the recipe describes a model that is too large") from error
    check_weights(dict(model.named_parameters()), weights, place)


def with_precision(search: Search, device: torch.device) -> Search:
    """`search` in the precision that `auto` chooses on a device; a slow one is reported on stderr.

    Raises UsageError if the device has no kernel for the requested precision.
    """
    from s2s.nn.kernels import choose_search_precision, slower_than_fp32

    precision = choose_search_precision(search.precision, device)
    if search.precision == "auto":
        _report_once(f"precision auto: {precision} is the fastest here")
    elif (concern := slower_than_fp32(precision, device)) is not None:
        _report_once(concern)
    return replace(search, precision=precision)


@cache
def _report_once(text: str) -> None:
    """Write a note to stderr once for a command, whose models and workers all have it."""
    if multiprocessing.parent_process() is None:
        note(text)


def load_ensemble(
    runs: Sequence[Run],
    *,
    search: Search | None = None,
    device: str = "auto",
    checkpoint: Which = "best",
    shortlists: bool = True,
    features: FilesOfFeatures | None = None,
    fusion: Fusion | None = None,
) -> LineTranslator:
    """The ensemble of the runs' models; the first recipe's search if none is given.

    If the search has shortlists, the first run's are used, unless `shortlists` is false. Search
    adds the log-probabilities of the language model of `fusion`, if there is one. Raises UsageError
    for runs whose tokenizers or features differ: the same ids would be different tokens.
    """
    from s2s.inference.fusion import check_fusion, fused
    from s2s.search.ensemble import ensemble

    search = search or runs[0].recipe.search
    if fusion is not None:
        check_fusion(runs, fusion, search)
    loaded = [
        load_translator(run, search=search, device=device, checkpoint=checkpoint, features=features)
        for run in runs
    ]
    first = loaded[0]
    _check_features(runs)
    for run, other in zip(runs[1:], loaded[1:], strict=True):
        _check_same("source", (runs[0], first.source), (run, other.source))
        _check_same("target", (runs[0], first.target), (run, other.target))
        if set(runs[0].recipe.data.placeholders) != set(run.recipe.data.placeholders):
            raise UsageError(
                f"{runs[0].place} and {run.place}: expected models with the same placeholders "
                "(data.placeholders), found others"
            )
        if (first.extended_vocabulary is None) != (other.extended_vocabulary is None):
            raise UsageError(
                f"{runs[0].place} and {run.place}: expected models that copy (model.copy) or "
                "models that do not, found one of each"
            )
    together = replace(
        first,
        scorer=ensemble([one.scorer for one in loaded]),
        longest=min(one.longest for one in loaded),
        truncate=min((one.truncate for one in loaded if one.truncate), default=None),
    )
    if fusion is not None:
        lm = load_translator(fusion.run, search=search, device=device)
        return with_reranker(fused(together, runs[0], lm, fusion), runs[0])
    return with_reranker(with_shortlist(together, runs[0]) if shortlists else together, runs[0])


def with_reranker(translator: LineTranslator, run: Run) -> LineTranslator:
    """The translator with the tuned reranking of `run` if its search is `rerank`, otherwise itself.

    Raises UsageError where the run has no weights, RunError for weights that are damaged or whose
    runs are gone or of another task.
    """
    from s2s.inference.reranking import Reranker
    from s2s.recipe.search import RerankSearch

    if not isinstance(translator.search, RerankSearch):
        return translator
    found = read_rerank_weights(run)
    others = [load_scoring(one, translator.device) for one in other_runs(run, found)]
    return replace(translator, reranker=Reranker(found.weights, *others))


def load_scoring(run: Run | None, device: str) -> LineTranslator | None:
    """A run's model that scores pairs and reports nothing about them; None for no run."""
    if run is None:
        return None
    return replace(load_translator(run, device=device), report=lambda text: None)


def _check_features(runs: Sequence[Run]) -> None:
    """Raises UsageError unless all runs read the same features, with text or without."""
    first, *others = (
        (
            has_source_text(run.recipe.data),
            [(f.path, f.ids) for f in image_features_of(run.recipe.data)],
        )
        for run in runs
    )
    for run, other in zip(runs[1:], others, strict=True):
        if other != first:
            raise UsageError(
                f"{runs[0].place} and {run.place}: expected runs that read the same features, "
                "with source text or without, found runs that differ (data.image_features)"
            )


def _check_same(side: str, one: tuple[Run, Tokenizer], other: tuple[Run, Tokenizer]) -> None:
    if one[1] != other[1]:
        raise UsageError(
            f"{one[0].place} and {other[0].place}: expected one {side} tokenizer, found two that "
            "differ; the recipes of an ensemble need the same data and tokenizer, and for subwords "
            "of more than max_sentences lines the same seed"
        )


def with_shortlist(translator: LineTranslator, run: Run) -> LineTranslator:
    """The translator with the shortlist of `run` if its search has one, otherwise itself.

    Raises UsageError or RunError if the run has no valid shortlist.
    """
    search = translator.search
    if search.shortlist == 0:
        return translator
    if translator.extended_vocabulary is not None:
        raise UsageError(
            f"{run.place}: a model that copies (model.copy) cannot use a shortlist, which "
            "excludes the tokens it copies; search with --shortlist 0"
        )
    from s2s.inference.fusion import check_no_shortlist
    from s2s.nn.decoders.hard import Hard
    from s2s.nn.inference_model import InferenceModel
    from s2s.search.ensemble import Ensemble
    from s2s.search.fusion import Fused
    from s2s.search.shortlist import shortlisted

    scorer = translator.scorer
    if isinstance(scorer, Fused):
        check_no_shortlist(search)
    members = scorer.members if isinstance(scorer, Ensemble) else (scorer,)
    models = [member for member in members if isinstance(member, InferenceModel)]
    assert len(models) == len(members), "what runs load"
    if any(isinstance(one.model.decoder, Hard) for one in models):
        raise UsageError(
            f"{run.place}: a model of hard attention (model.attention) cannot use a shortlist; "
            "search with --shortlist 0"
        )
    found = read_lexicon(run, translator.source.size, translator.target.size)
    sizes = (search.shortlist, search.shortlist_frequent)
    return replace(translator, scorer=shortlisted(models, found, *sizes, translator.device))
