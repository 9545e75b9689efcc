"""Reads, checks and writes recipes.

    recipe.yaml ─read_with_bases→ plain data ─apply overrides→ plain data ─validate→ Recipe

All faults of a recipe are reported together, each with file and line. All other code trusts the
types.
"""

import copy
import io
import json
import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from s2s.errors import RecipeError, UsageError
from s2s.files import did_you_mean_file, unzipped
from s2s.messages import note, printable
from s2s.recipe.base import KEY as BASE
from s2s.recipe.base import read_with_bases
from s2s.recipe.base_schema import with_base
from s2s.recipe.faults import faults_of, in_words
from s2s.recipe.hidden_faults import faults_behind_kinds
from s2s.recipe.implied import filled
from s2s.recipe.overrides import Overrides, override_texts
from s2s.recipe.recipe import Recipe
from s2s.recipe.renamed import current_keys, rename_old_keys
from s2s.recipe.run_name import latin_name
from s2s.recipe.schema import spot_at
from s2s.recipe.search import Search
from s2s.recipe.shipped_folder import shipped_folder
from s2s.recipe.shorthands import expand_shorthands
from s2s.recipe.without_effect import faults_without_effect
from s2s.recipe.yaml import (
    MAX_BYTES,
    Document,
    Fault,
    Keys,
    Place,
    dotted,
    flow,
    messages,
    read_value,
)

DEFAULT_RECIPE = Path("recipe.yaml")
"""The recipe that a command reads by default."""


STDIN = "-"
"""The recipe that is read from stdin; its run is called `run` unless it has a name."""


@dataclass(frozen=True)
class ShippedRecipe:
    """A recipe that comes with s2s."""

    name: str
    """Name for `s2s recipes copy`."""
    path: Path
    """The file."""
    summary: str
    """Its first comment, on one line."""


@dataclass(frozen=True)
class Draft:
    """A recipe as a user wrote it: what it does not say can still be chosen.

    `recipe` has the fixed defaults there. `s2s.pipeline` completes a draft with defaults that fit
    the data (`s2s.tasks.defaults`), where a plain `Recipe` is used as it is.
    """

    recipe: Recipe
    data: dict[str, Any]
    """The plain values that the file and the overrides say."""
    label: str
    """The file, in messages."""
    places: dict[Keys, Place] = field(default_factory=dict)
    """Where each of them stands: a line of the file or of one of its bases, or an override."""

    @property
    def name(self) -> str:
        """The name of the run."""
        assert self.recipe.name is not None, "load_recipe gives every recipe a name"
        return self.recipe.name

    def says(self, keys: Keys) -> bool:
        """Whether the recipe gives a value at `keys`, or within a section there."""
        section: Any = self.data
        for key in keys:
            if not isinstance(section, dict) or key not in section:
                return False
            section = section[key]
        return True

    def fault(self, keys: Keys, what: str) -> str:
        """The message about a value that is well-formed and yet wrong, with its place."""
        place = Document(self.label, places=self.places).place(keys)
        return str(Fault(place, dotted(keys), what))

    def completed(self, values: Mapping[Keys, Any]) -> Recipe:
        """The recipe with plain `values` where it says nothing.

        Raises RecipeError where what it says excludes one of them.
        """
        data = copy.deepcopy(self.data)
        for keys, value in values.items():
            if self.says(keys):
                continue
            section = data
            names = [str(key) for key in keys]
            for depth, name in enumerate(names[:-1], start=1):
                section = section.setdefault(name, _new_section(tuple(names[:depth])))
                if not isinstance(section, dict):
                    raise RecipeError([self.fault(keys, "no section of a recipe has this key")])
            section[names[-1]] = copy.deepcopy(value)
        document = Document(f"{self.label}, completed for its data", data)
        try:
            recipe = _validate(data)
        except ValidationError as error:
            document.faults += faults_of(error, document)
            raise RecipeError(messages(document.faults)) from None
        return replace(recipe, name=self.name)


def load_recipe(path: str | Path | None = None, overrides: Overrides = ()) -> Recipe:
    """Read, override and check a recipe; without a path, `recipe.yaml` of the current folder.

    The result always has a name, and fixed defaults for what the recipe does not say. Old keys are
    read with a line on stderr (`s2s.recipe.renamed`). Raises `RecipeError` with every fault of the
    file and of the overrides.
    """
    return load_draft(path, overrides).recipe


