"""The attention of a line shows itself in a notebook, in a terminal and in files."""

import re
from pathlib import Path

import numpy as np
import pytest

from s2s.errors import UsageError
from s2s.inference.attention.display import Attention
from s2s.inference.attention.html import FRAGMENT
from s2s.inference.attention.maps import AttentionMap, Picture


def made(source: tuple[str, ...] = ("▁ein", "<b>", "</s>"), regions: int = 0) -> Attention:
    columns = (*source, *(f"[{n}]" for n in range(1, regions + 1)))
    target = ("▁a", "</s>") if columns else ()
    weights = np.zeros((len(target), len(columns)), dtype=np.float32)
    for row in range(len(target)):
        weights[row, row] = 1.0
    pictures = (Picture("photo", len(source), regions),) if regions else ()
    return Attention(
        AttentionMap(
            source_text="ein <b>" if source else "",
            target_text="a" if columns else "",
            source=columns,
            target=target,
            weights=weights,
            source_word_ids=(0, 1, -1)[: len(source)] + (-1,) * regions,
            target_word_ids=(0, -1)[: len(target)],
            pictures=pictures,
        )
    )


def test_the_table_has_every_token_and_escapes_them() -> None:
    text = made()._repr_html_()
    heads = re.findall(r'<th scope="(?:col|row)"><bdi>(.*?)</bdi>', text)
    assert heads == ["▁ein", "&lt;b&gt;", "&lt;/s&gt;", "▁a", "&lt;/s&gt;"]
    assert "<b>" not in text
    assert len(re.findall(r"<td[ >]", text)) == 6
    assert "<script" not in text


def test_its_styles_apply_to_nothing_else_on_the_page() -> None:
    """Every selector begins with the class of the map."""
    (style,) = re.findall(r"<style>(.*?)</style>", made()._repr_html_(), re.S)
    selectors = [one for rule in re.findall(r"([^{}]+)\{", style) for one in rule.split(",")]
    assert len(selectors) > 20
    assert all(one.strip().startswith(f".{FRAGMENT}") for one in selectors), selectors
    assert style.count("{") == style.count("}")


def test_text_has_the_translation_and_the_weights() -> None:
    text = repr(made())
    assert text.splitlines()[0] == "ein <b> → a"
    assert text.count("100") == 2
    assert repr(made(())) == " → "


def test_images_make_no_table_without_text() -> None:
    text = made((), regions=4)._repr_html_()
    assert "<table" not in text
    assert text.count("<figure") == 2
    with pytest.raises(UsageError, match="make no square"):
        made(regions=5)._repr_html_()


def test_a_file_has_the_format_of_its_name(tmp_path: Path) -> None:
    attention = made()
    for name in ("map.html", "map.PNG", "map.npz"):
        attention.save(tmp_path / name)
    attention.save(str(tmp_path / "again.npz"))
    assert (tmp_path / "map.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "map.PNG").read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "map.npz") as arrays:
        assert np.array_equal(arrays["weights_1"], attention.weights)
    with pytest.raises(UsageError, match=r"\.html, \.png or \.npz"):
        attention.save(tmp_path / "map.pdf")
    with pytest.raises(UsageError, match="nothing to draw"):
        made(()).save(tmp_path / "empty.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("again.npz", "map.PNG", "map.html", "map.npz")
    ]
