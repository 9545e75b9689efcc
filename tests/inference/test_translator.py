"""N lines in, N lines out, for any lines."""

import io
import json
import os
import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s2s.inference.nbest import NbestOptions, Output, format_outputs, join_outputs
from s2s.inference.split_line import split_line
from s2s.inference.stream import MAX_NAMED, nbest_stream, translate_stream
from s2s.inference.translator import LineTranslator
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.recipe.model import Model, StackedDecoder
from s2s.recipe.search import (
    BeamSearch,
    ExhaustiveSearch,
    GreedySearch,
    MbrSearch,
    SampleSearch,
    Search,
)

SMALL = StackedDecoder(kind="stacked", width=24)


def shout(lines: list[str], first: int = 0) -> list[str]:
    return [line.upper() for line in lines]


def run(source: bytes, window: int = 3, *, interactive: bool = False) -> tuple[bytes, str, int]:
    target, messages = io.BytesIO(), io.StringIO()
    count = translate_stream(
        io.BytesIO(source), target, shout, window, interactive, messages=messages
    )
    return target.getvalue(), messages.getvalue(), count


@pytest.mark.parametrize("interactive", [False, True])
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"", b""),
        (b"\n", b"\n"),
        (b"a\nb\nc\nd\ne\n", b"A\nB\nC\nD\nE\n"),
        (b"a\nb", b"A\nB\n"),
        (b"a\n\n \t\n\nb\n\n", b"A\n\n\n\nB\n\n"),
        (
            "a\u2028b\nc\u2029d\u0085e\x0cf\x0bg\n".encode(),
            "A\u2028B\nC\u2029D\u0085E\x0cF\x0bG\n".encode(),
        ),
        (b"a\r\nb\rc\n\r\nd\r\r\n e\r", b"A\nB C\n\nD\n E\n"),
        (b"a\x00b\n\x00\n", b"A\x00B\n\x00\n"),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", b"A\nB\n"),
        ("a\ufeffb\n\u200b \ufeff\n".encode(), "A\ufeffB\n\n".encode()),
    ],
)
def test_a_line_for_a_line(source: bytes, expected: bytes, interactive: bool) -> None:
    found, _, count = run(source, interactive=interactive)
    assert found == expected
    lines = source.count(b"\n") + (not source.endswith(b"\n") and source != b"")
    assert count == found.count(b"\n") == lines


def test_bytes_that_are_no_text_are_replaced_and_named() -> None:
    found, messages, _ = run(b"a\nb\xffc\nd\n\xc3")
    assert found == "A\nB\ufffdC\nD\n\ufffd\n".encode()
    assert messages.splitlines() == [
        "line 2: not valid UTF-8 (byte 2 is 0xff), replaced by U+FFFD; 'iconv -f WINDOWS-1252 -t "
        "UTF-8 FILE > NEW' makes it UTF-8, if its encoding is WINDOWS-1252",
        "line 4: not valid UTF-8 (byte 1 is 0xc3), replaced by U+FFFD",
    ]


def test_garbage_loses_no_line_and_is_not_reported_for_ever() -> None:
    garbage = random.Random(4).randbytes(200_000)
    found, messages, count = run(garbage, window=64)
    lines = garbage.count(b"\n") + (not garbage.endswith(b"\n"))
    assert count == found.count(b"\n") == lines > 3 * MAX_NAMED
    assert len(messages.splitlines()) == MAX_NAMED
    assert messages.endswith("; further such lines are not reported\n")


def test_a_window_bounds_what_is_held_and_keeps_order() -> None:
    sizes: list[int] = []

    def number(lines: list[str], first: int) -> list[str]:
        assert first == sum(sizes)
        sizes.append(len(lines))
        return [f"<{line}>" for line in lines]

    target = io.BytesIO()
    source = io.BytesIO(b"".join(b"%d\n" % i for i in range(10_000)))
    assert translate_stream(source, target, number, 64, False) == 10_000
    assert max(sizes) == 64
    assert target.getvalue() == b"".join(b"<%d>\n" % i for i in range(10_000))


