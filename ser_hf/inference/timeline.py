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
        """(start, length) of the windows of a recording, in samples.

        All windows have the same length: the last one is moved back to end with the recording. A
        recording that is shorter than a window is one window.
        """
        if samples <= self.window:
            return [(0, samples)]
        last = samples - self.window
        starts = [*range(0, last, self.hop), last]
        return [(start, self.window) for start in starts]


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a window is in its recording.

    Args:
        number: from 0.
        windows: how many windows the recording has.
        start, end: seconds of the file.
    """

    number: int
    windows: int
    start: float
    end: float


def grid_of(classifier: Classifier, window: float | None, hop: float | None) -> Grid:
    """The windows of a timeline.

    Args:
        window: seconds; None for the fixed duration of the model's clips, else the window of its
            evaluation, else 4 s.
        hop: seconds; None for half a window.

    Raises:
        UserError: if the model cannot process such windows, or they leave gaps.
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
