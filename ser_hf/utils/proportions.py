"""Whole numbers in proportion, and orders in which groups take turns: for whoever draws a part of something."""

from collections.abc import Hashable, Sequence

import numpy as np


def apportion(
    total: int, sizes: Sequence[float], least: Sequence[int] | int = 0, most: Sequence[int] | None = None
) -> list[int]:
    """`total` shared out in proportion to `sizes`, in whole numbers (largest remainder; of equals the first).

    Args:
        least, most: bounds of each share; where they leave no way to reach `total`, the nearest sum that they allow.
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


def in_turns(groups: Sequence[Sequence[Hashable]], generator: np.random.Generator) -> list[int]:
    """A random order of items of which every stretch from the start holds the groups in proportion, to an item each.

    Args:
        groups: of each item the group that it belongs to, the group within that one, and so on: (speaker, emotion)
            keeps speakers in proportion, and each speaker's emotions. Groups of one level must be sortable.

    Returns:
        the items' numbers, in that order.
    """
    return _turns(list(range(len(groups))), groups, 0, generator)


def _turns(
    items: list[int], groups: Sequence[Sequence[Hashable]], level: int, generator: np.random.Generator
) -> list[int]:
    if level == (len(groups[items[0]]) if items else 0):
        return [items[i] for i in generator.permutation(len(items))]
    members: dict[Hashable, list[int]] = {}
    for item in items:
        members.setdefault(groups[item][level], []).append(item)
    # Each group's items stand at equal distances from 0 to 1, each group begins elsewhere.
    begins = (generator.permutation(len(members)) + 0.5) / len(members)
    placed = []
    for begin, name in zip(begins, sorted(members), strict=True):
        own = _turns(members[name], groups, level + 1, generator)
        placed += [((turn + begin) / len(own), begin, item) for turn, item in enumerate(own)]
    return [item for _, _, item in sorted(placed)]
