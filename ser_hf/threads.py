"""Work on threads, in order, with a bounded number of results in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .environment import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 8


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[Result]:
    """`work` of each item, in the order of the items, at most `_AHEAD` a thread ahead of the reader.

    Args:
        work: what releases the GIL, as libsndfile and soxr do.
        workers: threads (default: the cores this process may use).
    """
    workers = workers or usable_cores()
    pending: deque[Future] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) >= _AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # a reader that leaves early, or is interrupted, waits for what is under way alone
            for future in pending:
                future.cancel()
