"""The cells of a JSON object: texts, ids and lists of texts under keys or paths of keys."""

import json
from collections.abc import Sequence
from typing import Any

from s2s.data.sources.chunks import doubled_column, missing_column
from s2s.data.sources.columns import joined_words
from s2s.errors import DataError


def key_marks(names: Sequence[str]) -> list[str]:
    """What a line of JSON has twice if it has one of the keys twice, or a key as a value."""
    keys = [key for name in names for key in (name, *name.split("."))]
    written = [json.dumps(key, ensure_ascii=is_ascii) for key in keys for is_ascii in (False, True)]
    return list(dict.fromkeys(written))


def check_keys(line: str, names: Sequence[str], place: str) -> None:
    """Raises DataError if an object of a line has one of the keys twice: which value counts?"""
    parts = {part for name in names for part in (name, *name.split("."))}

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            for key in parts & found.keys():
                if keys.count(key) > 1:
                    raise doubled_column(place, key)
        return found

    json.loads(line, object_pairs_hook=checked)


def json_text(row: Any, name: str, place: str) -> str:
    """The text under `name`, a key or a path of keys. Raises DataError if there is none."""
    return _checked(_json_value(row, name, place), name, place)


def json_texts(row: Any, name: str, place: str) -> list[str]:
    """The texts under `name`, one or more. Raises DataError if there are none."""
    values = _json_value(row, name, place)
    if not isinstance(values, list) or not values:
        found = "an empty list" if values == [] else _kind(values)
        raise DataError(f"{place}: column '{name}' holds {found}, expected a list of texts")
    return [_checked(value, name, place) for value in values]


def json_target(row: Any, name: str, place: str) -> str | list[str]:
    """The text under `name`, or the texts. Raises DataError if there are none."""
    value = _json_value(row, name, place)
    return json_texts(row, name, place) if isinstance(value, list) else _checked(value, name, place)


def json_words(row: Any, name: str, place: str) -> str:
    """The text under `name`, the words of a list, or a whole number, as text.

    Raises DataError if there is none.
    """
    value = _json_value(row, name, place)
    if isinstance(value, list):
        return joined_words([_number_or_text(one, name, place) for one in value])
    return json_id(row, name, place)


def json_id(row: Any, name: str, place: str) -> str:
    """The id under `name`, a text or a whole number. Raises DataError if there is none."""
    return _number_or_text(_json_value(row, name, place), name, place)


def _number_or_text(value: Any, name: str, place: str) -> str:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else _checked(value, name, place)


def _json_value(row: Any, name: str, place: str) -> Any:
    """The value under a key or a path of keys. Raises DataError if there is none."""
    value = row
    if not (isinstance(row, dict) and name in row):
        for key in name.split("."):
            if not isinstance(value, dict):
                raise DataError(f"{place}: expected an object with '{key}', found {_kind(value)}")
            if key not in value:
                raise missing_column(place, name, list(value))
            value = value[key]
    else:
        value = row[name]
    return value


def _checked(value: Any, name: str, place: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{place}: column '{name}' holds {_kind(value)}, expected text")
    if not value.isascii():
        _check_encodable(value, name, place)
    return value


def _check_encodable(text: str, name: str, place: str) -> None:
    """Raises DataError for half a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise DataError(f"{place}: column '{name}' holds {half}, half a character") from error


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", bool: "a truth value", str: "text"}
    return "null" if value is None else names.get(type(value), "a number")
