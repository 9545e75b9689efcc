"""The generated corpus: targets checked by hand, disjoint splits, one target for each source."""

import datetime
import itertools
from random import Random

import pytest

from s2s.data.synthetic.corpus import generate, split_of
from s2s.data.synthetic.spoken import cardinal, spoken, year_name
from s2s.data.synthetic.values import (
    LANGUAGES,
    Appointment,
    Day,
    Language,
    Measure,
    Price,
    Style,
    Value,
    draw,
)
from s2s.data.synthetic.written import forms, written
from s2s.errors import DataError
from s2s.recipe.data import GeneratedData

SPLITS = ("train", "validation", "test")


def small(pairs: int = 1000, held_out: int = 200, seed: int = 1) -> GeneratedData:
    return GeneratedData(
        kind="generated", corpus="dates", pairs=pairs, held_out=held_out, seed=seed
    )


def sample(count: int) -> list[Value]:
    random = Random(3)
    return [draw(random) for _ in range(count)]


CARDINALS = [
    # number, English, German, French
    (0, "zero", "null", "zéro"),
    (1, "one", "eins", "un"),
    (16, "sixteen", "sechzehn", "seize"),
    (17, "seventeen", "siebzehn", "dix-sept"),
    (21, "twenty-one", "einundzwanzig", "vingt et un"),
    (30, "thirty", "dreißig", "trente"),
    (66, "sixty-six", "sechsundsechzig", "soixante-six"),
    (70, "seventy", "siebzig", "soixante-dix"),
    (71, "seventy-one", "einundsiebzig", "soixante et onze"),
    (77, "seventy-seven", "siebenundsiebzig", "soixante-dix-sept"),
    (80, "eighty", "achtzig", "quatre-vingts"),
    (81, "eighty-one", "einundachtzig", "quatre-vingt-un"),
    (91, "ninety-one", "einundneunzig", "quatre-vingt-onze"),
    (100, "one hundred", "einhundert", "cent"),
    (101, "one hundred one", "einhunderteins", "cent un"),
    (200, "two hundred", "zweihundert", "deux cents"),
    (201, "two hundred one", "zweihunderteins", "deux cent un"),
    (280, "two hundred eighty", "zweihundertachtzig", "deux cent quatre-vingts"),
    (1000, "one thousand", "eintausend", "mille"),
    (1001, "one thousand one", "eintausendeins", "mille un"),
    (1100, "one thousand one hundred", "eintausendeinhundert", "mille cent"),
    (
        1999,
        "one thousand nine hundred ninety-nine",
        "eintausendneunhundertneunundneunzig",
        "mille neuf cent quatre-vingt-dix-neuf",
    ),
    (2000, "two thousand", "zweitausend", "deux mille"),
    (2024, "two thousand twenty-four", "zweitausendvierundzwanzig", "deux mille vingt-quatre"),
    (80_000, "eighty thousand", "achtzigtausend", "quatre-vingt mille"),
]

YEARS = [
    (1900, "nineteen hundred", "neunzehnhundert", "mille neuf cents"),
    (1905, "nineteen oh-five", "neunzehnhundertfünf", "mille neuf cent cinq"),
    (
        1999,
        "nineteen ninety-nine",
        "neunzehnhundertneunundneunzig",
        "mille neuf cent quatre-vingt-dix-neuf",
    ),
    (2000, "two thousand", "zweitausend", "deux mille"),
    (2001, "two thousand one", "zweitausendeins", "deux mille un"),
    (2024, "twenty twenty-four", "zweitausendvierundzwanzig", "deux mille vingt-quatre"),
    (2080, "twenty eighty", "zweitausendachtzig", "deux mille quatre-vingts"),
]

