"""Finding speech in a recording with Silero's detector.

The recording is read in blocks, and the detector keeps its state from block to block, so memory
does not grow with the length: only one probability of speech for each 32 ms is kept.

Source: Silero Team, Silero VAD, https://github.com/snakers4/silero-vad. The package contains its
weights. It needs no onnxruntime: its TorchScript model is used.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..utils.errors import UserError
from ..utils.segments import Segment
from .decode import AudioError, read_header
from .segment_reader import decode_segments

RATE = 16000  # of the detector, in Hz
FRAME_SECONDS = 0.032  # for each of which the detector has a probability
_FRAME = 512  # samples of a frame
_BLOCK_FRAMES = 1875  # a minute, decoded at once

# A pause of this length ends a segment. Pauses between words are mostly shorter (Goldman-Eisler
# 1968 counts pauses from 0.25 s as hesitations).
PAUSE_SECONDS = 0.3
_PAD_SECONDS = 0.05  # kept before and after speech


def find_speech(
    path: str,
    data: bytes | None = None,
    longest: float = math.inf,
    progress: Callable[[float], None] | None = None,
) -> list[Segment]:
    """Find the segments of a recording with speech.

    A segment ends at a pause of `PAUSE_SECONDS`. Speech that lasts longer than `longest` is divided
    at its longest pause before that time.

    Args:
        path: the path of the file, also for messages.
        data: the bytes of the file, which are decoded instead of reading the file.
        longest: the longest segment in seconds.
        progress: a function that receives the seconds of each block when it is processed.

    Returns:
        The segments in the order of time; they do not overlap.

    Raises:
        AudioError: if the file cannot be decoded.
        UserError: if the package silero-vad is not installed.
    """
    probabilities = speech_probabilities(path, data, progress)
    found = _library().utils_vad.get_speech_timestamps_from_probs(
        probabilities,
        sampling_rate=RATE,
        audio_length_samples=len(probabilities) * _FRAME,
        max_speech_duration_s=longest,
        min_silence_duration_ms=round(1000 * PAUSE_SECONDS),
        speech_pad_ms=round(1000 * _PAD_SECONDS),
    )
    duration = _duration(path, data)
    segments = []
    for speech in found:
        end = min(speech["end"] / RATE, duration)
        if end > speech["start"] / RATE:
            segments.append(Segment(speech["start"] / RATE, end))
    return segments


def speech_probabilities(
    path: str, data: bytes | None = None, progress: Callable[[float], None] | None = None
) -> list[float]:
    """The probability of speech in each frame of `FRAME_SECONDS` of a recording.

    Args:
        progress: a function that receives the seconds of each block when it is processed.

    Raises:
        AudioError: if the file cannot be decoded.
    """
    import torch

    with warnings.catch_warnings():
        # torch warns that TorchScript is deprecated.
        warnings.simplefilter("ignore")
        detector = _library().load_silero_vad()
    detector.reset_states()

    duration = _duration(path, data)
    block_seconds = _BLOCK_FRAMES * FRAME_SECONDS
    probabilities = []
    with torch.inference_mode():
        for number in range(math.ceil(duration / block_seconds)):
            start = number * block_seconds
            end = start + block_seconds if start + block_seconds < duration else None
            (block,) = decode_segments(path, [Segment(start, end)], data, RATE)
            if isinstance(block, AudioError):
                raise block
            for frame in _frames(block.samples):
                probabilities.append(detector(torch.from_numpy(frame), RATE).item())
            if progress is not None:
                progress(len(block.samples) / RATE)
    return probabilities


def _frames(samples: np.ndarray) -> np.ndarray:
    """The samples as (frames, samples of a frame); the last frame is padded with zeros."""
    count = max(1, round(len(samples) / _FRAME))
    padded = np.zeros(count * _FRAME, dtype=np.float32)
    padded[: len(samples)] = samples[: len(padded)]
    return padded.reshape(count, _FRAME)


def _duration(path: str, data: bytes | None) -> float:
    header = read_header(path, data)
    if header is None:
        raise AudioError(f"{path}: not readable as audio; restore or remove this file")
    return header.duration


def _library() -> Any:
    try:
        import silero_vad
    except ImportError:
        raise UserError(
            '--segments speech: needs the package silero-vad: pip install "ser_hf[vad]"'
        ) from None
    return silero_vad
