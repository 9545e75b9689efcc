"""Keys of recipes that have a new name: the old one is still read, and a line names the new one."""

from collections.abc import Callable

from s2s.recipe.yaml import Document, Keys, dotted

RENAMED: dict[tuple[str, ...], dict[str, str]] = {
    ("data",): {"features": "image_features"},
    ("data", "corpora"): {"features": "image_features"},
    ("data", "columns"): {"features": "source_features"},
    ("data", "corpora", "columns"): {"features": "source_features"},
    ("model",): {"features": "image_features"},
    ("tokenizer",): {"features": "source_features"},
}
"""By section, whatever its place in a list: old key to new key."""


EMPTY: tuple[object, ...] = (None, [])
"""Values that say no more than a missing key."""


def current_keys(keys: Keys) -> Keys:
    """A path of keys with the new names in place of old ones."""
    found: Keys = ()
    for key in keys:
        section = tuple(str(part) for part in found if not isinstance(part, int))
        names = RENAMED.get(section, {})
        found = (*found, names.get(key, key) if isinstance(key, str) else key)
    return found


def rename_old_keys(document: Document, report: Callable[[str], None]) -> None:
    """Give old keys of a document their new names, in place; `report` gets a line for each.

    A section in which both have a value has a fault.
    """
    _rename(document, document.data, (), report)


def _rename(document: Document, value: object, keys: Keys, report: Callable[[str], None]) -> None:
    if isinstance(value, list):
        for place, item in enumerate(value):
            _rename(document, item, (*keys, place), report)
    if not isinstance(value, dict):
        return
    section = tuple(str(key) for key in keys if not isinstance(key, int))
    for old, new in RENAMED.get(section, {}).items():
        if old in value:
            _rename_key(document, value, keys, (old, new), report)
    for key, item in value.items():
        _rename(document, item, (*keys, key), report)


def _rename_key(
    document: Document,
    section: dict[str, object],
    keys: Keys,
    names: tuple[str, str],
    report: Callable[[str], None],
) -> None:
    """Rename a key of a section, in the place it has among others."""
    old, new = names
    if new in section and section[old] in EMPTY:
        del section[old]
        return
    before, after = (*keys, old), (*keys, new)
    written = document.place(before)
    if section.get(new) not in EMPTY:
        document.refuse(written, before, f"the old name of '{new}', which stands here too")
        del section[old]
        return
    section.pop(new, None)
    if section[old] not in EMPTY:  # as a run's complete recipe has it
        report(f"{written.label}: {dotted(before)} is now called {dotted(after)}")
    items = [(new if key == old else key, item) for key, item in section.items()]
    section.clear()
    section.update(items)
    for known in [known for known in document.places if known[: len(before)] == before]:
        document.places[(*after, *known[len(before) :])] = document.places.pop(known)
    document.refused = {
        (*after, *known[len(before) :]) if known[: len(before)] == before else known
        for known in document.refused
    }
