"""`base` in the JSON Schema of recipes.

A recipe with a base says only what it changes, so nothing is required of it, at no depth. Every
section therefore stands in the schema twice: whole, and `Part of` it without required keys.
"""

from typing import Any

from s2s.recipe.base import KEY

PART = "Part of "
"""The beginning of the names of sections without required keys."""

DEFINITIONS = "#/$defs/"

BASE = {
    "type": ["string", "null"],
    "minLength": 1,
    "description": "The recipe that this one changes; a relative path starts at this recipe's "
    "folder. Sections merge key by key; lists, and sections of another kind, are replaced.",
}


def with_base(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a complete recipe, extended by that of recipes with a base."""
    definitions = schema["$defs"]
    parts = {PART + name: _part(section) for name, section in definitions.items()}
    whole = {key: schema[key] for key in ("properties", "required")}
    has_base = {"properties": {KEY: {"type": "string"}}, "required": [KEY]}
    top = {key: value for key, value in schema.items() if key not in ("$defs", "required")}
    return {
        **top,
        "properties": {KEY: BASE, **_part(schema["properties"])},
        "if": has_base,
        "else": whole,
        "$defs": {**definitions, **parts},
    }


def _part(value: Any) -> Any:
    """A piece of a schema that requires no keys."""
    if isinstance(value, list):
        return [_part(item) for item in value]
    if not isinstance(value, dict):
        return value
    part: dict[str, Any] = {}
    for key, item in value.items():
        # `kind` may be missing, so several alternatives may fit.
        if key == "oneOf":
            part["anyOf"] = _part(item)
        elif key == "$ref":
            part[key] = item.replace(DEFINITIONS, DEFINITIONS + PART)
        elif not (key == "discriminator" or (key == "required" and isinstance(item, list))):
            part[key] = _part(item)
    return part
