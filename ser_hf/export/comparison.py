"""What a file answers beside what its model does: on clips alone and padded, and how long both take."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..corpora.synthetic_voice import EMOTIONS, utterance
from ..models.preparation import prepare_waveform
from ..prediction.expert import Expert
from ..prediction.hearing import hear
from ..prediction.reading import Chunk
from ..prediction.recordings import Recording
from ..prediction.tables import probabilities

_TIMED_SECONDS = 2.0  # of repeated answers, within which the median settles
_MOST_TURNS = 20


class Asked(Protocol):
    """A file that answers: `ser_hf.export.session.OnnxSession`, `ser_hf.export.torch_program.TorchProgram`."""

    def alone(self, clips: Sequence[np.ndarray]) -> np.ndarray: ...

    def together(self, clips: Sequence[np.ndarray]) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Difference:
    """Of answers to the same clips: the largest of a logit and of a probability, how many clips get another label, and
    of how many."""

    logits: float
    probabilities: float
    changed: int
    clips: int


def built_in_clips(sampling_rate: int) -> list[np.ndarray]:
    """Four speech-like signals, float32 (samples,), of other lengths and levels, two of them with silence around."""
    clips = [
        utterance(speaker, EMOTIONS[speaker], take=speaker, seed=0, sampling_rate=sampling_rate).astype(np.float32)
        for speaker in range(4)
    ]
    silence = np.zeros(sampling_rate // 5, np.float32)
    second = clips[1][: round(0.4 * sampling_rate)]
    return [clips[0], second, np.concatenate([silence, clips[2], silence]), clips[3] * 0.1]


def own_answers(expert: Expert, clips: Sequence[np.ndarray]) -> np.ndarray:
    """Logits of the model in torch, behind the extractor that it was published with, float32 (clips, labels): each
    clip, float32 (samples,), by itself and whole."""
    rate = expert.extractor.sampling_rate
    prepared = [prepare_waveform(clip, rate, expert.preparation) for clip in clips]
    names = [f"clip {number}" for number in range(1, len(clips) + 1)]
    chunk = Chunk([Recording(name, name) for name in names], prepared, rate)
    return hear(expert, chunk, None, 1).logits


def compare(answers: np.ndarray, expected: np.ndarray, multi_label: bool) -> Difference:
    """Of logits, float32 (clips, labels) both. What is not finite is infinitely far away."""
    away = np.nan_to_num(np.abs(answers - expected), nan=np.inf)
    shares = np.abs(probabilities(answers, multi_label) - probabilities(expected, multi_label))
    changed = answers.argmax(axis=1) != expected.argmax(axis=1)
    nearly = np.nan_to_num(shares, nan=1.0)
    return Difference(float(away.max()), float(nearly.max()), int(changed.sum()), len(expected))


def difference(
    asked: Asked, clips: Sequence[np.ndarray], expected: np.ndarray, padded: bool, multi_label: bool
) -> Difference:
    """That of clips alone; where `padded`, the larger of that and of all padded into one batch."""
    alone = compare(asked.alone(clips), expected, multi_label)
    if not padded:
        return alone
    together = compare(asked.together(clips), expected, multi_label)
    pairs = zip(dataclasses.astuple(alone), dataclasses.astuple(together), strict=True)
    return Difference(*(max(pair) for pair in pairs))


def milliseconds(ask: Callable[[np.ndarray], object], clips: Sequence[np.ndarray]) -> float:
    """A clip, asked alone: the median over turns of the mean over clips."""
    turns, began = [], time.perf_counter()
    for clip in clips:
        ask(clip)  # the first time of a length, memory is laid out
    while len(turns) < 3 or len(turns) < _MOST_TURNS and time.perf_counter() - began < _TIMED_SECONDS:
        start = time.perf_counter()
        for clip in clips:
            ask(clip)
        turns.append((time.perf_counter() - start) / len(clips))
    return 1000 * statistics.median(turns)
