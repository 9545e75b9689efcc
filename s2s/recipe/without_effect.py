"""Sections that a recipe says though its task has no use for them."""

from collections.abc import Iterator

from s2s.recipe.recipe import Recipe
from s2s.recipe.yaml import Document, Fault, dotted

ENCODER = ("model", "encoder")

COMPLETE = ("layers", "width", "bidirectional")
"""Fields of an encoder that every stored recipe has. A later field, which runs made before lack,
does not make their section one that a person wrote."""


def faults_without_effect(recipe: Recipe, document: Document) -> Iterator[Fault]:
    """Faults of what the document of a valid recipe says without any effect.

    A complete section, as in the recipe that a run stores, says every default: that is no fault.
    """
    model = document.data.get("model")
    said = model.get("encoder") if isinstance(model, dict) else None
    is_partial = isinstance(said, dict) and any(name not in said for name in COMPLETE)
    if recipe.task == "lm" and is_partial:
        what = "has no effect in task 'lm', whose model is the decoder alone; remove it"
        yield Fault(document.place(ENCODER), dotted(ENCODER), what)
