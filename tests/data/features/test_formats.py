"""All formats of feature files have the same content, and `gather` equals indexing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from s2s.data.features.arrow import FeatureColumns
from s2s.data.features.ids import IdIndex, read_ids
from s2s.data.features.open import open_store
from s2s.data.features.store import FeatureStore
from tests.places import CORPORA

IDS = ["a.jpg", "../b/ü.png", "c", "Ω 7", "e.jpg"]
WIDTH = 3
REGIONS = [2, 1, 4, 3, 2]

Grids = dict[str, NDArray[Any]]


def grids(regions: list[int], type_: str = "float16") -> Grids:
    """Features of every id, [regions, width], all numbers different."""
    first = np.cumsum([0, *regions])
    return {
        id_: (np.arange(count * WIDTH).reshape(count, WIDTH) + first[i] * WIDTH).astype(type_)
        for i, (id_, count) in enumerate(zip(IDS, regions, strict=True))
    }


def write_npy(folder: Path, content: Grids) -> Path:
    path = folder / "features.npy"
    np.save(path, np.stack(list(content.values())))
    path.with_suffix(".ids").write_text("".join(f"{id_}\n" for id_ in content), encoding="utf-8")
    return path


def write_npz(folder: Path, content: Grids) -> Path:
    np.savez_compressed(folder / "features.npz", **content)
    return folder / "features.npz"


def write_npz_array(folder: Path, content: Grids) -> Path:
    path = write_npy(folder, content).with_suffix(".npz")
    np.savez(path, features=np.stack(list(content.values())))
    return path


def write_safetensors(folder: Path, content: Grids) -> Path:
    save_file(content, folder / "features.safetensors", metadata={"of": "a test"})
    return folder / "features.safetensors"


def write_safetensors_array(folder: Path, content: Grids) -> Path:
    path = write_npy(folder, content).with_suffix(".safetensors")
    save_file({"x": np.stack(list(content.values()))}, path)
    return path


def table(content: Grids, type_: pa.DataType | None = None) -> pa.Table:
    values = [grid.tolist() for grid in content.values()]
    item = pa.from_numpy_dtype(next(iter(content.values())).dtype)
    type_ = type_ or pa.list_(pa.list_(item))
    return pa.table(
        {"n": range(len(content)), "id": list(content), "features": pa.array(values, type_)}
    )


def write_arrow(folder: Path, content: Grids) -> Path:
    """Two batches and an empty one."""
    path = folder / "features.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table(content).schema) as writer:
        writer.write_table(table(content), max_chunksize=3)
        writer.write_table(table(content)[:0])
    return path


def write_stream(folder: Path, content: Grids) -> Path:
    """As in tables of `datasets`, with vectors of one fixed width."""
    item = pa.from_numpy_dtype(next(iter(content.values())).dtype)
    data = table(content, pa.large_list(pa.list_(item, WIDTH)))
    path = folder / "features.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data, max_chunksize=2)
    return path


def write_feather(folder: Path, content: Grids) -> Path:
    """Compressed: cannot be mapped."""
    pyarrow.feather.write_feather(table(content), folder / "features.feather", compression="lz4")
    return folder / "features.feather"


def write_parquet(folder: Path, content: Grids) -> Path:
    pyarrow.parquet.write_table(table(content), folder / "features.parquet", row_group_size=2)
    return folder / "features.parquet"


Write = Callable[[Path, Grids], Path]
RAGGED: list[Write] = [
    write_npz,
    write_safetensors,
    write_arrow,
    write_stream,
    write_feather,
    write_parquet,
]
RECTANGULAR: list[Write] = [write_npy, write_npz_array, write_safetensors_array]


def assert_holds(store: FeatureStore, content: Grids) -> None:
    """Assert that the store gathers the same as indexing, in any order and with repetitions."""
    assert (len(store), store.width) == (len(content), WIDTH)
    assert sorted(store.ids) == sorted(content)
    wanted = [IDS[i] for i in (3, 0, 0, 4, 2, 1)]
    rows = store.rows_of(wanted)
    assert [store.ids[row] for row in rows.tolist()] == wanted
    gathered = store.gather(rows)
    lengths = [len(content[id_]) for id_ in wanted]
    assert gathered.lengths_B.tolist() == store.regions(rows).tolist() == lengths
    assert gathered.values_BRD.shape == (6, max(lengths), WIDTH)
    for values, id_, length in zip(gathered.values_BRD, wanted, lengths, strict=True):
        np.testing.assert_array_equal(values[:length], content[id_])
        assert not values[length:].any()
    one = store.gather(store.rows_of(["c"]))
    np.testing.assert_array_equal(one.values_BRD[0], content["c"])


@pytest.mark.parametrize("write", RAGGED, ids=lambda write: write.__name__)
@pytest.mark.parametrize("type_", ["float16", "float32", "float64"])
def test_grids_of_any_size(write: Write, type_: str, tmp_path: Path) -> None:
    content = grids(REGIONS, type_)
    store = open_store(write(tmp_path, content), cache=tmp_path / "cache")
    assert store.dtype == (np.float16 if type_ == "float16" else np.float32)
    assert store.max_regions == 4
    assert_holds(store, content)


@pytest.mark.parametrize("write", RAGGED + RECTANGULAR, ids=lambda write: write.__name__)
@pytest.mark.parametrize("type_", ["float16", "float32", "float64"])
def test_grids_of_one_size(write: Write, type_: str, tmp_path: Path) -> None:
    content = grids([2] * 5, type_)
    store = open_store(write(tmp_path, content), cache=tmp_path / "cache")
    assert store.dtype == (np.float16 if type_ == "float16" else np.float32)
    assert_holds(store, content)


@pytest.mark.parametrize("write", [write_npy, write_npz, write_npz_array, write_safetensors])
def test_a_vector_is_a_grid_of_one_region(write: Write, tmp_path: Path) -> None:
    content = grids([1] * 5)
    store = open_store(write(tmp_path, {id_: grid[0] for id_, grid in content.items()}))
    assert_holds(store, content)


@pytest.mark.parametrize(
    "type_",
    [
        pa.list_(pa.float32()),
        pa.large_list(pa.float64()),
        pa.list_(pa.float16(), WIDTH),
    ],
    ids=str,
)
def test_vectors_in_a_column(type_: pa.DataType, tmp_path: Path) -> None:
    content = grids([1] * 5)
    values = pa.array([grid[0].tolist() for grid in content.values()], type_)
    data = pa.table({"image": list(content), "pooled": values})
    pyarrow.parquet.write_table(data, tmp_path / "x.parquet")
    pyarrow.feather.write_feather(data, tmp_path / "x.feather", compression="uncompressed")
    columns = FeatureColumns(id="image", features="pooled")
    for name in ("x.parquet", "x.feather"):
        assert_holds(open_store(tmp_path / name, columns=columns), content)


def test_fixed_grids_and_numbers_as_ids(tmp_path: Path) -> None:
    """Lists of fixed size on both levels, as in a slice of a table that was written again."""
    values = np.arange(6 * 2 * WIDTH, dtype=np.float32).reshape(6, 2, WIDTH)
    type_ = pa.list_(pa.list_(pa.float32(), WIDTH), 2)
    data = pa.table(
        {"id": pa.array([7, 70, 8, 9, -1, 3]), "features": pa.array(values.tolist(), type_)}
    )
    pyarrow.feather.write_feather(data[2:5], tmp_path / "x.feather", compression="uncompressed")
    store = open_store(tmp_path / "x.feather")
    assert list(store.ids) == ["8", "9", "-1"]
    np.testing.assert_array_equal(store.gather(np.arange(3)).values_BRD, values[2:5])


def test_bfloat16(tmp_path: Path) -> None:
    """numpy lacks the type; its values equal those of torch."""
    grid = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(1)).bfloat16()
    save_torch({"a": grid, "b": grid[:1] * 2}, tmp_path / "x.safetensors")
    store = open_store(tmp_path / "x.safetensors")
    gathered = store.gather(store.rows_of(["b", "a"]))
    assert gathered.values_BRD.dtype == np.float32
    np.testing.assert_array_equal(gathered.values_BRD[1], grid.float().numpy())
    np.testing.assert_array_equal(gathered.values_BRD[0, 0], (grid[0] * 2).float().numpy())
    assert not gathered.values_BRD[0, 1:].any()


def test_other_byte_orders_and_headers(tmp_path: Path) -> None:
    values = np.arange(5 * WIDTH).reshape(5, WIDTH)
    (tmp_path / "x.ids").write_text("\n".join(IDS))  # no line feed at the end
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "x.npy").open("wb") as file:
            np.lib.format.write_array(file, values.astype(">f4"), version=version)
        store = open_store(tmp_path / "x.npy")
        found = store.gather(np.arange(5)).values_BRD
        assert found.dtype == np.float32 and found.dtype.isnative
        np.testing.assert_array_equal(found[:, 0], values)


def test_ids_permuted_with_their_rows_say_the_same(tmp_path: Path) -> None:
    content = grids([2] * 5)
    store = open_store(write_npy(tmp_path, content))
    (tmp_path / "other").mkdir()
    other = open_store(write_npy(tmp_path / "other", dict(reversed(content.items()))))
    wanted = IDS[2:] + IDS[:2]
    np.testing.assert_array_equal(
        store.gather(store.rows_of(wanted)).values_BRD,
        other.gather(other.rows_of(wanted)).values_BRD,
    )
    assert store.rows_of(wanted).tolist() == [4 - row for row in other.rows_of(wanted)]


def test_an_empty_batch(tmp_path: Path) -> None:
    store = open_store(write_npy(tmp_path, grids([2] * 5)))
    gathered = store.gather(store.rows_of([]))
    assert gathered.values_BRD.shape == (0, 0, WIDTH)
    assert gathered.lengths_B.shape == (0,)


def test_blocks_cover_the_rows_in_order(tmp_path: Path) -> None:
    content = grids(REGIONS)
    store = open_store(write_safetensors(tmp_path, content))
    rows = store.rows_of(IDS)
    seen = []
    for block, gathered in store.blocks(rows, num_bytes=2 * 4 * WIDTH * 2):
        assert len(block) <= 2
        seen += block.tolist()
        np.testing.assert_array_equal(gathered.values_BRD, store.gather(block).values_BRD)
    assert seen == rows.tolist()


def test_a_copy_is_made_once(tmp_path: Path) -> None:
    content, cache = grids(REGIONS), tmp_path / "cache"
    path = write_parquet(tmp_path, content)
    open_store(path, cache=cache)
    (copy,) = cache.iterdir()
    made = copy.stat().st_mtime_ns
    assert_holds(open_store(path, cache=cache), content)
    assert [entry.stat().st_mtime_ns for entry in cache.iterdir()] == [made]
    moved = tmp_path / "elsewhere.parquet"
    path.rename(moved)
    os.utime(moved, (1_000_000_000, 1_000_000_000))
    assert_holds(open_store(moved, cache=cache), content)
    assert [entry.stat().st_mtime_ns for entry in cache.iterdir()] == [made]
    changed = {id_: grid + 1 for id_, grid in content.items()}
    write_parquet(tmp_path, changed)
    assert_holds(open_store(path, cache=cache), changed)


def test_without_a_cache_the_copy_goes_with_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    store = open_store(write_npz(tmp_path, grids(REGIONS)))
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    del store
    assert list((tmp_path / "temporary").iterdir()) == []


def test_copies_in_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one grid, of some, and of all."""
    content = grids(REGIONS)
    for write in (write_npz, write_parquet, write_feather):
        for num_bytes in (1, 30, 1000):
            monkeypatch.setattr("s2s.data.features.convert.BLOCK_BYTES", num_bytes)
            cache = tmp_path / f"{write.__name__}{num_bytes}"
            assert_holds(open_store(write(tmp_path, content), cache=cache), content)
    path = write_npz_array(tmp_path, grids([2] * 5))
    monkeypatch.setattr("s2s.data.features.convert.BLOCK_BYTES", 2 * 2 * WIDTH * 2)
    assert_holds(open_store(path), grids([2] * 5))


