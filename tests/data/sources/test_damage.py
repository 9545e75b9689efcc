"""Damaged rows of tables are counted, named and left out, or the table is refused."""

import csv
import io
import json
import pickle
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s2s.data.preparation.prepare import prepare
from s2s.data.sources import hold_out, tables
from s2s.data.sources.check import data_faults
from s2s.data.sources.damage import DamagedRows, TableFaults, has_stray_quotes
from s2s.data.sources.inspect import inspect
from s2s.data.sources.open import open_split
from s2s.errors import DataError
from s2s.recipe.data import Columns, FilesData, FileSet
from s2s.recipe.filters import HoldOut
from s2s.recipe.load import load_recipe

SOUND = [(f"word {i}", f"Wort {i}") for i in range(9)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True, params=[2, 3, 10_000])
def chunk_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine sound rows end between two chunks, at the end of one, or in the first."""
    monkeypatch.setattr(tables, "CHUNK_PAIRS", request.param)


def write(name: str, text: str, **fields: object) -> FilesData:
    Path(name).write_bytes(text.encode())
    given = {"max_damaged": 0.5, **fields}
    return FilesData(kind="files", train=FileSet(table=name), **given)  # type: ignore[arg-type]


def read(data: FilesData) -> tuple[list[tuple[str, str]], TableFaults]:
    split = open_split(data, "train")
    assert split is not None
    chunks = list(split.chunks())
    assert all(chunk.faults == TableFaults() for chunk in chunks[:-1])
    pairs = [pair for one in chunks for pair in zip(one.source, one.target, strict=True)]
    return pairs, chunks[-1].faults


def refusal(data: FilesData) -> str:
    with pytest.raises(DataError) as error:
        read(data)
    return str(error.value)


def with_rows(format_: str, damaged: dict[int, str], end: str = "") -> str:
    """A table of `SOUND`, with more rows before those of these numbers."""
    separator = "\t" if format_ == "tsv" else ","
    lines = [f"source{separator}target"]
    for number, pair in enumerate(SOUND):
        lines += [damaged[number]] if number in damaged else []
        lines.append(separator.join(pair))
    return "\n".join(lines) + "\n" + damaged.get(len(SOUND), "") + end


DAMAGED = [
    ("csv", "Hello, you there,Bonjour toi", "1 with 3 fields where the header has 2"),
    ("tsv", "Hello\tyou there\tBonjour toi", "1 with 3 fields where the header has 2"),
    ("csv", "Hello, you,", "1 with 3 fields where the header has 2"),
    ("csv", "Hello", "1 with 1 field where the header has 2"),
    ("tsv", "Hello", "1 with 1 field where the header has 2"),
    ("csv", '"So, so", "Bof"', "1 with quotation marks that do not enclose a field"),
    ("csv", '"Hello, you", "Bonjour, toi"', "1 with quotation marks that do not enclose a field"),
    ("csv", 'a 5" pipe,un tuyau', "1 with quotation marks that do not enclose a field"),
    ("csv", '"Hello"you,Bonjour', "1 with quotation marks that do not enclose a field"),
    ("csv", '"Hello" ,Bonjour', "1 with quotation marks that do not enclose a field"),
]


@pytest.mark.parametrize(("format_", "row", "damage"), DAMAGED)
@pytest.mark.parametrize("place", [0, 4, 9])
def test_a_damaged_row_is_left_out_and_named(
    format_: str, row: str, damage: str, place: int
) -> None:
    name = f"t.{format_}"
    text = with_rows(format_, {place: row})
    pairs, faults = read(write(name, text))
    assert pairs == SOUND
    line = f"{name}: 1 of 10 rows damaged and left out: {damage} (line {place + 2})"
    assert faults == TableFaults(1, (line,))
    assert refusal(write(name, text, max_damaged=0.09)).startswith(
        f"{name}: 1 of 10 rows damaged, more than data.max_damaged 0.09 allows: {damage} (line "
        f"{place + 2}); "
    )
    assert read(write(name, text, max_damaged=0.1))[0] == SOUND


def test_the_first_lines_of_every_kind_are_named() -> None:
    text = "source,target\n" + "a,b\n" * 20 + "a\n" * 4 + "a,b,c\n" * 2 + 'a "b",c\n'
    _, faults = read(write("t.csv", text))
    assert faults.texts == (
        "t.csv: 7 of 27 rows damaged and left out: 4 with 1 field where the header has 2 (lines "
        "22, 23, 24, ...), 2 with 3 fields where the header has 2 (lines 26, 27), 1 with quotation "
        "marks that do not enclose a field (line 28)",
    )
    columns = Columns(source="0", target="1")
    data = write("t.csv", text.partition("\n")[2], header=False, columns=columns)
    assert "4 with 1 field where line 1 has 2 (lines 21, 22, 23, ...)" in read(data)[1].texts[0]


@pytest.mark.parametrize(
    ("name", "header", "found"),
    [
        ("t.csv", "source;target", "semicolons"),
        ("t.csv", "source\ttarget", "tabs"),
        ("t.csv", "source|target", "'|'"),
        ("t.csv", "sep=,\nsource,target", "'sep=', a line for spreadsheets"),
        ("t.tsv", "source,target", "commas"),
        ("t.tsv", "source;target", "semicolons"),
    ],
)
def test_other_separators_are_named(name: str, header: str, found: str) -> None:
    own = "commas" if name == "t.csv" else "tabs"
    assert refusal(write(name, f"{header}\na;b\n")) == (
        f"{name}:1: expected fields between {own}, found {found}; save it with these, or as a .tsv "
        "with tabs"
    )


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_blank_line_is_no_header(name: str) -> None:
    found = refusal(write(name, "\nsource,target\na,b\n"))
    assert found.startswith(f"{name}: no column 'source'; found: ")


def test_a_table_without_a_sound_row_is_refused() -> None:
    data = write("t.tsv", "source\ttarget\na\tb\tc\n", max_damaged=0.9)
    assert refusal(data).startswith("t.tsv: 1 of 1 rows damaged, more than")
    assert refusal(write("t.tsv", "source\ttarget\na\tb\tc\n", max_damaged=1.0)) == (
        "t.tsv: empty file"
    )


def test_a_broken_quotation_takes_the_lines_that_it_reached() -> None:
    """The mark that opens in line 2 ends in line 4, before a letter: three rows are lost."""
    text = with_rows("csv", {0: '"a,b\nc,d\ne,"f'})
    pairs, faults = read(write("t.csv", text))
    assert (pairs, faults.rows) == (SOUND, 3)
    assert refusal(write("t.csv", with_rows("csv", {4: '"a,b'}))) == (
        "t.csv:6: not valid CSV (unexpected end of data)"
    )


@pytest.mark.parametrize(
    "row", ['"a ""b""",c', '"",c', '"a\n""b"",\nc",d', "a,", '"a","b, ""c"""', " a , b "]
)
def test_rows_of_rfc_4180_are_sound(row: str) -> None:
    (expected,) = csv.reader(io.StringIO(row))
    pairs, faults = read(write("t.csv", f"source,target\n{row}\n"))
    assert pairs == [tuple(cell.replace("\n", " ") for cell in expected)]
    assert faults == TableFaults()


