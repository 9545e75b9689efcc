"""Extracts image features: threads read images, a backbone computes batches of one shape.

B: images of a batch, C: channels, H, W: height and width, R: regions, D: width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from warnings import catch_warnings, filterwarnings

import numpy as np
import torch

from s2s.data.features.backbones.base import Backbone
from s2s.data.features.backbones.open import open_backbone
from s2s.data.features.images import ImageFile, read_image
from s2s.data.features.write import check_output, write_features
from s2s.errors import DataError, S2sError
from s2s.nn.device import choose_device

if TYPE_CHECKING:
    from torch import Tensor

    from s2s.data.features.store import Values

Progress = Callable[[str, int, int | None], None]

BATCH = 16
"""Images of a batch. Kernels round differently for different shapes, so the number is fixed, and
zeros fill the last batch."""

READ_AHEAD = 2
"""Decoded batches that wait while one is computed."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Options of the extraction."""

    is_grid: bool = False
    """Whether to keep a vector for each region of the last feature map; else their mean."""
    precision: Literal["float16", "float32"] = "float16"
    """Type of the written numbers; they are computed in float32."""
    readers: int = 2
    """Threads that read and scale images."""


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """The result of an extraction."""

    rows: int
    shape: tuple[int, ...]
    """Shape of the features of one image: [width] or [regions, width]."""
    backbone: Backbone


def extract_features(
    images: Sequence[ImageFile],
    backbone: tuple[str, Path | None],
    output: Path,
    extraction: Extraction,
    *,
    device: str = "auto",
    skipped: Callable[[str], None],
    progress: Progress = lambda stage, done, total: None,
) -> Extracted:
    """Write the features of `images` to `output`, in their order; see `write_features`.

    `backbone` is a network's name and the file of its weights, if not the library's own. Calls
    `skipped` with a line for every image that cannot be read. Memory does not grow with the number
    of images.

    Raises UsageError for a network or device that is not there, DataError for weights of another
    network, S2sError where no image could be read.
    """
    check_output(output)
    network = open_backbone(*backbone)
    target = choose_device(device)
    network.network.to(target)
    shape: tuple[int, ...] = ()
    num_rows = 0
    with catch_warnings(), _prepared(images, network, extraction, skipped) as prepared:
        # Pillow warns, in two lines each, of files that it reads nevertheless.
        filterwarnings("ignore", module=r"PIL\.")
        first = next(prepared, None)
        if first is None:
            raise S2sError(f"none of {len(images):,} images could be read; nothing was written")
        batches = _batches(first, prepared)
        with write_features(output, [image.id for image in images]) as writer:
            for ids, images_BCHW in batches:
                grids_BRD = network.grids(images_BCHW.to(target))[: len(ids)]
                values = _stored(grids_BRD, extraction, ids)
                writer.append(ids, values)
                shape, num_rows = values.shape[1:], num_rows + len(ids)
                progress("computing features", num_rows, len(images))
    return Extracted(rows=num_rows, shape=shape, backbone=network)


Prepared = tuple[str, "Tensor"]
"""An image's id, and its pixels [3, H, W] as the network reads them."""


@contextmanager
def _prepared(
    images: Sequence[ImageFile],
    network: Backbone,
    extraction: Extraction,
    skipped: Callable[[str], None],
) -> Iterator[Iterator[Prepared]]:
    """The images that can be read, in their order; threads read ahead."""
    with ThreadPoolExecutor(extraction.readers, "read") as pool:

        def read(image: ImageFile) -> Tensor:
            return network.prepare(read_image(image.path))

        def all_of_them() -> Iterator[Prepared]:
            rest = iter(images)
            waiting: deque[tuple[ImageFile, Future[Tensor]]] = deque()
            ahead = READ_AHEAD * BATCH + 1
            while True:
                for image in islice(rest, ahead - len(waiting)):
                    waiting.append((image, pool.submit(read, image)))
                if not waiting:
                    return
                image, future = waiting.popleft()
                try:
                    yield image.id, future.result()
                except (OSError, ValueError) as error:
                    reason = str(error).partition("\n")[0].replace(f" {str(image.path)!r}", "")
                    skipped(f"{image.path}: not a readable image ({reason}); skipped")

        try:
            yield all_of_them()
        finally:
            pool.shutdown(cancel_futures=True)


def _batches(first: Prepared, rest: Iterator[Prepared]) -> Iterator[tuple[list[str], Tensor]]:
    """Ids, and images [BATCH, 3, H, W]; the last batch may have fewer ids."""
    images = chain((first,), rest)
    while batch := list(islice(images, BATCH)):
        images_BCHW = torch.zeros(BATCH, *first[1].shape)
        torch.stack([image for _, image in batch], out=images_BCHW[: len(batch)])
        yield [id_ for id_, _ in batch], images_BCHW


def _stored(grids_BRD: Tensor, extraction: Extraction, ids: Sequence[str]) -> Values:
    """The features that are written, from grids. Raises DataError where a number does not fit."""
    features = grids_BRD if extraction.is_grid else grids_BRD.mean(1)
    values = features.float().cpu().numpy()
    with np.errstate(over="ignore"):
        stored = values.astype(extraction.precision)
    is_bad = ~np.isfinite(stored).reshape(len(stored), -1).all(1)
    if is_bad.any():
        row = int(is_bad.argmax())
        fits = np.isfinite(values[row]).all()
        advice = "too large for float16; use --precision float32" if fits else "NaN or infinite"
        raise DataError(f"features of '{ids[row]}' are {advice}")
    return stored
