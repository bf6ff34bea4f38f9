"""The conditions of `--robustness`: changes of clips, each at several severities.

White noise, recorded noise, recorded rooms, clipping and MP3 have the severities of Robuser
(github.com/BehavioralSignalTechnologies/ser_robustness) among theirs, and are measured as there.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import xxhash

from ..audio import transforms

_FRAME_SECONDS = 0.05
_ACTIVE_RANGE = 30.0  # dB
# Volume of an office (m3), and distance from the speaker to a device on the table (m).
_ROOM_VOLUME = 60.0
_DISTANCE = 1.0
# Recorded rooms are grouped by RT60: each group has a range of this width in seconds, except the
# first one, which begins at the shortest RT60 of a room.
_ROOM_RANGE = 0.5
_SHORTEST_RT60 = 0.1
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


@dataclasses.dataclass(frozen=True)
class ClipContext:
    """What a change needs besides the waveform and the severity.

    Args:
        sampling_rate: Hz.
        rng: the random numbers of the clip.
        recordings: recordings to draw from, for kinds with `needs_folder`.
    """

    sampling_rate: int
    rng: np.random.Generator
    recordings: Sequence[np.ndarray] = ()


# (waveform, severity, context) -> the changed waveform.
Change = Callable[[np.ndarray, float, ClipContext], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of change, such as noise, which several conditions apply at different severities.

    Args:
        title: name of the kind.
        axis: name of the severity, for the axis of a picture.
        unit: unit of the severity.
        clean: the severity at which a clip does not change.
        severities: the severities of its conditions.
        description: one line about the change; {} is replaced by the severity.
        change: function that applies the change to a clip.
        needs_folder: whether the user's recordings are needed; without them, the kind is left out.
        is_limit: whether a severity is the largest value of several, which a name then says.
    """

    title: str
    axis: str
    unit: str
    clean: float
    severities: tuple[float, ...]
    description: str
    change: Change
    needs_folder: bool = False
    is_limit: bool = False


def _add_pink_noise(waveform: np.ndarray, snr: float, context: ClipContext) -> np.ndarray:
    rate = context.sampling_rate
    noise = transforms.colored(len(waveform), 1.0, rate, context.rng)
    return add_noise(waveform, noise, snr, rate)


def _add_white_noise(waveform: np.ndarray, snr: float, context: ClipContext) -> np.ndarray:
    noise = transforms.gaussian(len(waveform), context.rng)
    return transforms.add_noise(waveform, noise, snr)


def _add_recorded_noise(waveform: np.ndarray, snr: float, context: ClipContext) -> np.ndarray:
    noise = transforms.random_crop(context.recordings, len(waveform), context.rng)
    return transforms.add_noise(waveform, noise, snr)


def _reverberate(waveform: np.ndarray, decay: float, context: ClipContext) -> np.ndarray:
    response = room_response(decay, context.sampling_rate, context.rng)
    return transforms.reverberate(waveform, response)


def _reverberate_in_recorded_room(
    waveform: np.ndarray, decay: float, context: ClipContext
) -> np.ndarray:
    """Convolve with one of the responses, which all have an RT60 in the range up to `decay`."""
    response = context.recordings[int(context.rng.integers(len(context.recordings)))]
    return transforms.reverberate(waveform, response)


def _telephone(waveform: np.ndarray, kilobits: float, context: ClipContext) -> np.ndarray:
    return transforms.telephone(waveform, _TELEPHONE_CODECS[kilobits], context.sampling_rate)


def _clip(waveform: np.ndarray, percent: float, context: ClipContext) -> np.ndarray:
    """Clip a share of the samples that is drawn from 0 to `percent`, as Robuser does."""
    return transforms.clip(waveform, context.rng.random() * percent / 100)


