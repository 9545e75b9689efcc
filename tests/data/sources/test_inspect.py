"""What data files hold is found out: columns, header, splits; what is no data is said."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s2s.data.sources.columns import SplitColumns
from s2s.data.sources.inspect import FoundData, inspect, read_rows, split_of
from s2s.data.sources.tables import open_table
from s2s.errors import DataError
from s2s.recipe.data import Columns
from s2s.text.lines import LONGEST_ROW

PAIRS = [
    (f"The dog number {i} sleeps, again.", f"Der Hund Nummer {i} schläft wieder.")
    for i in range(30)
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def table(name: str, rows: list[tuple[Any, ...]], header: str | None = None) -> str:
    separator = "," if ".csv" in name else "\t"
    lines = [
        separator.join(f'"{cell}"' if separator == "," else str(cell) for cell in row)
        for row in rows
    ]
    return write(name, "\n".join([header] * (header is not None) + lines) + "\n")


def columns(found: FoundData) -> dict[str, str]:
    return dict(found.section["columns"])


def test_two_texts_with_their_siblings() -> None:
    for name in ("train", "dev", "test"):
        for side, language in enumerate(("en", "de")):
            write(f"{name}.{language}", "".join(f"{pair[side]}\n" for pair in PAIRS))
    found = inspect(["train.en", "train.de"])
    assert found.splits == ("train", "validation", "test")
    assert found.section["validation"] == {"source": "dev.en", "target": "dev.de"}
    Path("dev.de").unlink()
    assert inspect(["train.en", "train.de"]).splits == ("train", "test")
    listed = inspect(["test.en", "test.de", "train.en", "train.de"])
    assert listed.section["train"] == {"source": "train.en", "target": "train.de"}
    assert listed.splits == ("train", "test")
    # Other names have no siblings.
    for path in ("a.en", "a.de"):
        write(path, "x\n")
    assert inspect(["a.en", "a.de"]).section == {
        "kind": "files",
        "train": {"source": "a.en", "target": "a.de"},
    }


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, {"source": "0", "target": "1"}),
        ("en\tde", {"source": "en", "target": "de"}),
        ("Target\tSource", {"source": "Source", "target": "Target"}),
        (
            "English sentence\tGerman sentence",
            {"source": "English sentence", "target": "German sentence"},
        ),
    ],
)
def test_a_header_is_recognized(header: str | None, expected: dict[str, str]) -> None:
    found = inspect([table("pairs.tsv", PAIRS, header)])
    assert columns(found) == expected
    assert found.section.get("header", True) is (header is not None)


def test_a_short_first_pair_is_no_header() -> None:
    pairs = [("Hi.", "Hallo."), *PAIRS]
    found = inspect([table("pairs.tsv", pairs)])
    assert found.section["header"] is False
    # Names by their look alone are named in a comment, since they may be a pair.
    found = inspect([table("pairs.tsv", PAIRS, "Hund\tdog")])
    assert "'Hund, dog', looks like names" in found.notes["columns"]
    assert not inspect([table("pairs.tsv", PAIRS, "source\ttarget")]).notes["columns"]


def test_columns_that_are_no_text_are_left_out() -> None:
    rows = [
        (i, en, 1000 + i, de, f"CC-BY 2.0 #{i}", f"https://x.org/{i}")
        for i, (en, de) in enumerate(PAIRS)
    ]
    assert columns(inspect([table("tatoeba.tsv", rows)])) == {"source": "1", "target": "3"}
    rows = [("eng", en, "deu", de) for en, de in PAIRS]
    assert columns(inspect([table("languages.tsv", rows)])) == {"source": "1", "target": "3"}


def test_morphological_tags_are_source_features() -> None:
    rows = [
        (f"wort{'abc'[i % 3]}{i}", f"wörter{i}x", f"N;{'ACC' if i % 2 else 'DAT'};PL")
        for i in range(20)
    ]
    found = columns(inspect([table("unimorph.tsv", rows)]))
    assert found == {"source": "0", "target": "1", "source_features": "2"}


def test_csv_jsonl_parquet_and_gzip() -> None:
    import pyarrow
    import pyarrow.parquet

    named = [{"id": i, "question": en, "answer": de} for i, (en, de) in enumerate(PAIRS)]
    write("a.jsonl", "".join(json.dumps(row) + "\n" for row in named))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(named), "a.parquet")
    rows = [(en, de) for en, de in PAIRS]
    table("a.csv", rows, "question,answer")
    Path("b.csv.gz").write_bytes(gzip.compress(Path("a.csv").read_bytes()))
    for name in ("a.jsonl", "a.parquet", "a.csv", "b.csv.gz"):
        assert columns(inspect([name])) == {"source": "question", "target": "answer"}, name
        assert inspect([name]).section["train"] == {"table": name}


def test_a_folder_of_a_data_set() -> None:
    Path("set").mkdir()
    for name in ("train", "dev"):
        write(f"set/{name}.jsonl", "".join(json.dumps({"en": e, "de": d}) + "\n" for e, d in PAIRS))
    found = inspect(["set"])
    assert found.section["dataset"] == "./set"
    assert found.section["splits"]["train"] == "train"
    assert found.section["splits"]["test"] is None
    assert found.splits == ("train", "validation")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.de", "train"),
        ("newstest2014.en", None),
        ("corpus.dev.tsv", "validation"),
        ("test_2016_flickr", "test"),
        ("training-set.csv", "train"),
        ("latest.tsv", None),
    ],
)
def test_the_split_in_a_name(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.tsv": b""}, "a.tsv: empty file"),
        ({"a.tsv": b"eins\nzwei\n"}, "a.tsv: expected two columns of text, a source"),
        ({"a.tsv": b"\x00\x01\x02\n"}, "a.tsv: expected text in UTF-8, found binary data"),
        ({"a.de": b"x\n"}, "a.de: expected two parallel texts, a table named .tsv, .csv, .j"),
        ({"a.tsv": b"A b\tB c\n", "b.txt": b"x\n"}, "a.tsv is a table, b.txt is not: expected"),
        ({"a.txt": b"x\n", "b.txt": b"y\n", "c.txt": b"z\n"}, "expected pairs of parallel texts"),
        ({"a.jsonl": b"{\n"}, "a.jsonl:1: not valid JSON"),
        ({"a.parquet": b"PAR1 no"}, "a.parquet: not a readable Parquet file"),
        ({"a.tsv": b"caf\xe9\tb\n"}, "a.tsv:1: not valid UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_said(files: dict[str, bytes], message: str) -> None:
    for name, content in files.items():
        Path(name).write_bytes(content)
    with pytest.raises(DataError) as error:
        inspect(list(files))
    assert str(error.value).startswith(message)


def test_a_missing_file_and_a_missing_folder() -> None:
    with pytest.raises(DataError, match=r"absent\.tsv: no such file"):
        inspect(["absent.tsv"])
    with pytest.raises(DataError, match="no such folder"):
        inspect(["./absent"])


def test_an_index_without_a_name_is_no_text() -> None:
    rows = [(i, en, de) for i, (en, de) in enumerate(PAIRS)]
    found = inspect([table("pandas.tsv", rows, "\ten\tde")])
    assert columns(found) == {"source": "en", "target": "de"}
    assert "header" not in found.section


def test_named_columns_and_semicolons() -> None:
    numbers = table("numbers.tsv", [(i, 2 * i) for i in range(30)], "id\tdouble")
    with pytest.raises(DataError, match="--columns SOURCE,TARGET names them"):
        inspect([numbers])
    found = inspect([numbers], ("id", "double"))
    assert columns(found) == {"source": "id", "target": "double"}
    with pytest.raises(DataError, match="fields are separated by ';', expected commas"):
        inspect([write("a.csv", "en;de\nA dog.;Ein Hund.\n")])


def test_very_many_columns_take_time_in_proportion() -> None:
    """A header of 100,000 names: comparing each with all cells of a row took minutes."""
    names = [f"c{i}" for i in range(100_000)]
    body = ["\t".join(f"a sentence {i} {j}" for i in range(100_000)) for j in "xy"]
    rows = ["\t".join(names), *body]
    has_header, found = read_rows(Path(write("wide.tsv", "\n".join(rows) + "\n")))
    assert (has_header, list(found)) == (True, names)
    assert found["c7"] == ["a sentence 7 x", "a sentence 7 y"]


def test_long_cells_of_a_csv_are_read_and_too_long_ones_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = "word " * 40_000  # beyond the default of the csv module
    _, found = read_rows(Path(write("long.csv", f'source,target\n"{long}",short\n')))
    assert found["source"] == [long]
    monkeypatch.setattr("s2s.data.sources.inspect.LONGEST_ROW", 1000)
    with pytest.raises(DataError, match=r"long\.csv:2: not valid CSV \(field larger than"):
        read_rows(Path("long.csv"))


def test_long_cells_of_csv_are_looked_at_and_endless_ones_are_one_line() -> None:
    """The csv module itself takes 131,072 characters."""
    rows = "".join(f"a dog {n},ein Hund {n}\n" for n in range(9))
    found = inspect([write("a.csv", "de,en\n" + rows + f'"{"x " * 100_000}",y\n')])
    assert found.section["columns"] == {"source": "de", "target": "en"}
    long = 'de,en\n"' + "x" * (LONGEST_ROW // 2 + 1) + "\n" + "y" * (LONGEST_ROW // 2 + 1) + '"\n'
    with pytest.raises(DataError, match=r"b.csv:3: not valid CSV \(field larger than"):
        inspect([write("b.csv", long)])


def test_names_of_columns_that_are_no_text_are_one_line() -> None:
    """In the schema of a Parquet file, where a disk has changed a byte of them."""
    path = Path("t.parquet")
    pq.write_table(pa.table({"source": ["a b"], "target": ["c d"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"source", b"\xffource"))
    columns = SplitColumns(Columns(source="source", target="target"), (), True)
    table = open_table(path, columns, has_header=True)
    assert table.expected() in (None, 1)
    with pytest.raises(DataError, match=r"t.parquet: not a readable Parquet file \('utf-8' codec"):
        list(table.chunks())
    with pytest.raises(DataError, match=r"t.parquet: not a readable Parquet file \('utf-8' codec"):
        inspect([str(path)])
