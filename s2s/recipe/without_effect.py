"""Sections that a recipe says though its task has no use for them."""

from collections.abc import Iterator
from dataclasses import fields

from s2s.recipe.model import Encoder
from s2s.recipe.recipe import Recipe
from s2s.recipe.yaml import Document, Fault, dotted

ENCODER = ("model", "encoder")


def faults_without_effect(recipe: Recipe, document: Document) -> Iterator[Fault]:
    """Faults of what the document of a valid recipe says without any effect.

    A complete section, as in the recipe that a run stores, says every default: that is no fault.
    """
    model = document.data.get("model")
    said = model.get("encoder") if isinstance(model, dict) else None
    is_partial = isinstance(said, dict) and any(one.name not in said for one in fields(Encoder))
    if recipe.task == "lm" and is_partial:
        what = "has no effect in task 'lm', whose model is the decoder alone; remove it"
        yield Fault(document.place(ENCODER), dotted(ENCODER), what)
