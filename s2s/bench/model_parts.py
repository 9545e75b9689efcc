"""The parts of a model, with their parameters and multiply-adds.

Parameters of tied matrices count once, where they are stored: with the target embeddings. A
multiply-add is one of a matrix product, counted as `s2s.bench.flops` counts operations, which are
two for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from s2s.bench.flops import weights_of
from s2s.bench.random_features import random_features
from s2s.bench.workload import assumed_vocabulary, sides_of
from s2s.data.features.lookup import open_features
from s2s.errors import UsageError
from s2s.inference.load import build_model
from s2s.nn.decoders.hard import Hard
from s2s.nn.decoders.labels import TextLabels
from s2s.nn.encoders.regions import FeatureShape
from s2s.nn.model import Seq2Seq
from s2s.nn.state_dict import feature_shapes
from s2s.recipe.data import has_source_text, image_features_of
from s2s.recipe.load import Draft, plain_recipe
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from s2s.tasks.defaults.choice import says_everything
from s2s.text.tokenizer_pair import load_tokenizers

BYTES = 4
"""Of a parameter in fp32, as training and checkpoints have it."""


@dataclass
class Part:
    """A part of a model."""

    name: str
    parameters: int = 0
    sentence: int = 0
    """Multiply-adds of a pair, whatever its lengths."""
    source: int = 0
    """Of a source token, end of sentence included."""
    region: int = 0
    """Of a region of image features."""
    target: int = 0
    """Of a target token, end of sentence included."""
    pair: int = 0
    """Of each target token with each source token or region."""
    is_tied: bool = False
    """Whether its matrix is that of the target embeddings, which has the parameters."""


@dataclass(frozen=True)
class ModelParts:
    """A model's parts."""

    model: str
    """The run or the recipe."""
    source_vocabulary: int | None
    """None for a model that reads no text."""
    target_vocabulary: int
    parts: list[Part]
    notes: list[str] = field(default_factory=list)
    """What was assumed."""

    @property
    def total(self) -> Part:
        """The sums. Those of regions are per region of one file, so they are not summed."""
        names = [one.name for one in fields(Part) if one.name not in ("name", "region", "is_tied")]
        return Part("total", **{name: sum(getattr(p, name) for p in self.parts) for name in names})

    def as_json(self) -> dict[str, Any]:
        """All of it, with the bytes of each part in fp32."""
        made = [*self.parts, self.total]
        *parts, total = ({**asdict(one), "bytes": BYTES * one.parameters} for one in made)
        del total["region"], total["name"], total["is_tied"]
        return {**asdict(self), "parts": parts, "total": total}


def parts_of_run(run: Run) -> ModelParts:
    """The parts of a run's model: the run has its tokenizers, and need not be trained.

    Raises UsageError for a run without tokenizers, RunError for damaged weights.
    """
    if not (run.tokenizer_folder / "tokenizers.json").is_file():
        raise UsageError(
            f"{run.place}: its data are not prepared, so its vocabularies are unknown; 's2s prep' "
            "prepares them"
        )
    return _of_prepared(run, run.place, [])


def parts_of_draft(draft: Draft, runs: Path) -> ModelParts:
    """The parts of a recipe's model. The vocabularies are those of its run, if that is prepared.

    Raises DataError for files of image features that cannot be read.
    """
    recipe, folder = draft.recipe, runs / draft.name
    if (folder / "recipe.yaml").is_file():
        run = Run.open(folder)
        found = plain_recipe(run.recipe)
        names = ("model", "tokenizer")
        is_same = all(_agrees(draft.data.get(name, {}), found[name]) for name in names)
        if is_same and (run.tokenizer_folder / "tokenizers.json").is_file():
            return _of_prepared(run, draft.label, [f"vocabularies are those of {folder}"])
    sizes = [assumed_vocabulary(side) for side in sides_of(recipe)]
    shapes: list[FeatureShape] = []
    if (lines := random_features(recipe)) is not None:
        shapes = [FeatureShape(store.width, store.max_regions) for store in lines.stores]
    source = sizes[0] if has_source_text(recipe.data) else None
    said = f"{sizes[1]:,}" if source is None else f"{source:,} source and {sizes[1]:,} target"
    notes = [
        f"vocabularies of {said} tokens: those of the recipe, or assumed where they depend on the "
        "data, which are not prepared here"
    ]
    if shapes:
        widths = ", ".join(f"{one.regions} regions of width {one.width:,}" for one in shapes)
        notes.append(f"image features: {widths}, of the files that are here, else assumed")
    if not says_everything(draft):
        notes.append(
            "what the recipe does not say has fixed defaults here; s2s prep chooses others"
        )
    copies = recipe.model.copy != "none"
    with _without_memory(draft.label):
        table = torch.zeros(sizes[0], dtype=torch.int64) if copies else None
        model = Seq2Seq(
            recipe.model,
            source,
            sizes[1],
            None,
            table,
            features=shapes,
            num_source_words=None if recipe.model.characters is None else sizes[0],
        )
    return ModelParts(draft.label, source, sizes[1], parts_of(model), notes)


def _of_prepared(run: Run, place: str, notes: list[str]) -> ModelParts:
    recipe, tokenizers = run.recipe, load_tokenizers(run.tokenizer_folder)
    shapes = _shapes(run, recipe)
    with _without_memory(place):
        model = build_model(recipe, tokenizers, features=shapes)
    source = tokenizers.source.size if has_source_text(recipe.data) else None
    return ModelParts(place, source, tokenizers.target.size, parts_of(model), notes)


