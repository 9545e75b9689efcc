"""Several files are read as one would be that holds them all."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from s2s.data.sources import chunks, tables
from s2s.data.sources import open as sources
from s2s.data.sources.check import data_faults
from s2s.data.sources.file_names import files_of
from s2s.data.sources.open import open_split
from s2s.errors import DataError, RecipeError
from s2s.recipe.data import Columns, FilesData, FileSet
from s2s.recipe.load import dump_recipe, load_recipe

ROWS = [(f"quelle {i}", f"ziel {i}", f"target {i}") for i in range(11)]
CUTS = ((0, 5), (5, 6), (6, 11))
"""Parts of unlike sizes: more than two chunks, less than one."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and chunks of two pairs."""
    monkeypatch.chdir(tmp_path)
    for module in (chunks, sources, tables):
        monkeypatch.setattr(module, "CHUNK_PAIRS", 2)


def write_parts(folder: str = "parts") -> None:
    """`ROWS`, whole and in parts: text, TSV, JSONL; one part is compressed."""
    Path(folder).mkdir()
    whole, parts = ("", (0, 11)), zip(("a.", "b.", "c."), CUTS, strict=True)
    for place, (begin, end) in (whole, *((f"{folder}/{name}", cut) for name, cut in parts)):
        rows = ROWS[begin:end]
        prefix = place or "whole."
        for column, suffix in enumerate(("de", "en", "ref")):
            Path(prefix + suffix).write_text("".join(f"{row[column]}\n" for row in rows))
        lines = "".join("\t".join(row) + "\n" for row in rows)
        Path(prefix + "tsv").write_text("x\ty\tz\n" + lines)
        items = [json.dumps(dict(zip("xyz", row, strict=True))) + "\n" for row in rows]
        packed = gzip.compress("".join(items).encode())
        Path(prefix + "jsonl.gz").write_bytes(packed)


def read(
    split: str = "train", *, columns: Columns | None = None, **files: Any
) -> list[tuple[Any, ...]]:
    parts = {split: FileSet(**files), **({} if split == "train" else {"train": FileSet(table="t")})}
    data = FilesData(kind="files", columns=columns or Columns(), **parts)
    opened = open_split(data, split)  # type: ignore[arg-type]
    assert opened is not None
    assert opened.fingerprint() == opened.fingerprint()
    found = []
    for chunk in opened.chunks():
        rest = [chunk.references] if chunk.references else []
        found += list(zip(chunk.source, chunk.target, *rest, strict=True))
    return found


def print_of(**files: Any) -> Any:
    opened = open_split(FilesData(kind="files", train=FileSet(**files)), "train")
    assert opened is not None
    return opened.fingerprint()


def message(**files: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(**files)
    return str(caught.value)


LISTED = {side: tuple(f"parts/{name}.{side}" for name in "abc") for side in ("de", "en", "ref")}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (LISTED["de"], LISTED["en"]),
        ("parts/*.de", "parts/*.en"),
        ("**/?.de", "./parts/[a-c].en"),
        (LISTED["de"], "parts/*.en"),
        (("parts/a.de", "parts/[bc].de"), ("parts/[ab].en", "parts/c.en")),
    ],
)
def test_parts_of_parallel_text_are_the_whole(source: Any, target: Any) -> None:
    write_parts()
    whole = read(source="whole.de", target="whole.en")
    assert whole == [row[:2] for row in ROWS]
    assert read(source=source, target=target) == whole


@pytest.mark.parametrize("name", ["tsv", "jsonl.gz"])
def test_parts_of_a_table_are_the_whole(name: str) -> None:
    write_parts()
    columns = Columns(source="x", target="y")
    whole = read(table=f"whole.{name}", columns=columns)
    assert whole == [row[:2] for row in ROWS]
    listed = tuple(f"parts/{part}.{name}" for part in "abc")
    for table in (
        f"parts/*.{name}",
        f"{Path.cwd()}/p*/*.{name}",
        listed,
        ("parts/a.*v", *listed[1:]),
    ):
        if name == "tsv" or "*v" not in str(table):
            assert read(table=table, columns=columns) == whole


