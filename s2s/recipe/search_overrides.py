"""The recipe's search section with values from the command line, or from a call in Python."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from s2s.errors import UsageError
from s2s.recipe.load import build_search
from s2s.recipe.search import Search

KINDS: dict[str, type[Search]] = {
    kind: section
    for section in get_args(get_args(Search)[0])
    for kind in get_args(get_type_hints(section)["kind"])
}
"""The section of each kind of search, in the order in which they are tried for a field."""

KEYWORDS = {"kind": "search", "width": "beam"}
"""Keywords and options that are not named after their field."""


def keyword(name: str) -> str:
    """The keyword by which a call in Python sets a field."""
    return KEYWORDS.get(name, name)


def option(name: str) -> str:
    """The command-line option that sets a field."""
    return f"--{keyword(name).replace('_', '-')}"


def override(
    search: Search, choices: Mapping[str, Any], name_of: Callable[[str], str] = option
) -> Search:
    """`search` with other values for some fields, `kind` among them; None changes nothing.

    Without a kind, fields that the recipe's kind lacks select the first kind that has them:
    `--temperature` alone samples. If the kind changes, the fields that both kinds have keep their
    values and the others take their defaults. Raises UsageError for an unknown kind, for fields
    that no kind has together, and for values out of range; it calls a field by its `name_of`.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    kind = given.pop("kind", None) or _kind_of(search.kind, given, name_of)
    if kind not in KINDS:
        raise UsageError(f"{name_of('kind')}: expected one of {', '.join(KINDS)}, found '{kind}'")
    unknown = [name for name in given if name not in _names(kind)]
    if unknown:
        known = " or ".join(k for k in KINDS if unknown[0] in _names(k))
        what = f"{kind} search does not use {name_of(unknown[0])}"
        raise UsageError(f"{what}; leave it out, or use {name_of('kind')} {known}")
    before = {name: getattr(search, name) for name in _names(search.kind)}
    kept = {name: value for name, value in before.items() if name in _names(kind)}
    names = {name: name_of(name) for name in _names(kind)}
    built = build_search({**kept, **given, "kind": kind}, names)
    if "shortlist_frequent" in given and built.shortlist == 0:
        raise UsageError(
            f"{name_of('shortlist_frequent')}: has no effect without {name_of('shortlist')}"
        )
    return built


def _kind_of(recipe_kind: str, given: dict[str, Any], name_of: Callable[[str], str]) -> str:
    """The recipe's kind if it has all fields that were given, else the first kind that has."""
    for kind in (recipe_kind, *KINDS):
        if given.keys() <= _names(kind):
            return kind
    names = ", ".join(name_of(name) for name in given)
    raise UsageError(f"no search has all of {names}; choose one with {name_of('kind')}")


def _names(kind: str) -> set[str]:
    """Names of the fields of a kind."""
    return {field.name for field in fields(KINDS[kind])}