def override_recipe(recipe: Recipe, overrides: Overrides) -> Recipe:
    """The recipe with other values for some fields, checked as a whole.

    All fields of a recipe are set, so a section that changes its kind takes a mapping with the
    fields of the new kind. Raises `RecipeError` with every fault.
    """
    return parse_draft(Path("the recipe"), dump_recipe(recipe).encode(), overrides).recipe


def load_draft(path: str | Path | None = None, overrides: Overrides = ()) -> Draft:
    """Read a recipe like `load_recipe`, and keep what it says itself."""
    path = Path(path or DEFAULT_RECIPE)
    return parse_draft(path, _content(path), overrides)


def parse_draft(path: Path, content: bytes, overrides: Overrides = ()) -> Draft:
    """The draft with this content; `path` gives it its name, and need not exist."""
    label = "<stdin>" if str(path) == STDIN else str(path)
    document = read_with_bases(path, content, _modernize, label)
    if not document.is_refused(()):
        for rank, (where, override) in enumerate(override_texts(overrides)):
            _override(document, override, Place((1, rank), where))
        _modernize(document)  # sections that an override has written
    try:
        recipe = _validate(document.data)
        document.faults += faults_without_effect(recipe, document)
    except ValidationError as error:
        document.faults += faults_of(error, document)
        document.faults += faults_behind_kinds(error, document, _validate)
    if document.faults:
        raise RecipeError(messages(document.faults))
    recipe = replace(recipe, name=recipe.name or _default_name(path))
    return Draft(recipe, document.data, label, document.places)


def _modernize(document: Document) -> None:
    """Old keys and short forms as what they stand for today."""
    rename_old_keys(document, _report)
    expand_shorthands(document)


def _validate(data: dict[str, Any]) -> Recipe:
    """The recipe with these values. Raises ValidationError."""
    return _adapter().validate_json(json.dumps(filled(data)))


def build_search(values: Mapping[str, Any], names: Mapping[str, str]) -> Search:
    """A search section from values, checked as in a recipe.

    Raises UsageError with the first fault, which calls a field by its entry in `names`.
    """
    try:
        return _search_adapter().validate_json(json.dumps(dict(values)))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        field = str(detail["loc"][-1]) if len(detail["loc"]) > 1 else ""
        place = f"{names.get(field, field)}: " if field else ""
        is_rule = detail["type"] == "value_error"
        what = str(detail["ctx"]["error"]) if is_rule else in_words(detail)
        raise UsageError(place + what) from None


def dump_recipe(recipe: Recipe, comments: Mapping[Keys, str] | None = None) -> str:
    """The recipe as YAML with every default; `load_recipe` reads an equal recipe from it.

    `comments` follow the values at their keys.
    """
    return dump_values(plain_recipe(recipe), comments or {})


def dump_values(values: Mapping[str, Any], comments: Mapping[Keys, str]) -> str:
    """Plain values as YAML; `comments` follow those at their keys."""
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 10_000  # keeps a long path on its line
    yaml.representer.add_representer(type(None), _represent_null)
    text = io.StringIO()
    content = _commented(values)
    for keys, comment in comments.items():
        section = content
        for key in keys[:-1]:
            section = section.get(key) if isinstance(section, CommentedMap) else None
        if isinstance(section, CommentedMap) and keys[-1] in section:
            section.yaml_add_eol_comment(printable(comment), keys[-1], column=0)
    yaml.dump(content, text)
    return text.getvalue()


