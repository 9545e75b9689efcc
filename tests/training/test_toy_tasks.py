"""Every wiring and every attention learns to copy and to reverse, to the last symbol."""

from collections.abc import Callable
from pathlib import Path

import pytest

from s2s import pipeline
from s2s.metrics.corpus import Request
from s2s.recipe.model import (
    AdditiveAttention,
    AnyDecoder,
    Attention,
    BahdanauDecoder,
    DotAttention,
    Encoder,
    GeneralAttention,
    HardAttention,
    LuongDecoder,
    Model,
    NoAttention,
    StackedDecoder,
)
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch
from s2s.recipe.tokenizer import CharacterTokenizer
from s2s.recipe.train import CosineSchedule, Optimizer, Train
from s2s.run.directory import Run
from tests.training.toys import NO_DROPOUT, Listener, copy, reverse, write_task

GENERAL = GeneralAttention(kind="general")
DOT = DotAttention(kind="dot")
ADDITIVE = AdditiveAttention(kind="additive")
LUONG = LuongDecoder(kind="luong", width=32)
FEEDING = LuongDecoder(kind="luong", width=32, input_feeding=True)
BAHDANAU = BahdanauDecoder(kind="bahdanau", width=32)
STACKED = StackedDecoder(kind="stacked", width=32)

TASKS = [
    (LUONG, GENERAL, reverse),
    (LUONG, ADDITIVE, copy),
    (FEEDING, DOT, copy),
    (FEEDING, GENERAL, reverse),
    (BAHDANAU, ADDITIVE, reverse),
    (STACKED, GENERAL, copy),
    (STACKED, DOT, reverse),
    (LUONG, HardAttention(kind="hard_monotonic"), copy),
]


def exact_matches(folder: Path, recipe: Recipe) -> float:
    """Share of held-out strings that the trained model gets right."""
    pipeline.train(recipe, runs=folder / "runs", device="cpu", reporter=Listener())
    request = Request(metrics=("exact",))
    found = pipeline.evaluate(run=Run.open(folder / "runs" / "toy"), device="cpu", request=request)
    return found.scores.value("exact")


def toy(
    folder: Path, task: Callable[[str], str], model: Model, *, train: int, epochs: int
) -> Recipe:
    """Enough training for every seed that was tried: a machine that rounds otherwise is like
    another seed."""
    return Recipe(
        task="translation",
        name="toy",
        data=write_task(folder, task, train=train, held_out=50, longest=4, validation=False),
        tokenizer=CharacterTokenizer(kind="character"),
        model=model,
        train=Train(
            epochs=epochs,
            batch_tokens=320,
            optimizer=Optimizer(learning_rate=2e-2),
            schedule=CosineSchedule(kind="cosine", warmup=20),
            label_smoothing=0.0,
            precision="fp32",
            best="loss",
        ),
        search=GreedySearch(kind="greedy"),
    )


@pytest.mark.parametrize(
    ("decoder", "attention", "task"),
    TASKS,
    ids=[f"{d.kind}{'-feeding' * (d is FEEDING)}-{a.kind}-{task.__name__}" for d, a, task in TASKS],
)
def test_attention(
    tmp_path: Path, decoder: AnyDecoder, attention: Attention, task: Callable[[str], str]
) -> None:
    model = Model(
        embeddings=32,
        encoder=Encoder(width=16),
        attention=attention,
        decoder=decoder,
        dropout=NO_DROPOUT,
    )
    recipe = toy(tmp_path, task, model, train=1500, epochs=8)
    assert exact_matches(tmp_path, recipe) == 100.0


def test_the_bottleneck_holds_four_symbols(tmp_path: Path) -> None:
    model = Model(
        embeddings=64,
        encoder=Encoder(width=32),
        attention=NoAttention(kind="none"),
        decoder=LuongDecoder(kind="luong", width=64),
        dropout=NO_DROPOUT,
    )
    recipe = toy(tmp_path, copy, model, train=2400, epochs=10)
    assert exact_matches(tmp_path, recipe) == 100.0