SPOKEN: list[tuple[Value, str, str, str]] = [
    (
        Day(datetime.date(2024, 3, 1)),
        "Friday, March first, twenty twenty-four",
        "Freitag, der erste März zweitausendvierundzwanzig",
        "le vendredi premier mars deux mille vingt-quatre",
    ),
    (
        Day(datetime.date(2024, 3, 3)),
        "Sunday, March third, twenty twenty-four",
        "Sonntag, der dritte März zweitausendvierundzwanzig",
        "le dimanche trois mars deux mille vingt-quatre",
    ),
    (
        Day(datetime.date(1971, 8, 31)),
        "Tuesday, August thirty-first, nineteen seventy-one",
        "Dienstag, der einunddreißigste August neunzehnhunderteinundsiebzig",
        "le mardi trente et un août mille neuf cent soixante et onze",
    ),
    (Appointment(0, 0, 0), "Monday at midnight", "Montag um null Uhr", "lundi à zéro heure"),
    (
        Appointment(1, 1, 1),
        "Tuesday at one oh-one a.m.",
        "Dienstag um ein Uhr eins",
        "mardi à une heure une",
    ),
    (
        Appointment(2, 12, 0),
        "Wednesday at noon",
        "Mittwoch um zwölf Uhr",
        "mercredi à douze heures",
    ),
    (
        Appointment(3, 12, 30),
        "Thursday at twelve thirty p.m.",
        "Donnerstag um zwölf Uhr dreißig",
        "jeudi à douze heures trente",
    ),
    (
        Appointment(6, 21, 41),
        "Sunday at nine forty-one p.m.",
        "Sonntag um einundzwanzig Uhr einundvierzig",
        "dimanche à vingt et une heures quarante et une",
    ),
    (Price("USD", 1, 0), "one dollar", "ein Dollar", "un dollar"),
    (
        Price("EUR", 2, 1),
        "two euros and one cent",
        "zwei Euro und ein Cent",
        "deux euros et un centime",
    ),
    (
        Price("GBP", 1, 1),
        "one pound and one penny",
        "ein Pfund und ein Penny",
        "une livre et un penny",
    ),
    (
        Price("GBP", 81, 80),
        "eighty-one pounds and eighty pence",
        "einundachtzig Pfund und achtzig Pence",
        "quatre-vingt-une livres et quatre-vingts pence",
    ),
    (Price("EUR", 0, 50), "fifty cents", "fünfzig Cent", "cinquante centimes"),
    (Price("USD", 0, 20), "twenty cents", "zwanzig Cent", "vingt cents"),
    (Measure("mass-tonne", 1), "one metric ton", "eine Tonne", "une tonne"),
    (
        Measure("mass-tonne", 101),
        "one hundred one metric tons",
        "einhunderteins Tonnen",
        "cent une tonnes",
    ),
    (Measure("mass-kilogram", 1), "one kilogram", "ein Kilogramm", "un kilogramme"),
    (
        Measure("length-kilometer", 80_200),
        "eighty thousand two hundred kilometers",
        "achtzigtausendzweihundert Kilometer",
        "quatre-vingt mille deux cents kilomètres",
    ),
]

WRITTEN: list[tuple[Value, Language, Style, str]] = [
    (Day(datetime.date(2024, 3, 1)), "en", "short", "2024-03-01"),
    (Day(datetime.date(2024, 3, 1)), "en", "medium", "Mar 1, 2024"),
    (Day(datetime.date(2024, 3, 1)), "de", "medium", "01.03.2024"),
    (Day(datetime.date(2024, 3, 1)), "de", "full", "Freitag, 1. März 2024"),
    (Day(datetime.date(2024, 3, 1)), "fr", "short", "01/03/2024"),
    (Day(datetime.date(2024, 3, 1)), "fr", "full", "vendredi 1er mars 2024"),
    (Day(datetime.date(2024, 3, 21)), "fr", "long", "21 mars 2024"),
    (Appointment(0, 0, 7), "en", "long", "Monday at 12:07 AM"),
    (Appointment(0, 15, 7), "de", "long", "Montag um 15:07 Uhr"),
    (Appointment(0, 15, 7), "fr", "long", "lundi à 15 h 07"),
    (Price("USD", 1234, 50), "en", "long", "$1,234.50"),
    (Price("EUR", 1234, 5), "de", "long", "1.234,05 €"),
    (Price("GBP", 1234, 0), "fr", "long", "1 234,00 £GB"),
    (Measure("length-kilometer", 12345), "fr", "long", "12 345 km"),
]


@pytest.mark.parametrize(("number", "en", "de", "fr"), CARDINALS)
def test_cardinal_is_the_known_one(number: int, en: str, de: str, fr: str) -> None:
    assert tuple(cardinal(number, language) for language in LANGUAGES) == (en, de, fr)