def test_only_mapped_formats_make_no_copy(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for write in (write_safetensors, write_arrow, write_stream):
        open_store(write(tmp_path, grids(REGIONS)), cache=cache)
    open_store(write_npy(tmp_path, grids([2] * 5)), cache=cache)
    assert not cache.exists()


@pytest.mark.parametrize("hash_of", [hash, len, lambda id_: 0, lambda id_: -hash(id_)])
def test_an_index_finds_what_a_dict_finds(hash_of: Callable[[str], int]) -> None:
    """For any hashes, even all equal."""
    random = np.random.default_rng(3)
    ids = [f"{number:x}é" for number in random.permutation(300).tolist()]
    index = IdIndex(ids, str, hash_of=hash_of)
    rows = {id_: row for row, id_ in enumerate(ids)}
    wanted = [f"{number:x}é" for number in range(-5, 400, 3)]
    assert index.find(wanted).tolist() == [rows.get(id_, -1) for id_ in wanted]
    assert list(index) == ids


def test_an_index_takes_little_memory() -> None:
    ids = [f"COCO_train2014_{number:012}.jpg" for number in range(100_000)]
    index = IdIndex(ids, str)
    parts = (index._text, index._bounds, index._hashes, index._order)
    size = sum(len(part) * getattr(part, "itemsize", 1) for part in parts)
    assert size <= (len(ids[0]) + 20) * len(ids) + 8


def test_lists_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes("\ufeffa b\r\nc\u2028d\r\n e".encode())
    assert list(read_ids(path)) == ["a b", "c\u2028d", " e"]
    path.write_bytes(path.read_bytes() + "\r\n\n \u200b\n".encode())  # blank lines are no ids
    assert list(read_ids(path)) == ["a b", "c\u2028d", " e"]


FLICKR = CORPORA / "flickr8k"


@pytest.mark.skipif(not FLICKR.is_dir(), reason="needs ../shared/data/flickr8k")
def test_a_real_file() -> None:
    path = FLICKR / "mobilenetv2_avgpool.f16.npy"
    store = open_store(path, FLICKR / "images.txt")
    names = (FLICKR / "images.txt").read_text().split()
    array = np.load(path)
    random = np.random.default_rng(1).permutation(len(names))[:64]
    rows = store.rows_of([names[i] for i in random])
    np.testing.assert_array_equal(store.gather(rows).values_BRD[:, 0], array[random])
