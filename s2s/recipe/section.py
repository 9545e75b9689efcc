"""What every section of a recipe is made of: strictness, and numbers with a range."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

PositiveInt = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonEmpty = Annotated[str, Field(min_length=1)]

NUMBER, AUTO = "number", "auto"
"""What a number that may be left to s2s is; pydantic names it at the end of an error's place."""


def number_or_auto(value: object) -> str:
    """Which of the two a value is, or is meant to be: a fault is one of either, not of both."""
    return AUTO if isinstance(value, str) else NUMBER


class Section:
    """Base of every section: unknown keys and silent conversions ("3" for 3) are faults."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "use_attribute_docstrings": True,
    }
