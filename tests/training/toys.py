"""Tasks and models that train in seconds."""

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s2s.nn.model import Seq2Seq
from s2s.recipe.data import FilesData, FileSet
from s2s.recipe.model import Dropout, Encoder, GeneralAttention, LuongDecoder, Model
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import CharacterTokenizer
from s2s.recipe.train import ConstantSchedule, Optimizer, Train
from s2s.run.directory import Run
from s2s.training.objective import Validation
from s2s.training.reporter import PlainReporter, Window
from s2s.training.state import Position, TrainingState

SYMBOLS = "abcdefgh"

NO_DROPOUT = Dropout(embedding=0.0, encoder=0.0, decoder=0.0, readout=0.0)


def reverse(text: str) -> str:
    return text[::-1]


def copy(text: str) -> str:
    return text


def strings(longest: int) -> list[str]:
    """All strings of 1 to `longest` symbols, or 4,000 of them, in random order."""
    draw = random.Random(longest)
    if longest <= 4:
        every = range(1, longest + 1)
        found = ["".join(s) for n in every for s in itertools.product(SYMBOLS, repeat=n)]
    else:
        drawn = ("".join(draw.choices(SYMBOLS, k=draw.randint(1, longest))) for _ in range(6000))
        found = sorted(set(drawn))
    draw.shuffle(found)
    return found[:4000]


def write_side(path: Path, lines: Iterable[str]) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def write_task(
    folder: Path,
    task: Callable[[str], str] = reverse,
    *,
    train: int = 160,
    held_out: int = 20,
    longest: int = 4,
    validation: bool = True,
) -> FilesData:
    """Parallel files of a task; no string is in two splits."""
    folder.mkdir(parents=True, exist_ok=True)
    left = strings(longest)
    splits = {}
    for name, size in (("train", train), ("validation", held_out), ("test", held_out)):
        chosen, left = left[:size], left[size:]
        assert len(chosen) == size
        splits[name] = FileSet(
            source=write_side(folder / f"{name}.source", chosen),
            target=write_side(folder / f"{name}.target", map(task, chosen)),
        )
    if not validation:
        del splits["validation"]
    return FilesData(kind="files", **splits)


def small_model(**changes: Any) -> Model:
    """Widths that differ pairwise, with dropout: training depends on all randomness there is."""
    chosen: dict[str, Any] = {
        "embeddings": 12,
        "encoder": Encoder(width=9),
        "attention": GeneralAttention(kind="general"),
        "decoder": LuongDecoder(kind="luong", width=14),
        "dropout": Dropout(word=0.05),
        **changes,
    }
    return Model(**chosen)


def small_recipe(data: FilesData, **train: Any) -> Recipe:
    """Some 20 updates an epoch, in fp32; `train` changes how it is trained."""
    chosen: dict[str, Any] = {
        "epochs": 3,
        "batch_tokens": 64,
        "optimizer": Optimizer(learning_rate=5e-3),
        "schedule": ConstantSchedule(kind="constant"),
        "precision": "fp32",
        "best": "loss",
        "save_minutes": 1000.0,
        **train,
    }
    return Recipe(
        task="translation",
        name="toy",
        data=data,
        tokenizer=CharacterTokenizer(kind="character"),
        model=small_model(),
        train=Train(**chosen),
    )


def state_of(recipe: Train, dropout: Dropout = NO_DROPOUT, seed: int = 3) -> TrainingState:
    """A small model over the toy task's 15 ids, not yet trained."""
    torch.manual_seed(seed)
    return TrainingState(Seq2Seq(small_model(dropout=dropout), 15, 15), recipe)


def with_train(recipe: Recipe, **changes: Any) -> Recipe:
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))


class Listener(PlainReporter):
    """Keeps all reports; `at` is called after each reported update."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.windows: list[tuple[int, Window]] = []
        self.validations: list[tuple[int, Validation, bool]] = []

    def update(self, position: Position, window: Window) -> None:
        self.windows.append((position.update, window))

    def validation(self, position: Position, validation: Validation, is_best: bool) -> None:
        self.validations.append((position.update, validation, is_best))

    def note(self, text: str) -> None:
        self.notes.append(text)


def weights(run: Run, which: Any = "last") -> dict[str, Tensor]:
    return run.read_weights(which)


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """The names of tensors that are not equal bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]
