"""Invalid feature files: an error of one line each, and no other file is opened."""

import itertools
import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from safetensors.numpy import save_file

from s2s.data.features.open import open_store
from s2s.errors import DataError

IDS = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def save(folder: Path, array: np.ndarray[Any, Any], ids: list[str] | str = IDS) -> Path:
    path = folder / "x.npy"
    np.save(path, array, allow_pickle=True)
    text = ids if isinstance(ids, str) else "".join(f"{id_}\n" for id_ in ids)
    path.with_suffix(".ids").write_text(text)
    return path


def refusal(path: Path, ids: Path | None = None) -> str:
    """The error of opening the file, without the folder."""
    with pytest.raises(DataError) as caught:
        open_store(path, ids, cache=path.parent / "cache")
    line = str(caught.value)
    assert "\n" not in line
    cache = path.parent / "cache"
    assert not cache.exists() or not list(cache.iterdir())
    return line.replace(f"{path.parent}/", "")


GOOD = np.ones((4, 3), np.float32)


class Trap:
    """A class whose unpickling would be noticed."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("trapped",)

    def __repr__(self) -> str:
        """Without its address, so that tests have the same names in every process."""
        return "Trap()"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GOOD.astype(np.int64), "x.npy: expected floating-point numbers, found int64"),
        (GOOD.astype(np.complex64), "x.npy: expected floating-point numbers, found complex64"),
        (GOOD.astype("U3"), "x.npy: expected floating-point numbers, found str96"),
        (np.array([Trap()]), "x.npy: expected floating-point numbers, found pickled objects"),
        (
            GOOD[0],
            "x.npy: expected an array [rows, width] or [rows, regions, width], "
            "found 1 dimension [3]",
        ),
        (
            np.float32(1),
            "x.npy: expected an array [rows, width] or [rows, regions, width], "
            "found 0 dimensions []",
        ),
        (
            np.ones((1, 1, 1, 1)),
            "x.npy: expected an array [rows, width] or [rows, regions, width], "
            "found 4 dimensions [1, 1, 1, 1]",
        ),
        (np.ones((4, 0)), "x.npy: empty; found an array [4, 0]"),
        (np.ones((4, 0, 3)), "x.npy: empty; found an array [4, 0, 3]"),
        (np.ones((0, 3)), "x.npy: empty; found an array [0, 3]"),
        (
            np.asfortranarray(GOOD),
            "x.npy: stored column by column (Fortran order), where every row is spread over the "
            "whole file; save numpy.ascontiguousarray(features)",
        ),
    ],
    ids=str,
)
def test_arrays_that_are_no_features(
    array: Any, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(save(tmp_path, array)) == expected
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (IDS[:3], "x.ids: expected one id for each of 4 rows, found 3"),
        ([*IDS, "e"], "x.ids: expected one id for each of 4 rows, found 5"),
        ("a\n\nc\nd\n", "x.ids:2: expected an id, found none"),
        ("", "x.ids: expected one id for each of 4 rows, found 0"),
        (
            "a\nb\nc\nb\n",
            "x.ids:4: id 'b' occurs before, at x.ids:2; expected every id once, "
            "found 1 that repeats an earlier one",
        ),
        (
            "d\na\nd\nd\n",
            "x.ids:3: id 'd' occurs before, at x.ids:1; expected every id once, "
            "found 2 that repeat an earlier one",
        ),
    ],
)
def test_lists_of_ids_that_do_not_fit(ids: list[str] | str, expected: str, tmp_path: Path) -> None:
    assert refusal(save(tmp_path, GOOD, ids)) == expected


def test_lists_of_ids_that_are_no_text(tmp_path: Path) -> None:
    path = save(tmp_path, GOOD)
    path.with_suffix(".ids").write_bytes(b"a\nb\n\xffc\nd\n")
    assert refusal(path).startswith("x.ids:3: not valid UTF-8 (byte 1 of the line is 0xff); ")
    assert refusal(path, tmp_path / "no.txt") == "no.txt: no such file"
    path.with_suffix(".ids").unlink()
    assert refusal(path) == "x.npy: expected the ids of its rows in x.ids, which does not exist"


def test_files_that_are_not_there_or_of_no_kind(tmp_path: Path) -> None:
    kinds = ("npy", "npz", "safetensors", "arrow", "feather", "parquet")
    for kind in kinds:
        path = tmp_path / f"no.{kind}"
        assert refusal(path) == f"no.{kind}: no such file"
        path.write_bytes(b"")
        line = refusal(path)
        assert line.startswith(f"no.{kind}: ")
        path.write_bytes(b"\x00rubbish" * 100)
        assert refusal(path).startswith(f"no.{kind}: not a")
        path.unlink()
        path.mkdir()
        assert refusal(path).startswith(f"no.{kind}: ")
    assert refusal(tmp_path / "x.pt") == (
        "x.pt: expected a feature file named .npy, .npz, .safetensors, .arrow, .feather or .parquet"
    )


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors", "arrow", "stream", "parquet"])
def test_truncated_anywhere(kind: str, tmp_path: Path) -> None:
    """Every length up to all but the last byte, if the file is small enough."""
    array = np.arange(4 * 40, dtype=np.float16).reshape(4, 40)
    path = save(tmp_path, array)
    if kind != "npy":
        path.unlink()
        path.with_suffix(".ids").unlink()
        path = tmp_path / f"x.{kind}"
        write_other(path, dict(zip(IDS, array, strict=True)))
        path = path.rename(tmp_path / "x.arrow") if kind == "stream" else path
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    for length in sorted({0, 1, *random.integers(2, len(whole), 60).tolist(), len(whole) - 1}):
        path.write_bytes(whole[:length])
        if kind == "stream" and is_end_of_batch(whole[:length]):
            continue  # a stream says nowhere how long it is
        assert refusal(path).startswith(f"{path.name}: "), length
    path.write_bytes(whole)
    np.testing.assert_array_equal(open_store(path).gather(np.arange(4)).values_BRD[:, 0], array)


def is_end_of_batch(data: bytes) -> bool:
    try:
        return pa.ipc.open_stream(data).read_all().num_rows > 0
    except (OSError, pa.ArrowException):
        return False


def write_other(path: Path, content: dict[str, Any]) -> None:
    table = pa.table({"id": list(content), "features": [v.tolist() for v in content.values()]})
    half = pa.schema({"id": pa.string(), "features": pa.list_(pa.float16())})
    match path.suffix:
        case ".npz":
            np.savez(path, **content)
        case ".safetensors":
            save_file(content, path)
        case ".arrow":
            pyarrow.feather.write_feather(table.cast(half), path, compression="uncompressed")
        case ".stream":
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, half) as writer:
                writer.write_table(table.cast(half))
        case ".parquet":
            pyarrow.parquet.write_table(table.cast(half), path)


def test_a_truncated_array_says_how_long_it_should_be(tmp_path: Path) -> None:
    path = save(tmp_path, GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert refusal(path) == ("x.npy: truncated; expected 176 bytes for float32 [4, 3], found 171")
    path.write_bytes(whole + b"\0")
    assert refusal(path) == "x.npy: damaged; expected 176 bytes for float32 [4, 3], found 177"


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999999999999, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': 'no type', 'fortran_order': False, 'shape': (4, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': '4'}",
        "__import__('os').mkdir('trapped')",
        "(" * 500,
        " " * 20_000,
    ],
)
def test_headers_made_to_mislead(
    header: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path, GOOD)
    raw = header.encode() + b"\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + GOOD.tobytes()
    path.write_bytes(data)
    assert refusal(path).startswith("x.npy: ")
    assert not Path("trapped").exists()


def test_safetensors_that_are_no_features(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for content, expected in (
        ({}, "empty; found no tensors"),
        (
            {"a": GOOD, "b": GOOD[:, :2].copy()},
            "'a' is F32 of width 3, 'b' is F32 of width 2; expected one type and one width",
        ),
        (
            {"a": GOOD, "b": GOOD.astype(np.float16)},
            "'a' is F32 of width 3, 'b' is F16 of width 3; expected one type and one width",
        ),
        (
            {"a": GOOD.astype(np.int32)},
            "'a': expected floating-point numbers (F16, F32, F64, BF16), found I32",
        ),
        (
            {"a": GOOD[None]},
            "'a': expected a tensor [width] or [regions, width], found [1, 4, 3]",
        ),
        (
            {"a": np.array(1.0)},
            "'a': expected a tensor [width] or [regions, width], found []",
        ),
        ({"a": GOOD[:0]}, "'a': empty; found [0, 3]"),
        ({"a": GOOD[:, :0].copy()}, "'a': empty; found [4, 0]"),
        ({"": GOOD}, None),
    ):
        save_file(content, path)
        line = refusal(path)
        if expected is None:
            assert line == "x.safetensors, tensor 1: expected an id, found none"
        else:
            assert line == f"x.safetensors: {expected}"
    save_file({"a": GOOD, "b": GOOD}, path)
    (tmp_path / "ids").write_text("a\nb\nc\nd\n")
    assert refusal(path, tmp_path / "ids") == (
        "x.safetensors: with a list of ids, expected one tensor, found 2"
    )
    save_file({"a": GOOD[:3].copy()}, path)
    assert refusal(path, tmp_path / "ids") == "ids: expected one id for each of 3 rows, found 4"


def test_safetensors_with_a_name_twice(tmp_path: Path) -> None:
    entry = json.dumps({"dtype": "F32", "shape": [3], "data_offsets": [0, 12]})
    header = f'{{"a":{entry},"a":{entry}}}'.encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + GOOD[0].tobytes())
    assert refusal(path).startswith("x.safetensors: not a safetensors file, or truncated (")


def test_archives_that_are_no_features(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for content, expected in (
        ({"a": GOOD, "b": GOOD[:, :2]}, "expected vectors of one width, found 3 and, at 'b', 2"),
        (
            {"a": GOOD, "b": GOOD.astype(np.float16)},
            "expected numbers of one type, found float32 and, at 'b', float16",
        ),
        ({"a": GOOD[None]}, "'a': expected an array [width] or [regions, width], found [1, 4, 3]"),
        ({"a": GOOD[:0]}, "'a': empty; found an array [0, 3]"),
        ({"a": GOOD.astype(int)}, "'a': expected floating-point numbers, found int64"),
        ({"a": np.array([Trap()])}, "'a': expected floating-point numbers, found pickled objects"),
        (
            {"a": np.asfortranarray(GOOD)},
            "'a': stored column by column; save numpy.ascontiguousarray of it",
        ),
        ({}, "empty; found no features"),
    ):
        np.savez(path, allow_pickle=True, **content)
        assert refusal(path) == f"x.npz: {expected}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.pkl", pickle.dumps(Trap()))
    assert refusal(path) == "x.npz: expected arrays only, found 'a.pkl'"
    np.savez(path, a=GOOD, b=GOOD)
    (tmp_path / "ids").write_text("a\nb\n")
    assert refusal(path, tmp_path / "ids") == (
        "x.npz: with a list of ids, expected one array, found 2"
    )
    np.savez(path, a=GOOD)
    assert refusal(path, tmp_path / "ids") == "x.npz: expected one id for each of 4 rows, found 2"


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_archives_with_an_array_twice_or_cut(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GOOD)
    array = (tmp_path / "a.npy").read_bytes()
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", array)
        archive.writestr("a.npy", array)
    with pytest.raises(DataError, match=r"x\.npz, row 2: id 'a' occurs before"):
        open_store(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", array[:-1])
    assert refusal(path) == (
        "x.npz: 'a': damaged; expected 176 bytes for float32 [4, 3], found 175"
    )


def test_ids_are_not_paths(tmp_path: Path) -> None:
    """For any id, only the feature file, its ids and the copy are opened.

    Modules are: the first time, which nobody watches.
    """
    secret = tmp_path / "secret.npy"
    np.save(secret, GOOD)
    (tmp_path / "deep" / "in").mkdir(parents=True)
    climbing = ["../../secret", str(secret), "..\\..\\secret.npy", "/etc/passwd"]
    opened: list[str] = []
    seen: list[str] = []
    is_watching = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if is_watching and event in ("open", "os.open") and isinstance(arguments[0], str | Path):
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    folder = tmp_path / "deep" / "in"
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    names = ("x.npz", "x.safetensors", "x.arrow", "x.npy")
    for is_watching, name in itertools.product((False, True), names):
        content = dict(zip(climbing, array, strict=True))
        if name == "x.npy":
            save(folder, array, climbing)
        elif name == "x.npz":
            with zipfile.ZipFile(folder / name, "w") as archive:
                for id_, vector in content.items():
                    np.save(tmp_path / "one.npy", vector)
                    archive.writestr(f"{id_}.npy", (tmp_path / "one.npy").read_bytes())
        else:
            write_other(folder / name, content)
        opened.clear()
        store = open_store(folder / name, cache=folder / f"cache{is_watching}")
        rows = store.rows_of(climbing)
        np.testing.assert_array_equal(store.gather(rows).values_BRD[:, 0], array)
        seen.extend(opened)
        assert not [path for path in opened if not path.startswith(str(folder))]
        assert not store.has("../x.npy") and not store.has("secret")
    is_watching = False
    assert str(folder / "x.npz") in seen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "one.npy", "secret.npy"]


def test_a_copy_that_cannot_be_finished_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=GOOD, b=GOOD)

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("s2s.data.features.convert.sync_file", fail)
    with pytest.raises(OSError, match="No space left"):
        open_store(path, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
