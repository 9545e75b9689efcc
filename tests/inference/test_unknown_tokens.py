"""Translation reports, once and at the end, how much of its input is unknown."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest

from s2s.inference.translate_stream import stream
from s2s.inference.unknown_tokens import NOTABLE, UnknownTokens
from s2s.special import UNK
from s2s.text.characters import describe
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.tags import Tagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import Characters, Words
from tests.inference.test_replace_unknown import WORDS, translator

LETTERS = Characters(list("abc "))


def counted(tokenizer: Tokenizer, lines: Sequence[str]) -> UnknownTokens:
    found = UnknownTokens()
    found.add(tokenizer, lines, tokenizer.encode(lines))
    return found


@pytest.mark.parametrize(
    ("tokenizer", "lines", "expected"),
    [
        (Words(["a", "b"]), ["a b", "", "a b\u200b"], None),
        (Words(["a", "b"]), ["a x", "b y b", "x"],
         "3 of 6 words of the input (50%) are unknown to the tokenizer: 'x', 'y'"),
        (LETTERS, ["a\u00a0b", "ab"],
         "1 of 5 characters of the input (20%) are unknown to the tokenizer: '\\xa0' (U+00A0 "
         "NO-BREAK SPACE)"),
        (Tagged(Words(["a"]), ["<2x>"]), ["<2x> a", "<2y> a"],
         "1 of 4 words of the input (25%) are unknown to the tokenizer: '<2y>'"),
        (SourceFeatureTokenizer(Words(["a"]), Words(["PL"])), ["a\tPL", "a\tSG"],
         "1 of 6 tokens of the input (17%) are unknown to the tokenizer"),
        (Words(["a"]), ["a"] * 99 + ["\x1b[31m"],
         "1 of 100 words of the input (1.0%) are unknown to the tokenizer: '\\x1b[31m'"),
        (Words(["a"]), ["x y z u v"],
         "5 of 5 words of the input (100%) are unknown to the tokenizer: 'x', 'y', 'z', ..."),
    ],
)  # fmt: skip
def test_the_note(tokenizer: Tokenizer, lines: list[str], expected: str | None) -> None:
    assert counted(tokenizer, lines).note(tokenizer) == expected


def test_parts_add_up_to_the_whole() -> None:
    words = Words(["a", "b"])
    lines = ["a x", "b", "y x z", "", "q a"]
    whole, parts = counted(words, lines), UnknownTokens()
    for line in lines:
        parts.merge(counted(words, [line]))
    assert parts == whole
    ids = [token for row in words.encode(lines) for token in row]
    assert (whole.tokens, whole.unknown) == (len(ids), ids.count(UNK))


def test_a_little_is_not_notable() -> None:
    words = Words(["a"])
    most = round(1 / NOTABLE)
    assert counted(words, ["a"] * (most - 1) + ["x"]).note(words) is not None
    assert counted(words, ["a"] * most + ["x"]).note(words) is None


def test_one_note_for_all_windows() -> None:
    notes: list[str] = []
    found = io.BytesIO()
    loaded = replace(translator(WORDS), report=notes.append)
    assert stream(loaded, io.BytesIO(b"a X\nb\nY a\n\nX\n"), found, batch_size=1) == 5
    assert notes == ["3 of 6 words of the input (50%) are unknown to the tokenizer: 'X', 'Y'"]
    notes.clear()  # a second stream starts from nothing
    stream(loaded, io.BytesIO(b"a b\r\n\xef\xbb\xbfb\tc\xe2\x80\x8b\n"), found, batch_size=8)
    assert notes == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("word", "'word'"),
        ("größe", "'größe'"),
        ("é", "'é' (U+00E9 LATIN SMALL LETTER E WITH ACUTE)"),
        (
            "a\u200cb\u00a0",
            "'a\\u200cb\\xa0' (U+200C ZERO WIDTH NON-JOINER, U+00A0 NO-BREAK SPACE)",
        ),
        ("\x1b]0;x\x07", "'\\x1b]0;x\\x07'"),
        ("x" * 31, f"'{'x' * 30}...'"),
    ],
)
def test_texts_are_described(text: str, expected: str) -> None:
    assert describe(text) == expected
    assert describe(text).isprintable()
