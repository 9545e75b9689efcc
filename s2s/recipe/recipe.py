"""The recipe: all choices of a run as frozen dataclasses, one for each section.

This module has types and the rules that tie fields together. `s2s.recipe.load` reads and writes
YAML and reports every violation as `file:line: path: what`; all other code trusts the types. Sizes
that are known only at run time (vocabulary, number of updates) are arguments, not fields.

The text under a field is its documentation: `s2s recipes schema` gives it to editors.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from s2s.recipe.choices import TaskName
from s2s.recipe.data import AnyCorpus, Data, FilesData, GeneratedData, corpora_of, image_features_of
from s2s.recipe.label_rules import (
    DECODERS,
    character_faults,
    label_faults,
    labelled_data_faults,
    training_faults,
)
from s2s.recipe.metric_loss_rules import metric_loss_faults
from s2s.recipe.metrics import VALUES, MetricName
from s2s.recipe.model import Model
from s2s.recipe.rules import (
    guided_alignment_faults,
    hard_attention_faults,
    placeholder_faults,
    source_faults,
    task_faults,
    text_faults,
)
from s2s.recipe.scoring import Scoring
from s2s.recipe.search import BeamSearch, Search
from s2s.recipe.section import Count, Section
from s2s.recipe.tokenizer import (
    FromRunTokenizer,
    SeparateTokenizers,
    SubwordTokenizer,
    Tokenizers,
    sampling_alphas,
)
from s2s.recipe.train import Train

COPIED_BY_COPYING = (
    "metrics: 'copied' is not for a model with model.copy, whose training targets are not stored "
    "as whole texts"
)


@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """All choices of a run, from raw data to scores."""

    task: TaskName
    """The kind of data: pairs of text and text (`translation`, whatever their relation), pairs of
    image features, with or without text, and text (`captioning`), text alone (`lm`, a language
    model), text and one label (`classify`), or words and a label for each (`tag`)."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")] | None = None
    """Name of the run's folder in `runs/`; by default the name of the recipe file, or of its folder
    if the file is called recipe.yaml, in letters from A to Z (docs/recipes.md)."""
    seed: Count = 1
    """Seed of all random numbers."""
    data: Data
    """Sources of the pairs."""
    tokenizer: Tokenizers = field(default_factory=lambda: SubwordTokenizer(kind="unigram"))
    """Tokenizers of source and target."""
    model: Model = field(default_factory=Model)
    """The network: encoder, attention, decoder, dropout."""
    train: Train = field(default_factory=Train)
    """Optimization of the parameters."""
    search: Search = field(default_factory=lambda: BeamSearch(kind="beam"))
    """Search of `s2s translate` and `s2s bleu`."""
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] = ("bleu", "chrf")
    """Metrics of validation and `s2s evaluate` (docs/metrics.md)."""
    scoring: Scoring = field(default_factory=Scoring)
    """How metrics read text."""

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise ValueError("\n".join(faults))


def _faults(recipe: Recipe) -> Iterator[str]:
    """Faults of sections that do not fit each other."""
    model, train = recipe.model, recipe.train
    if model.tied == "all" and recipe.tokenizer.kind == "separate":
        yield "model.tied 'all' needs one tokenizer for both sides, not 'separate'"
    values = [value for metric in recipe.metrics for value in VALUES[metric]]
    if train.best != "loss" and train.best not in values:
        yield (
            f"train.best '{train.best}' is not among the values of the metrics, "
            f"{', '.join(values)}; 'loss' is always available"
        )
    if "copied" in recipe.metrics and model.copy != "none":
        yield COPIED_BY_COPYING
    yield from _source_faults(recipe)
    yield from placeholder_faults(
        recipe.task, recipe.data, recipe.tokenizer, recipe.train, recipe.metrics
    )
    if train.schedule.kind == "plateau" and not recipe.data.has_validation:
        yield (
            "train.schedule 'plateau' needs validation pairs, and data has none; "
            "data.hold_out takes some from training"
        )
    yield from _initial_faults(model, train)
    for name in ("coverage_loss", "doubly_stochastic"):
        if getattr(train, name) and model.attention.kind == "none":
            yield f"train.{name} needs a model with attention"
    yield from _distill_faults(recipe)
    yield from guided_alignment_faults(recipe.data, recipe.tokenizer, model, train)
    yield from hard_attention_faults(recipe.data, model, train, recipe.search)
    yield from metric_loss_faults(recipe.task, model, train)
    if train.r_drop and not model.dropout.is_on:
        yield "train.r_drop needs model.dropout; without it two passes are equal"


