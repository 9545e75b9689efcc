"""A choice that fits the data, and its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s2s.recipe.yaml import Keys, dotted


@dataclass(frozen=True)
class Choice:
    """Values for some fields of a recipe, which one reason explains."""

    values: Mapping[Keys, Any]
    """Plain values, as in YAML, by the keys of their fields."""
    reason: str
    """Why, in a few words, with the numbers that decided."""

    def __str__(self) -> str:
        """The choice on one line: the keys with their values, and the reason."""
        shown = ", ".join(f"{dotted(keys)}: {_flow(value)}" for keys, value in self.values.items())
        return f"{shown} ({self.reason})"


def at(path: str) -> Keys:
    """The keys of a dotted path."""
    return tuple(path.split("."))


def _flow(value: Any) -> str:
    """A plain value on one line, as a recipe has it."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float():
            return f"{value:g}"
        case str() if not value.replace("_", "").isalnum() and not _is_plain(value):
            return f'"{value}"'
    return str(value)


def _is_plain(text: str) -> bool:
    """Whether YAML reads a text without quotes as the text, within a flow mapping too."""
    return all(part.isalnum() for part in text.split(" "))