def test_stray_quotes_are_what_a_writer_never_writes() -> None:
    """The csv module's writer is the oracle of sound rows; a mark more makes them damaged."""
    draw = random.Random(1)
    for _ in range(2000):
        cells = ["".join(draw.choices('ab", \n', k=draw.randrange(6))) for _ in range(3)]
        written = io.StringIO()
        csv.writer(written, lineterminator="").writerow(cells)
        row = written.getvalue()
        assert not has_stray_quotes(row), row
        if '"' not in row:
            assert has_stray_quotes(f'x"{row}')


@pytest.mark.parametrize(("row", "name"), [("\n", "t.tsv"), ("\r\n", "t.csv"), (" \n", "t.tsv")])
def test_blank_lines_are_no_rows(row: str, name: str) -> None:
    format_ = name[2:]
    assert read(write(name, with_rows(format_, {}, row))) == (SOUND, TableFaults())
    assert read(write(name, with_rows(format_, {}, row * 7))) == (SOUND, TableFaults())
    pairs, faults = read(write(name, with_rows(format_, {3: row.strip("\n")}, row), max_damaged=0))
    line = f"{name}: 1 blank line (line 5) inside the table left out"
    assert (pairs, faults) == (SOUND, TableFaults(0, (line,)))


def test_blank_lines_of_jsonl() -> None:
    rows = [json.dumps({"source": one, "target": other}) for one, other in SOUND]
    assert read(write("t.jsonl", "\n".join([*rows, "", " ", ""]))) == (SOUND, TableFaults())
    rows.insert(2, "")
    line = "t.jsonl: 1 blank line (line 3) inside the table left out"
    assert read(write("t.jsonl", "\n".join(rows))) == (SOUND, TableFaults(0, (line,)))
    assert len(inspect(["t.jsonl"]).section["columns"]) == 2


def test_fields_of_a_tsv_in_quotation_marks_are_text_and_reported() -> None:
    text = with_rows("tsv", {2: '"He said ""no"""\tIl a dit non', 3: '"Yes."\tOui "".'})
    pairs, faults = read(write("t.tsv", text))
    assert pairs[2:5:2] == [('"He said ""no"""', "Il a dit non"), ('"Yes."', 'Oui "".')]
    line = (
        "t.tsv: 1 row (line 4) with fields in quotation marks, which are text in a TSV; save it as "
        ".csv if they are not meant"
    )
    assert faults == TableFaults(0, (line,))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_a_column_that_is_there_twice_cannot_be_read(name: str) -> None:
    names = ["other", "source", "source", "target", "other"]
    match name:
        case "t.jsonl":
            text = '{"source": "a", "target": "source", "n": {"source": 1}, "m": [], "source": 2}'
            place = f"{name}:1"
        case "t.parquet":
            columns = [pa.array(["a"]) for _ in names]
            pq.write_table(pa.Table.from_arrays(columns, names=names), name)
            text, place = "", name
        case _:
            separator = "," if name == "t.csv" else "\t"
            text, place = separator.join(names) + "\n" + separator.join("abcde") + "\n", name
    data = FilesData(kind="files", train=FileSet(table=name))
    if text:
        data = write(name, text)
    assert refusal(data) == f"{place}: column 'source' is there more than once; rename all but one"


