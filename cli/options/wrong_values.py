"""What is wrong with a value on the command line: expected, found, remedy."""

import re
from difflib import get_close_matches
from typing import Any

EXPECTED = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    "int_parsing_size": "a smaller whole number",
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    "finite_number": "a finite number",
    "greater_than_equal": "at least {ge:,}",
    "greater_than": "more than {gt:,}",
    "less_than_equal": "at most {le:,}",
    "less_than": "less than {lt:,}",
}
"""What a value has to be, by pydantic's name of the fault; limits have its names too."""

_CHOICES = re.compile(r"^(?P<found>'.*'|\".*\") is not one of (?P<choices>.+?)\.?$", re.DOTALL)


def reason_of(error: Any) -> str:
    """The message of an error of the command line, on one line."""
    text: str = " ".join(error.format_message().split())
    cause: Any = getattr(error, "__cause__", None)
    if hasattr(cause, "errors") and (faults := cause.errors()):
        fault = faults[0]
        if expected := EXPECTED.get(fault["type"], ""):
            expected = expected.format(**fault.get("ctx", {}))
            place = text.removesuffix(" ".join(str(error.message).split())).rstrip()
            return f"{place} expected {expected}, found {str(fault['input'])!r}"
    # typer puts the kind of the error in front of a value that is not among the choices.
    text = text.replace(": Value error, ", ": ")
    message = " ".join(str(getattr(error, "message", "")).split())
    found = _CHOICES.match(message.removeprefix("Value error, "))
    if found is not None:
        choices = re.findall(r"'([^']*)'", found["choices"])
        near = get_close_matches(found["found"][1:-1], choices, n=1)
        return text.rstrip(".") + (f"; did you mean '{near[0]}'?" if near else "")
    return text
