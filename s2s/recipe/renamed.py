"""Old keys of recipes, which are still read, with a line on stderr for each.

They occur in recipe files, in `--set`, and in the folders of runs made before the change.
"""

import os
import sys
from collections.abc import Iterator
from functools import cache
from multiprocessing import parent_process
from typing import Any

from s2s.recipe.yaml import Document, Keys, Place, dotted

ANY = "*"
"""Stands for each item of a list."""

RENAMED: dict[tuple[str, ...], str] = {
    ("data", "features"): "image_features",
    ("data", "corpora", ANY, "features"): "image_features",
    ("data", "columns", "features"): "source_features",
    ("data", "corpora", ANY, "columns", "features"): "source_features",
    ("tokenizer", "features"): "source_features",
    ("model", "features"): "image_features",
}
"""The path of each old key, and its new name in the same section."""

FORMER_NAMES = {new: old[-1] for old, new in RENAMED.items()}
"""Old names of fields: fingerprints of prepared data keep them, so that these stay valid."""


def rename_keys(document: Document) -> None:
    """Give every old key of the document its new name; both names in one section are a fault."""
    for old, new in RENAMED.items():
        for section, keys in list(_sections(document.data, old[:-1], ())):
            if old[-1] in section:
                _rename(document, section, (*keys, old[-1]), new)


def rename_path(keys: tuple[str, ...], place: Place) -> tuple[str, ...]:
    """The path of an override with new names for old ones."""
    for old, new in RENAMED.items():
        if keys[: len(old)] == old:
            renamed = (*old[:-1], new, *keys[len(old) :])
            report_once(f"{place.label} -> {dotted(renamed)}; the old key is still read")
            return renamed
    return keys


def _sections(
    data: Any, path: tuple[str, ...], keys: Keys
) -> Iterator[tuple[dict[str, Any], Keys]]:
    """The sections at `path`, each with its keys."""
    if not path:
        if isinstance(data, dict):
            yield data, keys
    elif path[0] == ANY and isinstance(data, list):
        for number, item in enumerate(data):
            yield from _sections(item, path[1:], (*keys, number))
    elif isinstance(data, dict) and path[0] in data:
        yield from _sections(data[path[0]], path[1:], (*keys, path[0]))


def _rename(document: Document, section: dict[str, Any], keys: Keys, new: str) -> None:
    renamed, place = (*keys[:-1], new), document.place(keys)
    if new in section:
        also = document.place(renamed).label
        what = f"is the old name of '{dotted(renamed)}', which {also} has too; leave one out"
        document.refuse(place, keys, what)
        del section[str(keys[-1])]
        return
    values = [(new if key == keys[-1] else key, value) for key, value in section.items()]
    section.clear()
    section.update(values)
    document.move(keys, renamed)
    if section[new]:  # null and [] choose nothing, and recipes in runs have all defaults
        line = f"{place.label}: {dotted(keys)} -> {dotted(renamed)}"
        report_once(f"{line}; the old key is still read")


@cache
def report_once(line: str) -> None:
    """Write a line on stderr, once for a command with all its processes."""
    if parent_process() is None and os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"s2s: {line}\n")