def test_tables_may_be_of_several_formats() -> None:
    write_parts()
    found = read(table=("parts/c.tsv", "parts/a.jsonl.gz"), columns=Columns(source="x", target="z"))
    assert found == [(row[0], row[2]) for row in (*ROWS[6:], *ROWS[:5])]


def test_references_are_parallel_too() -> None:
    write_parts()
    sides = {"source": "parts/*.de", "target": "parts/*.en"}
    expected = [(one, two, [two, three]) for one, two, three in ROWS]
    for references in (("parts/*.en", "parts/*.ref"), (LISTED["en"], LISTED["ref"])):
        assert read("test", **sides, references=references) == expected
    columns = Columns(source="x", target="y")
    assert read("test", table="parts/*.tsv", columns=columns, references=("y", "z")) == expected
    with pytest.raises(DataError, match=r"parts/\*\.de: found 3, but for whole\.ref 1; file i"):
        read("test", **sides, references=("parts/*.en", "whole.ref"))


def test_a_list_keeps_its_order_and_a_pattern_is_sorted() -> None:
    write_parts()
    turned = read(source=("parts/b.de", "parts/a.de"), target=("parts/b.en", "parts/a.en"))
    assert turned == [row[:2] for row in (*ROWS[5:6], *ROWS[:5])]
    for name in ("10", "9", "B", "a", ".hidden"):
        Path(f"{name}.x").write_text("x\n")
    Path("folder.x").mkdir()
    assert [path.name for path in files_of("*.x")] == ["10.x", "9.x", "B.x", "a.x"]


def test_a_file_with_such_a_name_is_a_file() -> None:
    Path("[de].txt").write_text("a\nb\n")
    Path("d.txt").write_text("c\n")
    Path("who?.txt").write_text("A\nB\n")
    assert read(source="[de].txt", target="who?.txt") == [("a", "A"), ("b", "B")]
    Path("[de].txt").unlink()
    assert read(source="[de].txt", target="[d].txt") == [("c", "c")]


def test_fingerprints_cover_every_file() -> None:
    write_parts()
    sides: dict[str, Any] = {"source": "parts/*.de", "target": "parts/*.en"}
    before = print_of(**sides)
    assert before == print_of(source=LISTED["de"], target=LISTED["en"])
    seen = [before]
    for name in ("a.de", "b.en", "c.de"):
        path = Path("parts") / name
        path.write_text(path.read_text() + "more\n")
        seen.append(print_of(**sides))
    for name in ("d.de", "d.en"):
        Path("parts", name).write_text("new\n")
    seen.append(print_of(**sides))
    assert len({json.dumps(one, sort_keys=True) for one in seen}) == len(seen)
    turned = print_of(source=LISTED["de"][::-1], target=LISTED["en"][::-1])
    assert turned != print_of(source=LISTED["de"], target=LISTED["en"])


def test_one_file_has_the_fingerprint_that_it_always_had() -> None:
    """Data that were prepared from one file stay up to date."""
    write_parts()
    one = print_of(source="whole.de", target="whole.en")
    assert set(one) == {"source", "target"} and one["source"]["path"] == "whole.de"
    assert print_of(source=("whole.de",), target=("whol[e].en",)) == one
    assert print_of(table="whol?.tsv") == print_of(table="whole.tsv")
    assert set(print_of(table="whole.tsv")) == {"table", "columns", "header"}


