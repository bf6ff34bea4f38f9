"""Items in order: work on threads, interleaved groups, and whole shares in proportion."""

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

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
    """`work` of each item, in the order of the items, at most `_AHEAD` a thread ahead of the
    reader.

    Args:
        work: a function that releases the GIL, as libsndfile and soxr do.
        most: the largest sum of `size` ahead of the reader; a larger item is computed with nothing
            else ahead.
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


def apportion(
    total: int,
    sizes: Sequence[float],
    least: Sequence[int] | int = 0,
    most: Sequence[int] | None = None,
) -> list[int]:
    """Distribute `total` as whole numbers in proportion to `sizes` (largest remainder).

    Args:
        least, most: bounds of each number. If they exclude `total`, the sum is the nearest
            possible.
    """
    sizes = np.asarray(sizes, dtype=np.float64)
    least = np.broadcast_to(np.asarray(least), sizes.shape)
    most = np.full(sizes.shape, np.iinfo(np.int64).max) if most is None else np.asarray(most)
    ideal = total * sizes / sizes.sum()
    shares = np.clip(np.floor(ideal).astype(np.int64), least, most)
    while shares.sum() < total and (free := shares < most).any():
        shares[np.argmax(np.where(free, ideal - shares, -np.inf))] += 1
    while shares.sum() > total and (free := shares > least).any():
        shares[np.argmin(np.where(free, ideal - shares, np.inf))] -= 1
    return shares.tolist()


def interleave(groups: Sequence[Sequence[Hashable]], generator: np.random.Generator) -> list[int]:
    """A random order in which every initial stretch has the groups in proportion, within one item.

    Args:
        groups: of each item its group, the group within that one, and so on: (speaker, emotion)
            keeps speakers in proportion, and the emotions of each speaker. Groups of one level must
            be sortable.
        generator: draws the order.

    Returns:
        Positions of the items.
    """
    levels = len(groups[0]) if len(groups) else 0

    def interleaved(items: list[int], level: int) -> list[int]:
        if level == levels:
            return [items[i] for i in generator.permutation(len(items))]
        members: dict[Hashable, list[int]] = {}
        for item in items:
            members.setdefault(groups[item][level], []).append(item)
        # The items of a group have equal distances from 0 to 1; each group begins elsewhere.
        begins = (generator.permutation(len(members)) + 0.5) / len(members)
        placed = []
        for begin, name in zip(begins, sorted(members), strict=True):
            own = interleaved(members[name], level + 1)
            placed += [((turn + begin) / len(own), begin, item) for turn, item in enumerate(own)]
        return [item for _, _, item in sorted(placed)]

    return interleaved(list(range(len(groups))), 0)
