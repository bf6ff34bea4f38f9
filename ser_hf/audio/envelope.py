"""The envelope of a recording: its lowest and highest sample in each of many intervals."""

import dataclasses
import math

import numpy as np

from ..utils.segments import Segment
from .decode import AudioError, read_header
from .segment_reader import decode_segments

_BLOCK_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, eq=False)
class Envelope:
    """The envelope of a recording.

    Attributes:
        low, high: the lowest and highest sample of each interval, float32 (intervals,).
        duration: of the recording, in seconds.
    """

    low: np.ndarray
    high: np.ndarray
    duration: float


def envelope(path: str, intervals: int = 2000) -> Envelope:
    """Read the envelope of a recording; memory holds a minute of it.

    Args:
        intervals: the number of intervals of equal length; fewer for a very short recording.

    Raises:
        AudioError: if the file cannot be decoded.
    """
    header = read_header(path)
    if header is None:
        raise AudioError(f"{path}: not readable as audio; restore or remove this file")
    intervals = max(1, min(intervals, header.frames))
    low = np.zeros(intervals, dtype=np.float32)
    high = np.zeros(intervals, dtype=np.float32)
    for number in range(math.ceil(header.duration / _BLOCK_SECONDS)):
        start = number * _BLOCK_SECONDS
        end = start + _BLOCK_SECONDS
        last = end >= header.duration
        (block,) = decode_segments(path, [Segment(start, None if last else end)])
        if isinstance(block, AudioError):
            raise block
        first = round(start * block.sampling_rate)
        positions = (first + np.arange(len(block.samples))) * intervals // header.frames
        positions = np.minimum(positions, intervals - 1)
        np.minimum.at(low, positions, block.samples)
        np.maximum.at(high, positions, block.samples)
    return Envelope(low, high, header.duration)
