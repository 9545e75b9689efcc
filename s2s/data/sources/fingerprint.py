"""Fingerprints of recipe sections, which do not change when a recipe gets new fields."""

from dataclasses import asdict
from typing import Any

from s2s.recipe.section import Section

LATER: dict[str, Any] = {
    "source_features": None,
    "source_features_place": "after",
    "references": None,
    "group": None,
    "decompose": False,
    "separators": " ",
    "unseen": False,
    "labels": False,
    "characters": False,
    "symbols": (),
    "placeholders": (),
}
"""Fields added since the first release of prepared data, with the value that changes nothing."""

FIRST_NAMES = {"source_features": "features"}
"""Names that fields had when data were first prepared: those data stay up to date."""

OF_TRAINING = ("sampling",)
"""Fields that affect how training reads prepared data, not the data."""


def fingerprint_of(section: Section) -> dict[str, Any]:
    """The section as JSON, without later fields that change nothing: data prepared before these
    fields existed stay up to date."""
    return _without_later(asdict(section))  # type: ignore[call-overload, no-any-return]


def _without_later(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {
        FIRST_NAMES.get(key, key): _without_later(value)
        for key, value in values.items()
        if key not in OF_TRAINING and not (key in LATER and value == LATER[key])
    }
