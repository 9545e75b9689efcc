"""Two recipes are two runs, in whatever script they are named."""

import os
import re
import unicodedata

import pytest

from s2s.recipe.run_name import latin_name

PLAIN = {
    "de-en.v2": "de-en.v2",
    "my file (1)": "my-file-1",
    "a_b": "a_b",
    "…": "run",
    "": "run",
    "--": "run",
    "data [v1]": "data-v1",
}
OTHERS = [
    "проба",
    "опыт",
    "grün",
    "grön",
    "grun",
    "実験",
    "试验",
    "٣",
    "٤",
    "é",
    "è",
    "हिन्दी",
    "run",
]


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_left_out_of_latin_names(text: str) -> None:
    assert latin_name(text) == PLAIN[text]


def test_other_scripts_have_names_of_their_own() -> None:
    names = [latin_name(text) for text in OTHERS]
    assert len(set(names)) == len(OTHERS)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in names)
    assert names[OTHERS.index("run")] == "run"
    assert re.fullmatch(r"gr-n-[0-9a-f]{6}", names[OTHERS.index("grün")])


def test_a_name_does_not_depend_on_how_a_system_composes_letters() -> None:
    for text in OTHERS:
        assert latin_name(unicodedata.normalize("NFD", text)) == latin_name(text)


def test_bytes_that_are_not_utf_8_tell_names_apart() -> None:
    found = {latin_name(os.fsdecode(name)) for name in (b"b\xff", b"b\xfe", b"b")}
    assert len(found) == 3 and "b" in found
