"""Work on threads, in order, with a bounded number of results in memory."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .environment import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 8


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    size: Callable[[Item], float] = lambda item: 0,
    most: float = math.inf,
) -> Iterator[Result]:
    """`work` of each item, in the order of the items, at most `_AHEAD` a thread ahead of the reader.

    Args:
        work: a function that releases the GIL, as libsndfile and soxr do.
        workers: threads (default: the cores this process may use).
        size: of an item's result, in any unit.
        most: the largest sum of sizes ahead of the reader; a larger item is computed with nothing else ahead.
    """
    workers = usable_cores() if workers is None else workers
    pending: deque[tuple[Future, float]] = deque()
    ahead = 0.0

    def earliest() -> Result:
        nonlocal ahead
        future, own = pending.popleft()
        ahead -= own
        return future.result()

    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                own = size(item)
                while pending and ahead + own > most:
                    yield earliest()
                pending.append((pool.submit(work, item), own))
                ahead += own
                if len(pending) >= _AHEAD * workers:
                    yield earliest()
            while pending:
                yield earliest()
        finally:  # a reader that stops early waits only for the items that have started
            for future, _ in pending:
                future.cancel()
