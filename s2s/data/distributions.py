"""The teachers' distributions over the target tokens of training (`train.distill`), on disk.

    distributions/ids.npy            uint16 or int32 [tokens, k]: the most probable tokens
                  probabilities.npy  float16 [tokens, k]: their probabilities, which sum to 1
                  made.json          what they were made from

Tokens are those of `data/train.arrow` in its order, an end of sentence after each target: pair i
has rows `target_offsets[i] + i` to `target_offsets[i + 1] + i`. Both arrays are mapped into memory.

Dimension letters: N tokens, K tokens that are kept, B sentences, T target time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.errors import RunError
from s2s.files import read_json

DISTRIBUTIONS_FOLDER = "distributions"
IDS_FILE, PROBABILITIES_FILE, MADE_FILE = "ids.npy", "probabilities.npy", "made.json"


@dataclass(frozen=True)
class Distributions:
    """The most probable tokens that teachers predict for each target token."""

    ids_NK: NDArray[np.integer[Any]]
    probabilities_NK: NDArray[np.float16]

    @classmethod
    def open(cls, folder: Path, num_tokens: int, vocabulary: int) -> "Distributions":
        """Map the arrays of a folder into memory.

        Raises RunError unless they are of `num_tokens` tokens with ids below `vocabulary`.
        """
        try:
            ids = np.load(folder / IDS_FILE, mmap_mode="r", allow_pickle=False)
            probabilities = np.load(folder / PROBABILITIES_FILE, mmap_mode="r", allow_pickle=False)
            is_one = ids.ndim == 2 and ids.shape == probabilities.shape
            is_right = is_one and len(ids) == num_tokens and ids.dtype.kind in "ui"
            if not is_right or probabilities.dtype != np.float16:
                raise ValueError("not the distributions of these data")
            if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
                raise ValueError("ids beyond the vocabulary")
        except (OSError, ValueError, EOFError) as error:
            raise RunError(
                f"{folder}: missing or damaged ({error}); restore it, or start over: "
                "s2s train --restart"
            ) from error
        return cls(ids, probabilities)

    def gather(
        self, starts: NDArray[np.int64], lengths: NDArray[np.int64], time: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids int64 and probabilities float32 [B, `time`, K] of the rows from `starts` on, int64
        [B], of `lengths` tokens; zero beyond them."""
        inside_BT = np.arange(time) < lengths[:, None]
        places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(
            int(lengths.sum())
        )
        shape = (len(starts), time, self.ids_NK.shape[1])
        ids, probabilities = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        ids[inside_BT] = self.ids_NK[places]
        probabilities[inside_BT] = self.probabilities_NK[places]
        return ids, probabilities


def read_made(folder: Path) -> str | None:
    """What the distributions of a folder were made from, as a hash; None if they are not there."""
    try:
        content = read_json(folder / MADE_FILE)
        return str(content["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
