"""Progress bars of predictions."""

import os
from collections.abc import Iterable, Iterator

from tqdm.auto import tqdm

from .chunks import Chunk


def progress_bar(total: int | None, unit: str | None = None, title: str = "predicting") -> tqdm:
    """Create a progress bar that counts clips, or windows if `total` is None.

    The number of windows is known only after the recordings are decoded.
    """
    # With None, tqdm shows the bar only on a terminal.
    disable = True if os.environ.get("RANK", "0") != "0" else None
    if unit is None:
        unit = "window" if total is None else "clip"
    return tqdm(desc=title, disable=disable, unit=unit, total=total)


def extend_total(chunks: Iterable[Chunk], bar: tqdm) -> Iterator[Chunk]:
    """Pass the chunks on, and update the total of the progress bar.

    When a recording begins in a chunk, the number of all its windows is added to the total.
    """
    for chunk in chunks:
        new_windows = sum(position.windows for position in chunk.positions if position.number == 0)
        bar.total = (bar.total or 0) + new_windows
        yield chunk
