"""Rows of one group are one example with several references, as lists of texts would be."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s2s.data.preparation.prepare import prepare
from s2s.data.sources import chunks, group, tables
from s2s.data.sources import open as sources
from s2s.data.sources.open import open_split
from s2s.data.store import Corpus
from s2s.errors import DataError, RecipeError
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe
from tests.captions import RECIPE as CAPTIONS
from tests.captions import write_captions

ROWS = [("s1", "a"), ("s2", "b"), ("s1", "c"), ("s3", "d"), ("s1", "a"), ("s3", "f")]
EXAMPLES = [("s1", "a", ["a", "c", "a"]), ("s2", "b", ["b"]), ("s3", "d", ["d", "f"])]

RECIPE = """\
task: translation
data:
  kind: files
  train: {table: t.tsv}
  validation: {table: t.tsv}
  test: {table: t.tsv}
  columns: {source: x, target: y, group: x}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and chunks of two pairs."""
    monkeypatch.chdir(tmp_path)
    for module in (chunks, group, sources, tables):
        monkeypatch.setattr(module, "CHUNK_PAIRS", 2)


def recipe_of(text: str, *changes: str) -> Recipe:
    Path("recipe.yaml").write_text(text)
    return load_recipe(None, changes)


def examples(recipe: Recipe, name: Any = "validation") -> list[tuple[Any, ...]]:
    opened = open_split(recipe.data, name)
    assert opened is not None
    found: list[tuple[Any, ...]] = []
    for chunk in opened.chunks():
        assert 0 < len(chunk.source) <= 2 or name == "train"
        rest = [chunk.references] if chunk.references else []
        found += list(zip(chunk.source, chunk.target, *rest, strict=True))
    return found


def write_tsv(rows: list[tuple[str, ...]], names: str = "xy", path: str = "t.tsv") -> None:
    Path(path).write_text("".join("\t".join(row) + "\n" for row in [tuple(names), *rows]))


def test_rows_join_wherever_they_are_and_training_keeps_them() -> None:
    write_tsv(ROWS)
    recipe = recipe_of(RECIPE)
    assert examples(recipe) == examples(recipe, "test") == EXAMPLES
    assert examples(recipe, "train") == ROWS


def test_every_format_and_numbers_as_groups() -> None:
    rows = [{"x": source, "y": target, "n": int(source[1])} for source, target in ROWS]
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), "t.parquet")
    Path("t.csv").write_text("x,y,n\n" + "".join(f"{r['x']},{r['y']},{r['n']}\n" for r in rows))
    for ending in ("jsonl", "parquet", "csv"):
        for column in ("x", "n"):
            recipe = recipe_of(RECIPE.replace("tsv", ending), f"data.columns.group={column}")
            assert examples(recipe) == EXAMPLES, (ending, column)


def test_a_group_is_a_matter_of_its_column() -> None:
    """Equal sources of two groups are two examples."""
    write_tsv([("hi", "a", "1"), ("hi", "b", "2"), ("hi", "c", "1")], "xyn")
    recipe = recipe_of(RECIPE, "data.columns.group=n")
    assert examples(recipe) == [("hi", "a", ["a", "c"]), ("hi", "b", ["b"])]


def test_rows_of_a_group_have_one_source() -> None:
    write_tsv([("hi", "a", "1"), ("ho", "b", "2"), ("hu", "c", "1")], "xyn")
    with pytest.raises(DataError) as caught:
        examples(recipe_of(RECIPE, "data.columns.group=n"), "test")
    assert str(caught.value) == (
        "test: rows 1 and 3 are of one group ('1') but have different sources, 'hi' and 'hu'; "
        "data.columns.group names a column that tells sources apart"
    )
    with pytest.raises(DataError, match=r"t\.tsv: no column 'm'"):
        examples(recipe_of(RECIPE, "data.columns.group=m"))


def test_rows_with_references_of_their_own() -> None:
    write_tsv([("s1", "a", "b"), ("s2", "c", "d"), ("s1", "e", "f")], "xyz")
    recipe = recipe_of(RECIPE, "data.test.references=[y, z]")
    assert examples(recipe, "test") == [("s1", "a", ["a", "b", "e", "f"]), ("s2", "c", ["c", "d"])]
    rows = [{"x": "s1", "y": ["a", "b"]}, {"x": "s2", "y": ["c"]}, {"x": "s1", "y": ["d"]}]
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    listed = recipe_of(RECIPE.replace("tsv", "jsonl"))
    assert examples(listed) == [("s1", "a", ["a", "b", "d"]), ("s2", "c", ["c"])]
    assert examples(listed, "train") == [("s1", "a"), ("s1", "b"), ("s2", "c"), ("s1", "d")]


def test_held_out_rows_join_too_and_targets_are_normalized() -> None:
    rows = [(f"s{i % 40}", f"Text {i}") for i in range(120)]
    write_tsv(rows)
    text = RECIPE.replace("  validation: {table: t.tsv}\n  test: {table: t.tsv}\n", "")
    recipe = recipe_of(
        text, "data.hold_out={share: 0.3, test: 0.2}", "data.target_text={lowercase: true}"
    )
    found = {name: examples(recipe, name) for name in ("train", "validation", "test")}
    wanted: dict[str, list[str]] = {}
    for source, target in rows:
        wanted.setdefault(source, []).append(target.lower())
    for name in ("validation", "test"):
        assert found[name]
        assert all(options == wanted[source] for source, _, options in found[name])
    whole = {source for part in found.values() for source, *_ in part}
    assert whole == set(wanted)
    sizes = [len({source for source, *_ in part}) for part in found.values()]
    assert sum(sizes) == 40
    assert len(found["train"]) == 3 * sizes[0]


def test_line_breaks_and_several_files() -> None:
    Path("a.jsonl").write_text('{"x": "s1", "y": "a\\nb"}\n{"x": "s2", "y": "c"}\n')
    Path("b.jsonl").write_text('{"x": "s1", "y": "d\\ne"}\n')
    recipe = recipe_of(RECIPE.replace("t.tsv", "'[ab].jsonl'"))
    assert examples(recipe) == [("s1", "a b", ["a b", "d e"]), ("s2", "c", ["c"])]
    opened = open_split(recipe.data, "validation")
    assert opened is not None
    assert sum(chunk.num_line_breaks for chunk in opened.chunks()) == 2


def test_parallel_text_has_no_columns() -> None:
    text = RECIPE.replace("  test: {table: t.tsv}", "  test: {source: a, target: b}")
    with pytest.raises(RecipeError) as caught:
        recipe_of(text)
    assert str(caught.value) == (
        "recipe.yaml:7: data: columns.group joins rows of tables, and test is parallel text, which "
        "has no columns"
    )
    recipe_of(
        text.replace("  test: {source: a, target: b}\n", "").replace(
            "train: {table: t.tsv}", "train: {source: a, target: b}"
        )
    )


def write_rows(shuffle: int | None = None) -> None:
    """Tables of one caption a row beside those of lists."""
    for name in ("train", "validation", "test"):
        images = list(map(json.loads, Path(f"{name}.jsonl").read_text().splitlines()))
        rows = [(image["image"], text) for image in images for text in image["captions"]]
        if shuffle is not None:
            random.Random(shuffle).shuffle(rows)
        write_tsv(rows, path=f"{name}.tsv")
        lines = Path(f"{name}.tsv").read_text().splitlines(keepends=True)
        Path(f"{name}.tsv").write_text("".join(["image\tcaption\n", *lines[1:]]))


BY_ROW = CAPTIONS.replace(".jsonl", ".tsv").replace("captions}", "caption, group: image}")


def test_rows_of_captions_prepare_the_very_data_of_lists(tmp_path: Path) -> None:
    write_captions(tmp_path)
    write_rows()
    lists, rows = load_recipe(), recipe_of(BY_ROW)
    prepare(lists, tmp_path / "lists")
    report = prepare(rows, tmp_path / "rows")
    for name in ("train", "validation", "test"):
        files = [tmp_path / folder / "data" / f"{name}.arrow" for folder in ("lists", "rows")]
        assert files[0].read_bytes() == files[1].read_bytes(), name
    assert [report.splits[name].read for name in ("train", "validation")] == [440, 20]
    assert not any("data.columns.group" in line for line in report.warnings)


def test_the_order_of_rows_is_that_of_references(tmp_path: Path) -> None:
    write_captions(tmp_path)
    write_rows(shuffle=3)
    prepare(load_recipe(), tmp_path / "lists")
    prepare(recipe_of(BY_ROW), tmp_path / "rows")
    found = []
    for folder in ("lists", "rows"):
        corpus = Corpus.open(tmp_path / folder / "data" / "test.arrow")
        assert corpus.source_texts is not None and corpus.references is not None
        pairs = zip(corpus.source_texts, *corpus.references, strict=True)
        found.append({source: sorted(map(str, options)) for source, *options in pairs})
    assert found[0] == found[1] and len(found[0]) == 20


def test_a_change_of_groups_keeps_the_tokenizer(tmp_path: Path) -> None:
    write_captions(tmp_path)
    write_rows()
    alone = recipe_of(BY_ROW.replace(", group: image", ""))
    report = prepare(alone, tmp_path / "run")
    assert report.splits["validation"].read == 40
    assert report.splits["validation"].repeated_sources == 20
    assert [line for line in report.warnings if "group" in line] == [
        f"{name}: 20 of 40 pairs repeat the source of an earlier one; data.columns.group: image "
        "makes one example of them, with all their targets as references"
        for name in ("validation", "test")
    ]
    grouped = prepare(recipe_of(BY_ROW), tmp_path / "run")
    assert grouped.redone == ("data",)
    assert grouped.splits["validation"].repeated_sources == 0
