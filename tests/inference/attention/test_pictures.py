"""Pictures of attention, in the terminal, as a page and as PNG: no token is lost."""

import io
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.cells import cell_len

from s2s.errors import DataError, UsageError
from s2s.inference.attention import files as attention_files
from s2s.inference.attention.files import MapFiles
from s2s.inference.attention.html import page
from s2s.inference.attention.maps import AttentionMap
from s2s.inference.attention.npz import write_npz
from s2s.inference.attention.terminal import legend, render
from s2s.inference.attention.visible_tokens import clusters, visible


def map_of(
    source: Sequence[str], target: Sequence[str], weights: NDArray[np.float32] | None = None
) -> AttentionMap:
    """A word per token; a diagonal if no weights are given."""
    if weights is None:
        weights = np.zeros((len(target), len(source)), dtype=np.float32)
        if source:
            for row in range(len(target)):
                weights[row, min(row, len(source) - 1)] = 1.0
    return AttentionMap(
        source_text=" ".join(source[:-1]),
        target_text=" ".join(target[:-1]),
        source=tuple(source),
        target=tuple(target),
        weights=weights,
        source_word_ids=(*range(len(source) - 1), -1) if source else (),
        target_word_ids=(*range(len(target) - 1), -1) if target else (),
    )


def words(prefix: str, count: int) -> list[str]:
    return [*(f"▁{prefix}{place}" for place in range(count)), "</s>"]


EMPTY = map_of([], [])
MIXED = map_of(
    ["▁كلب", "▁صغير", "犬が", "▁läuft", "</s>"], ["小さな", "犬", "▁שלום", "e\u0301", "</s>"]
)
HOSTILE = map_of(["<script>alert(1)</script>", '"&\u202e', "</s>"], ["\x00", "a\x1bb", "</s>"])


# Tokens.


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("▁Ein", "▁Ein"),
        (" ", "▁"),
        ("", "∅"),
        ("\x00", "␀"),
        ("a\x1bb", "a␛b"),
        ("\x7f", "␡"),
        ("\u202ea", "<U+202E>a"),
        ("\u0085", "<U+0085>"),
        ("\u3000", "<U+3000>"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\u200c", "<U+200C>"),
        ("\u0301", "◌\u0301"),
        ("e\u0301", "e\u0301"),
        ("</s>", "</s>"),
    ],
)
def test_nothing_in_a_token_is_invisible(token: str, shown: str) -> None:
    assert visible(token) == shown


def test_marks_stay_with_their_letters() -> None:
    assert clusters("e\u0301x\u0302\u0303") == ["e\u0301", "x\u0302\u0303"]
    assert clusters("") == []


# The terminal.

MAPS = [
    MIXED,
    HOSTILE,
    map_of(words("wort", 4), words("word", 4)),
    map_of(words("wort", 24), words("word", 19)),
    map_of(words("wort", 79), words("word", 70)),
    map_of(words("w", 200), words("x", 180)),
]


def columns_of(lines: list[str], rows: int) -> str:
    """Header letters, read downwards; a wide letter takes two cells."""
    grid = [[c for letter in clusters(line) for c in (letter, "")[: cell_len(letter)]]
            for line in lines[:rows]]  # fmt: skip
    width = max(map(len, grid))
    return " ".join(
        "".join(line[x] for line in grid if x < len(line) and line[x] != " ") for x in range(width)
    )


@pytest.mark.parametrize("attention", MAPS, ids=lambda m: f"{len(m.source)} tokens")
@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_terminal_loses_no_token(attention: AttentionMap, width: int) -> None:
    plain = render(attention, width, coloured=False).plain
    assert max(map(cell_len, plain.split("\n"))) <= width
    labels = [visible(token) for token in attention.target]
    seen: list[str] = []
    header = ""
    for panel in plain.split("\n\n"):
        lines = panel.split("\n")
        rows = [line for line in lines if line.strip().startswith(tuple(labels))]
        rows = [line for line in rows if any(shade in line for shade in "·░▒▓█")]
        seen += [line.split()[0] for line in rows]
        header += columns_of(lines, len(lines) - len(rows)) + " " + " ".join(lines[:1]) + " "
    assert set(labels) <= set(seen)
    assert [t for t in attention.source if visible(t) not in header.split()] == []


def test_a_panel_leaves_out_rows_with_nothing_to_show() -> None:
    plain = render(MAPS[4], 80, coloured=False).plain
    assert plain.count("▁word0 ") == 1
    # A row that is flat everywhere still stands where it is largest.
    flat = np.full((1, 80), 1 / 80, dtype=np.float32)
    flat[0, 40] += 0.001
    drawn = render(map_of(words("w", 79), ["</s>"], flat), 80, coloured=False).plain
    assert sum(line.startswith("</s> ") for line in drawn.split("\n")) == 1


def test_colours_change_no_cell() -> None:
    for attention in MAPS:
        plain = render(attention, 80, coloured=False).plain.split("\n")
        coloured = render(attention, 80, coloured=True)
        assert [cell_len(line) for line in coloured.plain.split("\n")] == list(map(cell_len, plain))
        assert coloured.spans
    assert not render(MIXED, 80, coloured=False).spans


def test_numbers_stand_where_they_fit() -> None:
    weights = np.array([[0.873, 0.12, 0.007], [0.004, 0, 0.996]], dtype=np.float32)
    drawn = render(map_of(["a", "b", "</s>"], ["x", "</s>"], weights), 80, coloured=False).plain
    assert [line.split() for line in drawn.split("\n")] == [
        ["a", "b", "</s>"],
        ["x", "█", "87", "░", "12", "·", "1"],
        ["</s>", "·", "·", "█100"],
    ]
    assert "·" in legend(coloured=False).plain
    assert "100%" in legend(coloured=True).plain


