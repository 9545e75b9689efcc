"""What a recipe, its bases and overrides say together, as one recipe."""

from collections.abc import Iterator, Mapping
from typing import Any

from s2s.recipe.load import Draft, dump_values
from s2s.recipe.yaml import Keys


def dump_said(draft: Draft) -> str:
    """What a recipe, its bases and overrides say together, as one recipe in YAML.

    Comments name the place of each value, if there is more than the recipe's own file.
    """
    is_mixed = any(place.rank[0] for place in draft.places.values())
    labels = {keys: place.label for keys, place in draft.places.items() if is_mixed}
    return dump_values(draft.data, {keys: labels[keys] for keys in _leaves(draft.data) if labels})


def _leaves(section: Mapping[str, Any], keys: Keys = ()) -> Iterator[Keys]:
    """The keys of all values that stand on one line: sections within sections are opened."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*keys, key))
        else:
            yield (*keys, key)
