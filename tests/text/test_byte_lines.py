"""Lines as bytes are the lines that Python has; equal hashes are equal texts."""

from itertools import product
from random import Random

import numpy as np
import pytest

from s2s.text.arrays import ranges
from s2s.text.byte_lines import NO_LINES, ByteLines, LineWords, take_lines

RANDOM = Random(5)
ALPHABET = "ab  ä€🙂\u3000\t\r\x00"
LINES = [
    "",
    " ",
    "  ",
    *("".join(RANDOM.choices(ALPHABET, k=RANDOM.randrange(40))) for _ in range(300)),
]


def words_of(lines: list[str]) -> LineWords:
    return LineWords.of(ByteLines.of(lines))


@pytest.mark.parametrize("lines", [LINES, LINES[:1], [], ["ä"]])
def test_they_are_a_sequence_of_the_lines(lines: list[str]) -> None:
    found = ByteLines.of(lines)
    assert (list(found), len(found), found) == (lines, len(lines), lines)
    assert [found[row] for row in range(-len(lines), len(lines))] == lines + lines
    assert found[1:7:2] == lines[1:7:2]
    assert found == ByteLines.of(found) and found != [*lines, ""]
    rows = np.array(RANDOM.choices(range(len(lines)), k=9) if lines else [], dtype=np.int64)
    assert found.take(rows) == take_lines(lines, rows) == [lines[row] for row in rows.tolist()]
    assert bool(found) == bool(lines)


def test_a_text_of_two_lines_is_none() -> None:
    with pytest.raises(AssertionError):
        ByteLines.of(["a\nb"])


def test_places_are_in_their_lines() -> None:
    found = ByteLines.of(LINES)
    places = np.flatnonzero(found.bytes == ord("b"))
    assert found.rows_of(places).tolist() == [row for row, line in enumerate(LINES) if "b" in line]


def test_words_are_what_is_between_spaces() -> None:
    words = words_of(LINES)
    every = [word for line in LINES for word in line.split(" ")]
    assert words.texts(np.arange(len(words.starts))) == every
    counts = [len(line.split(" ")) for line in LINES]
    assert np.diff(words.firsts, append=len(every)).tolist() == counts
    assert words.lengths.tolist() == [len(word.encode()) for word in every]


def test_hashes_are_equal_where_texts_are() -> None:
    """All texts of up to seven of three characters, one of which separates words."""
    lines = ["".join(one) for size in range(8) for one in product("a\x00 ", repeat=size)]
    words = words_of([*lines, *lines])
    found = words.line_hashes()
    assert len(np.unique(found)) == len(lines)
    assert np.array_equal(found[: len(lines)], found[len(lines) :])
    texts = words.texts(np.arange(len(words.starts)))
    pairs = set(zip(texts, words.hashes.tolist(), strict=True))
    assert len(pairs) == len(set(texts)) == len({hash_ for _, hash_ in pairs})


def test_hashes_read_all_bytes_of_long_words_wherever_they_are() -> None:
    base = "abcdefghijklmnopqrstuvwxyz"
    different = [base[:size] for size in range(1, 27)]
    different += [base[:place] + "#" + base[place + 1 :] for place in range(26)]
    before = ["x" * shift + " " + word for word in different for shift in range(9)]
    words = words_of(before)
    hashes = words.hashes.reshape(len(different), 9, 2)[:, :, 1]
    assert (hashes == hashes[:, :1]).all()  # the same at all places in memory
    assert len(np.unique(hashes)) == len(different)
    assert len(np.unique(words.line_hashes())) == len(before)


def test_order_and_place_of_words_count() -> None:
    lines = ["a b a c a", "a c a b a", "a b", "b a", "a  b", " a b", "a b ", "a", "a a", "a a a"]
    assert len(np.unique(words_of(lines).line_hashes())) == len(lines)


def test_without_lines_there_are_no_hashes() -> None:
    words = LineWords.of(NO_LINES)
    assert len(words.hashes) == len(words.line_hashes()) == 0


def test_ranges_follow_one_another() -> None:
    starts, sizes = np.array([7, 0, 3, 5]), np.array([2, 0, 4, 1])
    assert ranges(starts, sizes).tolist() == [7, 8, 3, 4, 5, 6, 5]
    assert ranges(starts[:0], sizes[:0]).tolist() == []
