"""Spoken forms of values, with number names by CLDR's spell-out rules (unicode-rbnf).

This file has the phrases around the numbers: gender, singular and plural, articles, and the order
of day, month and half of the day.
"""

import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from s2s.data.synthetic.values import (
    Appointment,
    Currency,
    Day,
    Language,
    Measure,
    Price,
    Style,
    Unit,
    Value,
)

if TYPE_CHECKING:
    from unicode_rbnf import RbnfEngine

Gender = Literal["masculine", "feminine", "neuter"]


class Noun(NamedTuple):
    """A counted noun; its gender decides between un and une, ein and eine."""

    singular: str
    plural: str
    gender: Gender


NOUNS: dict[Language, dict[Currency | Unit, Noun]] = {
    "en": {
        "USD": Noun("dollar", "dollars", "neuter"),
        "EUR": Noun("euro", "euros", "neuter"),
        "GBP": Noun("pound", "pounds", "neuter"),
        "length-kilometer": Noun("kilometer", "kilometers", "neuter"),
        "mass-kilogram": Noun("kilogram", "kilograms", "neuter"),
        "mass-tonne": Noun("metric ton", "metric tons", "neuter"),
    },
    "de": {
        "USD": Noun("Dollar", "Dollar", "masculine"),
        "EUR": Noun("Euro", "Euro", "masculine"),
        "GBP": Noun("Pfund", "Pfund", "neuter"),
        "length-kilometer": Noun("Kilometer", "Kilometer", "masculine"),
        "mass-kilogram": Noun("Kilogramm", "Kilogramm", "neuter"),
        "mass-tonne": Noun("Tonne", "Tonnen", "feminine"),
    },
    "fr": {
        "USD": Noun("dollar", "dollars", "masculine"),
        "EUR": Noun("euro", "euros", "masculine"),
        "GBP": Noun("livre", "livres", "feminine"),
        "length-kilometer": Noun("kilomètre", "kilomètres", "masculine"),
        "mass-kilogram": Noun("kilogramme", "kilogrammes", "masculine"),
        "mass-tonne": Noun("tonne", "tonnes", "feminine"),
    },
}

HUNDREDTHS: dict[Language, dict[Currency, Noun]] = {
    "en": {
        "USD": Noun("cent", "cents", "neuter"),
        "EUR": Noun("cent", "cents", "neuter"),
        "GBP": Noun("penny", "pence", "neuter"),
    },
    "de": {
        "USD": Noun("Cent", "Cent", "masculine"),
        "EUR": Noun("Cent", "Cent", "masculine"),
        "GBP": Noun("Penny", "Pence", "masculine"),
    },
    "fr": {
        "USD": Noun("cent", "cents", "masculine"),
        "EUR": Noun("centime", "centimes", "masculine"),
        "GBP": Noun("penny", "pence", "masculine"),
    },
}

AND: dict[Language, str] = {"en": "and", "de": "und", "fr": "et"}
AT: dict[Language, str] = {"en": "at", "de": "um", "fr": "à"}
HOUR = Noun("heure", "heures", "feminine")


def spoken(value: Value, language: Language, style: Style) -> str:
    """`value` in words; a date has its weekday if the written `style` does (`full`)."""
    match value:
        case Day(date):
            return _date(date, language, has_weekday=style == "full")
        case Appointment(weekday, hour, minute):
            time = _time(hour, minute, language)
            return f"{_names('EEEE', language)[weekday]} {AT[language]} {time}"
        case Price(currency, whole, hundredths):
            counted = ((whole, NOUNS), (hundredths, HUNDREDTHS))
            parts = (_count(n, nouns[language][currency], language) for n, nouns in counted if n)
            return f" {AND[language]} ".join(parts)
        case Measure(unit, count):
            return _count(count, NOUNS[language][unit], language)


def cardinal(number: int, language: Language, gender: Gender | None = None) -> str:
    """`number` in words that agree with a noun of `gender`; without one, as in counting."""
    match language:
        case "en":
            return _spell(number, language, "spellout-cardinal")
        case "de":
            # Only one itself agrees: eine Tonne, but einhunderteins Tonnen.
            agrees = number == 1 and gender is not None
            rule = f"spellout-cardinal-{gender}" if agrees else "spellout-numbering"
            return _spell(number, language, rule)
        case "fr":
            # CLDR mixes two orthographies, vingt-et-un and cent un; this is the older throughout.
            rule = f"spellout-cardinal-{gender or 'masculine'}"
            return _spell(number, language, rule).replace("-et-", " et ")


def year_name(year: int, language: Language) -> str:
    """A year as it is read aloud: nineteen ninety-nine, neunzehnhundertneunundneunzig."""
    if language == "fr":
        # CLDR's rule for French years, dix-neuf-cent, is the rarer of the two readings.
        return cardinal(year, language)
    return _spell(year, language, "spellout-numbering-year")


def _count(number: int, noun: Noun, language: Language) -> str:
    word = noun.singular if number == 1 or (language == "fr" and number == 0) else noun.plural
    return f"{cardinal(number, language, noun.gender)} {word}"


def _date(date: datetime.date, language: Language, *, has_weekday: bool) -> str:
    month = _names("MMMM", language)[date.month - 1]
    year = year_name(date.year, language)
    weekday = _names("EEEE", language)[date.weekday()] if has_weekday else ""
    match language:
        case "en":
            day = _spell(date.day, language, "spellout-ordinal")
            return f"{weekday and weekday + ', '}{month} {day}, {year}"
        case "de":
            day = _spell(date.day, language, "spellout-ordinal")
            return f"{weekday and weekday + ', '}der {day} {month} {year}"
        case "fr":
            day = "premier" if date.day == 1 else cardinal(date.day, language)
            return f"le {weekday and weekday + ' '}{day} {month} {year}"


def _time(hour: int, minute: int, language: Language) -> str:
    match language:
        case "en":
            return _english_time(hour, minute)
        case "de":
            minutes = cardinal(minute, language) if minute else ""
            return f"{cardinal(hour, language, 'masculine')} Uhr {minutes}".rstrip()
        case "fr":
            minutes = cardinal(minute, language, HOUR.gender) if minute else ""
            return f"{_count(hour, HOUR, language)} {minutes}".rstrip()


def _english_time(hour: int, minute: int) -> str:
    if minute == 0 and hour % 12 == 0:
        return "noon" if hour else "midnight"
    words = [cardinal((hour - 1) % 12 + 1, "en")]
    if minute:
        words.append(("oh-" if minute < 10 else "") + cardinal(minute, "en"))
    return " ".join([*words, "p.m." if hour >= 12 else "a.m."])


@lru_cache
def _names(pattern: Literal["EEEE", "MMMM"], language: Language) -> tuple[str, ...]:
    """Names of the weekdays from Monday on, or of the months."""
    from babel.dates import format_date

    monday = datetime.date(2024, 1, 1)
    days = (
        [monday + datetime.timedelta(days=n) for n in range(7)]
        if pattern == "EEEE"
        else [datetime.date(2024, month, 1) for month in range(1, 13)]
    )
    return tuple(format_date(day, pattern, locale=language) for day in days)


@lru_cache
def _engine(language: Language) -> "RbnfEngine":
    from unicode_rbnf import RbnfEngine

    return RbnfEngine.for_language(language)


@lru_cache(maxsize=100_000)
def _spell(number: int, language: Language, rule: str) -> str:
    # The rules mark hyphenation points with U+00AD, which is not typed.
    text = _engine(language).format_number(number, ruleset_names=[rule]).text
    return text.replace("\u00ad", "")
