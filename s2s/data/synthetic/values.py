"""The values of a generated corpus: days, appointments, prices and measures."""

import datetime
from dataclasses import dataclass
from random import Random
from typing import Literal

Language = Literal["en", "de", "fr"]
LANGUAGES: tuple[Language, ...] = ("en", "de", "fr")

Style = Literal["short", "medium", "long", "full"]
"""Names of the date patterns in CLDR; values other than dates are written in one style only."""

Currency = Literal["USD", "EUR", "GBP"]
CURRENCIES: tuple[Currency, ...] = ("USD", "EUR", "GBP")

Unit = Literal["length-kilometer", "mass-kilogram", "mass-tonne"]
UNITS: tuple[Unit, ...] = ("length-kilometer", "mass-kilogram", "mass-tonne")

FIRST_DAY = datetime.date(1900, 1, 1)
NUM_DAYS = (datetime.date(2100, 1, 1) - FIRST_DAY).days
WHOLE_DIGITS = 4
"""Prices are below 10,000: larger ones only make targets longer."""
COUNT_DIGITS = 5
"""Measures are below 100,000."""


@dataclass(frozen=True)
class Day:
    """A day of the calendar."""

    date: datetime.date


@dataclass(frozen=True)
class Appointment:
    """A weekday (0 is Monday) and a time of day."""

    weekday: int
    hour: int
    minute: int


@dataclass(frozen=True)
class Price:
    """An amount of money greater than zero."""

    currency: Currency
    whole: int
    hundredths: int


@dataclass(frozen=True)
class Measure:
    """A whole number of some unit, at least one."""

    unit: Unit
    count: int


Value = Day | Appointment | Price | Measure

NUM_VALUES = (
    NUM_DAYS
    + 7 * 24 * 60
    + len(CURRENCIES) * (10**WHOLE_DIGITS * 100 - 1)
    + len(UNITS) * (10**COUNT_DIGITS - 1)
)
"""The number of different values that `draw` can return."""


def draw(random: Random) -> Value:
    """A random value; dates, which have the most forms, are twice as frequent as other kinds."""
    match random.randrange(5):
        case 0 | 1:
            return Day(FIRST_DAY + datetime.timedelta(days=random.randrange(NUM_DAYS)))
        case 2:
            return Appointment(random.randrange(7), random.randrange(24), random.randrange(60))
        case 3:
            return _draw_price(random)
        case _:
            count = max(1, _draw_number(random, COUNT_DIGITS))
            return Measure(random.choice(UNITS), count)


def _draw_price(random: Random) -> Price:
    """A price, in one case of four a round one."""
    whole = _draw_number(random, WHOLE_DIGITS)
    is_round = whole > 0 and random.randrange(4) == 0
    hundredths = 0 if is_round else random.randrange(0 if whole else 1, 100)
    return Price(random.choice(CURRENCIES), whole, hundredths)


def _draw_number(random: Random, digits: int) -> int:
    """A number of at most `digits` digits; every length is equally likely.

    Small numbers have the irregular forms (one euro, quatre-vingts) and would be rare otherwise.
    """
    return random.randrange(10 ** random.randint(1, digits))
