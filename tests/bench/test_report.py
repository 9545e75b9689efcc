"""Reports of benchmarks, read back."""

from pathlib import Path

import pytest

from s2s.bench.report import read_report
from s2s.bench.tables import tables
from s2s.errors import UsageError

KEPT = sorted((Path(__file__).parents[2] / "docs" / "benchmarks").glob("*.json"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_reports_in_the_documentation_can_be_read(path: Path) -> None:
    """Names in the code may change; keys and values of the JSON format may not."""
    assert all(table.rows for table in tables(read_report(path)))


def test_there_are_reports_in_the_documentation() -> None:
    assert KEPT


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "expected the JSON of s2s bench"),
        ('{"format": 1}', "time: Field required"),
        (None, "no such file"),
    ],
)
def test_other_files_are_an_error(tmp_path: Path, content: str | None, complaint: str) -> None:
    path = tmp_path / "bench.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=complaint):
        read_report(path)
