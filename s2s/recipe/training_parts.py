"""The parts of a recipe's training data: its corpora, and the pairs that other runs make."""

from typing import NamedTuple

from s2s.recipe.data import AnyCorpus, corpora_of, evaluated_of
from s2s.recipe.filters import Filters
from s2s.recipe.recipe import Recipe
from s2s.recipe.synthetic import Distill, Synthetic

DISTILLED = "distilled"
"""Name of the pairs of `train.distill`."""


class TrainingPart(NamedTuple):
    """A part of the training data, in the order in which prepared data have them."""

    weight: float
    tag: str | None
    filters: Filters
    corpus: AnyCorpus | None = None
    """The corpus, if the pairs are not made."""
    made: str | None = None
    """The name of pairs that are made, that of their folder."""
    section: Synthetic | Distill | None = None
    """The section of pairs that are made."""
    tags_within: tuple[str, ...] = ()
    """The tags that sources of made pairs have already."""

    @property
    def place(self) -> str:
        """The section of pairs that are made, as the recipe names it."""
        if self.made == DISTILLED:
            return "train.distill"
        return f"data.synthetic[{int(self.made or 1) - 1}]"


def training_parts(recipe: Recipe) -> tuple[TrainingPart, ...]:
    """The parts: corpora, `data.synthetic`, `train.distill`."""
    corpora = corpora_of(recipe.data)
    filters = evaluated_of(recipe.data).filters
    parts = [TrainingPart(one.weight, one.tag, one.filters, one) for one in corpora]
    distill = recipe.train.distill
    if distill is not None and distill.makes_pairs and not distill.originals:
        parts = []
    for number, section in enumerate(recipe.data.synthetic, start=1):
        own = section.filters or filters
        parts.append(
            TrainingPart(section.weight, section.source_tag, own, None, str(number), section)
        )
    if distill is not None and distill.makes_pairs:
        tags = tuple(dict.fromkeys(one.tag for one in corpora if one.tag))
        parts.append(TrainingPart(distill.weight, None, filters, None, DISTILLED, distill, tags))
    return tuple(parts)
