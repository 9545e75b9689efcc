"""Text columns of Arrow data, also nested ones."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from s2s.data.sources.chunks import Chunk, doubled_column, missing_column
from s2s.data.sources.columns import SplitColumns, joined_words
from s2s.errors import DataError


def check_columns(schema: pa.Schema, columns: SplitColumns, place: str) -> None:
    """Raises DataError, with what was found, for a missing column or one of the wrong type.

    Source columns hold text, ids and groups text or whole numbers, targets text or lists of texts,
    references lists of texts.
    """
    ids = (*columns.ids, *(() if columns.recipe.group is None else (columns.recipe.group,)))
    for name in dict.fromkeys((*columns.parts, *ids, *columns.references)):
        found = _plain_type(schema, name, place)
        is_id = name in ids and name not in columns.parts and pa.types.is_integer(found)
        is_words = columns.recipe.labels and _is_list_of_labels(found)
        if not (_is_text(found) or is_id or is_words):
            raise DataError(f"{place}: column '{name}' holds {found}, expected text")
    name = columns.recipe.target
    found = _plain_type(schema, name, place)
    is_label = columns.recipe.labels and (pa.types.is_integer(found) or _is_list_of_labels(found))
    if not (_is_text(found) or _is_list_of_texts(found) or is_label):
        raise DataError(f"{place}: column '{name}' holds {found}, expected text")
    if columns.recipe.references is not None:
        found = _type_of(schema, columns.recipe.references, place)
        if not _is_list_of_texts(found):
            raise DataError(
                f"{place}: column '{columns.recipe.references}' holds {found}, expected lists of "
                "texts"
            )


def pairs(batch: pa.RecordBatch | pa.Table, columns: SplitColumns, place: tuple[str, int]) -> Chunk:
    """The pairs of checked columns; `place` is the file's name and the batch's first row (from 0).

    Raises DataError, with the row, for a null or an empty list.
    """
    parts = [_words(batch, name, place) for name in columns.parts]
    parts += [texts(batch, name, place) for name in columns.ids]
    target = columns.recipe.target
    is_list = _is_list_of_texts(_type_of(batch.schema, target, place[0]))
    if columns.recipe.labels:
        return columns.chunk(parts, _words(batch, target, place))
    targets: Sequence[str | list[str]]
    targets = lists_of_texts(batch, target, place) if is_list else texts(batch, target, place)
    group = columns.recipe.group
    groups = None if group is None else texts(batch, group, place)
    named = columns.recipe.references
    if named is not None:
        return columns.chunk(parts, targets, lists_of_texts(batch, named, place), groups)
    singles = [texts(batch, name, place) for name in columns.references]
    references = [list(options) for options in zip(*singles, strict=True)] if singles else None
    return columns.chunk(parts, targets, references, groups)


def _words(batch: pa.RecordBatch | pa.Table, name: str, place: tuple[str, int]) -> list[str]:
    """A checked column as strings, lists of words as their words; `place` as in `pairs`.

    Raises DataError, with the row, for a null.
    """
    if not _is_list_of_labels(_type_of(batch.schema, name, place[0])):
        return texts(batch, name, place)
    rows: list[list[str | int] | None] = _column(batch, name).to_pylist()
    for row, words in enumerate(rows, start=place[1] + 1):
        if words is None or None in words:
            raise DataError(f"{place[0]}: column '{name}' is null in row {row}, expected words")
    return [joined_words(list(map(str, words or ()))) for words in rows]


def texts(batch: pa.RecordBatch | pa.Table, name: str, place: tuple[str, int]) -> list[str]:
    """A checked column as strings, also of whole numbers; `place` as in `pairs`.

    Raises DataError, with the row, for a null.
    """
    column = _column(batch, name)
    if column.null_count:
        row = place[1] + pc.index(pc.is_null(column), pa.scalar(True)).as_py()
        raise DataError(f"{place[0]}: column '{name}' is null in row {row + 1}, expected text")
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    values: list[str] = column.to_numpy(zero_copy_only=False).tolist()
    return values


def lists_of_texts(
    batch: pa.RecordBatch | pa.Table, name: str, place: tuple[str, int]
) -> list[list[str]]:
    """A checked column of lists; `place` as in `texts`.

    Raises DataError, with the row, for an empty list or a null.
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


def _is_list_of_texts(type_: Any) -> bool:
    is_list = pa.types.is_list(type_) or pa.types.is_large_list(type_)
    return is_list and _is_text(type_.value_type)


def _is_list_of_labels(type_: Any) -> bool:
    is_list = pa.types.is_list(type_) or pa.types.is_large_list(type_)
    return is_list and (_is_text(type_.value_type) or pa.types.is_integer(type_.value_type))


def _plain_type(schema: pa.Schema, name: str, place: str) -> Any:
    """The type of a column, or of the values of a dictionary column."""
    found = _type_of(schema, name, place)
    return found.value_type if pa.types.is_dictionary(found) else found


def _type_of(schema: pa.Schema, name: str, place: str) -> Any:
    """The type of a column or, for a name with dots, of a field within one."""
    _check_once(schema.names, name, place)
    if name in schema.names:
        return schema.field(name).type
    head, *rest = name.split(".")
    _check_once(schema.names, head, place)
    if head not in schema.names:
        raise missing_column(place, name, schema.names)
    found = schema.field(head).type
    for key in rest:
        inner = [found.field(i).name for i in range(found.num_fields)] if _is_struct(found) else []
        _check_once(inner, key, f"{place}, column '{head}'")
        if key not in inner:
            raise missing_column(f"{place}, column '{head}'", key, inner)
        found = found.field(key).type
        head = f"{head}.{key}"
    return found


def _check_once(names: Sequence[str], name: str, place: str) -> None:
    if names.count(name) > 1:
        raise doubled_column(place, name)


def _is_struct(type_: Any) -> bool:
    return bool(pa.types.is_struct(type_))


def _column(batch: pa.RecordBatch | pa.Table, name: str) -> Any:
    if name in batch.schema.names:
        column = batch.column(name)
    else:
        head, *rest = name.split(".")
        column = pc.struct_field(batch.column(head), rest)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