def _distill_faults(recipe: Recipe) -> Iterator[str]:
    """Faults of pairs and distributions that other runs make."""
    distill, synthetic = recipe.train.distill, recipe.data.synthetic
    if recipe.task in ("lm", *DECODERS):
        if synthetic:
            yield f"data.synthetic translates text, which task '{recipe.task}' does not"
        if distill is not None:
            yield f"train.distill is for tasks with a source and an output, not '{recipe.task}'"
    if distill is None or not distill.has_distributions:
        return
    if any(sampling_alphas(recipe.tokenizer)):
        yield (
            "train.distill.level: 'sequence' is for a tokenizer with sampling, whose tokens differ "
            f"from epoch to epoch; found '{distill.level}'"
        )
    if recipe.model.copy != "none":
        yield (
            f"train.distill.level '{distill.level}': the teachers' vocabulary has no copied tokens "
            "(model.copy); use 'sequence'"
        )


def _initial_faults(model: Model, train: Train) -> Iterator[str]:
    """Faults of two origins of the same weights."""
    if train.init_from is None or model.pretrained is None:
        return
    for side, file in vars(model.pretrained).items():
        sides = ("source", "target") if model.tied == "all" else (side,)
        parts = [f"{one}_embeddings" for one in sides]
        if model.tied != "none" and "target_embeddings" in parts:
            parts.append("output")
        if file is not None and (both := [one for one in train.init_from.named if one in parts]):
            yield (
                f"model.pretrained.{side} and train.init_from.parts '{both[0]}' both name the "
                "initial values of the same weights; keep one of them"
            )


def _source_faults(recipe: Recipe) -> Iterator[str]:
    """Faults of the sources that the recipe describes."""
    if _cuts_source_features(recipe.data, recipe.tokenizer):
        yield (
            "data.truncate.source would cut source features off, or the source that they belong "
            "to; remove it"
        )
    for part in corpora_of(recipe.data):
        if fault := _source_features_fault(part, recipe.tokenizer):
            yield fault
    yield from label_faults(recipe.task, recipe.model, recipe.metrics)
    yield from task_faults(recipe.task, recipe.model, recipe.train, recipe.metrics)
    if recipe.train.stream is not None and any(sampling_alphas(recipe.tokenizer)):
        yield "tokenizer.sampling draws each epoch anew, and a stream (train.stream) stays the same"
    if recipe.task == "lm":
        yield from text_faults(recipe.data, recipe.tokenizer, recipe.train, recipe.search)
        return
    yield from character_faults(recipe.model, recipe.tokenizer)
    if recipe.task in DECODERS:
        sections = recipe.data, recipe.tokenizer, recipe.search
        yield from labelled_data_faults(recipe.task, *sections)
        yield from training_faults(recipe.task, recipe.train)
    if recipe.task == "captioning" and not image_features_of(recipe.data):
        yield "task 'captioning' needs data.image_features"
    yield from source_faults(recipe.data, recipe.tokenizer, recipe.model, recipe.search)


def _source_features_fault(data: AnyCorpus, tokenizer: Tokenizers) -> str | None:
    """A fault of source features without a tokenizer or the reverse, else None."""
    if isinstance(tokenizer, FromRunTokenizer):  # preparation knows whether it reads them
        return None
    column = None if isinstance(data, GeneratedData) else data.columns.source_features
    is_split = isinstance(tokenizer, SeparateTokenizers) and tokenizer.source_features is not None
    if column is not None and not is_split:
        return (
            "data.columns.source_features needs tokenizer.source_features (of a 'separate' "
            "tokenizer)"
        )
    # Lines of plain text may hold source, tab, features themselves.
    is_text = isinstance(data, FilesData) and data.train.table is None
    if is_split and column is None and not is_text:
        return (
            "tokenizer.source_features needs data.columns.source_features, the column to read "
            "them from"
        )
    return None


def _cuts_source_features(data: Data, tokenizer: Tokenizers) -> bool:
    """Whether truncation would cut sources with features, which belong to the whole source."""
    is_split = isinstance(tokenizer, SeparateTokenizers) and tokenizer.source_features is not None
    return is_split and data.truncate.source is not None