@pytest.mark.parametrize(("year", "en", "de", "fr"), YEARS)
def test_year_is_the_known_one(year: int, en: str, de: str, fr: str) -> None:
    assert tuple(year_name(year, language) for language in LANGUAGES) == (en, de, fr)


@pytest.mark.parametrize(("value", "en", "de", "fr"), SPOKEN)
def test_spoken_form_is_the_known_one(value: Value, en: str, de: str, fr: str) -> None:
    assert tuple(spoken(value, language, "full") for language in LANGUAGES) == (en, de, fr)


def test_weekday_is_spoken_only_where_it_is_written() -> None:
    day = Day(datetime.date(2024, 3, 3))
    assert [spoken(day, language, "long") for language in LANGUAGES] == [
        "March third, twenty twenty-four",
        "der dritte März zweitausendvierundzwanzig",
        "le trois mars deux mille vingt-quatre",
    ]


@pytest.mark.parametrize(("value", "language", "style", "expected"), WRITTEN)
def test_written_form_is_the_known_one(
    value: Value, language: Language, style: Style, expected: str
) -> None:
    assert written(value, language, style) == expected


def test_written_form_names_one_value() -> None:
    """In all languages, also for dates whose day and month can be swapped."""
    swaps: list[Value] = [
        Day(datetime.date(2024, month, day))
        for month, day in itertools.product(range(1, 13), range(1, 13))
    ]
    owner: dict[str, Value] = {}
    for value in [*swaps, *sample(2000)]:
        for language, style in forms(value):
            assert owner.setdefault(written(value, language, style), value) == value


def test_spoken_form_names_one_value() -> None:
    """Different values have different spoken forms."""
    for language in LANGUAGES:
        owner: dict[str, Value] = {}
        for value in sample(2000):
            assert owner.setdefault(spoken(value, language, "long"), value) == value


@pytest.mark.parametrize("split", SPLITS)
def test_same_seed_same_pairs(split: str) -> None:
    assert list(generate(small(), split)) == list(generate(small(), split))
    assert list(generate(small(), split)) != list(generate(small(seed=2), split))


def test_more_pairs_begin_with_the_same() -> None:
    assert list(generate(small(pairs=300), "train")) == list(generate(small(), "train"))[:300]


def test_counts_are_as_asked_and_sources_differ() -> None:
    data = small(pairs=1000, held_out=200)
    sources = [{source for source, _ in generate(data, split)} for split in SPLITS]
    assert [len(of_split) for of_split in sources] == [1000, 200, 200]
    assert len(set().union(*sources)) == 1400


def test_splits_share_no_value() -> None:
    """Not even in another format or language."""
    data = small(pairs=3000, held_out=300)
    found = {split: {target for _, target in generate(data, split)} for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert found[one].isdisjoint(found[other])
    owner = {
        source: value
        for value in sample(5000)
        for language, style in forms(value)
        for source in [written(value, language, style)]
    }
    found = 0
    for split in SPLITS:
        for source, _ in generate(data, split):
            value = owner.get(source.split(": ", 1)[1])
            found += value is not None
            assert value is None or split_of(value, data.seed) == split
    assert found > 100


def test_every_split_has_its_share_of_values() -> None:
    splits = [split_of(value, 1) for value in sample(5000)]
    assert 0.88 < splits.count("train") / len(splits) < 0.92
    assert 0.04 < splits.count("test") / len(splits) < 0.06


def test_text_is_plain_and_tagged() -> None:
    for source, target in generate(small(), "train"):
        assert source[:4] in {"en: ", "de: ", "fr: "}
        assert source.isprintable() and target.isprintable()
        assert source.split() == source.split(" ") and target.split() == target.split(" ")
        assert 2 <= len(target.split()) <= 14


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train", r"data\.pairs: corpus 'dates' has at most 3,044,\d{3} pairs for train, found"),
        ("test", r"data\.held_out: corpus 'dates' has at most 169,\d{3} pairs for test, found"),
    ],
)
def test_more_pairs_than_values_is_one_clear_line(split: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        generate(small(pairs=10_000_000, held_out=10_000_000), split)
