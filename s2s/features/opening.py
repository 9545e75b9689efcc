"""Opens a feature file of any kind."""

from pathlib import Path

import numpy as np

from s2s.errors import DataError
from s2s.features.ids import IdIndex, read_ids
from s2s.features.npy import map_npy
from s2s.features.store import FeatureStore, Layout


def open_store(path: Path, ids: Path | None = None) -> FeatureStore:
    """Map a feature file; nothing but the ids is read.

    `.npy`: an array [N, width] or [N, regions, width]; `ids` is a text file with the id of row i on
    line i, by default the `.ids` file beside the array.

    Raises DataError for whatever the file is not.
    """
    match path.suffix.lower():
        case ".npy":
            return _open_array(path, ids)
        case _:
            raise DataError(f"{path}: expected a feature file named .npy")


def _open_array(path: Path, ids: Path | None) -> FeatureStore:
    array = map_npy(path)
    if ids is None:
        ids = path.with_suffix(".ids")
        if not ids.is_file():
            raise DataError(f"{path}: expected the ids of its rows in {ids}, which is not there")
    index = read_ids(ids)
    _check_lengths(index, array.shape[0], path, ids)
    num_rows, width = array.shape[0], array.shape[-1]
    regions = array.shape[1] if array.ndim == 3 else 1
    layout = Layout(
        pieces=(array.reshape(num_rows * regions, width),),
        piece_rows=np.array([0, num_rows]),
        starts=np.arange(num_rows) * regions,
        lengths=np.full(num_rows, regions),
    )
    return FeatureStore(str(path), index, layout)


def _check_lengths(index: IdIndex, num_rows: int, path: Path, ids: Path) -> None:
    if len(index) != num_rows:
        raise DataError(
            f"{ids}: expected {num_rows:,} ids, one for each row of {path}; found {len(index):,}"
        )
