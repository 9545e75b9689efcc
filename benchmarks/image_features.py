"""Rate and memory of gathering image features.

    python benchmarks/image_features.py [--rows 8091] [--regions 49] [--width 128] [--batch 64]

The features are random grids of float16, as many as Flickr8k's by default, and four times as many.
Random batches gather every row once. Every format runs in its own process, which records its
private memory (RssAnon of /proc/self/status): the pages of a mapped file are not private, since the
system reclaims them when it needs them.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

CHUNK_ROWS = 1000
MB = 1024 * 1024


def private_bytes() -> int:
    """Resident anonymous memory of this process."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def chunks(shape: tuple[int, ...]):
    random = np.random.default_rng(1)
    for first in range(0, shape[0], CHUNK_ROWS):
        rows = min(CHUNK_ROWS, shape[0] - first)
        yield random.standard_normal((rows, *shape[1:]), np.float32).astype(np.float16)


def write(path: Path, shape: tuple[int, ...]) -> None:
    """Write the same numbers in any format, chunk by chunk."""
    ids = [f"{row:010}.jpg" for row in range(shape[0])]
    path.with_suffix(".ids").write_text("".join(f"{id_}\n" for id_ in ids))
    if path.suffix == ".npy":
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in chunks(shape):
                file.write(chunk.tobytes())
        return
    path.with_suffix(".ids").unlink()
    names = iter(ids)
    if path.suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            for chunk in chunks(shape):
                for grid in chunk:
                    with archive.open(f"{next(names)}.npy", "w") as file:
                        np.lib.format.write_array(file, grid)
        return
    grid = pa.list_(pa.list_(pa.float16(), shape[2]), shape[1])
    schema = pa.schema({"id": pa.string(), "features": grid})
    is_arrow = path.suffix == ".arrow"
    make = pa.ipc.new_file if is_arrow else pa.parquet.ParquetWriter
    with make(str(path), schema) as writer:
        for chunk in chunks(shape):
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(chunk.reshape(-1)), shape[2])
            column = pa.FixedSizeListArray.from_arrays(vectors, shape[1]).cast(grid)
            own = [next(names) for _ in chunk]
            writer.write_batch(pa.record_batch([pa.array(own), column], schema=schema))


def gather(path: Path, batch: int) -> None:
    """Gather all rows and print one line; runs in the measured process."""
    from s2s.data.features.open import open_store

    imported = peak = private_bytes()

    def watch(*_: object) -> None:
        nonlocal peak
        peak = max(peak, private_bytes())

    began = time.perf_counter()
    store = open_store(path, cache=path.parent / "cache", progress=watch)
    opened = time.perf_counter() - began
    watch()
    ids = list(store.ids)
    order = np.random.default_rng(2).permutation(len(store))
    seconds = 0.0
    for first in range(0, len(order), batch):
        began = time.perf_counter()
        gathered = store.gather(store.rows_of([ids[row] for row in order[first : first + batch]]))
        seconds += time.perf_counter() - began
        watch()
    del gathered
    print(
        f"  {path.suffix:8} opened in {opened:6.2f} s, {len(store) / seconds:9,.0f} rows/s, "
        f"private memory {imported / MB:.0f} MB after the imports, {peak / MB:.0f} MB at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8091)
    parser.add_argument("--regions", type=int, default=49)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--gather", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.gather:
        gather(arguments.gather, arguments.batch)
        return
    for rows in (arguments.rows, 4 * arguments.rows):
        shape = (rows, arguments.regions, arguments.width)
        print(f"{rows:,} grids {list(shape[1:])} of float16, {np.prod(shape) * 2 / MB:,.0f} MB:")
        for suffix in (".npy", ".arrow", ".npz", ".parquet"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"features{suffix}")
                write(path, shape)
                subprocess.run([sys.executable, *sys.argv, "--gather", path], check=True)


if __name__ == "__main__":
    main()
