"""Overrides of a recipe: texts as after `--set`, or a mapping as in Python."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s2s.errors import RecipeError

Overrides = Mapping[str, Any] | Sequence[str]
"""Changes of a recipe: values by the path of their field, `{"train.epochs": 2}`, where a section
takes a mapping; or texts `train.epochs=2` with the value in YAML."""


def override_texts(overrides: Overrides) -> list[tuple[str, str]]:
    """Overrides as texts `a.b=c`, each with its place in messages."""
    if isinstance(overrides, Mapping):
        found = [(str(path), _yaml(path, value)) for path, value in overrides.items()]
        return [(f"overrides, {path}", f"{path}={text}") for path, text in found]
    several = [overrides] if isinstance(overrides, str) else overrides
    return [(f"--set {text.partition('=')[0].strip()}", text) for text in map(str, several)]


def _yaml(path: str, value: Any) -> str:
    """A value as YAML, of which JSON is a part. Raises `RecipeError` for a value without one."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_as_text)
    except TypeError:
        kind = type(value).__name__
        what = f"overrides, {path}: expected a number, a text, a list or a mapping, found {kind}"
        raise RecipeError([what]) from None


def _as_text(value: Any) -> str:
    """A path as text, for `json.dumps`."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError
