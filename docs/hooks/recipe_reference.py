"""The fields of a recipe as Markdown, from the schema that checks recipes.

tables(recipe_schema()) → a section for each section of a recipe, a row for each field
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from s2s.recipe.base_schema import DEFINITIONS
from s2s.recipe.faults import PATTERNS
from s2s.recipe.schema import spot_at
from s2s.recipe.yaml import Keys
from s2s.tasks.defaults.choice import ALWAYS_CHOSEN, SOMETIMES_CHOSEN

CHOSEN = frozenset((*ALWAYS_CHOSEN, *SOMETIMES_CHOSEN))

CHOSEN_TEXT = "chosen to fit the data"

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """A section of recipes, at the first place where it may stand."""

    keys: Keys
    """Its place; the fields of the recipe as a whole are at ()."""
    schema: Schema
    kinds: tuple[str, ...] = ()
    """The values of `kind` that choose it; none where there is no choice."""

    @property
    def title(self) -> str:
        """The heading."""
        if not self.keys:
            return "The recipe"
        kinds = " or ".join(self.kinds)
        return ".".join(map(str, self.keys)) + (f", kind: {kinds}" if kinds else "")

    @property
    def anchor(self) -> str:
        """The heading as a target of links."""
        return slug(self.title)

    @property
    def depth(self) -> int:
        """The level of the heading."""
        return 3 if len(self.keys) > 1 or self.kinds else 2


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub writes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower().strip()).replace(" ", "-")


def sections(schema: Schema) -> list[Section]:
    """Every section once, a section before those within it."""
    found: dict[str, Section] = {}
    top = Section((), {"properties": {}, **schema["else"]})
    # What the recipe as a whole names is listed there, also where another section has it within.
    homes = {
        reference: name
        for name, field in top.schema["properties"].items()
        for reference in references(field)
    }

    def visit(section: Section) -> None:
        for name, field in section.schema["properties"].items():
            for reference in references(field):
                keys = (*section.keys, name)
                if reference not in found and homes.get(reference, keys[0]) == keys[0]:
                    found[reference] = _section(schema, reference, keys)
                    visit(found[reference])

    visit(top)
    return [top, *found.values()]


def tables(schema: Schema) -> str:
    """All sections as Markdown."""
    listed = sections(schema)
    anchors = {id(section.schema): section.anchor for section in listed}
    links = {
        DEFINITIONS + name: anchors[id(definition)]
        for name, definition in schema["$defs"].items()
        if id(definition) in anchors
    }
    lines: list[str] = []
    seen: set[Any] = set()
    for section in listed:
        top = section.keys[:1]
        if section.depth == 3 and top not in seen and len(section.keys) == 1:
            lines += [f"## {top[0]}", "", prose(_field(schema, str(top[0]))["description"]), ""]
        seen.add(top)
        lines += [f"{'#' * section.depth} {section.title}", ""]
        if "description" in section.schema:
            lines += [prose(section.schema["description"]), ""]
        lines += [*_table(section, links), ""]
    return "\n".join(lines)


def references(field: Any) -> Iterator[str]:
    """The sections that a field may hold."""
    if isinstance(field, Mapping):
        if "$ref" in field:
            yield field["$ref"]
        for key in ("anyOf", "oneOf", "items"):
            yield from references(field.get(key))
    elif isinstance(field, list):
        for item in field:
            yield from references(item)


def prose(text: str) -> str:
    """A description as Markdown, within a table too."""
    parts = " ".join(text.split()).split("`")
    for place in range(0, len(parts), 2):
        escaped = parts[place].replace("<", "&lt;").replace("*", r"\*").replace("|", "&#124;")
        parts[place] = re.sub(r"\bdocs/([\w-]+)\.md", r"[\1](\1.md)", escaped)
    return "`".join(parts)


def _section(schema: Schema, reference: str, keys: Keys) -> Section:
    definition = schema["$defs"][reference.removeprefix(DEFINITIONS)]
    kind = definition["properties"].get("kind", {})
    has_choice = spot_at(keys).is_tagged or "const" in kind
    kinds = kind.get("enum", [kind["const"]] if "const" in kind else [])
    return Section(keys, definition, tuple(kinds) if has_choice else ())


def _field(schema: Schema, name: str) -> Schema:
    """A field of the recipe as a whole."""
    field: Schema = schema["else"]["properties"][name]
    return field


def _table(section: Section, links: Mapping[str, str]) -> Iterator[str]:
    yield "| field | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in section.schema["properties"].items():
        is_required = name in section.schema.get("required", ())
        meaning = _meaning(section, name, field)
        default = _default(section, name, field, is_required=is_required)
        yield f"| `{name}` | {_value(field, links)} | {default} | {meaning} |"


def _meaning(section: Section, name: str, field: Schema) -> str:
    if "description" in field:
        return prose(field["description"])
    if name == "kind" and section.kinds:
        return "Chooses this section."
    return ""


def _default(section: Section, name: str, field: Schema, *, is_required: bool) -> str:
    path = ".".join([*map(str, section.keys), name])
    spot = spot_at((*section.keys, name))
    if is_required:
        return "**required**"
    if "default" in field:
        default = _code(_plain(field["default"]))
    elif spot.default_kind is not None:
        default = _code(f"{{kind: {spot.default_kind}}}")
    else:
        default = "that of each field"
    if path in CHOSEN:
        return f"{CHOSEN_TEXT} ({default})"
    return default


def _value(field: Schema, links: Mapping[str, str]) -> str:
    """What a field may hold."""
    if "$ref" in field:
        return f"[section](#{links[field['$ref']]})"
    for key in ("anyOf", "oneOf"):
        if key in field:
            return _alternatives(field[key], links)
    if field.get("type") == "array":
        return f"list: {_value(field['items'], links)}"
    return _plain_value(field)


def _plain_value(field: Schema) -> str:
    """What a field without sections may hold."""
    if "const" in field:
        return _code(_plain(field["const"]))
    if "enum" in field:
        return ", ".join(_code(_plain(one)) for one in field["enum"])
    match field.get("type"):
        case "integer" | "number" as kind:
            return f"{'whole number' if kind == 'integer' else 'number'}{_range(field)}"
        case "boolean":
            return "`true`, `false`"
        case "null":
            return "`null`"
        case "string":
            pattern = field.get("pattern")
            return "text" if pattern is None else prose(PATTERNS[pattern])
    raise ValueError(f"a field of an unknown type: {json.dumps(field)}")


def _alternatives(options: list[Schema], links: Mapping[str, str]) -> str:
    if all("$ref" in one for one in options):
        anchors = [links[one["$ref"]] for one in options]
        kinds = [anchor.rpartition("-kind-")[2].replace("-or-", ", ") for anchor in anchors]
        named = zip(kinds, anchors, strict=True)
        return "section: " + ", ".join(f"[{kind}](#{anchor})" for kind, anchor in named)
    return " or ".join(dict.fromkeys(_value(one, links) for one in options))


def _range(field: Schema) -> str:
    bounds = (
        ("minimum", "≥"),
        ("exclusiveMinimum", "&gt;"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "&lt;"),
    )
    found = [f"{sign} {field[key]:,g}" for key, sign in bounds if key in field]
    return f" {', '.join(found)}" if found else ""


def _plain(value: Any) -> str:
    """A value as a recipe has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, str) and value.strip():
        return value
    return json.dumps(value)


def _code(text: str) -> str:
    return f"`{text}`"
