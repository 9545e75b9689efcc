"""Model files from elsewhere: damaged, truncated or hostile ones are one clear line."""

import hashlib
import io
import json
import math
import pickle
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load, save

from s2s.errors import S2sError
from s2s.run.directory import Run
from s2s.run.exported import INFO, RECIPE, WEIGHTS
from s2s.run.finding import find_run
from s2s.run.model_file import unpacked
from tests.commands import Call, call, write_example

__all__ = ["call"]

pytestmark = pytest.mark.usefixtures("one_thread")

Files = dict[str, bytes]
TOKENIZER = "tokenizer/tokenizers.json"
VOCABULARY = "tokenizer/shared/vocabulary.json"
HUGE_SCORE = {"scores": {"bleu": {"value": 10**400, "signature": "x"}}}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, random_run: Any) -> bytes:
    """A sound model file."""
    from s2s import pipeline

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("original"))
        write_example()
        pipeline.export(random_run("one"))
        return Path("one.s2s").read_bytes()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, original: bytes) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    Path("temporary").mkdir()
    Path("one.s2s").write_bytes(original)
    return tmp_path


def files_of(data: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_hashes(files: Files) -> Files:
    """The files with the hashes of a record that knows them: what an attacker would write."""
    info = json.loads(files[INFO])
    info["files"] = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in files.items()
        if name not in (INFO, RECIPE, "README.md")
    }
    return files | {INFO: json.dumps(info).encode()}


def write(files: Files, change: Callable[[zipfile.ZipInfo], None] = lambda entry: None) -> None:
    """The files as `bad.s2s`."""
    with zipfile.ZipFile("bad.s2s", "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            change(entry)
            archive.writestr(entry, data)


def fault(call: Call, path: str = "bad.s2s") -> str:
    """The line that refuses a file, with its place; nothing is left of it."""
    status, line = call.fault("translate", "--run", path, stdin=b"0 1\n")
    assert status == 1
    assert len(line) < 400
    assert line.startswith((f"{path}: ", "/")), line
    return line


def test_a_sound_file_is_read(original: bytes, call: Call) -> None:
    write(files_of(original))
    source = b"0 1 2\n4 5\n"
    expected = call.output("translate", "--run", "one.s2s", stdin=source)
    assert call.output("translate", "--run", "bad.s2s", stdin=source) == expected
    assert unpacked(Path("one.s2s")) == unpacked(Path("one.s2s"))


# ---------------------------------------------------------------------------------- other files


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"task: translation\n", pickle.dumps({"weights": [1, 2]}), b"\x00" * 4096],
)
def test_other_files(call: Call, content: bytes) -> None:
    Path("bad.s2s").write_bytes(content)
    assert fault(call) == "bad.s2s: damaged, or not a file of 's2s export'"


def test_another_archive(call: Call) -> None:
    write({"data.pkl": pickle.dumps([1])})
    assert fault(call) == "bad.s2s: not a file of 's2s export' (no model.json in it)"


def test_every_truncated_file_is_refused(original: bytes, call: Call) -> None:
    draw = random.Random(1)
    ends = [*range(1, 30), *(draw.randrange(len(original)) for _ in range(60)), len(original) - 1]
    for end in ends:
        Path(f"cut{end}.s2s").write_bytes(original[:end])
        with pytest.raises(S2sError) as error:
            find_run(f"cut{end}.s2s")
        assert "\n" not in str(error.value)


def test_no_flipped_bit_changes_a_model(original: bytes) -> None:
    """A bit of what is read is noticed; others are of times, modes and the like."""
    draw = random.Random(2)
    unnoticed = 0
    expected = files_of(original)
    for number in range(300):
        place = draw.randrange(len(original))
        changed = bytearray(original)
        changed[place] ^= 1 << draw.randrange(8)
        path = Path(f"flip{number}.s2s")
        path.write_bytes(changed)
        try:
            folder = find_run(str(path)).folder
        except S2sError as error:
            assert "\n" not in str(error)
        else:
            unnoticed += 1
            assert {name: (folder / name).read_bytes() for name in expected} == expected
    assert unnoticed < 30


