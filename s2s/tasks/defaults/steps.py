"""Tables of steps: a value for numbers up to a limit."""

from collections.abc import Sequence
from typing import TypeVar

Value = TypeVar("Value")


def step_of(number: float, steps: Sequence[tuple[float, Value]], beyond: Value) -> Value:
    """The value of the first step whose limit is at least `number`; `beyond` for larger ones.

    Limits ascend.
    """
    return next((value for limit, value in steps if number <= limit), beyond)
