"""Validation errors as messages: the path, what was expected, what was found."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from s2s.recipe.schema import Spot, spot_at, without_tags
from s2s.recipe.section import AUTO, DURATION
from s2s.recipe.suggestions import close_to, meant
from s2s.recipe.yaml import MAX_FAULTS, Document, Fault, Keys, Place, dotted

SECTION = "a section (key: value)"

TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": SECTION,
    "dataclass_type": SECTION,
    "dataclass_exact_type": SECTION,
    "model_attributes_type": SECTION,
    "finite_number": "a finite number",
}
"""Expected values of pydantic's type errors, in words."""

PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$": (
        "at most 255 letters, digits, '.', '_' and '-', the first a letter or digit"
    ),
    DURATION: "a time such as '90 s', '15 min' or '1.5 h'",
    r"^<[^\s<>▁]+>$": "one symbol such as <2en>, in angle brackets and without spaces",
    r"^(?:<[^\s<>▁]+>|none)$": (
        "one symbol such as <2en>, in angle brackets and without spaces, or 'none'"
    ),
}
"""The recipe's regular expressions in words."""

UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
"""pydantic's errors for an unknown key."""

MAX_SUGGESTIONS = 2 * MAX_FAULTS
"""Unknown keys that get a suggestion, which takes a millisecond each."""

_LONGEST = 60


def faults_of(
    error: ValidationError,
    document: Document,
    concerns: Callable[[ErrorDetails, Keys], bool] = lambda detail, keys: True,
) -> Iterator[Fault]:
    """Every fault of a validation, except of values that have one already.

    `concerns` chooses among them by pydantic's error and its keys.
    """
    unknown = 0
    for detail in error.errors(include_url=False):
        keys, spot = without_tags(detail["loc"])
        unknown += detail["type"] in UNKNOWN_KEY
        # pydantic calls a list too short if its items are faulty, which have faults of their own.
        is_echo = detail["type"] == "too_short" and len(detail["input"]) > 0
        if not is_echo and not document.is_refused(keys) and concerns(detail, keys):
            if unknown > MAX_SUGGESTIONS and detail["type"] in UNKNOWN_KEY:
                yield Fault(document.place(keys), dotted(keys), "unknown key")
            else:
                yield from _faults(detail, keys, spot, document)


def _faults(detail: ErrorDetails, keys: Keys, spot: Spot, document: Document) -> Iterator[Fault]:
    """One pydantic error as faults: a section may name several broken rules, a line each."""
    if detail["type"] == "value_error":
        for message in str(detail["ctx"]["error"]).splitlines():
            yield _rule_fault(message, keys, document)
    else:
        yield _fault(detail, keys, spot, document)


def _fault(detail: ErrorDetails, keys: Keys, spot: Spot, document: Document) -> Fault:
    """One pydantic error as a fault."""
    match detail["type"]:
        case "union_tag_invalid" | "union_tag_not_found":
            return _kind_fault(detail, keys, spot, document)
        case kind if kind in UNKNOWN_KEY:
            section = _at(document.data, keys[:-1])
            what = "unknown key" + meant(keys, section.get("kind"))
            return Fault(document.place(keys), dotted(keys), what)
        case "missing":
            listed = spot_at(keys).kinds()
            what = "missing section" if spot.sections else "missing key"
            what += f" (its kind is one of {_listed(listed)})" if listed else ""
            return Fault(document.place(keys), dotted(keys), what)
    return Fault(document.place(keys), dotted(keys), in_words(detail) + _kind_advice(detail, spot))


def in_words(detail: ErrorDetails) -> str:
    """The expected and the found value."""
    expected = _expected(detail)
    found = describe(detail["input"])
    if detail["type"] in TYPES and isinstance(detail["input"], str):
        found += " (text)"  # '3' is not 3
    what = f"expected {expected}, found {found}" if expected else detail["msg"]
    return what + _advice(detail)


def _kind_advice(detail: ErrorDetails, spot: Spot) -> str:
    """How to write a section that is said in one word: `gru` where `{kind: gru}` is meant."""
    word, kinds = detail["input"], spot.kinds()
    if TYPES.get(detail["type"]) != SECTION or not isinstance(word, str) or not kinds:
        return ""
    if word in kinds:
        return f"; write {{kind: {word}}}"
    return f"; its kind is one of {_listed(kinds)}{close_to(word, kinds)}"


