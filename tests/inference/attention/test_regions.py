"""Attention over the regions of images is drawn at the right places."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2s.errors import DataError, UsageError
from s2s.inference.attention.files import MapFiles
from s2s.inference.attention.html import page
from s2s.inference.attention.maps import AttentionMap, Picture
from s2s.inference.attention.npz import arrays
from s2s.inference.attention.regions import Grid, parse_grid, region_maps, text_part
from s2s.inference.attention.regions_terminal import render_regions

WORDS = ("a", "dog", "runs", "</s>")


def map_of(
    count: int, *, tokens: tuple[str, ...] = (), id_: str = "dog.jpg", target: Any = WORDS
) -> AttentionMap:
    """Token t attends to region 2 t with 0.75 and to the next with 0.25, not to source tokens."""
    weights = np.zeros((len(target), len(tokens) + count), dtype=np.float32)
    for row in range(len(target)):
        weights[row, len(tokens) + 2 * row % count] = 0.75
        weights[row, len(tokens) + (2 * row + 1) % count] += 0.25
    return AttentionMap(
        source_text=id_,
        target_text=" ".join(target[:-1]),
        source=(*tokens, *(f"[{place}]" for place in range(1, count + 1))),
        target=target,
        weights=weights,
        source_word_ids=(-1,) * (len(tokens) + count),
        target_word_ids=(*range(len(target) - 1), -1),
        pictures=(Picture(id_, len(tokens), count),),
    )


# How regions lie.


def test_regions_lie_row_by_row() -> None:
    (found,) = region_maps(map_of(6), Grid(2, 3))
    assert found.heat_TRC.shape == (4, 2, 3)
    np.testing.assert_allclose(found.heat_TRC[1], [[0, 0, 1], [1 / 3, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(found.largest_T, [0.75] * 4)


def test_a_square_needs_no_telling_and_a_vector_has_nothing_to_show() -> None:
    (found,) = region_maps(map_of(49))
    assert found.grid == Grid(7, 7)
    assert region_maps(map_of(1)) == []


def test_regions_after_tokens_keep_their_places() -> None:
    both = map_of(9, tokens=("what", "</s>"))
    np.testing.assert_array_equal(region_maps(both)[0].heat_TRC, region_maps(map_of(9))[0].heat_TRC)
    assert text_part(both).source == ("what", "</s>")
    assert text_part(both).weights.shape == (4, 2)


@pytest.mark.parametrize(
    ("count", "asked", "message"),
    [
        (6, None, r"the 6 regions of 'dog\.jpg' make no square; --grid ROWSxCOLUMNS"),
        (6, Grid(2, 2), r"--grid 2x2: expected the 6 regions of 'dog\.jpg', found 4"),
    ],
)
def test_a_grid_has_to_fit(count: int, asked: Grid | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        region_maps(map_of(count), asked)


@pytest.mark.parametrize("text", ["7", "x7", "0x7", "7x7x7", "-1x4", "7×7"])
def test_a_grid_is_rows_and_columns(text: str) -> None:
    assert parse_grid("3X14") == (3, 14)
    with pytest.raises(UsageError, match=r"^--grid: expected ROWSxCOLUMNS such as 7x7, found "):
        parse_grid(text)


# Pictures.


def test_a_tile_is_bright_where_attention_is() -> None:
    pytest.importorskip("PIL", reason="pictures need Pillow")
    from s2s.inference.attention.regions_png import tile

    heat_RC = np.zeros((3, 5), dtype=np.float32)
    heat_RC[1, 3] = 1.0
    pixels = np.asarray(tile(heat_RC, None)).astype(int)
    height, width, _ = pixels.shape
    assert abs(width / height - 5 / 3) < 0.05
    middle = pixels[height // 2, round(width * 3.5 / 5)]
    np.testing.assert_allclose(middle, (253, 231, 37), atol=25)
    for row, column in ((0, 0), (2, 4), (1, 1)):  # what does not touch the cell has none of it
        corner = pixels[round(height * (row + 0.5) / 3), round(width * (column + 0.5) / 5)]
        assert tuple(corner) == (68, 1, 84)


def test_the_image_shows_through_and_is_dark_elsewhere() -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    from s2s.inference.attention.regions_png import DARK, tile

    heat_RC = np.zeros((4, 4), dtype=np.float32)
    heat_RC[0, 0] = 1.0
    photo = image.new("RGB", (80, 40), (200, 100, 50))
    pixels = np.asarray(tile(heat_RC, photo)).astype(float)
    height, width, _ = pixels.shape
    assert abs(width / height - 2) < 0.05
    np.testing.assert_allclose(pixels[2, 2], (200, 100, 50), atol=2)
    np.testing.assert_allclose(pixels[-3, -3], np.array((200, 100, 50)) * DARK, atol=2)


def test_a_sheet_has_a_tile_for_every_token(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    from s2s.inference.attention.regions_png import ACROSS

    sizes = []
    for count in (ACROSS - 1, ACROSS, ACROSS + 1, 3 * ACROSS):
        target = tuple(f"w{place}" for place in range(count))
        MapFiles(png=tmp_path).write([map_of(9, target=target)], "x", print)
        with image.open(tmp_path / "line-1.png") as picture:
            sizes.append(picture.size)
    (narrow, low), (wide, same), *rest = sizes
    assert narrow < wide and low == same
    assert [width for width, _ in rest] == [wide, wide]
    heights = [height for _, height in rest]
    assert (heights[1] - low) == 2 * (heights[0] - low) > 0


def test_images_are_found_by_their_ids(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    from s2s.inference.attention.images import ImageFolder

    image.new("RGB", (3, 2), (1, 2, 3)).save(tmp_path / "a.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    notes: list[str] = []
    folder = ImageFolder(tmp_path, notes.append)
    for id_ in ("a", "a.png"):
        found = folder.open(id_)
        assert found is not None and found.size == (3, 2)
    assert folder.open("broken.jpg") is None
    assert folder.open("nobody") is None and folder.open("nobody") is None
    assert len(notes) == 2
    assert "broken.jpg cannot be read as an image (" in notes[0]
    assert notes[1] == f"{tmp_path}: no image 'nobody': drawn without it"


@pytest.mark.parametrize("id_", ["../secret.png", "/etc/hostname", "link.png", "sub/../../x"])
def test_an_id_never_leads_out_of_the_folder(tmp_path: Path, id_: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    from s2s.inference.attention.images import ImageFolder

    inside = tmp_path / "images"
    inside.mkdir()
    image.new("RGB", (2, 2)).save(tmp_path / "secret.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="expected ids that are names in this folder, found"):
        ImageFolder(inside, print).open(id_)


def test_a_vector_is_reported_and_not_drawn(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="pictures need Pillow")
    notes: list[str] = []
    MapFiles(png=tmp_path / "p").write([map_of(1), map_of(4)], "x", notes.append)
    assert notes == ["line 1: one region an image: nothing to draw"]
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["line-2.png"]


def test_images_are_for_what_is_drawn_on_them(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="pictures need Pillow")
    with pytest.raises(UsageError, match=r"--images: nothing is drawn on them without --png"):
        MapFiles(images=tmp_path)
    with pytest.raises(UsageError, match=r"--images: expected a folder, found "):
        MapFiles(images=tmp_path / "no", html=tmp_path / "x").write([map_of(4)], "x", print)


# The page.


def test_the_page_has_a_cell_for_every_region_and_escapes_words() -> None:
    hostile = map_of(9, target=("<b>", "</s>"), id_='"><script>')
    text = "".join(page([hostile], "x"))
    assert text.count("<figure") == 2 and text.count("<i") == 18
    assert text.count('style="--w:1.00"') == 2 and text.count('style="--w:0.33"') == 2
    assert "<script" not in text and "&lt;b&gt;" in text
    assert 'aria-label="75% in row 1, column 1"' in text
    assert "<table" not in text


def test_the_page_has_each_image_once(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    image.new("RGB", (64, 32), (9, 9, 9)).save(tmp_path / "dog.jpg")
    file = tmp_path / "a.html"
    maps = [map_of(9), map_of(9, tokens=("what", "</s>"), id_="cat.jpg")]
    notes: list[str] = []
    MapFiles(html=file, images=tmp_path).write(maps, "x", notes.append)
    text = file.read_text()
    assert text.count("data:image/jpeg;base64,") == 1 and "--a:2.000" in text
    assert text.count("<figure") == 8 and text.count("<table") == 1
    assert notes == [f"{tmp_path}: no image 'cat.jpg': drawn without it"]


# The terminal and arrays.


def test_the_terminal_has_a_grid_for_every_word() -> None:
    plain = render_regions(map_of(9), 33, coloured=False).plain
    bands = [band.splitlines() for band in plain.split("\n\n")]
    assert [len(band) for band in bands] == [4, 4]  # a label and three rows; three words, then one
    assert [line.split() for line in (bands[0][0], bands[1][0])] == [
        ["a", "75%", "dog", "75%", "runs", "75%"],
        ["</s>", "75%"],
    ]
    tiles = [[line[start : start + 6] for line in bands[0][1:]] for start in (0, 11, 22)]
    assert tiles[0] == ["██▒▒··", "······", "······"]
    assert tiles[1] == ["····██", "▒▒····", "······"]
    assert all(len(line) <= 33 for band in bands for line in band)
    coloured = render_regions(map_of(9), 33, coloured=True)
    assert len(coloured.plain) == len(plain) and coloured.spans


def test_maps_do_not_depend_on_their_neighbours() -> None:
    one, other = map_of(9), replace(map_of(9, id_="cat.jpg"), target=("x", "y", "z", "</s>"))
    both = list(page([one, other], "t"))
    turned = list(page([other, one], "t"))
    assert both[1].replace("line-1", "line-2").replace("<h2>1<", "<h2>2<") == turned[2]


def test_arrays_say_where_regions_are() -> None:
    stored = arrays([map_of(9, tokens=("what", "</s>"))])
    assert stored["images_1"].tolist() == ["dog.jpg"]
    ((first, count),) = stored["regions_1"].tolist()
    np.testing.assert_allclose(stored["weights_1"][:, first : first + count].sum(1), 1.0)


def test_a_file_in_the_place_of_the_folder_of_pictures(tmp_path: Path) -> None:
    """It is refused before anything is translated."""
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match=r"--png .*a\.png: expected a folder for the images"):
        MapFiles(png=tmp_path / "a.png")
