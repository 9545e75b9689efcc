"""What prepared data are known by, in a form that new recipe fields leave as it was."""

from dataclasses import asdict
from typing import Any

from s2s.recipe.section import Section

LATER: dict[str, Any] = {
    "source_features": None,
    "references": None,
    "decompose": False,
    "separators": " ",
    "unseen": False,
}
"""Fields that came after the first prepared data, with the value that changes nothing."""

FIRST_NAMES = {"source_features": "features"}
"""Names that fields had when data were first prepared: those data stay up to date."""

OF_TRAINING = ("sampling",)
"""Fields that say how training reads what is prepared, and leave it as it is."""


def identity_of(section: Section) -> dict[str, Any]:
    """The section as JSON, without later fields where they say nothing: what was prepared before
    they came stays up to date."""
    return _settled(asdict(section))  # type: ignore[call-overload, no-any-return]


def _settled(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {
        FIRST_NAMES.get(key, key): _settled(value)
        for key, value in values.items()
        if key not in OF_TRAINING and not (key in LATER and value == LATER[key])
    }
