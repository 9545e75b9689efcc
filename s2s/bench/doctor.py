"""Checks on this machine that the output of a sentence does not depend on other sentences.

Kernels differ between machines. Random models of several architectures translate random sentences
together, in another order and alone; tokens and scores must be equal, bit for bit.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from s2s.errors import UsageError
from s2s.nn.device import choose_precision
from s2s.nn.inference_model import InferenceModel, inference_model
from s2s.nn.kernels import PRECISIONS, choose_search_precision, speeds
from s2s.nn.model import Seq2Seq
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import (
    AdditiveAttention,
    BahdanauDecoder,
    DotAttention,
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    StackedDecoder,
)
from s2s.recipe.search import BeamSearch, GreedySearch, Search
from s2s.search.loop import search

LIMITS = (
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
)
"""Environment variables that affect the choice of kernels on a CPU, and its threads."""

SENTENCES, LONGEST = 48, 30
"""The number of sentences, and the most tokens of one."""

ALONE = 8
"""One in so many sentences is also searched alone."""

VOCABULARY = 499

SETTINGS: tuple[Search, ...] = (
    GreedySearch(kind="greedy", max_ratio=1.0, max_offset=3),
    BeamSearch(kind="beam", width=5, max_ratio=1.0, max_offset=3),
)

MODELS: tuple[Model, ...] = (
    # Widths that no vector length of any CPU divides, and those of common models.
    Model(
        embeddings=29,
        encoder=Encoder(width=21),
        attention=GeneralAttention(kind="general"),
        decoder=LuongDecoder(kind="luong", width=37, input_feeding=True),
    ),
    Model(
        embeddings=30,
        encoder=Encoder(width=23),
        attention=AdditiveAttention(kind="additive", width=19),
        decoder=BahdanauDecoder(kind="bahdanau", width=41),
        coverage=True,
        context_gate=True,
    ),
    Model(
        embeddings=128,
        encoder=Encoder(width=128),
        attention=DotAttention(kind="scaled_dot"),
        decoder=StackedDecoder(kind="stacked", width=256),
    ),
)


@dataclass(frozen=True)
class Finding:
    """The result of the check of one precision."""

    precision: SearchPrecision
    operations_per_second: float | None
    """The speed of a product of the size of a decoding step, on a CPU."""
    refusal: str | None
    """The reason why the precision is not used here; None if it is."""
    broken: tuple[str, ...] = ()
    """The searches whose output depended on other sentences."""


@dataclass(frozen=True)
class Choices:
    """The precisions that `auto` chooses on a device."""

    training: str
    search: SearchPrecision


def limits() -> dict[str, str]:
    """The variables in `LIMITS` that are set."""
    return {name: os.environ[name] for name in LIMITS if name in os.environ}


def choices(device: torch.device) -> Choices:
    """The precisions that `auto` chooses on a device."""
    return Choices(choose_precision("auto", device), choose_search_precision("auto", device))


def check_contract(
    device: torch.device, progress: Callable[[str, int, int | None], None]
) -> Iterator[Finding]:
    """Search in every precision; yields a finding after each."""
    measured = speeds() if device.type == "cpu" else {}
    total = len(MODELS) * len(SETTINGS)
    for precision in PRECISIONS:
        speed = measured.get(precision)
        try:
            choose_search_precision(precision, device)
        except UsageError as error:
            yield Finding(precision, speed, str(error))
            continue
        broken = []
        searches = [(model, settings) for model in MODELS for settings in SETTINGS]
        for done, (model, settings) in enumerate(searches):
            progress(f"searching in {precision}", done, total)
            if not is_independent(
                inference_model(_random(model, device), precision), settings, device
            ):
                broken.append(f"{settings.kind}, {model.decoder.kind}")
        progress(f"searching in {precision}", total, total)
        yield Finding(precision, speed, None, tuple(broken))


def is_independent(scorer: InferenceModel, settings: Search, device: torch.device) -> bool:
    """Whether outputs are independent of the number and the order of other sentences."""
    draw = random.Random(1)
    sources = [
        [draw.randrange(4, VOCABULARY) for _ in range(draw.randint(1, LONGEST))]
        for _ in range(SENTENCES)
    ]
    settings = replace(settings, precision=scorer.precision)

    def outputs(order: list[int]) -> list[tuple[tuple[int, ...], float]]:
        found = search(scorer, [sources[i] for i in order], settings, str(device))
        return [(best.tokens, best.log_prob) for (best,) in found]

    together = outputs(list(range(SENTENCES)))
    mixed = draw.sample(range(SENTENCES), SENTENCES)
    some = draw.sample(range(SENTENCES), SENTENCES // 3)
    orders = [mixed, some, *([i] for i in range(0, SENTENCES, ALONE))]
    return all(outputs(order) == [together[i] for i in order] for order in orders)


def _random(recipe: Model, device: torch.device) -> Seq2Seq:
    """A random model with logits so peaked that outputs differ in length."""
    torch.manual_seed(5)
    model = Seq2Seq(recipe, VOCABULARY, VOCABULARY).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(6.0 if "embedding" in name else 2.0)
    return model.to(device)
