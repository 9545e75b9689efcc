"""Recipes that build on others: `base: ../common.yaml` names the recipe that this one changes.

    common.yaml ─read_document→ Document ─┐
    recipe.yaml ─read_document→ Document ─┴─merge→ Document, without `base`

Sections merge key by key. What the recipe says replaces what its base says there: a value, a list,
and a section if both have a `kind` and the two differ. A base may have a base. Every value keeps
the place that it comes from.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2s.recipe.yaml import MAX_BYTES, Document, Keys, read_document

KEY = "base"
"""The key that names the base, at the top of a recipe."""

OWN = ("name",)
"""Keys that are not inherited: two recipes with one name would share a folder."""


def read_with_bases(
    path: Path, content: bytes, prepare: Callable[[Document], None], label: str
) -> Document:
    """Read a recipe of this content and all its bases, merged; faults are in `faults`.

    `prepare` is called with the document of each file before it is merged; `label` is the recipe's
    name in messages. The bases of a recipe from stdin are relative to the current folder.
    """
    chain = [(path, read_document(label, content))]
    prepare(chain[0][1])
    while (found := _base_of(chain)) is not None:
        chain.append(found)
        prepare(found[1])
    _, merged = chain.pop()
    while chain:
        merged = merge(merged, chain.pop()[1])
    return merged


def merge(base: Document, own: Document) -> Document:
    """The document `own` on top of `base`; both are used up."""
    for name in OWN:
        base.data.pop(name, None)
        for keys in [keys for keys in base.places if keys[:1] == (name,)]:
            del base.places[keys]
    inherited: set[Keys] = set()
    data = _merge(base.data, own.data, (), inherited)
    kept = {
        keys: place
        for keys, place in base.places.items()
        if any(keys[:length] in inherited for length in range(1, len(keys) + 1))
    }
    refused = {keys for keys in base.refused if keys in kept or not keys}
    return Document(
        own.name,
        data,
        {**own.places, **kept},
        base.faults + own.faults,
        own.refused | refused,
        own.depth,
    )


def _merge(
    base: dict[str, Any], own: dict[str, Any], keys: Keys, inherited: set[Keys]
) -> dict[str, Any]:
    """`own` on top of `base`, in the order of `base`; `inherited` gets the keys of all that comes
    from `base` alone."""
    merged: dict[str, Any] = {}
    for key, value in base.items():
        if key not in own:
            inherited.add((*keys, key))
            merged[key] = value
        elif _is_merged(value, own[key]):
            merged[key] = _merge(value, own[key], (*keys, key), inherited)
        else:
            merged[key] = own[key]
    return {**merged, **{key: value for key, value in own.items() if key not in base}}


def _is_merged(base: object, own: object) -> bool:
    """Whether two values are sections that merge."""
    if not (isinstance(base, dict) and isinstance(own, dict)):
        return False
    kinds = [section["kind"] for section in (base, own) if "kind" in section]
    return len(kinds) < 2 or kinds[0] == kinds[1]


def _base_of(chain: list[tuple[Path, Document]]) -> tuple[Path, Document] | None:
    """The base of the last recipe of a chain; None without one, or with a fault recorded."""
    path, document = chain[-1]
    place = document.place((KEY,))
    named = document.data.pop(KEY, None)
    document.places.pop((KEY,), None)
    if named is None or document.is_refused((KEY,)):
        return None
    try:
        base = _beside(path, _name(named))
        content = _content(base, [other for other, _ in chain])
    except _FaultyBase as fault:
        document.refuse(place, (KEY,), str(fault))
        document.refused.add(())  # all other values are unknown then, so they get no faults
        return None
    return base, read_document(str(base), content, depth=len(chain))


class _FaultyBase(Exception):
    """Why a base cannot be read."""


def _name(named: object) -> str:
    """Raises _FaultyBase for anything but text."""
    if isinstance(named, str) and named:
        return named
    what = "expected the name of one recipe file, found"
    if isinstance(named, list):
        raise _FaultyBase(f"{what} a list; a base may itself have a base")
    found = "a section" if isinstance(named, dict) else repr(named)
    raise _FaultyBase(f"{what} {'empty text' if named == '' else found:.80}")


def _content(base: Path, users: list[Path]) -> bytes:
    """The content of the base of the last of `users`. Raises _FaultyBase."""
    if any(_is_same(base, other) for other in users):
        circle = " → ".join(map(str, (*users, base)))
        raise _FaultyBase(f"recipes build on each other in a circle: {circle}")
    try:
        if not base.exists():
            raise _FaultyBase(f"{base}: no such file (relative to this recipe)")
        if not base.is_file():  # a pipe would never end
            raise _FaultyBase(f"{base}: expected a recipe file, found a folder or device")
        with base.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise _FaultyBase(f"{str(base)!r}: cannot read the recipe: {reason}") from None


def _beside(path: Path, named: str) -> Path:
    """The base that a recipe at `path` names, without `..` where that is the same file."""
    base = path.parent / named
    short = Path(os.path.normpath(base))
    return short if _is_same(base, short) else base


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False
