"""Occlusion: on which part of a clip the predicted class depends.

Parts of the clip are removed one after the other, and the model predicts the rest (Zeiler and
Fergus 2014, arXiv:1311.2901, who cover parts of a picture). Here the parts are windows of time,
replaced by silence, and bands of frequencies, removed by a filter. The clips stay waveforms, so
this holds for models of any kind. A removed part may also surprise a model, so a drop shows that
the prediction depends on the part, not why.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy  # scipy.signal takes half a second, which the check of a recipe does not wait for

from .sections import Occlusion

# Occlusion of longer clips needs much memory and time.
LONGEST_SECONDS = 30.0
# Windows overlap by half. They are longer if there would be more than `_MOST_WINDOWS`.
_WINDOW_SECONDS = 0.2
_MOST_WINDOWS = 31
_FADE_SECONDS = 0.005  # without it, the edges of a window would click
# Bands of equal width on the mel scale.
_BANDS = 10
_HIGHEST = 8000.0  # Hz
_FILTER_ORDER = 4
# Number of waveforms in memory.
_BATCH = 16


def occlude(
    classify: Callable[[list[np.ndarray]], np.ndarray], samples: np.ndarray, rate: int
) -> Occlusion:
    """Measure how much the probability of the predicted class drops without each part of a clip.

    Args:
        classify: function from waveforms to probabilities (clips, classes), without the
            preparation that has been applied to `samples`.
        samples: float32 (samples,), as the model receives them.
        rate: their sampling rate in Hz.
    """
    probabilities = np.asarray(classify([samples]))[0]
    predicted = int(probabilities.argmax())
    whole = float(probabilities[predicted])

    length = window_seconds(len(samples) / rate)
    starts = window_starts(len(samples) / rate, length)
    edges = band_edges(rate)
    remains = []
    for occluded in _batches(samples, rate, starts, length, edges):
        remains.extend(np.asarray(classify(occluded))[:, predicted].tolist())
    drops = [round(whole - probability, 4) for probability in remains]

    return Occlusion(
        probability=whole,
        seconds=length,
        starts=[round(start, 3) for start in starts],
        drop_by_window=drops[: len(starts)],
        edges=[round(edge, 1) for edge in edges],
        drop_by_band=drops[len(starts) :],
    )


def _batches(
    samples: np.ndarray,
    rate: int,
    starts: Sequence[float],
    length: float,
    edges: Sequence[float],
) -> Iterator[list[np.ndarray]]:
    """Yield the clip without each window, then without each band, a few of them at a time."""
    batch = []
    for start in starts:
        batch.append(without_window(samples, rate, start, length))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        batch.append(without_band(samples, rate, low, high))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def window_seconds(duration: float) -> float:
    """The length of the windows of a clip, in seconds; at most `duration`, the length of it."""
    longest_number = (_MOST_WINDOWS + 1) / 2
    return min(duration, max(_WINDOW_SECONDS, duration / longest_number))


def window_starts(duration: float, length: float) -> list[float]:
    """The starts of windows in seconds; the last window ends with the clip."""
    last = duration - length
    number = 1 + math.ceil(round(last / (length / 2), 6))
    return np.linspace(0, last, number).tolist()


def band_edges(rate: int) -> list[float]:
    """The `_BANDS + 1` edges of the bands in Hz, up to 8 kHz or half of the sampling rate."""
    highest = min(_HIGHEST, rate / 2)
    mels = np.linspace(0, 2595 * math.log10(1 + highest / 700), _BANDS + 1)
    return (700 * (10 ** (mels / 2595) - 1)).tolist()


def without_window(samples: np.ndarray, rate: int, start: float, length: float) -> np.ndarray:
    """The clip with silence in a window, and short fades before and after it."""
    times = np.arange(len(samples)) / rate
    outside = np.maximum(start - times, times - (start + length))
    gain = np.clip(outside / _FADE_SECONDS, 0, 1)
    return (samples * gain).astype(np.float32)


def without_band(samples: np.ndarray, rate: int, low: float, high: float) -> np.ndarray:
    """The clip without the frequencies from `low` to `high` Hz.

    The Butterworth filter runs forward and backward, so that nothing is moved in time.
    """
    if low <= 0:
        filtered, kind = high, "highpass"
    elif high >= 0.99 * rate / 2:
        filtered, kind = low, "lowpass"
    else:
        filtered, kind = (low, high), "bandstop"
    sections = scipy.signal.butter(_FILTER_ORDER, filtered, btype=kind, fs=rate, output="sos")
    padding = min(3 * (2 * len(sections) + 1), len(samples) - 1)
    return scipy.signal.sosfiltfilt(sections, samples, padlen=padding).astype(np.float32)
