"""Faults that a wrong `kind` hides: without its kind, pydantic does not look into a section.

The kind that was probably meant is put in place of the wrong one, and the recipe is checked again.
Only what is wrong whatever was meant is reported then.
"""

import copy
import difflib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from s2s.recipe.faults import faults_of
from s2s.recipe.schema import Spot, spot_at, without_tags
from s2s.recipe.yaml import Document, Fault, Keys

WITHOUT_KIND = ("union_tag_invalid", "union_tag_not_found")
"""pydantic's errors for a wrong and for a missing kind."""

OF_ONE_KIND = ("missing", "value_error")
"""Errors that another kind of the section might not have."""


def faults_behind_kinds(
    error: ValidationError, document: Document, validate: Callable[[dict[str, Any]], object]
) -> Iterator[Fault]:
    """The faults of sections whose kind is missing or wrong, but for those of the kind itself.

    `error` is that of the document's data, and `validate` raises those of changed data.
    """
    tried = replace(document, data=copy.deepcopy(document.data), faults=[])
    kinds: dict[Keys, bool] = {}
    """The sections that have been given a kind, and whether it is the one that was meant."""
    while found := _give_kinds(error, tried, kinds):
        kinds.update(found)
        try:
            validate(tried.data)
        except ValidationError as next_error:
            error = next_error
            yield from faults_of(next_error, tried, partial(_is_certain, found))
        else:
            return


def _is_certain(sections: dict[Keys, bool], detail: ErrorDetails, keys: Keys) -> bool:
    """Whether an error is in one of these sections, and is one whichever kind was meant."""
    section = next((keys[:n] for n in range(len(keys) + 1) if keys[:n] in sections), None)
    if section is None:
        return False
    if sections[section] or len(keys) > len(section) + 1:
        return True
    if detail["type"] == "unexpected_keyword_argument":
        return keys[-1] not in spot_at(section).names()
    return detail["type"] not in OF_ONE_KIND


def _give_kinds(
    error: ValidationError, document: Document, known: dict[Keys, bool]
) -> dict[Keys, bool]:
    """Give a kind to each section without one; returns these, as in `known`."""
    found = {}
    for detail in error.errors(include_url=False):
        keys, _ = without_tags(detail["loc"])
        section = detail["input"]
        is_new = detail["type"] in WITHOUT_KIND and keys not in known
        if is_new and isinstance(section, dict) and not document.is_refused((*keys, "kind")):
            kind, is_meant = _kind_of(section, spot_at(keys))
            # A section that the task has added is no part of the document.
            if (written := _section_at(document.data, keys)) is not None:
                written["kind"] = kind
                found[keys] = is_meant
    return found


def _section_at(data: Any, keys: Keys) -> dict[str, Any] | None:
    """The section at some keys of a document; None if it has none there."""
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return None
    return data if isinstance(data, dict) else None


def _kind_of(section: dict[str, Any], spot: Spot) -> tuple[str, bool]:
    """The kind with a name like the wrong one, else the one with the most keys of the section; and
    whether it is the former."""
    kinds = spot.kinds()
    written = section.get("kind")
    if isinstance(written, str) and (near := difflib.get_close_matches(written, kinds, n=1)):
        return near[0], True
    known = {kind: len({*spot.of_kind(kind).names()} & {*section}) for kind in kinds}
    return max(kinds, key=lambda kind: (known[kind], kind == spot.default_kind)), False