def _kind_fault(detail: ErrorDetails, keys: Keys, spot: Spot, document: Document) -> Fault:
    """The fault of a section without a kind or with an unknown one."""
    keys = (*keys, "kind")
    section: Any = detail["input"]
    if detail["type"] == "union_tag_not_found":
        what = f"missing key, one of {_listed(spot.kinds())}"
    else:
        kind = section["kind"]
        near = close_to(kind, spot.kinds()) if isinstance(kind, str) else ""
        what = f"expected one of {_listed(spot.kinds())}, found {describe(kind)}{near}"
    return Fault(document.place(keys), dotted(keys), what)


def _rule_fault(message: str, keys: Keys, document: Document) -> Fault:
    """The fault of a rule across fields; its line is that of the field named first, if any."""
    first = message.split(maxsplit=1)[0].strip("':")
    parts = re.findall(r"[^.\[\]]+", first)
    named: Keys = (*keys, *(int(part) if part.isdecimal() else part for part in parts))
    place = document.places.get(named) or document.place(keys)
    return Fault(place, dotted(keys), message + _elsewhere(message, keys, place, document))


def _elsewhere(message: str, keys: Keys, place: Place, document: Document) -> str:
    """` (source: common.yaml:3)`: fields that a message names and that another file says, because
    a recipe and its base only together break the rule."""
    found: dict[str, None] = {}
    for word in re.findall(r"[A-Za-z_][\w.]*\w", message):
        parts = tuple(word.split("."))
        for path in ((*keys, *parts), parts):
            other = document.places.get(path)
            if other is not None and other.rank[0] != place.rank[0] and path != keys:
                found[f"{word}: {other.label}"] = None
                break
    return f" ({', '.join(found)})" if found else ""


def _expected(detail: ErrorDetails) -> str:
    """The expected value in words; empty for an error without words here."""
    context = detail.get("ctx", {})
    if detail["type"] in TYPES:
        return TYPES[detail["type"]]
    words: dict[str, Callable[[], str]] = {
        "greater_than": lambda: f"more than {context['gt']:g}",
        "greater_than_equal": lambda: f"at least {context['ge']:g}",
        "less_than": lambda: f"less than {context['lt']:g}",
        "less_than_equal": lambda: f"at most {context['le']:g}",
        "string_too_short": lambda: "some text",
        "too_short": lambda: f"a list of at least {context['min_length']}",
        "string_pattern_mismatch": lambda: PATTERNS.get(
            context["pattern"], f"text that matches {context['pattern']}"
        ),
        "literal_error": lambda: _choices(context["expected"]),
    }
    return words[detail["type"]]() if detail["type"] in words else ""


def _choices(expected: str) -> str:
    """pydantic's `'a', 'b' or 'c'` as a list with commas, and as YAML writes them."""
    if expected == f"'{AUTO}'":
        return f"a whole number or {expected}"
    listed = expected.replace(" or ", ", ").replace("False", "false")
    return f"one of {listed}" if ", " in listed else listed


def _advice(detail: ErrorDetails) -> str:
    """A hint after the found value."""
    value = detail["input"]
    if detail["type"] == "string_type" and isinstance(value, bool | int | float):
        return f'; in quotes it is text: "{describe(value)}"'
    if detail["type"] == "literal_error" and isinstance(value, str):
        choices = detail.get("ctx", {})["expected"].replace(" or ", ", ").split(", ")
        return close_to(value, tuple(choice.strip("'") for choice in choices))
    if detail["type"] == "tuple_type" and isinstance(value, str):
        return f"; write [{value[:_LONGEST]}]" if value.isidentifier() else ""
    return ""


def describe(value: object) -> str:
    """A value as in a recipe, shortened."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str() if not value:
            return "empty text"
        case str():
            return repr(value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…")
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "a section"
    return str(value)[: 2 * _LONGEST]


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _at(data: Any, keys: Keys) -> Any:
    """The part of `data` at `keys`."""
    for key in keys:
        data = data[key]
    return data
