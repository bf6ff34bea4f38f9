"""Work on threads in order, shares in proportion, and random orders with mixed groups."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ser_hf.utils.order import apportion, in_order, interleave


@pytest.mark.parametrize("workers", [1, 3, None])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(in_order(lambda i: i * i, range(100), workers)) == [i * i for i in range(100)]


def test_items_are_taken_a_little_ahead_of_the_reader():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = in_order(lambda i: i, items(), workers=2)
    assert next(results) == 0
    assert len(taken) == 16


def test_items_ahead_of_the_reader_are_bounded_by_their_size(monkeypatch):
    begun = []
    submit = ThreadPoolExecutor.submit

    def recorded_submit(pool, work, item):
        begun.append(item)
        return submit(pool, work, item)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", recorded_submit)
    sizes = [1, 1, 1, 9, 30, 1, 1, 8, 1]
    results = in_order(lambda i: i, range(len(sizes)), workers=2, size=lambda i: sizes[i], most=10)
    last_begun = []
    for i in results:
        last_begun.append(max(begun))
        assert i == len(last_begun) - 1
    # Read are 0, then 1; 3 fits beside 2 alone, 4 with nothing else; then 5 and 6, and 7 with them.
    assert last_begun == [2, 2, 3, 3, 4, 7, 8, 8, 8]


def test_a_reader_that_stops_waits_only_for_started_items(monkeypatch):
    begun = []
    leaving = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def work(i):
        begun.append(i)
        if i:
            leaving.wait(60)
        return i

    def recorded_shutdown(pool, wait=True):
        leaving.set()
        shutdown(pool, wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", recorded_shutdown)
    results = in_order(work, range(100), workers=1)
    assert next(results) == 0
    results.close()
    assert begun in ([0], [0, 1])


def test_an_error_of_the_work_reaches_the_reader():
    results = in_order(lambda i: 1 // (3 - i), range(100), workers=1)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(
    ("total", "sizes", "bounds", "shares"),
    [
        (10, [1, 1], {}, [5, 5]),
        (10, [24, 91, 4, 2], {}, [2, 8, 0, 0]),
        (10, [24, 91, 4, 2], {"least": 1}, [1, 7, 1, 1]),
        (1, [1, 1, 1], {}, [1, 0, 0]),  # of equals the first
        (1, [3, 3], {"least": [1, 1]}, [1, 1]),  # the minimum has precedence over the total
        (9, [3, 3], {"most": [2, 2]}, [2, 2]),
        (6, [2, 10], {"least": [1, 1], "most": [1, 9]}, [1, 5]),
        (3, [0.5, 0.25, 0.25], {}, [1, 1, 1]),
        (4, [1, 10], {"least": [3, 0]}, [3, 1]),
    ],
)
def test_shares_are_whole_and_in_proportion(total, sizes, bounds, shares):
    assert apportion(total, sizes, **bounds) == shares


def groups_of(counts):
    """The group of each item, for {group: number of items}."""
    groups = []
    for group, count in counts.items():
        groups += [group] * count
    return groups


def test_every_stretch_from_the_start_has_groups_in_proportion():
    groups = groups_of({("a",): 60, ("b",): 30, ("c",): 10})
    for seed in range(5):
        order = interleave(groups, np.random.default_rng(seed))
        assert sorted(order) == list(range(100))
        for end in range(1, 101):
            counts = Counter(groups[i] for i in order[:end])
            for group, share in ((("a",), 0.6), (("b",), 0.3), (("c",), 0.1)):
                assert abs(counts[group] - share * end) < 2


def test_groups_within_groups_are_in_proportion_too():
    """A quarter of the clips has a quarter of each speaker's; half of them one of each emotion."""
    groups = [(speaker, emotion) for speaker in range(20) for emotion in range(8) for _ in range(2)]
    for seed in range(5):
        order = interleave(groups, np.random.default_rng(seed))
        first = Counter(groups[i][0] for i in order[:80])
        assert set(first.values()) == {4}
        emotions = Counter(groups[i] for i in order[:160])
        assert set(emotions.values()) <= {1}


def test_the_generator_decides_the_order():
    groups = groups_of({("a", 1): 5, ("a", 2): 3, ("b", 1): 9})
    orders = [interleave(groups, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert interleave([], np.random.default_rng(0)) == []