def test_faults_name_the_files() -> None:
    write_parts()
    assert message(source="parts/*.de", target="whole.en") == (
        "parts/*.de: found 3, but for whole.en 1; file i of one must belong to file i of the other"
    )
    assert message(source=LISTED["de"], target=("parts/*.en", "whole.en")) == (
        "parts/a.de and 2 more: found 3, but for parts/*.en and 1 more 4; "
        "file i of one must belong to file i of the other"
    )
    assert (
        message(source="none/*.de", target="parts/*.en")
        == "none/*.de: no file matches this pattern"
    )
    assert (
        message(source=("whole.de", "none.de"), target=LISTED["en"][:2]) == "none.de: no such file"
    )
    Path("parts/b.en").write_text("x\ny\n")
    assert message(source="parts/*.de", target="parts/*.en") == (
        "parts/b.de has 1 lines but parts/b.en has 2; line i of one must belong to line i of the "
        "other"
    )
    Path("parts/b.tsv").write_text("x\tw\n1\t2\n")
    with pytest.raises(DataError, match=r"parts/b\.tsv: no column 'y'"):
        read(table="parts/*.tsv", columns=Columns(source="x", target="y"))


RECIPE = "task: translation\ndata: {kind: files, train: %s}\n"


def recipe_of(files: str) -> Any:
    Path("recipe.yaml").write_text(RECIPE % files)
    return load_recipe()


def test_recipes_hold_lists_and_patterns() -> None:
    listed = recipe_of("{source: [a.de, 'b/*.de'], target: [a.en, 'b/*.en']}")
    assert listed.data.train.source == ("a.de", "b/*.de")
    pattern = recipe_of("{table: 'b/*.tsv'}")
    assert pattern.data.train.table == "b/*.tsv"
    for recipe in (listed, pattern):
        Path("recipe.yaml").write_text(dump_recipe(recipe))
        assert load_recipe() == recipe


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("{table: []}", "data.train.table: expected a list of at least 1, found an empty list"),
        ("{table: 3}", "data.train.table: expected text, found 3; in quotes it is text: \"3\""),
        ("{table: [a, true]}",
         "data.train.table[1]: expected text, found true; in quotes it is text: \"true\""),
        ("{table: [a, '']}", "data.train.table[1]: expected some text, found empty text"),
        ("{table: {a: b}}", "data.train.table: expected text, found a section"),
        ("{source: [a], target: [[b]]}", "data.train.target[0]: expected text, found a list"),
        (
            "{source: [a]}",
            "data.train: expected 'source' and 'target' (parallel text), 'target' alone (of a "
            "language model), or 'table'",
        ),
    ],
)  # fmt: skip
def test_faulty_entries(files: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_of(files)
    assert str(caught.value) == f"recipe.yaml:2: {expected}"


def test_columns_are_not_lists() -> None:
    with pytest.raises(RecipeError, match=r"references of a 'table' are names of columns"):
        recipe_of("{table: a.tsv}, test: {table: a.tsv, references: [[a, b]]}")


def test_check_looks_at_every_file_and_names_its_entry() -> None:
    write_parts()
    sides = "{source: [whole.de, 'parts/*.de', none.de], target: 'parts/*.en'}"
    assert list(data_faults(recipe_of(sides))) == [
        (
            ("data", "train", "source", 2),
            f"none.de: no such file in {Path.cwd()}, where the command runs",
        )
    ]
    (fault,) = data_faults(recipe_of("{source: 'x/*.de', target: 'parts/*.en'}"))
    assert fault[0] == ("data", "train", "source")
    assert fault[1].startswith("x/*.de: no file matches this pattern, in ")
    (fault,) = data_faults(recipe_of("{source: 'parts/*.de', target: whole.en}"))
    assert fault[1].startswith("parts/*.de: found 3, but for whole.en 1; file i")
    Path("parts/b.en").write_bytes(b"\xff\n")
    (fault,) = data_faults(recipe_of("{source: 'parts/*.de', target: 'parts/*.en'}"))
    assert fault[0] == ("data", "train", "target")
    assert fault[1].startswith("parts/b.en:1: ")
    Path("parts/b.tsv").write_text("source\ty\nA\tB\n")
    (_, fault, _) = data_faults(recipe_of("{table: 'parts/?.tsv'}"))
    assert fault == (
        ("data", "columns", "target"),
        "parts/b.tsv: no column 'target'; found: source, y",
    )
    fine = recipe_of("{source: 'parts/[ac].de', target: 'parts/[ac].en'}")
    assert list(data_faults(fine)) == []
