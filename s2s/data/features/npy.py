"""`.npy` files, mapped after their header has been checked against the size of the file."""

import math
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from s2s.errors import DataError
from s2s.text.lines import no_such_file

_HEADER_ERRORS = (ValueError, SyntaxError, TypeError, TokenError, RecursionError, MemoryError)
"""Errors that numpy raises for invalid headers."""


def map_npy(path: Path) -> NDArray[Any]:
    """The array of a file, memory-mapped: [rows, width] or [rows, regions, width].

    Raises DataError for another array, for one that is truncated, and for a file with more than its
    header says. Nothing is unpickled.
    """
    try:
        with path.open("rb") as file:
            shape, type_, fortran = read_header(file, str(path))
            offset = file.tell()
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    check_array(shape, type_, str(path))
    if fortran:
        raise DataError(
            f"{path}: stored column by column (Fortran order), where every row is spread over the "
            "whole file; save numpy.ascontiguousarray(features)"
        )
    expected = offset + math.prod(shape) * type_.itemsize
    if size != expected:
        what = "truncated" if size < expected else "damaged"
        raise DataError(
            f"{path}: {what}; expected {expected:,} bytes for {described(shape, type_)}, "
            f"found {size:,}"
        )
    return np.asarray(np.memmap(path, dtype=type_, mode="r", offset=offset, shape=shape))


def read_header(file: BinaryIO, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, type and whether the order is Fortran's; `file` is then at the start of the data.

    Raises DataError if there is no header.
    """
    try:
        version = npy_format.read_magic(file)
        read = npy_format.read_array_header_1_0
        if version != (1, 0):
            read = npy_format.read_array_header_2_0
        shape, fortran, type_ = read(file)
    except _HEADER_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{name}: not a .npy file, or truncated ({reason})") from error
    return shape, type_, fortran


def check_array(shape: tuple[int, ...], type_: np.dtype[Any], name: str) -> None:
    """Raises DataError unless an array has features: floats, with a vector or a grid per row."""
    if type_.kind != "f":
        raise DataError(f"{name}: expected floating-point numbers, found {_type_name(type_)}")
    if len(shape) not in (2, 3):
        raise DataError(
            f"{name}: expected an array [rows, width] or [rows, regions, width], "
            f"found {len(shape)} dimension{'' if len(shape) == 1 else 's'} {list(shape)}"
        )
    if min(shape) < 1:
        raise DataError(f"{name}: empty; found an array {list(shape)}")


def check_vectors(shape: tuple[int, ...], type_: np.dtype[Any], name: str) -> None:
    """Raises DataError unless an array has the features of one id: a vector or a grid of floats."""
    if type_.kind != "f":
        raise DataError(f"{name}: expected floating-point numbers, found {_type_name(type_)}")
    if len(shape) not in (1, 2):
        raise DataError(
            f"{name}: expected an array [width] or [regions, width], found {list(shape)}"
        )
    if min(shape) < 1:
        raise DataError(f"{name}: empty; found an array {list(shape)}")


def described(shape: tuple[int, ...], type_: np.dtype[Any]) -> str:
    """`float16 [8091, 49, 128]`."""
    return f"{_type_name(type_)} {list(shape)}"


def _type_name(type_: np.dtype[Any]) -> str:
    return "pickled objects" if type_.hasobject else type_.newbyteorder("=").name
