"""What a recipe takes over from a trained run, and which parts of a model it keeps as they are."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Discriminator, Field, Tag

from s2s.recipe.section import (
    AUTO,
    FILE,
    FILES,
    NUMBER,
    NonEmpty,
    Section,
    file_or_files,
    number_or_auto,
)

Part = Literal[
    "encoder", "decoder", "source_embeddings", "target_embeddings", "attention", "output"
]
"""A part of a model; `s2s.nn.parts` says which weights belong to it."""

PARTS: tuple[Part, ...] = get_args(Part)

SomeParts = Annotated[tuple[Part, ...], Field(min_length=1)]

Parts = Annotated[
    Annotated[Literal["all"], Tag(FILE)] | Annotated[SomeParts, Tag(FILES)],
    Discriminator(file_or_files),
]

CheckpointName = Annotated[
    Annotated[int, Field(ge=0), Tag(NUMBER)] | Annotated[NonEmpty, Tag(AUTO)],
    Discriminator(number_or_auto),
]


@dataclass(frozen=True, kw_only=True)
class InitFrom(Section):
    """Initial weights from a trained run; all else is initialized as usual."""

    run: NonEmpty
    """A run by its name or folder, a file of `s2s export`, or a model of the hub."""
    checkpoint: CheckpointName = "best"
    """`best`, `last`, a number of updates or a name, such as `average`."""
    parts: Parts = "all"
    """`all`, or a list of `encoder`, `decoder`, `source_embeddings`, `target_embeddings`,
    `attention`, `output` (docs/training.md). Weights that parts share (`model.tied`) are taken over
    if one of them is."""

    def __post_init__(self) -> None:
        if self.parts != "all" and (fault := doubled(self.parts)):
            raise ValueError(f"parts has '{fault}' twice")

    @property
    def named(self) -> tuple[Part, ...]:
        """The parts, all of them if the recipe says `all`."""
        return PARTS if self.parts == "all" else self.parts


def doubled(parts: tuple[Part, ...]) -> Part | None:
    """The first part that is named twice."""
    return next((part for part in parts if parts.count(part) > 1), None)
