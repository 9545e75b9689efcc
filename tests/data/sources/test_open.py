"""All kinds of sources yield the same pairs; every error has its place."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s2s.data.sources import chunks, tables
from s2s.data.sources import open as sources
from s2s.data.sources.open import open_split
from s2s.errors import DataError
from s2s.recipe.data import Columns, FilesData, FileSet, GeneratedData

PAIRS = [
    ("ein Haus", "a house"),
    ('sie sagt: "ja, 1"', "she says yes"),
    ("", "nothing"),
    ("a\u2028b\x85c", "\U0001f469\u200d\U0001f469"),
    (" zwei  Räume ", "two rooms"),
]


def pairs_of(data: Any, split: Any = "train") -> list[tuple[str, str]]:
    opened = open_split(data, split)
    assert opened is not None
    found = list(opened.chunks())
    assert all(len(chunk.source) == len(chunk.target) for chunk in found)
    return [pair for chunk in found for pair in zip(chunk.source, chunk.target, strict=True)]


def table(path: Path, source: str = "de", target: str = "en", *, header: bool = True) -> FilesData:
    columns = Columns(source=source, target=target)
    return FilesData(kind="files", train=FileSet(table=str(path)), columns=columns, header=header)


def parallel(source: Path, target: Path) -> FilesData:
    return FilesData(kind="files", train=FileSet(source=str(source), target=str(target)))


def message(data: Any) -> str:
    with pytest.raises(DataError) as error:
        pairs_of(data)
    return str(error.value)


def as_tsv(rows: list[list[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def as_csv(rows: list[list[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()


ROWS = [[f"{i}", source, target] for i, (source, target) in enumerate(PAIRS)]
NAMED = [["id", "de", "en"], *ROWS]
JSON = "".join(json.dumps({"id": i, "de": s, "en": t}) + "\n" for i, (s, t) in enumerate(PAIRS))
NESTED = "".join(json.dumps({"translation": {"de": s, "en": t}}) + "\n" for s, t in PAIRS)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pairs a chunk, so that every source has several chunks."""
    for module in (chunks, sources, tables):
        monkeypatch.setattr(module, "CHUNK_PAIRS", 2)


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("t.tsv", as_tsv(NAMED), ("de", "en")),
        ("t.TSV", as_tsv(NAMED).replace("\n", "\r\n"), ("de", "en")),
        ("t.tsv", as_tsv(ROWS), ("1", "2")),
        ("t.csv", as_csv(NAMED), ("de", "en")),
        ("t.csv", "\ufeff" + as_csv(NAMED), ("de", "en")),
        ("t.csv", as_csv(ROWS), ("1", "2")),
        ("t.jsonl", JSON, ("de", "en")),
        ("t.jsonl", NESTED, ("translation.de", "translation.en")),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_tables(
    tmp_path: Path, name: str, content: str, columns: tuple[str, str], is_packed: bool
) -> None:
    raw = content.encode()
    path = tmp_path / (name + ".gz" if is_packed else name)
    path.write_bytes(gzip.compress(raw) if is_packed else raw)
    header = not columns[0].isdigit()
    data = table(path, *columns, header=header)
    assert pairs_of(data) == PAIRS
    assert pairs_of(data) == PAIRS
    swapped = table(path, columns[1], columns[0], header=header)
    assert pairs_of(swapped) == [(target, source) for source, target in PAIRS]