def test_a_window_ends_early_where_lines_are_long() -> None:
    sizes: list[int] = []

    def measure(lines: list[str], first: int) -> list[str]:
        sizes.append(len(lines))
        return ["x"] * len(lines)

    source = io.BytesIO(b"".join(b"y" * (1 << 23) + b"\n" for _ in range(6)))
    translate_stream(source, io.BytesIO(), measure, 100, False)
    assert sizes == [2, 2, 2]


def test_a_translation_never_holds_a_line_end() -> None:
    target = io.BytesIO()
    translate_stream(
        io.BytesIO(b"a\nb\n"), target, lambda lines, _: ["x\ny"] * len(lines), 9, False
    )
    assert target.getvalue() == b"x y\nx y\n"


def test_interactive_input_is_answered_line_by_line() -> None:
    read, write = os.pipe()
    answer_read, answer_write = os.pipe()
    with (
        os.fdopen(read, "rb") as source,
        os.fdopen(write, "wb", buffering=0) as typing,
        os.fdopen(answer_read, "rb") as answers,
        os.fdopen(answer_write, "wb") as target,
    ):
        worker = threading.Thread(target=translate_stream, args=(source, target, shout, 1000, True))
        worker.start()
        for line in (b"one\n", b"two\n"):
            typing.write(line)
            assert answers.readline() == line.upper()
        typing.close()
        worker.join()


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    messages = io.StringIO()
    with os.fdopen(write, "wb") as target:
        done = translate_stream(
            io.BytesIO(b"a\n" * 100), target, shout, 10, False, messages=messages
        )
        target.write(b"more")  # is flushed when it is closed, as stdout is at exit
    assert done == 0
    assert messages.getvalue() == ""


def test_progress_is_shown_on_a_terminal_while_reading_a_file() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    translate_stream(io.BytesIO(b"a\n" * 1200), io.BytesIO(), shout, 7, False, messages=terminal)
    assert "\r1,200 lines, " in terminal.getvalue()
    assert terminal.getvalue().endswith(" lines/s  \n")


class Letters:
    """A tokenizer: a token per character, ids from 4."""

    size = 300

    def normalize(self, line: str) -> str:
        return line

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        return [[4 + ord(c) % 296 for c in line] for line in lines]

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        return ["".join(chr(i - 4) for i in one if i > 3) for one in ids]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [chr(i - 4) for i in ids]

    def surfaces(self) -> list[str | bytes]:
        return [""] * 4 + [chr(i) for i in range(296)]

    def save(self, folder: Path) -> None:
        raise AssertionError("translating saves no tokenizer")


