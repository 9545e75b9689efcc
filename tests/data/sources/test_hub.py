"""Data sets read through the `datasets` library, from folders with the layout of the hub."""

import json
import logging
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s2s.data.sources import hub
from s2s.data.sources.hub import NEEDED
from s2s.data.sources.open import open_split
from s2s.errors import DataError
from s2s.recipe.data import Columns, DatasetData, Splits

PAIRS = [(f"Zeile {i}", f"line {i}") for i in range(7)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not write to the user's cache, and a chunk has two pairs."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub, "CHUNK_PAIRS", 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """train, val and test as JSON lines."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, count in (("train", 7), ("val", 3), ("test", 2)):
        rows = [{"de": s, "en": t, "n": 1, "pair": {"de": s, "en": t}} for s, t in PAIRS[:count]]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def dataset(folder: Path, source: str = "de", target: str = "en", **splits: Any) -> DatasetData:
    return DatasetData(
        kind="dataset",
        dataset=str(folder),
        columns=Columns(source=source, target=target),
        splits=Splits(**splits),
    )


def pairs_of(data: DatasetData, split: Any = "train") -> list[tuple[str, str]]:
    opened = open_split(data, split)
    assert opened is not None
    return [p for chunk in opened.chunks() for p in zip(chunk.source, chunk.target, strict=True)]


def message(data: DatasetData) -> str:
    with pytest.raises(DataError) as error:
        pairs_of(data)
    return str(error.value)


def test_splits_slices_and_columns(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert pairs_of(dataset(folder)) == PAIRS
    assert pairs_of(dataset(folder), "validation") == PAIRS[:3]
    assert pairs_of(dataset(folder), "test") == PAIRS[:2]
    assert pairs_of(dataset(folder, train="train[2:5]")) == PAIRS[2:5]
    assert pairs_of(dataset(folder, train="test+validation")) == [*PAIRS[:2], *PAIRS[:3]]
    assert pairs_of(dataset(folder, "pair.de", "pair.en")) == PAIRS
    assert pairs_of(dataset(folder, "en", "de")) == [(t, s) for s, t in PAIRS]
    assert open_split(dataset(folder, test=None), "test") is None
    assert capfd.readouterr() == ("", "")


def test_splits_with_unlike_columns_are_read_quietly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library's logger neither propagates nor writes where pytest could catch it.
    monkeypatch.setattr(logging.getLogger("datasets"), "propagate", True)
    folder = tmp_path / "summaries"
    folder.mkdir()
    for name, more in (("train", {}), ("validation", {"references": ["line"]})):
        columns = {"de": [s for s, _ in PAIRS[:3]], "en": [t for _, t in PAIRS[:3]]}
        columns |= {column: [value] * 3 for column, value in more.items()}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    for split in ("train", "validation"):
        assert pairs_of(dataset(folder), split) == PAIRS[:3]
    assert caplog.records == []


def test_faults_list_what_there_is(folder: Path) -> None:
    place = f"{folder}, split 'train'"
    assert message(dataset(folder, "ger")) == f"{place}: no column 'ger'; found: de, en, n, pair"
    assert message(dataset(folder, "pairs")) == (
        f"{place}: no column 'pairs' (did you mean 'pair'?); found: de, en, n, pair"
    )
    assert message(dataset(folder, "n")) == f"{place}: column 'n' holds int64, expected text"
    assert message(dataset(folder, train="trian")) == (
        f"{folder}: no split 'trian' (did you mean 'train'?); found: train, validation, test; "
        "name one in data.splits.train"
    )
    assert message(dataset(folder, train="train[x:]")).startswith(
        f"{folder}: split 'train[x:]': Unrecognized instruction format: train[x:]"
    )
    assert message(dataset(folder, train="train[:0]")) == (
        f"{folder}: split 'train[:0]': Instruction \"train[:0]\" corresponds to no data!"
    )
    wrong_config = DatasetData(kind="dataset", dataset=str(folder), config="de-en")
    assert message(wrong_config).startswith(f"{folder}: BuilderConfig 'de-en' not found.")
    missing = folder / "missing"
    assert message(dataset(missing)) == f"{missing}: no such folder{NEEDED}"


def test_nulls_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "nulls"
    folder.mkdir()
    rows = [{"de": "a", "en": "b"}] * 4 + [{"de": "a", "en": None}]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    place = f"{folder}, split 'train'"
    assert message(dataset(folder)) == f"{place}: column 'en' is null in row 5, expected text"


def test_a_folder_without_data(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert message(dataset(folder)).startswith(f"{folder}: ")
    (folder / "train.jsonl").write_text('{"de": "a"')
    assert message(dataset(folder)).startswith(f"{folder}: JSON parse error: ")


def test_a_split_without_rows(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "train.csv").write_text("de,en\na,b\n")
    (folder / "test.csv").write_text("de,en\n")
    opened = open_split(dataset(folder), "test")
    assert opened is not None
    with pytest.raises(DataError) as error:
        list(opened.chunks())
    assert (
        str(error.value) == f"{folder}: split 'test': Instruction \"test\" corresponds to no data!"
    )


def test_identity_of_a_folder_and_of_a_hub_name(folder: Path) -> None:
    opened = open_split(dataset(folder), "train")
    assert opened is not None
    first = opened.fingerprint()
    assert opened.fingerprint() == first
    (folder / ".git").mkdir()
    (folder / ".git" / "index").touch()
    assert opened.fingerprint() == first
    with (folder / "train.jsonl").open("a") as file:
        file.write("{}\n")
    assert opened.fingerprint() != first
    on_hub = DatasetData(kind="dataset", dataset="owner/name", revision="v1")
    named = open_split(on_hub, "validation")
    assert named is not None
    assert named.fingerprint() == {
        "dataset": "owner/name",
        "revision": "v1",
        "config": None,
        "split": "validation",
        "columns": {"source": "source", "target": "target"},
    }


@pytest.mark.parametrize("name", ["data [v1]", "a*b", "what?"])
def test_a_folder_that_reads_as_a_pattern_is_named(folder: Path, name: str) -> None:
    other = folder.with_name(name)
    folder.rename(other)
    with pytest.raises(DataError, match=r"in the name of a folder as part of a pattern") as caught:
        open_split(dataset(other), "train")  # type: ignore[union-attr]
        list(open_split(dataset(other), "train").chunks())  # type: ignore[union-attr]
    assert "rename " in str(caught.value) and "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_names_the_variable(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in place of its folder refuses root too."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")
    with pytest.raises(DataError, match=r"HF_HOME names another folder$") as caught:
        list(open_split(dataset(folder), "train").chunks())  # type: ignore[union-attr]
    assert str(tmp_path / "file") in str(caught.value) and "\n" not in str(caught.value)


HEAD = "de,en\nZeile 0,line 0\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        # pandas would take the first field of every row for an index.
        (
            "de,en\n1,a,b\n2,c,d\n",
            "2 of 2 rows damaged: 2 with 3 fields where the header has 2 (li",
        ),
        (HEAD + 'a, "b"\n', "1 of 2 rows damaged: 1 with quotation marks that do not enclose a fi"),
        (HEAD + "a\n", "1 of 2 rows damaged: 1 with 1 field where the header has 2 (line 3); "),
        ("de,de,en\nx,a,b\n", "column 'de' is there more than once; rename all but one"),
    ],
)
def test_a_csv_that_pandas_reads_as_other_pairs_is_refused(
    tmp_path: Path, text: str, fault: str
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "train.csv").write_text(text)
    data = dataset(folder, validation=None, test=None)
    assert message(data).startswith(f"{folder / 'train.csv'}: {fault}")


def test_a_sound_csv_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "train.csv").write_text(HEAD + '"a, ""b""",c\n\n')
    data = dataset(folder, validation=None, test=None)
    assert pairs_of(data) == [("Zeile 0", "line 0"), ('a, "b"', "c")]


def test_a_tsv_of_a_folder_has_one_column_of_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "train.tsv").write_text('de\ten\n"a\tb"\tc\n')  # pandas reads quotation marks
    assert pairs_of(dataset(folder, validation=None, test=None)) == [("a\tb", "c")]
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.tsv").write_text("en\tde\ten\nx\ta\tb\n")
    assert message(dataset(other, validation=None, test=None)) == (
        f"{other / 'train.tsv'}: column 'en' is there more than once; rename all but one"
    )
