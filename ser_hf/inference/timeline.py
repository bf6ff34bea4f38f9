"""The overlapping windows of a timeline."""

import dataclasses

from ..utils.errors import UserError
from .classifier import Classifier

_SECONDS = 4  # about an utterance of the acted corpora, which most models are trained on


@dataclasses.dataclass(frozen=True)
class Grid:
    """Windows of `window` samples, one every `hop` samples."""

    window: int
    hop: int

    def windows(self, samples: int) -> list[tuple[int, int]]:
        """Return (start, length) of each window of a recording, in samples.

        All windows have the same length: the last one is moved back to end with the recording. A
        recording that is shorter than a window is a single window.
        """
        if samples <= self.window:
            return [(0, samples)]
        last = samples - self.window
        starts = [*range(0, last, self.hop), last]
        return [(start, self.window) for start in starts]


@dataclasses.dataclass(frozen=True)
class Position:
    """The position of a window in its recording.

    Args:
        number: the number of the window, from 0.
        windows: how many windows the recording has.
        start, end: the times in the file in seconds.
    """

    number: int
    windows: int
    start: float
    end: float


def grid_of(classifier: Classifier, window: float | None, hop: float | None) -> Grid:
    """Return the grid of windows of a timeline.

    Args:
        window: the length of a window in seconds. None selects the fixed duration of the model's
            clips, or else the window of the model's evaluation, or else 4 s.
        hop: seconds from one window to the next; None for half a window.

    Raises:
        UserError: if the model cannot process such windows, or the windows leave gaps.
    """
    rate = classifier.extractor.sampling_rate
    fixed = classifier.preparation.fixed_duration
    if fixed is not None and window is not None and window > fixed:
        raise UserError(
            f"--window: {classifier.source} processes at most {fixed:g} s of a clip; "
            "use that or less"
        )

    seconds = window or fixed or classifier.evaluation_window or _SECONDS
    window_samples = classifier.window(seconds, prepared=False)
    hop_samples = max(1, window_samples // 2) if hop is None else round(hop * rate)
    if hop_samples > window_samples:
        raise UserError(
            f"--hop: {hop:g} s leaves gaps between windows of {window_samples / rate:g} s; use less"
        )
    return Grid(window_samples, hop_samples)
