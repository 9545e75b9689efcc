"""Placeholders: what becomes one, and that every text comes back."""

import random
import re

import pytest

from s2s.text.placeholders import MOST, Placeholders

ALL = Placeholders(["number", "url", "email"], kept=["{0}", "<h1>"])


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("5 of 7, 5", "<num1> of <num2>, <num1>"),
        ("am 5. Mai 2024 um 10:30.", "am <num1>. Mai <num2> um <num3>."),
        ("$3.50, -4 %, (1,000)", "$<num1>, -<num2> %, (<num3>)"),
        ("B2B x5 5x 1.5x 3rd m\u00b2 v_1", "B2B x5 5x 1.5x 3rd m\u00b2 v_1"),
        ("5\ufe0f\u20e3 1\u0301", "5\ufe0f\u20e3 1\u0301"),  # an emoji, and a digit with a mark
        ("3月5日", "<num1>月<num2>日"),  # no spaces between words
        ("https://a.de/x_(y)?q=1#b.", "<url1>."),
        ("(see http://a.de), www.b.org!", "(see <url1>), <url2>!"),
        ("https://a.de。 xhttp://a.de www.. ://", "<url1>。 xhttp://a.de www.. ://"),
        ("a.b+c@d-e.org, a@b @c a@b.", "<email1>, a@b @c a@b."),
        ("<num1> 7 <num3>", "<num1> <num2> <num3>"),
        ("{0} <h1> <url1>", "{0} <h1> <url1>"),
        ("", ""),
    ],
)
def test_entities_become_placeholders(text: str, replaced: str) -> None:
    found = ALL.replace(text)
    assert found.text == replaced
    assert ALL.put_back(found.text, found.entities) == text


def test_only_the_kinds_that_are_wanted() -> None:
    text = "5 www.a.de a@b.org"
    assert Placeholders(["email"]).replace(text).text == "5 www.a.de <email1>"
    assert Placeholders(["url"]).replace(text).text == "5 <url1> a@b.org"
    assert Placeholders([]).replace(text).text == text
    assert len(ALL.symbols) == 3 * MOST
    # An address in a larger one is a part of it.
    assert ALL.replace("http://a.de/5/b@c.org").text == "<url1>"


def test_random_text_comes_back() -> None:
    draw = random.Random(1)
    parts = [
        *ALL.symbols[::4], "<num", "1>", "{0}", "<h1>", "<", ">", "5", "17", "1.5", "x", "ä", "月",
        " ", " ", "\t", ".", ",", ":", "/", "@", "a@b.org", "www.a.de", "http://", "(", ")",
        "\u0301", "\u200b", "\U0001f469",
    ]  # fmt: skip
    for _ in range(3000):
        text = "".join(draw.choices(parts, k=draw.randint(0, 40)))
        found = ALL.replace(text)
        assert ALL.put_back(found.text, found.entities) == text
        assert len(set(found.entities)) == len(dict(found.entities)) <= 3 * MOST
        again = ALL.replace(text)
        assert again == found


def test_further_entities_stay_and_what_looks_like_a_placeholder_never_does() -> None:
    numbers = " ".join(map(str, range(20, 32)))
    found = ALL.replace(f"{numbers} <num4>")
    assert [text for _, text in found.entities] == [*map(str, range(20, 28)), "<num4>"]
    assert found.text.endswith("28 29 30 31 <num9>")
    assert ALL.put_back(found.text, found.entities) == f"{numbers} <num4>"


def test_pairs_have_placeholders_for_what_both_sides_have() -> None:
    source, target = ALL.replace_pair("3 of 5 at www.a.de, 1,5", "fünf: 5 von drei, www.a.de, 1.5")
    assert source == "3 of <num1> at <url1>, 1,5"
    assert target == "fünf: <num1> von drei, <url1>, 1.5"
    for pair in (("a", "5"), ("5", "a"), ("5", "6"), ("5", "<num1>")):
        assert ALL.replace_pair(*pair) == pair
    assert ALL.replace_pair("7 8", "8 7 7") == ("<num1> <num2>", "<num2> <num1> <num1>")


def test_an_equal_translation_gets_the_placeholders_of_its_source() -> None:
    draw = random.Random(2)
    for _ in range(200):
        words = draw.choices(["5", "6", "7", "a", "www.a.de", "b@c.org"], k=8)
        source = " ".join(words)
        draw.shuffle(words)
        found = ALL.replace(source)
        assert ALL.replace_pair(source, " ".join(words))[0] == found.text
        known = ALL.replace_known(" ".join(words), found.entities)
        assert known == ALL.replace_pair(source, " ".join(words))[1]
        assert ALL.put_back(known, found.entities) == " ".join(words)


@pytest.mark.parametrize(
    ("output", "restored"),
    [
        ("b <num2> a <num1>", "b 7 a 5"),
        ("a <num1> <num1>", "a 5 5"),
        ("a <num3>", "a 7"),  # the last of its kind
        ("a <url1> b", "a b"),
        ("<url1> b", "b"),
        ("a <url1>", "a"),
        ("a (<url1>) <email2>, b", "a () , b"),
        ("<url1> <url2> <email1>", ""),
        ("a", "a"),
        ("{0} <h1>", "{0} <h1>"),
    ],
)
def test_no_placeholder_is_left_in_an_output(output: str, restored: str) -> None:
    assert ALL.put_back(output, (("<num1>", "5"), ("<num2>", "7"))) == restored


def test_random_outputs_have_no_placeholders() -> None:
    draw = random.Random(3)
    parts = [*ALL.symbols, "a", " ", ",", "<h1>"]
    left = re.compile(r"<(?:num|url|email)\d>")
    for _ in range(500):
        text = "".join(draw.choices(parts, k=draw.randint(0, 12)))
        entities = (("<num1>", "5"), ("<email1>", "a@b.org"))
        assert not left.search(ALL.put_back(text, entities))
