"""Files that users bring, and a package that s2s calls, for `fuzz`."""

import io
import json
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any, cast

from tests.commands import pairs


@cache
def tables() -> dict[str, bytes]:
    """A table of each kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pairs(40, 9)
    names = ("source", "target")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    lines = [names, *rows]
    return {
        "tsv": "".join("\t".join(row) + "\n" for row in lines).encode(),
        "csv": "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in lines).encode(),
        "jsonl": "".join(
            json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows
        ).encode(),
        "parquet": sink.getvalue(),
        "txt": "".join(f"{source}\n" for source, _ in rows).encode(),
    }


@cache
def archives() -> dict[str, bytes]:
    """The features of `write_captions` in other formats."""
    import numpy
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.numpy import save

    names = [f"{number}.jpg" for number in range(20)]
    rows = numpy.eye(20, 8, dtype=numpy.float16)
    by_name = dict(zip(names, rows, strict=True))
    sinks = {kind: io.BytesIO() for kind in ("npz", "arrow", "parquet")}
    numpy.savez(sinks["npz"], **by_name)
    table = pa.table({"id": names, "features": rows.astype(numpy.float32).tolist()})
    with pa.ipc.new_file(sinks["arrow"], table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, sinks["parquet"])
    found = {kind: sink.getvalue() for kind, sink in sinks.items()}
    return {**found, "safetensors": bytes(save(by_name))}


def wandb() -> ModuleType:
    """What s2s calls of Weights & Biases."""

    def init(**options: Any) -> Any:
        if not isinstance(options["id"], str | None):
            raise TypeError(f"an id of type {type(options['id'])}")
        nothing = {name: lambda *a, **k: None for name in ("define_metric", "log", "finish")}
        return SimpleNamespace(id=options["id"] or "new", **nothing)

    stand_in: Any = ModuleType("wandb")
    stand_in.init, stand_in.Settings = init, SimpleNamespace
    return cast(ModuleType, stand_in)
