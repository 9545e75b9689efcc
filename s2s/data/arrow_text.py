"""Text columns of Arrow data, nested ones too."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from s2s.data.chunks import missing_column
from s2s.errors import DataError


def check_columns(
    schema: pa.Schema, names: Sequence[str], place: str, references: str | None = None
) -> None:
    """Raises DataError, with what there is, unless every name is a column of texts.

    `references` names a column of lists of texts.
    """
    for name in names:
        field_type = _type_of(schema, name, place)
        if pa.types.is_dictionary(field_type):
            field_type = field_type.value_type
        if not _is_text(field_type):
            raise DataError(f"{place}: column '{name}' holds {field_type}, expected text")
    if references is not None:
        field_type = _type_of(schema, references, place)
        is_list = pa.types.is_list(field_type) or pa.types.is_large_list(field_type)
        if not (is_list and _is_text(field_type.value_type)):
            raise DataError(
                f"{place}: column '{references}' holds {field_type}, expected lists of texts"
            )


def texts(batch: pa.RecordBatch | pa.Table, name: str, place: tuple[str, int]) -> list[str]:
    """A checked column as strings; `place` is the file's name and the batch's first row (from 0).

    Raises DataError naming the row of a null.
    """
    column = _column(batch, name)
    if column.null_count:
        row = place[1] + pc.index(pc.is_null(column), pa.scalar(True)).as_py()
        raise DataError(f"{place[0]}: column '{name}' is null in row {row + 1}, expected text")
    values: list[str] = column.to_numpy(zero_copy_only=False).tolist()
    return values


def lists_of_texts(
    batch: pa.RecordBatch | pa.Table, name: str, place: tuple[str, int]
) -> list[list[str]]:
    """A checked column of lists; `place` as in `texts`.

    Raises DataError naming the row of an empty list, or of a null.
    """
    values: list[list[str]] = _column(batch, name).to_pylist()
    for row, texts_of_row in enumerate(values, start=place[1] + 1):
        if not texts_of_row or None in texts_of_row:
            raise DataError(
                f"{place[0]}: column '{name}' has no text, or a null, in row {row}; expected one "
                "reference or more"
            )
    return values


def _is_text(type_: Any) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _type_of(schema: pa.Schema, name: str, place: str) -> Any:
    """The type of a column or, along dots, of a field within one."""
    if name in schema.names:
        return schema.field(name).type
    head, *rest = name.split(".")
    if head not in schema.names:
        raise missing_column(place, name, schema.names)
    found = schema.field(head).type
    for key in rest:
        inner = [found.field(i).name for i in range(found.num_fields)] if _is_struct(found) else []
        if key not in inner:
            raise missing_column(f"{place}, column '{head}'", key, inner)
        found = found.field(key).type
        head = f"{head}.{key}"
    return found


def _is_struct(type_: Any) -> bool:
    return bool(pa.types.is_struct(type_))


def _column(batch: pa.RecordBatch | pa.Table, name: str) -> Any:
    if name in batch.schema.names:
        column = batch.column(name)
    else:
        head, *rest = name.split(".")
        column = pc.struct_field(batch.column(head), rest)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
