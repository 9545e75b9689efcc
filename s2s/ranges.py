"""Adjacent ranges of whole numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def ranges(starts: Numbers, sizes: NDArray[np.integer[Any]]) -> Numbers:
    """For each i in turn the sizes[i] numbers from starts[i] on, int64."""
    ends = np.cumsum(sizes, dtype=np.int64)
    numbers: Numbers = np.repeat(starts - (ends - sizes), sizes)
    numbers += np.arange(len(numbers))
    return numbers