KINDS = {
    # Pink noise, and not noise with the spectrum of the clip, because that carries emotion. It is
    # measured against the speech, so that silence around it does not change the condition.
    "noise": Kind(
        title="pink noise",
        axis="signal-to-noise ratio",
        unit="dB",
        clean=math.inf,
        severities=(20, 10, 5, 0),
        description="noise of equal power in each octave, {} dB below the speech",
        change=_add_pink_noise,
    ),
    # As papers have it: measured against the whole clip. Most of its power is above the frequencies
    # of speech, so its effect depends on the sampling rate.
    "white_noise": Kind(
        title="white noise",
        axis="signal-to-noise ratio",
        unit="dB",
        clean=math.inf,
        severities=(30, 20, 10, 5, 0),
        description="noise of equal power at each frequency, {} dB below the clip with its pauses",
        change=_add_white_noise,
    ),
    "recorded_noise": Kind(
        title="recorded noise",
        axis="signal-to-noise ratio",
        unit="dB",
        clean=math.inf,
        severities=(20, 10, 5, 0),
        description="a segment of a recording of the noise folder, {} dB below the clip with its "
        "pauses",
        change=_add_recorded_noise,
        needs_folder=True,
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
    "recorded_room": Kind(
        title="recorded room",
        axis="largest RT60",
        unit="s",
        clean=0.0,
        severities=(0.5, 1.0, 1.5),
        description=(
            f"an impulse response of the folder with an RT60 in the {_ROOM_RANGE:g} s below {{}} s "
            f"(from {_SHORTEST_RT60:g} s); the clip's level and length stay"
        ),
        change=_reverberate_in_recorded_room,
        needs_folder=True,
        is_limit=True,
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
    "codec": Kind(
        title="MP3",
        axis="bit rate",
        unit="kbit/s",
        clean=math.inf,
        severities=(32, 16, 8),
        description="encoded as MP3 at 16 kHz and {} kbit/s, and decoded",
        change=lambda clip, kilobits, context: transforms.mp3(
            clip, kilobits, context.sampling_rate
        ),
    ),
    "clipping": Kind(
        title="clipping",
        axis="largest share of samples",
        unit="%",
        clean=0.0,
        severities=(20, 40, 60),
        description="the loudest samples clipped at one level: a share of them that is drawn for "
        "each clip, from 0 to {} %",
        change=_clip,
        is_limit=True,
    ),
    "gain": Kind(
        title="gain",
        axis="gain",
        unit="dB",
        clean=0.0,
        severities=(-20, -10, 10),
        description="level changed by {} dB, not limited to full scale",
        change=lambda clip, decibels, context: transforms.gain(clip, decibels),
    ),
    "duration": Kind(
        title="shortened",
        axis="duration",
        unit="s",
        clean=math.inf,
        severities=(2, 1, 0.5),
        description="at most {} s of the clip, around the middle of the speech",
        change=lambda clip, seconds, context: shorten(clip, seconds, context.sampling_rate),
    ),
    "speed": Kind(
        title="speed",
        axis="speed",
        unit="times",
        clean=1.0,
        severities=(0.8, 0.9, 1.1, 1.25),
        description="played {} times as fast, pitch and tempo together",
        change=lambda clip, factor, context: transforms.speed(clip, factor),
    ),
}


@dataclasses.dataclass(frozen=True)
class Condition:
    """A change of clips at one severity.

    Args:
        kind: a key of `KINDS`.
        severity: in the unit of the kind.
        recordings: the recordings that a kind with `needs_folder` draws from.
    """

    kind: str
    severity: float
    recordings: Sequence[np.ndarray] = dataclasses.field(default=(), repr=False, compare=False)

    @property
    def name(self) -> str:
        kind = KINDS[self.kind]
        limit = "up to " if kind.is_limit else ""
        return f"{kind.title}, {limit}{self.severity:g} {kind.unit}"

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
        context = ClipContext(sampling_rate, rng, self.recordings)
        return kind.change(waveform, self.severity, context)


def all_conditions(
    noises: Sequence[np.ndarray] = (), rooms: Sequence[np.ndarray] = (), rate: int = 16000
) -> tuple[Condition, ...]:
    """All conditions, in the order of `KINDS`.

    Args:
        noises: recordings of noise; without any, there is no recorded noise.
        rooms: impulse responses of rooms; without any, there is no recorded room. A condition has
            those in its range of RT60, and is left out if there are none.
        rate: the sampling rate of the recordings, in Hz.
    """
    chosen = []
    for name, kind in KINDS.items():
        if name == "recorded_noise":
            if len(noises):
                chosen += [Condition(name, severity, noises) for severity in kind.severities]
        elif name == "recorded_room":
            chosen += _recorded_rooms(rooms, rate)
        else:
            chosen += [Condition(name, severity) for severity in kind.severities]
    return tuple(chosen)


def _recorded_rooms(rooms: Sequence[np.ndarray], rate: int) -> Iterator[Condition]:
    """The conditions with the impulse responses in their ranges of RT60."""
    decays = np.array([transforms.decay_time(rooms[i], rate) for i in range(len(rooms))])
    for longest in KINDS["recorded_room"].severities:
        shortest = max(_SHORTEST_RT60, longest - _ROOM_RANGE)
        rows = np.flatnonzero((decays > shortest) & (decays <= longest))
        if len(rows):
            yield Condition("recorded_room", longest, [rooms[int(row)] for row in rows])


# The conditions that need no recordings of the user.
CONDITIONS = all_conditions()
