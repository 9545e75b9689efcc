"""A function of each item of a stream, computed by several threads, in the order of the items.

Threads, not processes: numpy and sentencepiece let other threads run while they work.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from s2s.nn.threads import usable_cores

T = TypeVar("T")
A = TypeVar("A")

MOST_THREADS = 8
"""More would wait for what one thread alone does: reading, and all that follows in order."""


def num_threads() -> int:
    """The number of cores that this process may use, up to `MOST_THREADS`."""
    return min(usable_cores(), MOST_THREADS)


def map_in_order(
    work: Callable[[T], A], items: Iterator[T], threads: int
) -> Generator[A, None, None]:
    """`work` of each item; twice as many items as threads are read ahead.

    An error of `items` is raised after the answers for the items before it.
    """
    if threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[A]] = deque()
    fault: Exception | None = None
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            try:
                waiting.append(pool.submit(work, next(items)))
            except StopIteration:
                break
            except Exception as error:
                fault = error
                break
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
    if fault is not None:
        raise fault