def _represent_null(representer: Any, _value: None) -> Any:
    """ruamel writes nothing for null."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _commented(value: Any) -> Any:
    """The value in types that can hold comments."""
    if isinstance(value, Mapping):
        return CommentedMap({key: _commented(item) for key, item in value.items()})
    return value


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, for editors that complete and check YAML."""
    schema = with_base(_adapter().json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "s2s recipe",
    }


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Lines such as `train.optimizer.learning_rate: 0.001 -> 0.002`, in the recipe's order.

    If a section changes its kind, the fields of the two kinds are not compared.
    """
    return list(_differences(plain_recipe(old), plain_recipe(new), ()))


def flat_fields(recipe: Recipe) -> dict[str, Any]:
    """The fields by their paths, such as `train.optimizer.learning_rate`; lists are values."""
    return dict(_flat(plain_recipe(recipe), ()))


def shipped_recipes() -> list[ShippedRecipe]:
    """The recipes that come with s2s, by name."""
    found = sorted(shipped_folder().glob("*.yaml"))
    return [ShippedRecipe(path.stem, path, _summary(path)) for path in found]


@cache
def _report(text: str) -> None:
    """A line on stderr, once for a command: it may read a recipe several times."""
    if multiprocessing.parent_process() is None:
        note(text)


@cache
def _adapter() -> TypeAdapter[Recipe]:
    return TypeAdapter(Recipe)


@cache
def _search_adapter() -> TypeAdapter[Search]:
    return TypeAdapter(Search)


def _content(path: Path) -> bytes:
    """The bytes of a recipe file. Raises `RecipeError` if it cannot be read."""
    if str(path) == STDIN and sys.stdin is None:  # the parent process has closed it
        raise RecipeError(["stdin is closed; name a recipe instead of -"])
    try:
        if str(path) == STDIN:
            return unzipped(sys.stdin.buffer.read(MAX_BYTES + 1), MAX_BYTES + 1)
        with path.open("rb") as file:
            return unzipped(file.read(MAX_BYTES + 1), MAX_BYTES + 1)
    except FileNotFoundError:
        raise RecipeError([f"{path}: no such recipe; {_where_to_find(path)}"]) from None
    except IsADirectoryError:
        raise RecipeError([f"{path}: expected a recipe file, found a folder"]) from None
    except (OSError, ValueError) as error:  # ValueError: a name no file can have
        reason = getattr(error, "strerror", None) or error
        raise RecipeError([f"{str(path)!r}: cannot read the recipe: {reason}"]) from None


def _where_to_find(path: Path) -> str:
    if near := did_you_mean_file(path):
        return near.removeprefix("; ")
    names = [recipe.name for recipe in shipped_recipes()]
    name = path.stem if path.stem in names else "quickstart"
    return f"'s2s recipes copy {name} {path}' puts one there, 's2s recipes list' lists all"


def _override(document: Document, override: str, place: Place) -> None:
    """Apply one `a.b=c` to the document; one that cannot be applied becomes a fault."""
    path, equals, text = override.partition("=")
    written: Keys = tuple(path.strip().split("."))
    keys = tuple(str(key) for key in current_keys(written))
    if keys != written:
        _report(f"{place.label}: {dotted(written)} is now called {dotted(keys)}")
    if not equals or not all(keys):
        document.faults.append(Fault(place, "", "expected PATH=VALUE, such as seed=2"))
        return
    if keys[0] == BASE:
        document.refuse(place, keys, "a recipe names its base in its file alone")
        return
    section = document.data
    for depth, key in enumerate(keys[:-1], start=1):
        section = section.setdefault(key, _new_section(keys[:depth]))
        document.places.setdefault(keys[:depth], place)
        if not isinstance(section, dict):
            document.refuse(place, keys, f"'{dotted(keys[:depth])}' is not a section")
            return
    section[keys[-1]] = read_value(document, place, keys, text)
    expand_shorthands(document)  # the next override may change a field of it


def _new_section(keys: tuple[str, ...]) -> dict[str, Any]:
    """The section that an override changes where the recipe has none: of the default kind."""
    kind = spot_at(keys).default_kind
    return {} if kind is None else {"kind": kind}


def _default_name(path: Path) -> str:
    """The name of the file, or of its folder if the file is called recipe.yaml."""
    path = path.with_suffix("") if path.suffix == ".gz" else path
    stem = path.resolve().parent.name if path.name == DEFAULT_RECIPE.name else path.stem
    return latin_name(stem)


def plain_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as dicts, lists and scalars."""
    plain: dict[str, Any] = _adapter().dump_python(recipe, mode="json")
    return plain


def _flat(section: dict[str, Any], keys: Keys) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, (*keys, key))
        else:
            yield dotted((*keys, key)), value


def _differences(old: Any, new: Any, keys: Keys) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        same_kind = old.get("kind") == new.get("kind")
        for key in dict.fromkeys((*old, *new)) if same_kind else ("kind",):
            yield from _differences(old.get(key), new.get(key), (*keys, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, (*keys, place))
    elif old != new:
        yield f"{dotted(keys)}: {flow(old)} -> {flow(new)}"


def _summary(path: Path) -> str:
    """The first paragraph of a recipe's first comment, on one line."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or not text:
            break
        words.append(text)
    return " ".join(words)