@pytest.mark.parametrize(
    "type_", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_parquet(tmp_path: Path, type_: pa.DataType) -> None:
    path = tmp_path / "t.parquet"
    sides = [pa.array([pair[side] for pair in PAIRS]).cast(type_) for side in (0, 1)]
    both = pa.StructArray.from_arrays(sides, names=["de", "en"])
    columns = {"id": range(5), "de": sides[0], "en": sides[1], "both": both, "a.b": sides[0]}
    pq.write_table(pa.table(columns), path, row_group_size=3)
    assert pairs_of(table(path)) == PAIRS
    if not pa.types.is_dictionary(type_):  # pyarrow reads no dictionaries within structs
        assert pairs_of(table(path, "both.de", "both.en")) == PAIRS
    assert pairs_of(table(path, "a.b", "en")) == PAIRS
    assert message(table(path, "id")) == f"{path}: column 'id' holds int64, expected text"
    assert message(table(path, "both.ed")) == (
        f"{path}, column 'both': no column 'ed'; found: de, en"
    )
    assert message(table(path, "both")).startswith(f"{path}: column 'both' holds struct<")
    assert message(table(path, "ed")) == (f"{path}: no column 'ed'; found: id, de, en, both, a.b")


def test_a_null_in_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    columns = {"de": ["a", "b", "c", None], "en": ["a"] * 4}
    pq.write_table(pa.table(columns), path)
    assert message(table(path)) == f"{path}: column 'de' is null in row 4, expected text"
    structs = pa.array([{"de": "a", "en": "b"}] * 3 + [None])
    pq.write_table(pa.table({"pair": structs}), path)
    place = f"{path}: column 'pair.de' is null in row 4, expected text"
    assert message(table(path, "pair.de", "pair.en")) == place


@pytest.mark.parametrize("end", ["", "\n"])
def test_parallel_files(tmp_path: Path, end: str) -> None:
    source, target = tmp_path / "a.de", tmp_path / "a.en.gz"
    source.write_bytes(("\n".join(pair[0] for pair in PAIRS) + end).encode())
    target.write_bytes(gzip.compress(("\n".join(pair[1] for pair in PAIRS) + end).encode()))
    assert pairs_of(parallel(source, target)) == PAIRS


@pytest.mark.parametrize(("num_source", "num_target"), [(3, 2), (4, 7), (0, 1), (9, 4)])
def test_sides_of_unequal_length(tmp_path: Path, num_source: int, num_target: int) -> None:
    source, target = tmp_path / "a.de", tmp_path / "a.en"
    source.write_text("x\n" * num_source)
    target.write_text("y\n" * num_target)
    assert message(parallel(source, target)) == (
        f"{source} has {num_source} lines but {target} has {num_target}; "
        "line i of one must belong to line i of the other"
    )


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    source, target = tmp_path / "a.de", tmp_path / "a.en"
    source.write_text("")
    data = parallel(source, target)
    assert message(data) == f"{target}: no such file"
    opened = open_split(data, "train")
    assert opened is not None
    with pytest.raises(DataError, match=r"a\.en: no such file"):
        opened.fingerprint()
    target.mkdir()
    with pytest.raises(DataError, match=r"a\.en: expected a file, found a folder, pipe or device"):
        opened.fingerprint()
    target.rmdir()
    target.write_text("")
    assert message(data) == f"{source}: empty file"
    for name in ("t.tsv", "t.csv", "t.jsonl"):
        path = tmp_path / name
        assert message(table(path)) == f"{path}: no such file"
        path.write_text("")
        assert message(table(path)) == f"{path}: empty file"
    (tmp_path / "h.tsv").write_text("de\ten\n")
    assert message(table(tmp_path / "h.tsv")) == f"{tmp_path / 'h.tsv'}: empty file"
    path = tmp_path / "t.parquet"
    assert message(table(path)) == f"{path}: no such file"
    pq.write_table(
        pa.table({"de": pa.array([], pa.string()), "en": pa.array([], pa.string())}), path
    )
    assert message(table(path)) == f"{path}: empty file"


@pytest.mark.parametrize(
    ("name", "content", "place", "fault"),
    [
        ("t.tsv", b"de\ten\na\tb\n\xe4\tb\n", ":3", "not valid UTF-8 (byte 1 of the line is 0xe4)"),
        ("t.tsv", b"ger\ten\n", "", "no column 'de'; found: ger, en"),
        ("t.tsv", b"ed\ten\n", "", "no column 'de'; found: ed, en"),
        ("t.csv", b'de,en\na,"b\n', ":2", "not valid CSV (unexpected end of data)"),
        ("t.jsonl", b'{"de": "a", "en": "b"}\n{"de"\n', ":2", "not valid JSON (Expecting ':' "
         "delimiter: line 1 column 6 (char 5))"),
        ("t.jsonl", b"\n", "", "empty file"),
        ("t.jsonl", b'{"de": "a", "en": "b", "de": "c"}\n', ":1", "column 'de' is there more than "
         "once; rename all but one"),
        ("t.jsonl", b"[1]\n", ":1", "expected an object with 'de', found a list"),
        ("t.jsonl", b'{"en": "b"}\n', ":1", "no column 'de'; found: en"),
        ("t.jsonl", b'{"de": "a", "en": null}\n', ":1", "column 'en' holds null, expected text"),
        ("t.jsonl", b'{"de": 1, "en": "b"}\n', ":1", "column 'de' holds a number, expected text"),
        ("t.jsonl", b'{"de": true, "en": ""}\n', ":1", "column 'de' holds a truth value, expected "
         "text"),
        ("t.jsonl", b'{"de": "x\\ud800", "en": ""}\n', ":1", "column 'de' holds \\ud800, half a "
         "character"),
        ("t.txt", b"", "", "expected a table named .tsv, .csv, .jsonl (each also .gz) or .parquet"),
    ],
)  # fmt: skip
def test_faulty_tables(tmp_path: Path, name: str, content: bytes, place: str, fault: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert message(table(path)).partition("; 'iconv")[0] == f"{path}{place}: {fault}"


def test_a_column_of_nearly_that_name_is_suggested(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("german\tenglish\n")
    assert message(table(path, "germna", "english")) == (
        f"{path}: no column 'germna' (did you mean 'german'?); found: german, english"
    )


def test_nested_json_keys(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    data = table(path, "pair.de", "pair.en")
    path.write_text('{"pair.de": "flat", "pair": {"en": "deep"}}\n')
    assert pairs_of(data) == [("flat", "deep")]
    path.write_text('{"pair": "a"}\n')
    assert message(data) == f"{path}:1: expected an object with 'de', found text"
    path.write_text('{"pair": {"ed": "a"}}\n')
    assert message(data) == f"{path}:1: no column 'pair.de'; found: ed"


def test_columns_are_numbers_where_there_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\n")
    assert message(table(path, header=False)) == (
        f"{path}: without a header, data.columns are numbers (0, 1, ...), not 'de'"
    )


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_text("text")
    assert message(table(path)).startswith(f"{path}: not a readable Parquet file (")
    pq.write_table(pa.table({"de": ["a"] * 9999, "en": ["b"] * 9999}), path)
    path.write_bytes(path.read_bytes()[:-20])
    assert message(table(path)).startswith(f"{path}: not a readable Parquet file (")


def test_line_breaks_in_cells_become_spaces_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('de,en\n"a\nb","c\n\nd"\n"e\r\nf",g\n"h\n","i"\n')
    opened = open_split(table(path), "train")
    assert opened is not None
    chunks = list(opened.chunks())
    pairs = [pair for chunk in chunks for pair in zip(chunk.source, chunk.target, strict=True)]
    assert pairs == [("a b", "c  d"), ("e f", "g"), ("h", "i")]
    assert sum(chunk.num_line_breaks for chunk in chunks) == 3


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "files"])
def test_line_ends_of_windows_are_no_text(name: str, tmp_path: Path) -> None:
    """The same pairs, whatever system wrote the file; a byte order mark is no text."""
    pairs = [("ein Hund", "a dog"), ("zwei", "two"), ("drei", "three")]
    path = tmp_path / name
    match path.suffix:
        case ".csv" | ".tsv":
            tab = "," if path.suffix == ".csv" else "\t"
            rows = [tab.join(row) for row in [("de", "en"), *pairs]]
            path.write_bytes(("\ufeff" + "\r\n".join(rows) + "\r\n").encode())
        case ".jsonl":
            rows = [json.dumps({"de": f"\ufeff{de}\r", "en": f"{en}\r\n"}) for de, en in pairs]
            path.write_bytes("\r\n".join(rows).encode())
        case ".parquet":
            columns = {
                "de": [f"\ufeff{de}" for de, _ in pairs],
                "en": [f"{en}\r" for _, en in pairs],
            }
            pq.write_table(pa.table(columns), path)
        case _:
            for side, column in zip("st", zip(*pairs, strict=True), strict=True):
                text = "".join(f"\ufeff{line}\r\n" for line in column)
                (tmp_path / side).write_bytes(text.encode())
    recipe = table(path) if path.exists() else parallel(tmp_path / "s", tmp_path / "t")
    assert pairs_of(recipe) == pairs
    opened = open_split(recipe, "train")
    assert opened is not None
    assert sum(chunk.num_line_breaks for chunk in opened.chunks()) == 0


def test_long_cells(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"de,en\n{'x' * 200_000},y\n")
    assert pairs_of(table(path)) == [("x" * 200_000, "y")]


@pytest.mark.parametrize("texts", [["a b", "c"], ["a b", "c d"], ["ab"]], ids=repr)
@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl", "numbered"])
def test_a_table_may_have_targets_alone(tmp_path: Path, form: str, texts: list[str]) -> None:
    """As that of a language model has: a text is one cell, not one for each character."""
    path = tmp_path / f"t.{form if form != 'numbered' else 'tsv'}"
    if form == "jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        path.write_text("".join(f"{line}\n" for line in ["text", *texts][form == "numbered" :]))
    is_numbered = form == "numbered"
    data = FilesData(
        kind="files",
        train=FileSet(table=str(path)),
        columns=Columns(source=None, target="0" if is_numbered else "text"),
        header=not is_numbered,
    )
    opened = open_split(data, "train")
    assert opened is not None
    assert [text for chunk in opened.chunks() for text in chunk.target] == texts


def test_splits_that_the_recipe_does_not_have(tmp_path: Path) -> None:
    data = table(tmp_path / "t.tsv")
    assert open_split(data, "validation") is None
    assert open_split(data, "test") is None


def test_identity_changes_with_the_file_and_how_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("de\ten\nb\tc\n")

    def fingerprint(data: FilesData) -> dict[str, Any]:
        opened = open_split(data, "train")
        assert opened is not None
        return opened.fingerprint()

    first = fingerprint(table(path))
    assert fingerprint(table(path)) == first
    assert fingerprint(table(path, "en", "de")) != first
    assert fingerprint(table(path, header=False)) != first
    path.write_text("de\ten\nb\tcc\n")
    assert fingerprint(table(path)) != first


def test_generated_pairs() -> None:
    data = GeneratedData(kind="generated", corpus="dates", pairs=101, held_out=11)
    assert len(pairs_of(data)) == 101
    assert len(pairs_of(data, "test")) == 11
    assert pairs_of(data) == pairs_of(data)
    opened = [open_split(data, name) for name in sources.SPLITS]
    assert len({json.dumps(split.fingerprint()) for split in opened if split}) == 3
