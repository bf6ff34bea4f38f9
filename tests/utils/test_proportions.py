"""Largest remainders within bounds, and orders in which every stretch has its groups in proportion."""

from collections import Counter

import numpy as np
import pytest

from ser_hf.utils.proportions import apportion, in_turns


@pytest.mark.parametrize(
    ("total", "sizes", "bounds", "shares"),
    [
        (10, [1, 1], {}, [5, 5]),
        (10, [24, 91, 4, 2], {}, [2, 8, 0, 0]),
        (10, [24, 91, 4, 2], {"least": 1}, [1, 7, 1, 1]),
        (1, [1, 1, 1], {}, [1, 0, 0]),  # of equals the first
        (1, [3, 3], {"least": [1, 1]}, [1, 1]),  # the least goes before the total
        (9, [3, 3], {"most": [2, 2]}, [2, 2]),
        (6, [2, 10], {"least": [1, 1], "most": [1, 9]}, [1, 5]),
        (3, [0.5, 0.25, 0.25], {}, [1, 1, 1]),
    ],
)
def test_shares_are_whole_and_in_proportion(total, sizes, bounds, shares):
    assert apportion(total, sizes, **bounds) == shares


def test_unbounded_shares_differ_by_less_than_one_from_the_ideal():
    generator = np.random.default_rng(0)
    for _ in range(50):
        sizes, total = generator.integers(1, 100, size=6), int(generator.integers(1, 500))
        shares = apportion(total, sizes)
        assert sum(shares) == total
        assert np.abs(np.asarray(shares) - total * sizes / sizes.sum()).max() < 1


def groups_of(counts):
    return [group for group, count in counts.items() for _ in range(count)]


def test_every_stretch_from_the_start_has_groups_in_proportion():
    groups = groups_of({("a",): 60, ("b",): 30, ("c",): 10})
    for seed in range(5):
        order = in_turns(groups, np.random.default_rng(seed))
        assert sorted(order) == list(range(100))
        for end in range(1, 101):
            found = Counter(groups[i] for i in order[:end])
            for group, share in ((("a",), 0.6), (("b",), 0.3), (("c",), 0.1)):
                assert abs(found[group] - share * end) < 2


def test_groups_within_groups_are_in_proportion_too():
    """A quarter of the clips has a quarter of each speaker's, although that is half a clip of each emotion."""
    groups = [(speaker, emotion) for speaker in range(20) for emotion in range(8) for _ in range(2)]
    for seed in range(5):
        order = in_turns(groups, np.random.default_rng(seed))
        first = Counter(groups[i][0] for i in order[:80])
        assert set(first.values()) == {4}
        emotions = Counter(groups[i] for i in order[:160])
        assert set(emotions.values()) <= {1}


def test_the_order_is_the_generator_s():
    groups = groups_of({("a", 1): 5, ("a", 2): 3, ("b", 1): 9})
    orders = [in_turns(groups, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert in_turns([], np.random.default_rng(0)) == []