class Copy:
    """A scorer that repeats its source."""

    vocabulary = 300

    def encode(self, source: Tensor, lengths: Tensor) -> "Places":
        return Places(source)

    def start(self, memory: "Places") -> "Places":
        return Places(torch.zeros(len(memory.x), 1, dtype=torch.int64))

    def step(self, memory: "Places", state: "Places", tokens: Tensor) -> "Step[Places]":
        source = memory.x.repeat_interleave(len(tokens) // len(memory.x), dim=0)
        logits = torch.zeros(len(tokens), self.vocabulary)
        logits.scatter_(1, source.gather(1, state.x.clamp(max=source.shape[1] - 1)), 30.0)
        return Step(logits, Places(state.x + 1), None)


class Places:
    """Rows of integers."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def select(self, rows: Tensor) -> "Places":
        return Places(self.x[rows])

    def put(self, rows: Tensor, other: "Places") -> "Places":
        return Places(self.x.index_copy(0, rows, other.x))


def translator(longest: int, notes: list[str]) -> LineTranslator:
    return LineTranslator(
        scorer=Copy(),
        source=Letters(),
        target=Letters(),
        search=GreedySearch(kind="greedy"),
        device="cpu",
        longest=longest,
        report=notes.append,
    )


def test_lines_are_translated_in_their_order_and_blank_ones_stay_blank() -> None:
    notes: list[str] = []
    lines = ["hello", "", "a longer line than that", "  ", "x", "hello"]
    assert translator(50, notes)(lines) == [line if line.strip() else "" for line in lines]
    assert translator(50, notes)([]) == []
    assert notes == []


def test_a_long_line_is_translated_whole_a_longer_one_in_pieces() -> None:
    notes: list[str] = []
    line = "One sentence. Another, with a clause; and more of it! And a third? Yes. " * 3
    line = line.strip()
    assert translator(len(line) // 4 + 1, notes)([line]) == [line]
    assert notes == []
    assert translator(30, notes)(["short", line, "end"]) == ["short", line, "end"]
    assert notes == [
        "a line of 215 tokens ('One sentence. Another, with a '...) is longer than 120: "
        "translated in 11 pieces"
    ]


@pytest.mark.parametrize(
    ("line", "longest", "pieces"),
    [
        ("", 5, []),
        ("  ", 5, []),
        ("abc", 3, ["abc"]),
        ("abcdef", 3, ["abc", "def"]),
        ("abcdefg", 1, list("abcdefg")),
        ("x", 0, ["x"]),
        ("one two three", 9, ["one", "two three"]),
        ("So it is. We go, you see, home", 25, ["So it is.", "We go, you see, home"]),
        ("we go home, you see it now", 20, ["we go home,", "you see it now"]),
        ("他来了。我走了，再见", 6, ["他来了。", "我走了，再见"]),
        ("3.14159265 and 2.71828182", 20, ["3.14159265", "and 2.71828182"]),
    ],
)
def test_where_a_line_is_cut(line: str, longest: int, pieces: list[str]) -> None:
    assert split_line(line, longest, len) == pieces


@pytest.mark.parametrize("space", "\u200b\ufeff\u00a0\u3000\t")
def test_white_space_of_any_kind_is_a_place_to_cut(space: str) -> None:
    draw = random.Random(7)
    for _ in range(200):
        words = ("".join(draw.choices("កខគ.,", k=draw.randint(1, 9))) for _ in range(30))
        line, longest = f" {' '.join(words)} ", draw.randint(5, 40)
        expected = split_line(line, longest, len)
        found = split_line(line.replace(" ", space), longest, len)
        assert [piece.replace(space, " ") for piece in found] == expected


def test_cutting_drops_nothing_but_white_space() -> None:
    draw = random.Random(7)
    for _ in range(200):
        line = "".join(draw.choices("abc.,;  !。、", k=draw.randint(0, 300)))
        pieces = split_line(line, draw.randint(1, 40), len)
        assert "".join("".join(pieces).split()) == "".join(line.split())


def random_translator(settings: Search, notes: list[str] | None = None) -> LineTranslator:
    torch.manual_seed(3)
    model = Seq2Seq(Model(embeddings=16, decoder=SMALL), 300, 300).eval()
    with torch.no_grad():
        model.output.weight.mul_(9.0)
    return LineTranslator(
        scorer=model,
        source=Letters(),
        target=Letters(),
        search=settings,
        device="cpu",
        longest=40,
        report=[].append if notes is None else notes.append,
    )


EVERY_SEARCH = [
    GreedySearch(kind="greedy"),
    BeamSearch(kind="beam", width=3),
    SampleSearch(kind="sample", samples=2),
    ExhaustiveSearch(kind="exhaustive", nodes=100, max_offset=2),
    MbrSearch(kind="mbr", candidates=5, max_offset=2),
]


@pytest.mark.parametrize("settings", EVERY_SEARCH, ids=[s.kind for s in EVERY_SEARCH])
def test_the_window_changes_nothing(settings: Search) -> None:
    translate_lines = random_translator(settings)
    draw = random.Random(2)
    text = "".join("".join(draw.choices("ab \n", k=draw.randint(0, 9))) for _ in range(12)).encode()
    outputs = set()
    for window in (1, 7, 1000):
        target = io.BytesIO()
        translate_stream(io.BytesIO(text), target, translate_lines, window, False)
        nbest_stream(
            io.BytesIO(text), target, translate_lines, NbestOptions(), window, interactive=False
        )
        outputs.add(target.getvalue())
    assert len(outputs) == 1


def rows(settings: Search, text: bytes, listing: NbestOptions) -> list[str]:
    target = io.BytesIO()
    count = nbest_stream(
        io.BytesIO(text), target, random_translator(settings), listing, 2, interactive=False
    )
    assert count == text.count(b"\n")
    return target.getvalue().decode().split("\n")[:-1]


def test_the_best_outputs_of_every_line_are_listed() -> None:
    settings = BeamSearch(kind="beam", width=3, max_offset=4)
    text = b"ab\n\nccc\nba\n"
    tsv = [row.split("\t") for row in rows(settings, text, NbestOptions(3))]
    assert [(row[0], row[1]) for row in tsv if row[0] != "2"] == [
        (line, rank) for line in "134" for rank in "123"
    ]
    assert [row for row in tsv if row[0] == "2"] == [
        ["2", "1", "0.000000", "0.000000", "0", "finished", ""]
    ]
    objects = [json.loads(row) for row in rows(settings, text, NbestOptions(3, "jsonl"))]
    for fields, one in zip(tsv, objects, strict=True):
        assert list(one) == ["line", "rank", "log_prob", "score", "length", "status", "text"]
        assert fields[0] == str(one["line"])
        assert fields[2:4] == [f"{one['log_prob']:.6f}", f"{one['score']:.6f}"]
        assert one["score"] == pytest.approx(one["log_prob"] / max(one["length"], 1))
    plain = random_translator(settings)(["ab", "", "ccc", "ba"])
    assert [one["text"] for one in objects if one["rank"] == 1] == plain
    assert len({(one["line"], one["text"], one["status"]) for one in objects}) == len(objects)


def test_lines_that_are_not_proven_are_reported() -> None:
    notes: list[str] = []
    settings = ExhaustiveSearch(kind="exhaustive", nodes=1, max_offset=4)
    found = random_translator(settings, notes).outputs(["ab", "", "ccc"])
    assert [one[0].status for one in found] == ["unproven", "finished", "unproven"]
    assert notes == [
        "2 of 2 outputs are not proven to be the most probable: the search ran out of nodes"
    ]


def test_outputs_that_are_too_long_or_too_short_are_reported() -> None:
    notes: list[str] = []
    settings = GreedySearch(kind="greedy", max_ratio=1.0, max_offset=3)
    lines = ["ab", "", "ccc", "abc" * 9]
    found = random_translator(settings, notes).outputs(lines, 10)
    cut = [place for place, one in enumerate(found, start=11) if one[0].status == "cut"]
    assert cut
    (note,) = notes
    assert note.startswith(f"{len(cut)} of 4 outputs were cut at the longest that max_ratio")
    assert note.endswith(f"allow: line{'s' if len(cut) > 1 else ''} {', '.join(map(str, cut))}")
    notes.clear()
    # No token twice, of nine in all: the output has to end long before its least length.
    settings = replace(settings, max_offset=40, min_offset=30, no_repeat_ngram=1)
    nine = Seq2Seq(Model(embeddings=16, decoder=SMALL), 300, 9).eval()
    replace(random_translator(settings, notes), scorer=nine).outputs(["ab", ""])
    assert notes == [
        "1 of 2 outputs are shorter than min_ratio and min_offset require, as nothing else was "
        "allowed: line 1"
    ]


def test_samples_are_listed_all() -> None:
    settings = SampleSearch(kind="sample", samples=4, max_offset=4)
    tsv = [row.split("\t") for row in rows(settings, b"ab\nb\n", NbestOptions())]
    assert [(row[0], row[1]) for row in tsv] == [(line, rank) for line in "12" for rank in "1234"]


def test_the_outputs_of_a_line_in_pieces_are_those_of_its_pieces() -> None:
    a, b = Output("a", -1.0, -0.5, 2, "finished"), Output("b", -2.0, -1.0, 2, "cut")
    assert join_outputs([[a, b]]) == [a, b]
    assert join_outputs([[a, b], [a], [b, a]]) == [Output("a a b", -4.0, -2.0, 6, "cut")]
    assert join_outputs([]) == [Output("", 0, 0, 0, "finished")]
    settings = BeamSearch(kind="beam", width=3, max_offset=2)
    notes: list[str] = []
    found = random_translator(settings, notes).outputs(["ab. " * 60, "ab"], 0, 3)
    assert [len(outputs) for outputs in found] == [3, 3]
    assert sum("translated in" in note for note in notes) == 1


def test_a_tab_in_the_text_stays_no_column() -> None:
    output = Output("a\tb", -1.5, -0.5, 3, "cut")
    assert format_outputs([output], 7, "tsv") == "7\t1\t-1.500000\t-0.500000\t3\tcut\ta b"
    assert json.loads(format_outputs([output], 7, "jsonl"))["text"] == "a\tb"
