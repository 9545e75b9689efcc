"""Readers of features and prepared data."""

import io
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.torture.model_targets import changed_tensors
from tests.torture.mutations import changed, changed_text, flipped
from tests.torture.target import Target, always, files

FEATURES = 6


def _grid(*shape: int) -> Any:
    import numpy

    return numpy.arange(numpy.prod(shape), dtype=numpy.float32).reshape(shape) / 8


def _feature_seeds(suffix: str) -> Callable[[Path], list[bytes]]:
    """Feature files of six ids, with vectors and with grids."""

    def seeds(folder: Path) -> list[bytes]:
        import numpy
        import pyarrow as pa
        import pyarrow.parquet as pq
        from safetensors.numpy import save

        names = [f"{number}.jpg" for number in range(FEATURES)]
        (folder / "array.ids").write_text("".join(f"{name}\n" for name in names))
        (folder / "ids.npy").write_bytes(b"")
        sinks = [io.BytesIO(), io.BytesIO()]
        vectors, grids = _grid(FEATURES, 4), _grid(FEATURES, 2, 3)
        arrays = (vectors.astype(numpy.float16), grids)
        for sink, array in zip(sinks, arrays, strict=True):
            by_name = dict(zip(names, array, strict=True))
            match suffix:
                case "npy":
                    numpy.save(sink, array)
                case "npz":
                    numpy.savez(sink, **by_name)
                case "safetensors":
                    sink.write(save(by_name))
                case "arrow":
                    table = pa.table({"id": names, "features": array.tolist()})
                    with pa.ipc.new_file(sink, table.schema) as writer:
                        writer.write_table(table, max_chunksize=4)
                case _:
                    table = pa.table({"id": names, "features": array.tolist()})
                    pq.write_table(table, sink)
        return [sink.getvalue() for sink in sinks]

    return seeds


def _read_features(name: str, ids: str | None = None) -> None:
    import numpy

    from s2s.data.features.check import FeatureCheck
    from s2s.data.features.open import open_store

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = open_store(Path(name), None if ids is None else Path(ids))
        wanted = [*list(store.ids)[:20], "0.jpg", "none.jpg"]
        check = FeatureCheck(store)
        rows = check.find(wanted)
        store.gather(rows[rows >= 0])
        check.report().refuse(1.0)
        store.regions(numpy.arange(len(store)))
        store.missing_message("1.jpeg", 1, 2)


def _ids(folder: Path) -> list[bytes]:
    import numpy

    numpy.save(folder / "listed.npy", _grid(3, 4))
    return ["a.jpg\nä b\n日.png\n".encode()]


def _read_corpus() -> None:
    import numpy

    from s2s.data.store import Corpus

    corpus = Corpus.open(Path("guided.arrow"))
    corpus.check_ids("guided.arrow", 40, 40)
    assert len(corpus.source_lengths) == len(corpus.target_lengths) == len(corpus)
    assert int(corpus.source_lengths.sum()) == len(corpus.source_values)
    if corpus.has_texts and len(corpus):
        "".join((*(corpus.source_texts or ()), *(corpus.target_texts or ()))).encode()
        corpus.texts(numpy.array([0, len(corpus) - 1]))
        assert corpus.references is not None
    if corpus.rows_NF is not None:
        corpus.check_rows("guided.arrow", [20])


def _fingerprint_reader() -> None:
    from s2s.data.preparation.fingerprints import has_content, read_fingerprint

    has_content(read_fingerprint(Path("runs/stored/data")))


def _features(suffix: str, change: Any = changed) -> Target:
    name = f"{'array' if suffix == 'npy' else 'guided'}.{suffix}"
    read = always(partial(_read_features, name))
    return Target(f"features {suffix}", name, _feature_seeds(suffix), read, change)


FEATURE_TARGETS = (
    _features("npy"),
    _features("npz", flipped),
    _features("safetensors", changed_tensors),
    _features("arrow", flipped),
    _features("parquet", flipped),
    Target(
        "ids",
        "listed.ids",
        _ids,
        always(partial(_read_features, "listed.npy")),
        changed_text,
    ),
    Target(
        "prepared data",
        "guided.arrow",
        files("runs/stored/data/validation.arrow", "runs/cap/data/train.arrow"),
        always(_read_corpus),
        flipped,
    ),
    Target(
        "fingerprints",
        "runs/stored/data/fingerprint",
        files("runs/stored/data/fingerprint"),
        always(_fingerprint_reader),
    ),
)
