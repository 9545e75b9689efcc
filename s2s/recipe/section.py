"""The base class of sections, and types of numbers with a range."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Discriminator, Field, Tag

PositiveInt = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonEmpty = Annotated[str, Field(min_length=1)]

DURATION = r"^[0-9]+(\.[0-9]+)? ?(s|min|h)$"


def _with_unit(value: object) -> object:
    """Raises ValueError for a number without a unit."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(
            f"expected a time with its unit, found {value}; write '{value} min', or s or h"
        )
    return value


# In this order the JSON Schema has the pattern.
Duration = Annotated[str, Field(pattern=DURATION), BeforeValidator(_with_unit)]
"""A time such as `90 s`, `15 min` or `1.5 h`."""

NUMBER, AUTO = "number", "auto"
"""Tags of the two alternatives where s2s may choose a number: pydantic puts them at the end of an
error's location."""


FILE, FILES = "file", "files"
"""The same where one file or several may be named."""

TAGS = (NUMBER, AUTO, FILE, FILES)


def number_or_auto(value: object) -> str:
    """The tag of a value, so that a fault is reported for one alternative, not for both."""
    return AUTO if isinstance(value, str) else NUMBER


def file_or_files(value: object) -> str:
    """The tag of a value, as in `number_or_auto`."""
    return FILES if isinstance(value, list | tuple) else FILE


Files = Annotated[
    Annotated[NonEmpty, Tag(FILE)]
    | Annotated[tuple[NonEmpty, ...], Field(min_length=1), Tag(FILES)],
    Discriminator(file_or_files),
]
"""One file, a pattern such as `parts/*.de`, or a list of files and patterns."""


def names_of(files: Files) -> tuple[str, ...]:
    """The names and patterns of one entry, in order."""
    return (files,) if isinstance(files, str) else files


def seconds_of(duration: Duration) -> float:
    """The seconds of a duration."""
    number = duration.rstrip("minsh ")
    return float(number) * {"s": 1.0, "min": 60.0, "h": 3600.0}[duration[len(number) :].strip()]


class Section:
    """Base class of sections: unknown keys and silent conversions ("3" for 3) are faults."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "use_attribute_docstrings": True,
    }
