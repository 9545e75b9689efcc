"""Invalid tables of features: an error of one line each."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from tests.data.features.test_damaged import refusal


@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"name": ["a"], "features": [[1.0]]}, "no column 'id'; found: name, features"),
        ({"id": ["a"], "image": [[1.0]]}, "no column 'features'; found: id, image"),
        (
            {"id": [1.5], "features": [[1.0]]},
            "column 'id': expected texts or whole numbers as ids, found double",
        ),
        (
            {"id": ["a", None], "features": [[1.0], [2.0]]},
            "column 'id': expected an id in every row, found 1 nulls",
        ),
        (
            {"id": ["a"], "features": [1.0]},
            "column 'features': expected lists of numbers, or lists of such lists, found double",
        ),
        (
            {"id": ["a"], "features": [[1]]},
            "column 'features': expected lists of floating-point numbers, found int64",
        ),
        (
            {"id": ["a", "b"], "features": [[1.0], None]},
            "column 'features': expected a list everywhere, found 1 nulls",
        ),
        (
            {"id": ["a", "b"], "features": [[1.0], [None]]},
            "column 'features': expected numbers, found 1 nulls",
        ),
        (
            {"id": ["a", "b"], "features": [[1.0], [1.0, 2.0]]},
            "column 'features': expected vectors of one width, found 1 and 2",
        ),
        (
            {"id": ["a", "b"], "features": [[[1.0]], [[1.0, 2.0]]]},
            "column 'features': expected vectors of one width, found 1 and 2",
        ),
        (
            {"id": ["a", "b"], "features": [[[1.0]], []]},
            "column 'features': expected at least one region, found none for 'b'",
        ),
        (
            {"id": ["a"], "features": [[]]},
            "column 'features': empty; found vectors of width 0",
        ),
    ],
)  # fmt: skip
def test_tables_that_are_no_features(
    suffix: str, columns: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    table = pa.table(columns)
    if columns.get("features") == [[]]:
        table = table.set_column(1, "features", pa.array([[]], pa.list_(pa.float32())))
    if suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        pyarrow.feather.write_feather(table, path, compression="uncompressed")
    assert refusal(path) == f"x{suffix}: {expected}"
    if expected.startswith("no column"):
        return
    (tmp_path / "ids").write_text("a\n")
    assert refusal(path, tmp_path / "ids") == (
        f"x{suffix}: has a column of ids; expected no list of ids, found ids"
    )


def test_tables_whose_batches_differ_or_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    schema = pa.schema({"id": pa.string(), "features": pa.list_(pa.float32())})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.table({"id": ["a"], "features": [[1.0, 2.0]]}).cast(schema))
        writer.write_table(pa.table({"id": ["b"], "features": [[1.0]]}).cast(schema))
    assert refusal(path) == "x.arrow: expected vectors of one width, found 2 and, at 'b', 1"
    pyarrow.feather.write_feather(schema.empty_table(), path, compression="uncompressed")
    assert refusal(path) == "x.arrow: empty; found no rows"
    pyarrow.parquet.write_table(schema.empty_table(), tmp_path / "x.parquet")
    assert refusal(tmp_path / "x.parquet") == "x.parquet: empty; found no features"


@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
@pytest.mark.parametrize("name", ["id", "features", "more", "a.jpg"])
def test_names_and_ids_that_are_no_text_are_one_line(
    tmp_path: Path, suffix: str, name: str
) -> None:
    """The names of columns, and ids, where a disk has changed a byte of them."""
    path = tmp_path / f"f{suffix}"
    table = pa.table({"id": ["a.jpg"], "features": [[1.0]], "more": [1]})
    if suffix == ".arrow":
        pyarrow.feather.write_feather(table, path, compression="uncompressed")
    else:
        pyarrow.parquet.write_table(table, path, store_schema=False)
    content = path.read_bytes()
    assert name.encode() in content
    path.write_bytes(content.replace(name.encode(), b"\xff" + name.encode()[1:]))
    assert re.match(r"f(\.arrow|\.parquet)", Path(refusal(path)).name)
