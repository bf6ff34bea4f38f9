"""Where the overlapping windows of a recording lie that tell emotion over time."""

from typing import NamedTuple


class Grid(NamedTuple):
    """Windows of so many samples, one every `hop` samples."""

    window: int
    hop: int


class Place(NamedTuple):
    """Which of its recording's windows one is, from 0, how many there are, and the seconds of the file where it begins
    and ends."""

    number: int
    windows: int
    start: float
    end: float


def sliding(samples: int, grid: Grid) -> list[tuple[int, int]]:
    """(start, length) of the windows of a recording, in order.

    All have the length of the grid, so that none is judged on next to nothing: the last one ends with the recording
    and overlaps the one before it by more. A recording that is no longer than a window is one.
    """
    if samples <= grid.window:
        return [(0, samples)]
    last = samples - grid.window
    return [(start, grid.window) for start in (*range(0, last, grid.hop), last)]
