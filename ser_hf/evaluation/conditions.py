"""The conditions of `--robustness`: changes of clips, each at several severities."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import xxhash

from ..audio import transforms

_FRAME_SECONDS = 0.05
_ACTIVE_RANGE = 30.0  # dB
# Volume of an office (m3), and distance from the speaker to a device on the table (m).
_ROOM_VOLUME = 60.0
_DISTANCE = 1.0
# {kbit/s: codec}: G.711 of land lines, and GSM 06.10 (full rate) of early mobile telephones.
_TELEPHONE_CODECS = {64: "mu_law", 13: "gsm"}


def active_frames(waveform: np.ndarray, sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean power of each 50 ms frame, and whether the frame contains speech, (frames,) each.

    The last frame may be shorter.
    """
    starts = np.arange(0, len(waveform), max(1, round(_FRAME_SECONDS * sampling_rate)))
    sums = np.add.reduceat(np.square(waveform, dtype=np.float64), starts)
    powers = sums / np.diff(starts, append=len(waveform))
    return powers, powers >= powers.max() * 10 ** (-_ACTIVE_RANGE / 10)


def add_noise(
    waveform: np.ndarray, noise: np.ndarray, snr: float, sampling_rate: int
) -> np.ndarray:
    """Add noise to a waveform, `snr` dB below the mean power of the frames with speech.

    Both are (samples,).
    """
    powers, active = active_frames(waveform, sampling_rate)
    silence = 10 * math.log10(powers[active].mean() / transforms.mean_power(waveform))
    return transforms.add_noise(waveform, noise, snr - silence)


def room_response(decay: float, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    """An impulse response, float32 (samples,), that falls by 60 dB in `decay` seconds.

    Its direct-to-reverberant ratio is the ratio in a diffuse field: (critical distance / distance)
    squared. The critical distance is 0.057 sqrt(volume / decay) m (H. Kuttruff, Room Acoustics).
    """
    ratio = 10 * math.log10(0.057**2 * _ROOM_VOLUME / decay / _DISTANCE**2)
    return transforms.generated_response(decay, ratio, sampling_rate, rng)


def shorten(waveform: np.ndarray, seconds: float, sampling_rate: int) -> np.ndarray:
    """A view of at most `seconds` of the waveform, around the middle of the speech.

    The middle of the speech is used, and not the middle of the waveform, so that a long silence at
    one end does not shift the part that is kept.
    """
    length = max(1, round(seconds * sampling_rate))
    if length >= len(waveform):
        return waveform
    spoken = np.flatnonzero(active_frames(waveform, sampling_rate)[1])
    frame = max(1, round(_FRAME_SECONDS * sampling_rate))
    middle = (spoken[0] + spoken[-1] + 1) * frame // 2
    start = min(max(0, middle - length // 2), len(waveform) - length)
    return waveform[start : start + length]


# (waveform, severity, sampling rate, random numbers of the clip) -> the changed waveform.
Change = Callable[[np.ndarray, float, int, np.random.Generator], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of change, such as noise, which several conditions apply at different severities.

    Args:
        title: name of the kind.
        axis: name of the severity, for the axis of a picture.
        unit: unit of the severity.
        clean: the severity at which a clip does not change.
        severities: the severities in `CONDITIONS`.
        description: one line about the change; {} is replaced by the severity.
        change: function that applies the change to a clip.
    """

    title: str
    axis: str
    unit: str
    clean: float
    severities: tuple[float, ...]
    description: str
    change: Change


def _add_pink_noise(
    waveform: np.ndarray, snr: float, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    noise = transforms.colored(len(waveform), 1.0, sampling_rate, rng)
    return add_noise(waveform, noise, snr, sampling_rate)


def _reverberate(
    waveform: np.ndarray, decay: float, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    return transforms.reverberate(waveform, room_response(decay, sampling_rate, rng))


def _telephone(
    waveform: np.ndarray, kilobits: float, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    return transforms.telephone(waveform, _TELEPHONE_CODECS[kilobits], sampling_rate)


KINDS = {
    # Pink noise, and not noise with the spectrum of the clip, because that carries emotion. White
    # noise has most of its power above the frequencies of speech, so its effect would depend on the
    # sampling rate.
    "noise": Kind(
        title="pink noise",
        axis="signal-to-noise ratio",
        unit="dB",
        clean=math.inf,
        severities=(20, 10, 5, 0),
        description="noise of equal power in each octave, {} dB below the speech",
        change=_add_pink_noise,
    ),
    "reverberation": Kind(
        title="reverberation",
        axis="RT60",
        unit="s",
        clean=0.0,
        severities=(0.3, 0.6, 1.0),
        description=(
            f"a generated room of {_ROOM_VOLUME:g} m3 in which sound takes {{}} s to fall by 60 "
            f"dB, recorded at {_DISTANCE:g} m; the clip's level and length stay"
        ),
        change=_reverberate,
    ),
    "telephone": Kind(
        title="telephone",
        axis="bit rate",
        unit="kbit/s",
        clean=math.inf,
        severities=(64, 13),
        description=(
            "300 to 3400 Hz at 8 kHz, coded at {} kbit/s (64: G.711 mu-law; 13: GSM full rate)"
        ),
        change=_telephone,
    ),
    "gain": Kind(
        title="gain",
        axis="gain",
        unit="dB",
        clean=0.0,
        severities=(-20, -10, 10),
        description="level changed by {} dB, not limited to full scale",
        change=lambda clip, decibels, rate, rng: transforms.gain(clip, decibels),
    ),
    "duration": Kind(
        title="shortened",
        axis="duration",
        unit="s",
        clean=math.inf,
        severities=(2, 1, 0.5),
        description="at most {} s of the clip, around the middle of the speech",
        change=lambda clip, seconds, rate, rng: shorten(clip, seconds, rate),
    ),
    "speed": Kind(
        title="speed",
        axis="speed",
        unit="times",
        clean=1.0,
        severities=(0.8, 0.9, 1.1, 1.25),
        description="played {} times as fast, pitch and tempo together",
        change=lambda clip, factor, rate, rng: transforms.speed(clip, factor),
    ),
}


@dataclasses.dataclass(frozen=True)
class Condition:
    """A change of clips at one severity; `kind` is a key of `KINDS`."""

    kind: str
    severity: float

    @property
    def name(self) -> str:
        return f"{KINDS[self.kind].title}, {self.severity:g} {KINDS[self.kind].unit}"

    def apply(
        self, waveform: np.ndarray, sampling_rate: int, clip: str, seed: int = 0
    ) -> np.ndarray:
        """Apply the condition to a waveform, float32 (samples,).

        Random numbers depend only on the kind, the id of the clip and the seed, so all severities
        of a kind use the same noise, at different levels. An empty or silent clip has no level and
        stays unchanged.
        """
        kind = KINDS[self.kind]
        if self.severity == kind.clean or not waveform.any():
            return waveform
        clip_seed = xxhash.xxh3_64_intdigest(f"{self.kind}/{clip}".encode())
        rng = np.random.default_rng((seed, clip_seed))
        return kind.change(waveform, self.severity, sampling_rate, rng)


CONDITIONS = tuple(
    Condition(name, severity) for name, kind in KINDS.items() for severity in kind.severities
)