# -------------------------------------------------------------------------------- hostile archives


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "tokenizer/../../evil.json",
        "/tmp/evil.json",
        "C:\\evil.json",
        "tokenizer/shared/evil.pkl",
        "weights.pt",
        "tokenizer/",
        "README.md/../x",
        "s2s.py",
        "model.json\x1b[2J",
        "a" * 500,
    ],
)
def test_names_that_no_model_has(original: bytes, call: Call, here: Path, name: str) -> None:
    write({**files_of(original), name: b"evil"})
    line = fault(call)
    assert "is no file of a model" in line
    assert line.isprintable()
    assert not list(here.rglob("*evil*"))
    assert not list(Path("temporary").iterdir())


def test_links_are_refused(original: bytes, call: Call) -> None:
    def link(entry: zipfile.ZipInfo) -> None:
        if entry.filename == VOCABULARY:
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16

    write({**files_of(original), VOCABULARY: b"/etc/passwd"}, link)
    assert fault(call) == f"bad.s2s: refused: '{VOCABULARY}' in it is no plain file"


def test_a_name_twice_is_refused(original: bytes, call: Call) -> None:
    files = files_of(original)
    with zipfile.ZipFile("bad.s2s", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, data in (*files.items(), (RECIPE, b"task: other\n")):
            archive.writestr(name, data)
    assert fault(call) == "bad.s2s: refused: a name occurs twice in it"


def test_a_bomb_is_refused_before_it_is_unpacked(original: bytes, call: Call) -> None:
    def compressed(entry: zipfile.ZipInfo) -> None:
        entry.compress_type = zipfile.ZIP_DEFLATED

    write({**files_of(original), WEIGHTS: b"\0" * (1 << 26)}, compressed)
    assert Path("bad.s2s").stat().st_size < 1 << 18
    assert fault(call).endswith("in it is compressed")
    assert not list(Path("temporary").iterdir())


def test_members_that_overlap_are_refused(original: bytes, call: Call) -> None:
    """Each entry of the directory points to the same large member."""
    files = files_of(original) | {"README.md": b"x" * 900_000}
    write(files)
    data = bytearray(Path("bad.s2s").read_bytes())
    with zipfile.ZipFile("bad.s2s") as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        start = archive.start_dir
    large = entries["README.md"]
    place = start
    for name in files:  # entries of the directory: 46 bytes, then the name
        assert data[place : place + 4] == b"PK\x01\x02"
        struct.pack_into("<III", data, place + 16, large.CRC, large.file_size, large.file_size)
        struct.pack_into("<I", data, place + 42, large.header_offset)
        place += 46 + len(name)
    Path("bad.s2s").write_bytes(data)
    assert "claim more bytes than the file has" in fault(call)


@pytest.mark.parametrize("name", [INFO, RECIPE, "README.md"])
def test_absurd_sizes_are_refused(original: bytes, call: Call, name: str) -> None:
    write({**files_of(original), name: b" " * (1 << 21)})
    assert f"'{name}' in it has 2,097,152 bytes, expected 1,048,576 at most" in fault(call)


def test_many_members_are_refused(original: bytes, call: Call) -> None:
    write({**files_of(original), **{f"file{n}": b"" for n in range(1000)}})
    assert "not a file of 's2s export'" in fault(call)


# -------------------------------------------------------------------------- hostile content


def changed_info(files: Files, /, **values: Any) -> Files:
    return files | {INFO: json.dumps(json.loads(files[INFO]) | values).encode()}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"format": "one"}',
        b'{"format": 1, "s2s": "0.1.0"}',
    ],
)
def test_other_records(original: bytes, call: Call, content: bytes) -> None:
    write(files_of(original) | {INFO: content})
    assert fault(call) == "bad.s2s: model.json: expected the record of a model, found another"


@pytest.mark.parametrize(
    "values",
    [
        {"files": []},
        {"precision": "int4"},
        {"name": "\x1b]0;evil\x07"},
        {"parameters": "many"},
        {"facts": {"scores": [{"scores": 7}]}},
        {"facts": {"pairs": {}, "in_train": {}, "vocabularies": [math.inf], "scores": []}},
        {"facts": {"pairs": {}, "in_train": {}, "vocabularies": [], "scores": [HUGE_SCORE]}},
        {"packages": {"torch": ["2"]}},
    ],
)
def test_records_with_other_values(original: bytes, call: Call, values: dict[str, Any]) -> None:
    write(changed_info(files_of(original), **values))
    assert fault(call) == "bad.s2s: model.json: expected the record of a model, found another"


