"""Opens a feature file of any kind."""

import errno
import tempfile
import weakref
from pathlib import Path

from s2s.data.features.archives import check_count, npz_names
from s2s.data.features.arrow import FeatureColumns, open_mapped
from s2s.data.features.convert import COLUMNS, Progress, convert, converted
from s2s.data.features.ids import IdIndex, read_ids
from s2s.data.features.npy import map_npy
from s2s.data.features.safetensors import open_tensors
from s2s.data.features.store import FeatureStore, one_piece
from s2s.errors import DataError
from s2s.files import remove

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a cache that cannot be written, whose copies are made in a temporary folder."""

KINDS = ".npy, .npz, .safetensors, .arrow, .feather or .parquet"


def open_store(
    path: Path,
    ids: Path | None = None,
    *,
    columns: FeatureColumns = COLUMNS,
    cache: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> FeatureStore:
    """Map a feature file; only the ids are read.

    `.npy`: one array [N, width] or [N, regions, width]; the id of row i is on line i of the text
    file `ids`, by default the file named `.ids` beside the array. `.npz` and `.safetensors`: an
    array [width] or [regions, width] for every id, or one array and a list of ids as with `.npy`.
    `.arrow`, `.feather` and `.parquet`: the columns that `columns` names.

    Files that cannot be mapped (`.npz`, `.parquet`, compressed Arrow) are copied once into the
    folder `cache`; without `cache`, or where it is read-only, into a temporary folder that is
    deleted with the store.

    Raises DataError for an invalid file and for repeated ids.
    """
    match path.suffix.lower():
        case ".npy":
            return _open_array(path, ids)
        case ".safetensors":
            return _open_safetensors(path, ids)
        case ".npz":
            is_one = ids is not None or _has_ids_beside(path, len(npz_names(path)))
            index = read_ids(_ids_of(path, ids)) if is_one else None
            return _open_copy(path, index, columns, cache, progress)
        case ".parquet":
            _refuse_ids(path, ids)
            return _open_copy(path, None, columns, cache, progress)
        case ".arrow" | ".feather":
            _refuse_ids(path, ids)
            found = open_mapped(path, columns, str(path))
            if found is not None:
                return FeatureStore(str(path), *found)
            return _open_copy(path, None, columns, cache, progress)
        case _:
            raise DataError(f"{path}: expected a feature file named {KINDS}")


def _open_array(path: Path, ids: Path | None) -> FeatureStore:
    array = map_npy(path)
    index = read_ids(_ids_of(path, ids))
    check_count(len(index), array.shape[0], str(_ids_of(path, ids)))
    return FeatureStore(str(path), index, one_piece(array))


def _open_safetensors(path: Path, ids: Path | None) -> FeatureStore:
    file = open_tensors(path)
    if ids is None and not _has_ids_beside(path, len(file.tensors)):
        return FeatureStore(str(path), *file.layout())
    array = file.array()
    index = read_ids(_ids_of(path, ids))
    check_count(len(index), array.shape[0], str(_ids_of(path, ids)))
    return FeatureStore(str(path), index, one_piece(array))


def _open_copy(
    path: Path,
    ids: IdIndex | None,
    columns: FeatureColumns,
    cache: Path | None,
    progress: Progress,
) -> FeatureStore:
    """The store of a file that has to be copied; messages name the original."""
    if cache is not None:
        try:
            return _open_converted(path, converted(path, ids, columns, cache, progress))
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
    folder = Path(tempfile.mkdtemp(prefix="s2s-features-"))
    try:
        copy = folder / "features.arrow"
        convert(path, copy, ids, columns, progress)
        store = _open_converted(path, copy)
    except BaseException:
        remove(folder)
        raise
    weakref.finalize(store, remove, folder)
    return store


def _open_converted(path: Path, copy: Path) -> FeatureStore:
    found = open_mapped(copy, COLUMNS, str(path))
    assert found is not None, "copies are not compressed"
    return FeatureStore(str(path), *found)


def _ids_of(path: Path, ids: Path | None) -> Path:
    """The list of ids: `ids` if given, otherwise the one beside the array."""
    beside = path.with_suffix(".ids")
    if ids is None and not beside.is_file():
        raise DataError(f"{path}: expected the ids of its rows in {beside}, which does not exist")
    return ids or beside


def _has_ids_beside(path: Path, num_arrays: int) -> bool:
    """Whether a file of named arrays is one array with a list of ids beside it."""
    return num_arrays == 1 and path.with_suffix(".ids").is_file()


def _refuse_ids(path: Path, ids: Path | None) -> None:
    if ids is not None:
        raise DataError(f"{path}: has a column of ids; expected no list of ids, found {ids}")
