"""Work on threads: in order, little of it ahead of the reader, and none started after the reader has stopped."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ser_hf.utils.parallel import in_order


@pytest.mark.parametrize("workers", [1, 3, None])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(in_order(lambda i: i * i, range(100), workers)) == [i * i for i in range(100)]


def test_items_are_taken_a_little_ahead_of_the_reader():
    taken = []
    results = in_order(lambda i: i, (taken.append(i) or i for i in range(100)), workers=2)
    assert next(results) == 0
    assert len(taken) == 16


def test_no_more_is_ahead_of_the_reader_than_its_sizes_allow(monkeypatch):
    """Large items one by one, small ones together; the order stays."""
    begun, submit = [], ThreadPoolExecutor.submit
    monkeypatch.setattr(ThreadPoolExecutor, "submit", lambda *given: begun.append(given[-1]) or submit(*given))
    sizes = [1, 1, 1, 9, 30, 1, 1, 8, 1]
    results = in_order(lambda i: i, range(len(sizes)), workers=2, size=lambda i: sizes[i], most=10)
    most = []
    for i in results:
        most.append(max(begun))
        assert i == len(most) - 1
    # Read are 0, then 1; 3 fits beside 2 alone, 4 with nothing else; then 5 and 6, and 7 with them.
    assert most == [2, 2, 3, 3, 4, 7, 8, 8, 8]


def test_a_reader_that_stops_waits_only_for_started_items(monkeypatch):
    begun, leaving, shutdown = [], threading.Event(), ThreadPoolExecutor.shutdown

    def work(i):
        begun.append(i)
        if i:
            leaving.wait(60)
        return i

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", lambda pool, wait=True: leaving.set() or shutdown(pool, wait))
    results = in_order(work, range(100), workers=1)
    assert next(results) == 0
    results.close()
    assert begun in ([0], [0, 1])


def test_an_error_of_the_work_reaches_the_reader():
    results = in_order(lambda i: 1 // (3 - i), range(100), workers=1)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