def test_a_newer_format(original: bytes, call: Call) -> None:
    write(changed_info(files_of(original), format=7))
    assert fault(call) == (
        "bad.s2s: exported by a newer s2s (format 7, this one: 1); upgrade s2s, or export the "
        "model again"
    )


def test_files_that_were_exchanged_or_left_out(original: bytes, call: Call) -> None:
    files = files_of(original)
    write(files | {VOCABULARY: files[VOCABULARY].replace(b"0", b"9", 1)})
    assert fault(call) == (
        f"bad.s2s: damaged: '{VOCABULARY}' is not the file that was exported; export, or pull, it "
        "again"
    )
    for name in (RECIPE, WEIGHTS, TOKENIZER):
        write({one: data for one, data in files.items() if one != name})
        assert fault(call) == f"bad.s2s: incomplete: no {name}; export, or pull, it again"
    write({one: data for one, data in files.items() if one != VOCABULARY})
    assert fault(call).startswith(f"bad.s2s: damaged: '{VOCABULARY}' is missing")


@pytest.mark.parametrize("name", [TOKENIZER, VOCABULARY, "tokenizer/shared/tags.json"])
@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff", b'{"format": 1}', b"null"])
def test_other_tokenizers(original: bytes, call: Call, name: str, content: bytes) -> None:
    write(with_hashes(files_of(original) | {name: content}))
    assert name.rpartition("/")[2] in fault(call)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("width: 28", "width: 1000000000"),
        ("width: 28", f"width: {10**18}"),
        ("embeddings: 20", "embeddings: 123456789012"),
        ("layers: 1", "layers: 1000000000"),
    ],
)
def test_recipes_of_absurd_models(original: bytes, call: Call, old: str, new: str) -> None:
    files = files_of(original)
    text = files[RECIPE].decode()
    assert old in text
    write(files | {RECIPE: text.replace(old, new).encode()})
    line = fault(call)
    assert any(what in line for what in ("should be", "more layers than", "too large")), line


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"task: [",
        b"[" * 50_000,
        b"a: &a [x, x]\nb: [*a, *a]\n",
        b"!!python/object:os.system x",
    ],
)
def test_other_recipes(original: bytes, call: Call, content: bytes) -> None:
    write(files_of(original) | {RECIPE: content})
    status, _, err = call("translate", "--run", "bad.s2s", stdin=b"0\n")
    assert status == 2
    assert all(line.startswith("s2s: error: ") for line in err.splitlines()), err
    assert RECIPE in err
    assert "bug of s2s" not in err


@pytest.mark.parametrize("kind", ["pickle", "cut", "header", "name", "shape", "integers"])
def test_other_weights(original: bytes, call: Call, kind: str) -> None:
    files = files_of(original)
    data = files[WEIGHTS]
    tensors = load(data)
    first = sorted(tensors)[0]
    match kind:
        case "pickle":
            data = pickle.dumps(tensors)
        case "cut":
            data = data[:-5]
        case "header":
            data = struct.pack("<Q", 1 << 60) + data[8:]
        case "name":
            data = save({**tensors, "extra": tensors[first].clone()})
        case "shape":
            data = save({**tensors, first: tensors[first][:1].clone()})
        case "integers":
            data = save({**tensors, first: tensors[first].int()})
    write(with_hashes(files | {WEIGHTS: data}))
    line = fault(call)
    assert any(what in line for what in ("truncated", "unexpected", "should be", "floating")), line


# -------------------------------------------------------------------------------------- folders


def test_a_damaged_folder(original: bytes, call: Call) -> None:
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        archive.extractall("model")
    assert call.output("translate", "--run", "model", stdin=b"0 1\n").count(b"\n") == 1
    recipe = Path("model", RECIPE)
    recipe.write_text(recipe.read_text().replace("width: 3", "width: 2"))  # it may be edited
    assert Run.open(Path("model")).recipe.search.width == 2
    with Path("model", WEIGHTS).open("r+b") as file:
        file.truncate(100)
    assert fault(call, "model").startswith(f"model: damaged: '{WEIGHTS}' is not the file that")
    Path("model", WEIGHTS).unlink()
    assert fault(call, "model").startswith(f"model: incomplete: no {WEIGHTS}")
