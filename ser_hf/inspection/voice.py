"""Descriptors of the voices in a corpus, computed by librosa for a sample of the clips.

Pitch tracking is slow, so at most `MOST_CLIPS` clips are described, and `SECONDS` of each clip.
This takes a few seconds for a corpus of any size. The sample is not random.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..audio.decode import SHORTEST
from ..audio.segment_reader import decode_segment
from .measure import AudioFile, ordered_labels

# The bounds of the sample.
MOST_CLIPS = 48
SECONDS = 3.0

RATE = 16000
# The range of pitch in speech, from low male voices to shouts, in Hz.
LOWEST_PITCH = 65.0
HIGHEST_PITCH = 600.0
# The grid of the pitch tracker in semitones: twice the default of librosa, for a third of its time.
PITCH_STEP = 0.2
_FRAME = 1024
_HOP = 512
# A frame is quiet if it is this number of dB below the loudest frame.
_QUIET = 30.0

# {descriptor: (unit, name on the page)}
DESCRIPTORS = {
    "pitch": ("Hz", "median pitch"),
    "speech_share": ("%", "share of time with speech"),
    "onset_rate": ("1/s", "onset rate"),
}


@dataclasses.dataclass(frozen=True)
class ClipVoice:
    """The descriptors of one clip.

    Attributes:
        pitch: median fundamental frequency of the voiced frames in Hz, by pYIN (Mauch and Dixon
            2014); None without a voiced frame.
        speech_share: share of the frames that are at most 30 dB below the loudest frame.
        onset_rate: onsets of spectral flux per second of speech, roughly the rate of syllables.
    """

    file: AudioFile
    pitch: float | None
    speech_share: float
    onset_rate: float

    @property
    def label(self) -> str:
        return self.file.clip.emotion


@dataclasses.dataclass(frozen=True)
class Medians:
    """The median of each of the `DESCRIPTORS` over some clips, and the number of these clips.

    A median is None where no clip has the descriptor.
    """

    clips: int
    pitch: float | None
    speech_share: float | None
    onset_rate: float | None

    @classmethod
    def of(cls, voices: Sequence[ClipVoice]) -> "Medians":
        """The medians over these clips."""
        pitches = [voice.pitch for voice in voices if voice.pitch is not None]
        return cls(
            clips=len(voices),
            pitch=_median(pitches),
            speech_share=_median([voice.speech_share for voice in voices]),
            onset_rate=_median([voice.onset_rate for voice in voices]),
        )


@dataclasses.dataclass(frozen=True)
class VoiceSample:
    """The described clips, with similar numbers of clips of each label."""

    clips: tuple[ClipVoice, ...] = ()

    @property
    def labels(self) -> list[str]:
        return ordered_labels([voice.label for voice in self.clips])

    def of_label(self, label: str) -> list[ClipVoice]:
        """The described clips of a label."""
        return [voice for voice in self.clips if voice.label == label]

    def to_dict(self) -> dict[str, Any]:
        """The value of `voice` in `inspect.json`.

        It has the median of each descriptor, by label and over all clips.
        """
        return {
            "clips": len(self.clips),
            "seconds": SECONDS,
            "measures": {
                name: {"unit": unit, "meaning": meaning}
                for name, (unit, meaning) in DESCRIPTORS.items()
            },
            "by_label": {
                label: dataclasses.asdict(Medians.of(self.of_label(label))) for label in self.labels
            },
            "all": dataclasses.asdict(Medians.of(self.clips)),
        }


def describe_voices(clips: Sequence[AudioFile]) -> VoiceSample:
    """Describe the voices in a sample of the clips, which must be usable."""
    return VoiceSample(tuple(describe_clip(file) for file in sample_clips(clips)))


def sample_clips(clips: Sequence[AudioFile], most: int = MOST_CLIPS) -> list[AudioFile]:
    """Choose at most `most` clips with sound, with equal numbers of clips of each label.

    The clips of a label are sorted by id, and chosen at equal distances.
    """
    by_label: dict[str, list[AudioFile]] = {}
    for file in sorted(clips, key=lambda file: file.clip.id):
        if not file.measured.silent and file.measured.duration >= SHORTEST:
            by_label.setdefault(file.clip.emotion, []).append(file)

    sampled: list[AudioFile] = []
    labels = ordered_labels(list(by_label))[:most]
    for label in labels:
        files = by_label[label]
        count = min(most // len(labels), len(files))
        # Take the middle clip of each of `count` equal pieces.
        sampled += [files[int((piece + 0.5) * len(files) / count)] for piece in range(count)]
    return sampled


def speech_of(file: AudioFile) -> np.ndarray:
    """The first `SECONDS` of a clip after the leading silence, float32 (samples,), at `RATE`."""
    return first_speech(decode_segment(file.path, file.segment, sampling_rate=RATE).samples)


def first_speech(samples: np.ndarray) -> np.ndarray:
    """The first `SECONDS` of samples at `RATE` after the leading silence."""
    import librosa

    trimmed, _ = librosa.effects.trim(samples, top_db=_QUIET)
    return trimmed[: round(SECONDS * RATE)]


def describe_clip(file: AudioFile) -> ClipVoice:
    """Compute the descriptors of a clip, from the speech in its first seconds."""
    import librosa

    samples = speech_of(file)
    intervals = librosa.effects.split(samples, top_db=_QUIET, frame_length=_FRAME, hop_length=_HOP)
    flux = librosa.onset.onset_strength(y=samples, sr=RATE, n_fft=_FRAME, hop_length=_HOP)
    onsets = librosa.onset.onset_detect(onset_envelope=flux, sr=RATE, hop_length=_HOP)

    speech = sum(end - start for start, end in intervals)
    return ClipVoice(
        file=file,
        pitch=median_pitch(samples),
        speech_share=float(speech / len(samples)),
        onset_rate=float(len(onsets) * RATE / max(speech, 1)),
    )


def median_pitch(samples: np.ndarray, lowest: float = LOWEST_PITCH) -> float | None:
    """The median fundamental frequency in Hz by pYIN; None without a voiced frame.

    Args:
        samples: speech at `RATE`, float32 (samples,).
        lowest: the lower bound of the search in Hz.
    """
    import librosa

    pitches, voiced, _ = librosa.pyin(
        samples,
        sr=RATE,
        fmin=lowest,
        fmax=HIGHEST_PITCH,
        resolution=PITCH_STEP,
        frame_length=_FRAME,
        hop_length=_HOP,
    )
    return float(np.median(pitches[voiced])) if voiced.any() else None


def _median(values: Sequence[float]) -> float | None:
    """The median, or None without a value."""
    return statistics.median(values) if values else None
