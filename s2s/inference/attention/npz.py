"""Attention matrices and their tokens as arrays in an `.npz` file."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.files import write_output
from s2s.inference.attention.maps import AttentionMap


def arrays(maps: Iterable[AttentionMap]) -> dict[str, NDArray[Any]]:
    """For line n, counted from 1: `weights_n` float32 [T, S], `source_n` [S] and `target_n` [T];
    for lines with images also `images_n` [P], their ids, and `regions_n` int64 [P, 2], the first
    column and the number of regions of each.

    Tokens are as the tokenizer writes them, without U+0000 at their end, which numpy drops.
    """
    found: dict[str, NDArray[Any]] = {}
    for number, attention in enumerate(maps, start=1):
        found[f"weights_{number}"] = attention.weights
        found[f"source_{number}"] = np.array(attention.source, dtype=np.str_)
        found[f"target_{number}"] = np.array(attention.target, dtype=np.str_)
        if attention.pictures:
            spans = [(picture.first, picture.count) for picture in attention.pictures]
            ids = [picture.id for picture in attention.pictures]
            found[f"images_{number}"] = np.array(ids, dtype=np.str_)
            found[f"regions_{number}"] = np.array(spans, dtype=np.int64)
    return found


def write_npz(path: Path, maps: Iterable[AttentionMap]) -> None:
    """Write the arrays of all lines into one compressed file, whole or not at all, or on stdout for
    `-`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays(maps))
    write_output(path, buffer.getvalue())
