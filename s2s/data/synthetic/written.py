"""Written forms of values, by the patterns of the Unicode locale data (CLDR) in Babel.

No two values share a written form in any of the languages: a source has one correct target.
"""

import datetime

from s2s.data.synthetic.values import (
    LANGUAGES,
    Appointment,
    Day,
    Language,
    Measure,
    Price,
    Style,
    Value,
)

# English is American here, and a short American date (3/4/24, the fourth of March) would be read
# as the third of April in French: English writes the international 2024-03-04 instead. A short
# German date (04.03.24) leaves the century open.
DATE_PATTERNS: dict[Language, dict[Style, str]] = {
    "en": {"short": "yyyy-MM-dd", "medium": "medium", "long": "long", "full": "full"},
    "de": {"medium": "medium", "long": "long", "full": "full"},
    "fr": {"short": "short", "medium": "medium", "long": "long", "full": "full"},
}

# CLDR's German and French times are bare digits (15:07); prose adds the word and the letter.
APPOINTMENT_PATTERNS: dict[Language, str] = {
    "en": "EEEE 'at' h:mm a",
    "de": "EEEE 'um' H:mm 'Uhr'",
    "fr": "EEEE 'à' H 'h' mm",
}

MONDAY = datetime.date(2024, 1, 1)


def forms(value: Value) -> tuple[tuple[Language, Style], ...]:
    """The languages and styles in which `value` can be written."""
    if isinstance(value, Day):
        return tuple(
            (language, style) for language in LANGUAGES for style in DATE_PATTERNS[language]
        )
    return tuple((language, "long") for language in LANGUAGES)


def written(value: Value, language: Language, style: Style) -> str:
    """`value` in the digits and signs of `language`, with ordinary spaces."""
    # CLDR groups French digits with U+202F and joins units with U+00A0; keyboards have neither.
    return _written(value, language, style).replace("\u202f", " ").replace("\u00a0", " ")


def _written(value: Value, language: Language, style: Style) -> str:
    from babel.dates import format_datetime
    from babel.numbers import format_currency
    from babel.units import format_unit

    match value:
        case Day(date):
            return _date(date, language, style)
        case Appointment(weekday, hour, minute):
            day = MONDAY + datetime.timedelta(days=weekday)
            moment = datetime.datetime.combine(day, datetime.time(hour, minute))
            return format_datetime(moment, APPOINTMENT_PATTERNS[language], locale=language)
        case Price(currency, whole, hundredths):
            return format_currency(whole + hundredths / 100, currency, locale=language)
        case Measure(unit, count):
            return format_unit(count, unit, length="short", locale=language)


def _date(date: datetime.date, language: Language, style: Style) -> str:
    from babel.dates import format_date

    text = format_date(date, DATE_PATTERNS[language][style], locale=language)
    if language == "fr" and style != "short" and date.day == 1:
        # CLDR has no pattern for the one French day that is written as an ordinal.
        return text.replace("1 ", "1er ", 1)
    return text