def test_a_doubled_column_that_is_not_read_does_no_harm() -> None:
    assert read(write("t.csv", "x,source,target,x\n1,a,b,2\n"))[0] == [("a", "b")]
    row = '{"x": 1, "x": 2, "source": "target", "target": "source", "y": {"source": 1}}'
    assert read(write("t.jsonl", row))[0] == [("target", "source")]


def test_a_byte_order_mark_before_a_header_in_quotation_marks() -> None:
    assert read(write("t.csv", '\ufeff"source","target"\na,b\n'))[0] == [("a", "b")]


def test_init_goes_by_the_rows_that_are_sound() -> None:
    rows = with_rows("csv", {1: "a, b, c,d"}, "\n\n")
    Path("t.csv").write_text(rows)
    assert inspect(["t.csv"]).section["columns"] == {"source": "source", "target": "target"}
    Path("t.csv").write_text("source,source,target\nx,a b c,d e f\nx,a b,c d\n")
    with pytest.raises(DataError, match="column 'source' is there more than once"):
        inspect(["t.csv"])


RECIPE = """\
task: translation
name: x
data:
  kind: files
  train: {{table: {name}}}
  hold_out: {{share: 0.3, test: 0.2}}
  max_damaged: 0.1
tokenizer: {{kind: word, vocabulary: 500}}
"""


def test_what_is_counted_is_counted_once_though_pairs_are_held_out() -> None:
    """Rows are read once for each split; line breaks belong to pairs, damaged rows to training."""
    rows = [(f"source\n{i}" if i % 4 == 0 else f"source {i}", f"target {i}") for i in range(80)]
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([("source", "target"), *rows, "abc", "abc"])
    Path("t.csv").write_text(written.getvalue())
    Path("recipe.yaml").write_text(RECIPE.format(name="t.csv"))
    recipe = load_recipe()
    report = prepare(recipe, Path("run"))
    splits = report.splits
    assert {name: splits[name].damaged_rows for name in splits} == {
        "train": 2,
        "validation": 0,
        "test": 0,
    }
    assert sum(split.line_breaks for split in splits.values()) == 20
    for name, split in splits.items():
        texts = [
            pair[0] for pair in rows if hold_out.part_of(one_line(pair[0]), held(recipe)) == name
        ]
        assert split.line_breaks == sum("\n" in text for text in texts)
    (line,) = splits["train"].table_faults
    assert f"warning: train: {line}".count("train: t.csv: 2 of 82 rows damaged and left out") == 1
    assert [one for one in report.warnings if "damaged" in one] == [f"train: {line}"]
    assert ("rows damaged", ["2", "0", "0"]) in report.rows()
    # The report on disk, which a second call reads.
    assert prepare(recipe, Path("run")).warnings == report.warnings


def held(recipe: object) -> HoldOut:
    return recipe.data.hold_out  # type: ignore[attr-defined, no-any-return]


def one_line(text: str) -> str:
    return text.replace("\n", " ")


def test_check_refuses_what_prep_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it reads: the first chunk."""
    monkeypatch.setattr(tables, "CHUNK_PAIRS", 9)
    Path("t.csv").write_text(with_rows("csv", {1: "a,b,c", 2: "d"}))
    Path("recipe.yaml").write_text(RECIPE.format(name="t.csv"))
    ((keys, fault),) = data_faults(load_recipe())
    assert keys == ("data", "train", "table")
    assert fault.startswith("t.csv: 2 of 11 rows damaged, more than data.max_damaged 0.1 allows")


def test_of_very_many_blank_lines_only_the_first_are_kept(tmp_path: Path) -> None:
    """A small compressed file may have 100 million."""
    damage = DamagedRows(tmp_path / "t.tsv", ".tsv", 0.0)
    for line in (3, 4, *range(6, 200_000), 200_005, 200_006):
        damage.add_blank(line)
    damage.num_lines = 200_006
    inside = "199,996 blank lines (lines 3, 4, 6, ...) inside the table left out"
    assert damage.report(2).texts == (f"{tmp_path / 't.tsv'}: {inside}",)
    damage.num_lines = 200_007
    assert "199,998 blank lines (lines 3, 4, 6, ...)" in damage.report(2).texts[0]
    assert len(pickle.dumps(damage)) < 1000
