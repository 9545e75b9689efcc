"""The same data under other paths: a project that was moved, or paths that are spelled anew."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from s2s.recipe.data import DatasetData, FileSet
from s2s.recipe.guided_alignment import GuidedAlignment
from s2s.recipe.image_features import ImageFeatureFile
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import SentencePieceTokenizer

PATHS = {
    FileSet: ("source", "target", "table", "references"),
    ImageFeatureFile: ("path", "ids"),
    DatasetData: ("dataset",),
    SentencePieceTokenizer: ("model",),
    GuidedAlignment: ("alignments",),
}
"""The fields of each section that name files or folders."""


def moved(recipe: Recipe, other: Recipe) -> Recipe:
    """A recipe with the paths of another one's data, tokenizers and alignments."""
    return replace(
        recipe,
        data=with_paths_of(recipe.data, other.data),
        tokenizer=with_paths_of(recipe.tokenizer, other.tokenizer),
        train=with_paths_of(recipe.train, other.train),
    )


def with_paths_of(section: Any, other: Any) -> Any:
    """A section with the paths of another one, in all its sections that both have."""
    if type(section) is not type(other):
        return section
    if isinstance(section, tuple):
        if len(section) != len(other):
            return section
        pairs = zip(section, other, strict=True)
        return type(section)(with_paths_of(one, two) for one, two in pairs)
    if not is_dataclass(section) or isinstance(section, type):
        return section
    paths = PATHS.get(type(section), ())
    changed = {}
    for one in fields(section):
        mine, its = getattr(section, one.name), getattr(other, one.name)
        if one.name not in paths:
            changed[one.name] = with_paths_of(mine, its)
        elif mine is not None and its is not None:
            changed[one.name] = its
    return replace(section, **changed)
