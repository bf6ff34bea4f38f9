"""Work on threads in order, shares as whole numbers, and random orders with mixed groups."""

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from .environment import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 8  # results that each thread computes before they are read


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    size: Callable[[Item], float] = lambda item: 0,
    most: float = math.inf,
) -> Iterator[Result]:
    """Yield `work` of each item in the order of the items, computed on threads.

    At most `_AHEAD` items for each thread are computed before the caller reads their results.

    Args:
        work: a function that releases the GIL, as libsndfile and soxr do.
        workers: the number of threads; by default one for each usable core.
        size: the size of an item, such as the memory of its result.
        most: the largest sum of the sizes of unread items; an item that is larger is computed when
            all results before it are read.
    """
    if workers is None:
        workers = usable_cores()
    unread: deque[tuple[Future, float]] = deque()
    unread_size = 0.0

    def earliest() -> Result:
        nonlocal unread_size
        future, item_size = unread.popleft()
        unread_size -= item_size
        return future.result()

    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                item_size = size(item)
                while unread and unread_size + item_size > most:
                    yield earliest()
                unread.append((pool.submit(work, item), item_size))
                unread_size += item_size
                if len(unread) >= _AHEAD * workers:
                    yield earliest()
            while unread:
                yield earliest()
        finally:
            # A caller that stops early waits only for the items that have started.
            for future, _ in unread:
                future.cancel()


def apportion(
    total: int,
    sizes: Sequence[float],
    least: Sequence[int] | int = 0,
    most: Sequence[int] | None = None,
) -> list[int]:
    """Distribute `total` as whole numbers in proportion to `sizes` (largest remainder).

    Args:
        total: the sum of the numbers.
        sizes: one for each number; only their proportions matter.
        least: the smallest value of each number.
        most: the largest value of each number. If the bounds exclude `total`, the sum is the
            nearest possible.
    """
    sizes = np.asarray(sizes, dtype=np.float64)
    least = np.broadcast_to(np.asarray(least), sizes.shape)
    if most is None:
        most = np.full(sizes.shape, np.iinfo(np.int64).max)
    else:
        most = np.asarray(most)

    ideal = total * sizes / sizes.sum()
    shares = np.clip(np.floor(ideal).astype(np.int64), least, most)
    while shares.sum() < total and (shares < most).any():
        remainders = np.where(shares < most, ideal - shares, -np.inf)
        shares[np.argmax(remainders)] += 1
    while shares.sum() > total and (shares > least).any():
        remainders = np.where(shares > least, ideal - shares, np.inf)
        shares[np.argmin(remainders)] -= 1
    return shares.tolist()


def interleave(groups: Sequence[Sequence[Hashable]], generator: np.random.Generator) -> list[int]:
    """A random order of items that mixes their groups evenly.

    The first n items of the order have each group in proportion, within one item, for every n.

    Args:
        groups: for each item its group, the group within that one, and so on: (speaker, emotion)
            keeps speakers in proportion, and the emotions of each speaker. Groups of one level must
            be sortable.
        generator: draws the order.

    Returns:
        The positions of the items in `groups`.
    """
    levels = len(groups[0]) if len(groups) else 0

    def interleaved(items: list[int], level: int) -> list[int]:
        if level == levels:
            return [items[i] for i in generator.permutation(len(items))]
        members: dict[Hashable, list[int]] = {}
        for item in items:
            members.setdefault(groups[item][level], []).append(item)

        # Each group spreads its items over the interval from 0 to 1 at equal distances. Groups
        # begin at different offsets.
        offsets = (generator.permutation(len(members)) + 0.5) / len(members)
        positioned_items = []
        for offset, name in zip(offsets, sorted(members), strict=True):
            group_items = interleaved(members[name], level + 1)
            for turn, item in enumerate(group_items):
                position = (turn + offset) / len(group_items)
                positioned_items.append((position, offset, item))
        return [item for _, _, item in sorted(positioned_items)]

    return interleaved(list(range(len(groups))), 0)
