"""Sections that a recipe may say in one word: `init_from: RUN` is `init_from: {run: RUN}`."""

from typing import Any

from s2s.recipe.yaml import Document, Keys

SHORT: dict[Keys, str] = {("train", "init_from"): "run", ("train", "distill"): "teacher"}
"""By section: the field that a text in place of the section stands for."""


def expand_shorthands(document: Document) -> None:
    """Write the sections that a document says in one word as sections, in place."""
    for keys, field in SHORT.items():
        section: Any = document.data
        for key in keys[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict) and isinstance(word := section.get(keys[-1]), str):
            section[keys[-1]] = {field: word}
            document.places[*keys, field] = document.place(keys)
