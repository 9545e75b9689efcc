"""Errors as answers: each has a status, and one line that says what is wrong."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from s2s.errors import S2sError, UsageError
from s2s.recipe.faults import in_words
from s2s.recipe.suggestions import close_to

MOST_FAULTS = 3
"""Faults of a request that its answer names."""


class Refused(S2sError):
    """A request that is not answered; `status` is that of the answer."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        """Seconds after which the client may try again."""


def status_of(error: S2sError) -> int:
    """The HTTP status of an error."""
    match error:
        case Refused():
            return error.status
        case UsageError():
            return 422
        case _:
            return 500


def validation_fault(details: Sequence[Mapping[str, Any]], fields: Iterable[str]) -> Refused:
    """The answer to a body that is not as expected; `fields` are those of the request."""
    first = details[0]
    if first["type"] == "json_invalid":
        reason = first["ctx"]["error"]
        return Refused(400, f"the body is not valid JSON: {reason} at character {first['loc'][-1]}")
    if len(first["loc"]) < 2 and isinstance(first.get("input"), bytes):
        return Refused(415, "expected a body with Content-Type: application/json")
    told = [_fault(detail, tuple(fields)) for detail in details[:MOST_FAULTS]]
    more = len(details) - len(told)
    return Refused(422, "; ".join(told) + (f"; and {more} more" if more > 0 else ""))


def _fault(detail: Mapping[str, Any], fields: tuple[str, ...]) -> str:
    where, *keys = detail["loc"]
    place = _dotted(keys) or where
    match detail["type"]:
        case "extra_forbidden":
            return f"{place}: unknown field{close_to(str(keys[-1]), fields)}"
        case "missing":
            return "the body is missing" if not keys else f"{place}: missing field"
        case "value_error":
            return f"{place}: {detail['ctx']['error']}"
        case "model_attributes_type":
            return "expected a JSON object as the body"
    return f"{place}: {in_words(detail)}"  # type: ignore[arg-type]


def _dotted(keys: Sequence[Any]) -> str:
    """`text[3]` for the keys text and 3."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).removeprefix(".")


def one_line(error: BaseException) -> str:
    """The message of an error as one line."""
    return " ".join(str(error).split())
