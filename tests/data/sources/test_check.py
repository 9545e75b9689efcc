"""What `s2s check` sees of the data: every fault has the line of the recipe, and no network is
needed."""

import gzip
import json
import socket
from pathlib import Path

import pytest

from s2s.data.sources.hub import NEEDED
from s2s_cli.main import run

FILES = """task: translation
data:
  kind: files
  train:
    source: train.x
    target: train.y
  validation: {table: valid.tsv}
  columns:
    source: x
    target: y
"""
FOLDER = """task: translation
data:
  kind: dataset
  dataset: ./set
  columns: {source: x, target: y}
  splits:
    train: train
    validation: validation
    test: null
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data that are right; whatever asks the network fails."""
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a check asks no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    Path("train.x").write_text("eins\nzwei\n")
    Path("train.y").write_text("one\ntwo\n")
    Path("valid.tsv").write_text("x\ty\ndrei\tthree\n")
    Path("files.yaml").write_text(FILES)
    Path("set").mkdir()
    for split in ("train", "validation"):
        Path(f"set/{split}.jsonl").write_text('{"x": "eins", "y": "one"}\n')
    Path("set.yaml").write_text(FOLDER)
    return tmp_path


def faults(capfd: pytest.CaptureFixture[str], name: str, *arguments: str) -> list[str]:
    status = run(["check", f"{name}.yaml", *arguments])
    out, err = capfd.readouterr()
    found = [line.removeprefix("s2s: error: ") for line in err.splitlines()]
    assert (status, bool(out)) == ((2, False) if found else (0, True))
    return found


@pytest.mark.parametrize("name", ["files", "set"])
def test_data_that_are_there(capfd, name: str) -> None:
    assert faults(capfd, name) == []


def test_all_missing_files_are_named(capfd, tmp_path: Path) -> None:
    for name in ("train.x", "train.y", "valid.tsv"):
        Path(name).unlink()
    where = f"no such file in {tmp_path}, where the command runs"
    assert faults(capfd, "files") == [
        f"files.yaml:5: data.train.source: train.x: {where}",
        f"files.yaml:6: data.train.target: train.y: {where}",
        f"files.yaml:7: data.validation.table: valid.tsv: {where}",
    ]
    assert faults(capfd, "files", "--no-data") == []
    assert faults(capfd, "files", "--set", "data.train.source=other.x")[0] == (
        f"--set data.train.source: other.x: {where}"
    )


DAMAGES = [
    ("train.y", b"one\nt\xffo\n", "6: data.train.target: train.y:2: not valid UTF-8"),
    ("train.y", b"one\n", "5: data.train.source: train.x has 2 lines but train.y has 1;"),
    ("train.x", b"", "5: data.train.source: train.x has 0 lines but"),
    ("train.x", gzip.compress(b"a\nb\n" * 99)[:20], "5: data.train.source: train.x: damaged or"),
    ("valid.tsv", b"a\ty\n1\t2\n", "9: data.columns.source: valid.tsv: no column 'x'; found: a, y"),
    ("valid.tsv", b"x\tb\n1\t2\n", "10: data.columns.target: valid.tsv: no column 'y'; found: x"),
    (
        "valid.tsv",
        b"x\ty\n1\n",
        "7: data.validation.table: valid.tsv: 1 of 1 rows damaged, ",
    ),
    ("valid.tsv", b"", "7: data.validation.table: valid.tsv: empty file"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGES, ids=[d[2] for d in DAMAGES])
def test_the_first_rows_are_read(capfd, name: str, content: bytes, message: str) -> None:
    Path(name).write_bytes(content)
    (found,) = faults(capfd, "files")
    assert found.startswith(f"files.yaml:{message}")


def test_a_folder_is_not_a_file(capfd) -> None:
    Path("train.x").unlink()
    Path("train.x").mkdir()
    assert faults(capfd, "files") == [
        "files.yaml:5: data.train.source: train.x: expected a file, found a folder"
    ]


def test_compressed_files(capfd) -> None:
    for name in ("train.x", "train.y"):
        Path(name).write_bytes(gzip.compress(Path(name).read_bytes()))
    assert faults(capfd, "files") == []


def test_a_data_set_in_a_folder(capfd) -> None:
    Path("set/validation.jsonl").write_text('{"x": "eins", "why": "one"}\n')
    (found,) = faults(capfd, "set")
    assert found.startswith("set.yaml:5: data.columns.target: ")
    assert "set/validation.jsonl:1: no column 'y'; found: x, why" in found
    Path("set/validation.jsonl").unlink()
    (found,) = faults(capfd, "set")
    assert found.startswith("set.yaml:8: data.splits.validation: ./set: no split 'validation'")
    assert faults(capfd, "set", "--set", "data.dataset=./nowhere") == [
        f"--set data.dataset: ./nowhere: no such folder{NEEDED}"
    ]


def test_a_data_set_on_the_hub_is_not_contacted(capfd) -> None:
    assert run(["check", "set.yaml", "--set", "data.dataset=some/where"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("set.yaml: ok (")
    assert err == "s2s: some/where: on the hub, which is not contacted; 's2s prep' reads it\n"


def test_several_corpora(capfd) -> None:
    Path("both.yaml").write_text(
        "task: translation\n"
        "data:\n"
        "  kind: several\n"
        "  corpora:\n"
        "    - {kind: files, train: {source: train.x, target: train.y}}\n"
        "    - {kind: generated, corpus: dates}\n"
        "    - {kind: files, train: {source: train.x, target: nope}}\n"
    )
    (found,) = faults(capfd, "both")
    assert found.startswith("both.yaml:7: data.corpora[2].train.target: nope: no such file")


def test_image_features(capfd) -> None:
    Path("files.yaml").write_text(FILES + "  image_features: [{path: grid.npy, ids: ids.txt}]\n")
    found = faults(capfd, "files")
    assert found.pop() == (
        "files.yaml:11: data.image_features[0].column: valid.tsv: no column 'image'; found: x, y"
    )
    assert [one.partition(": no such")[0] for one in found] == [
        "files.yaml:11: data.image_features[0].path: grid.npy",
        "files.yaml:11: data.image_features[0].ids: ids.txt",
    ]


@pytest.mark.parametrize("fault", ["", "data", "recipe"])
def test_json_is_one_document(capfd, fault: str) -> None:
    if fault == "data":
        Path("train.x").unlink()
    options = ["--set", "seed=x"] if fault == "recipe" else []
    status = run(["check", "files.yaml", "--json", *options])
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert (status, found["ok"]) == ((2, False) if fault else (0, True))
    assert [f"s2s: error: {one}" for one in found["faults"]] == err.splitlines()
    assert found.get("decoder") == (None if fault == "recipe" else "stacked")