def test_an_empty_map_is_drawn_as_nothing() -> None:
    assert render(EMPTY, 80, coloured=True).plain == ""


def test_a_label_that_is_too_long_is_cut() -> None:
    drawn = render(map_of(["a" * 90, "</s>"], ["犬" * 50, "</s>"]), 80, coloured=False).plain
    assert max(map(cell_len, drawn.split("\n"))) <= 80
    assert "犬…" in drawn


# HTML.


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.headers: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.tags and self.tags[-1] == "bdi":
            self.headers.append(data)


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    text = "".join(page([MIXED, EMPTY, HOSTILE], "Attention of <run>"))
    reader = Reader(text)
    assert not {"script", "link", "img", "iframe", "object", "svg"} & set(reader.tags)
    names = {name for name, _ in reader.attributes}
    assert not {"src", "href", "onclick", "onload"} & names
    assert "url(" not in text and "@import" not in text and "http" not in text
    assert "Attention of <run>" in reader.texts
    assert "<script>" not in text and "\u202e" not in text and "\x1b" not in text
    assert reader.tags.count("section") == 3
    assert "(an empty line)" in reader.texts


def test_the_page_holds_every_token_and_weight() -> None:
    attention = map_of(words("w", 2), words("v", 1), np.array([[0.25, 0.75, 0], [0, 0.0006, 1]]))
    for found in (attention, MIXED, HOSTILE):
        reader = Reader("".join(page([found], "x")))
        tokens = [visible(token) for token in (*found.source, *found.target)]
        assert [header for header in reader.headers if header.strip()] == tokens
    tips = [value for name, value in Reader("".join(page([attention], "x"))).attributes
            if name == "data-t" and value]  # fmt: skip
    assert [float(tip.split(":")[0]) for tip in tips] == [0.25, 0.75, 0.001, 1.0]


def test_a_cell_of_no_weight_costs_no_room() -> None:
    assert len("".join(page([MAPS[5]], "x"))) < 15 * 200 * 180


def test_large_tables_have_small_cells() -> None:
    assert 'class="large"' in "".join(page([MAPS[4]], "x"))
    assert 'class="large"' not in "".join(page([MIXED], "x"))


# Arrays.


def test_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.npz"
    write_npz(path, [MIXED, EMPTY, MAPS[3]])
    with np.load(path, allow_pickle=False) as stored:
        assert len(stored.files) == 9
        for number, attention in enumerate((MIXED, EMPTY, MAPS[3]), start=1):
            np.testing.assert_array_equal(stored[f"weights_{number}"], attention.weights)
            assert stored[f"weights_{number}"].dtype == np.float32
            assert tuple(stored[f"source_{number}"].tolist()) == attention.source
            assert tuple(stored[f"target_{number}"].tolist()) == attention.target


# Pictures.


@pytest.mark.parametrize("attention", MAPS, ids=lambda m: f"{len(m.source)} tokens")
def test_a_picture_has_a_cell_for_every_weight(attention: AttentionMap) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    from s2s.inference.attention.png import GAP, MARGIN, draw_map, png, scale_of

    with image.open(io.BytesIO(png(draw_map(attention)))) as picture:
        assert picture.format == "PNG"
        cell = scale_of(attention).cell
        rows, columns = attention.weights.shape
        # Labels take what is left, which is at least a letter.
        left = picture.width - columns * cell - 2 * MARGIN - GAP
        top = picture.height - rows * cell - 2 * MARGIN - GAP
        assert 8 <= left <= 400 and 8 <= top <= 400
        # Corners of the cells: 1 is yellow, 0 is violet, as long as the map is diagonal.
        first = (MARGIN + left + GAP + 2, MARGIN + top + GAP + 2)
        assert picture.getpixel(first) == (253, 231, 37)
        assert picture.getpixel((first[0], first[1] + cell)) == (68, 1, 84)


def test_letters_without_a_font_are_reported(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="pictures need Pillow")
    notes: list[str] = []
    maps = [map_of(["\U0001f9ff\U000130b9", "</s>"], ["a", "</s>"]), EMPTY, map_of(
        words("w", 601), words("v", 3))]  # fmt: skip
    MapFiles(png=tmp_path / "p").write(maps, "x", notes.append)
    assert [path.name for path in sorted((tmp_path / "p").iterdir())] == ["line-1.png"]
    assert notes[0] == "line 3: 602 tokens are too many for a picture (600 at most)"
    assert all("no font here has" in note for note in notes[1:])


def test_a_font_that_is_none_is_the_users_mistake(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="pictures need Pillow")
    font = tmp_path / "no.ttf"
    font.write_text("no font")
    with pytest.raises(DataError, match=r"no\.ttf: cannot be read as a font"):
        MapFiles(png=tmp_path, fonts=(font,)).write([MIXED], "x", print)


def test_pictures_without_pillow_are_refused_in_a_line(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(attention_files, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--png needs Pillow: pip install pillow"):
        MapFiles(png=tmp_path)
    assert MapFiles().is_empty


def test_the_other_formats_do_without_pillow() -> None:
    code = (
        "import sys; sys.modules['PIL'] = None; "
        "import s2s.inference.attention.files, s2s_cli.attention"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