@contextmanager
def _without_memory(place: str) -> Iterator[None]:
    """Build a model whose weights take no memory. Raises UsageError where even their sizes are too
    large for PyTorch."""
    try:
        with torch.device("meta"):
            yield
    except (RuntimeError, OverflowError, TypeError) as error:
        raise UsageError(
            f"{place}: the recipe describes a model that is too large; expected smaller widths, "
            "layers or vocabularies"
        ) from error


def _shapes(run: Run, recipe: Recipe) -> Sequence[FeatureShape]:
    """The shapes of a run's files of features, from its weights or, before training, the files."""
    if not image_features_of(recipe.data):
        return ()
    if run.is_exported or run.checkpoints().last is not None:
        return feature_shapes(run.read_weights())
    lines = open_features(recipe.data, None, run.features_cache)
    return [FeatureShape(s.width, s.max_regions) for s in (() if lines is None else lines.stores)]


def _agrees(said: Any, found: Any) -> bool:
    """Whether what a recipe says is in a complete one, which may say more."""
    if isinstance(said, dict) and isinstance(found, dict):
        return all(name in found and _agrees(one, found[name]) for name, one in said.items())
    return bool(said == found)


def parts_of(model: Seq2Seq) -> list[Part]:
    """The parts of a model in the order of a forward pass, each of them with some parameters."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = _part_of(name)
        counts[part] = counts.get(part, 0) + parameter.numel()
    parts = [replace(part, parameters=counts.pop(part.name, 0)) for part in _multiplied(model)]
    assert not counts, f"parameters of no part: {', '.join(counts)}"
    return parts


PARTS = {
    "source_embedding": "source embeddings",
    "target_embedding": "target embeddings",
    "characters": "characters",
    "label_scores": "label scores",
    "decoder.pool": "pooling",
    "decoder.pool_query": "pooling",
    "marks": "combination of sources",
    "combination": "combination of sources",
    "decoder.bridge": "first state",
    "decoder.scores": "attention",
    "decoder.coverage": "attention",
    "decoder.context_gate": "attention",
    "decoder.gate": "copy gate",
    "decoder.readout": "readout",
    "output": "output",
}
"""The parts that parameters belong to, by the beginnings of their names; layers have numbers."""


def _part_of(name: str) -> str:
    """The part that a parameter belongs to."""
    names = name.split(".")
    if names[0] == "encoder":
        return _layer("encoder", names[2])
    if names[:2] == ["decoder", "layers"]:
        return _layer("decoder", names[2])
    if names[0] == "features":
        return f"image features {int(names[1]) + 1}"
    return PARTS.get(".".join(names[:2])) or PARTS[names[0]]


def _layer(side: str, place: str) -> str:
    return f"{side}, layer {int(place) + 1}"


def _multiplied(model: Seq2Seq) -> Iterator[Part]:
    """The parts with their multiply-adds."""
    yield from _reading(model)
    yield from _writing(model)


def _reading(model: Seq2Seq) -> Iterator[Part]:
    """The parts that read the source."""
    encoder = model.encoder
    if encoder is not None:
        is_tied = model.source_embedding is model.target_embedding
        yield Part("source embeddings", is_tied=is_tied)
        if model.characters is not None:
            yield Part("characters", source=weights_of(model.characters))
        for place, layer in enumerate(encoder.forward_layers):
            others = encoder.backward_layers[place : place + 1]
            each = sum(map(weights_of, (layer, *others)))
            yield Part(_layer("encoder", str(place)), source=each)
    for place, features in enumerate(model.features):
        yield Part(f"image features {place + 1}", region=weights_of(features))
    if model.combination is not None:
        yield Part("combination of sources", sentence=weights_of(model.combination))


def _writing(model: Seq2Seq) -> Iterator[Part]:
    """The parts that predict the target."""
    decoder, scores = model.decoder, model.decoder.scores
    if decoder.bridge is not None:
        yield Part("first state", sentence=weights_of(decoder.bridge))
    yield Part("target embeddings")
    for place, layer in enumerate(decoder.layers):
        yield Part(_layer("decoder", str(place)), target=weights_of(layer))
    gate = 0 if decoder.context_gate is None else weights_of(decoder.context_gate)
    if scores is not None:
        key, query, pair = scores.multiplications
        is_hard = isinstance(decoder, Hard)
        summed = 0 if is_hard else scores.summed_width(decoder.source_width)
        yield Part(
            "attention",
            source=0 if model.encoder is None else key,
            region=key if model.features else 0,
            target=query + gate,
            pair=pair + summed,
        )
    elif gate:
        yield Part("attention", target=gate)
    if decoder.gate is not None:
        yield Part("copy gate", target=weights_of(decoder.gate))
    if isinstance(decoder, TextLabels) and decoder.pool is not None:
        yield Part("pooling", source=weights_of(decoder.pool))
    is_tied = model.output.weight is model.target_embedding.weight
    if isinstance(decoder, Hard):  # every position predicts
        own, position = weights_of(decoder.readout.state), weights_of(decoder.readout.source)
        yield Part("readout", source=position, target=own)
        yield Part("output", pair=model.output.weight.numel(), is_tied=is_tied)
    else:
        yield Part("readout", target=weights_of(decoder.readout))
        yield Part("output", target=model.output.weight.numel(), is_tied=is_tied)
    if model.label_scores is not None and any(True for _ in model.label_scores.parameters()):
        yield Part("label scores")
