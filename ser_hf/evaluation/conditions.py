"""Under which conditions a model is judged again: what is done to a test clip, how strongly, and in which numbers.

Each condition is of a kind and has a severity, which is a quantity of the field (dB, seconds, kbit/s) rather than a
grade. A condition changes the recording, before anything that a model does to prepare it.

The level of speech is its mean power while somebody speaks: over frames of 50 ms at most 30 dB softer than the loudest
one, within 0.4 dB of ITU-T P.56's active level on average over RAVDESS and EMO-DB. Over the whole clip, silence
counted, the same ratio would be 3 dB less noise on RAVDESS, of which half is silence, and 0.4 dB on EMO-DB.
"""

import dataclasses
import io
import math

import numpy as np
import soundfile
import soxr
import xxhash

from ..audio import channels, noises, rooms, voices
from ..errors import UserError

_FRAME_SECONDS = 0.05
_ACTIVE_RANGE = 30.0  # dB
# Of the room, m3, and from the speaker to the microphone, m: an office, and a laptop or telephone on the table.
_ROOM_VOLUME, _DISTANCE = 60.0, 1.0
# What a telephone line's kbit/s are those of: G.711 on land lines, GSM 06.10 (full rate) on early mobile ones.
_TELEPHONE_CODECS = {64: "mu_law", 13: "gsm"}
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # Hz
_OPUS_BIT_RATES = (6, 256)  # kbit/s of one channel, libsndfile's compression levels 1 and 0


@dataclasses.dataclass(frozen=True)
class Kind:
    """What conditions of a kind have in common.

    Args:
        title, axis: its name, and that of its severity.
        unit: of the severity.
        clean: the severity at which nothing is changed.
        bounds: the severities that there are, with their ends.
        severities: those of `CONDITIONS`.
        description: one line, {} being the severity.
    """

    title: str
    axis: str
    unit: str
    clean: float
    bounds: tuple[float, float]
    severities: tuple[float, ...]
    description: str


KINDS = {
    # The axis of noise: it tells nothing of the clip, while noise with the clip's own spectrum carries that of the
    # emotion along, and its octaves are equally strong, as speech's are roughly. White noise has half of its power
    # above 4 kHz (at 16 kHz), where little speech is: how much one SNR covers depends on the sampling rate.
    "noise": Kind(
        *("pink noise", "signal-to-noise ratio", "dB", math.inf, (-30.0, 100.0), (20, 10, 5, 0)),
        "noise of equal power in each octave, {} dB below the speech",
    ),
    "white_noise": Kind(
        *("white noise", "signal-to-noise ratio", "dB", math.inf, (-30.0, 100.0), (20, 10, 5, 0)),
        "noise of equal power at each frequency, {} dB below the speech",
    ),
    "reverberation": Kind(
        *("reverberation", "RT60", "s", 0.0, (0.01, 10.0), (0.3, 0.6, 1.0)),
        f"a generated room of {_ROOM_VOLUME:g} m3 in which sound takes {{}} s to fall by 60 dB, heard from "
        f"{_DISTANCE:g} m; the clip's level and length stay",
    ),
    "telephone": Kind(
        *("telephone", "bit rate", "kbit/s", math.inf, (13, 64), (64, 13)),
        "300 to 3400 Hz at 8 kHz, coded at {} kbit/s (64: G.711 mu-law; 13: GSM full rate)",
    ),
    "codec": Kind(
        *("Opus", "bit rate", "kbit/s", math.inf, _OPUS_BIT_RATES, (24, 12, 6)),
        "coded by Opus, as calls and voice messages are, at {} kbit/s while somebody speaks (less in silence; without "
        "the container)",
    ),
    "gain": Kind(
        *("gain", "gain", "dB", 0.0, (-100.0, 100.0), (-20, -10, 10)),
        "level changed by {} dB, nothing limited to full scale",
    ),
    "saturation": Kind(
        *("saturation", "gain", "dB", 0.0, (0.0, 100.0), (10, 20)),
        "level raised by {} dB, what exceeds full scale cut off",
    ),
    "clipping": Kind(
        *("clipping", "samples clipped", "%", 0.0, (0.0, 99.0), (1, 5, 20)),
        "the loudest {} % of the clip's samples cut off at one level",
    ),
    "duration": Kind(
        *("shortened", "duration", "s", math.inf, (0.001, 1e6), (2, 1, 0.5)),
        "at most {} s of the clip, around the middle of what is spoken",
    ),
    "speed": Kind(
        *("speed", "speed", "times", 1.0, (0.1, 10.0), (0.8, 0.9, 1.1, 1.25)),
        "played {} times as fast, pitch and tempo together",
    ),
}


@dataclasses.dataclass(frozen=True)
class Condition:
    """One thing that is done to clips: a key of `KINDS` and how strongly.

    Raises:
        UserError: for a kind that there is not, or a severity outside its bounds.
    """

    kind: str
    severity: float

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UserError(f"conditions: {self.kind!r} is none of {', '.join(KINDS)}")
        if self.severity == self.of.clean:
            return
        low, high = self.of.bounds
        if self.kind == "telephone" and self.severity not in _TELEPHONE_CODECS:
            raise UserError(f"conditions: telephone: there are lines of 64 and 13 kbit/s, not of {self.severity}")
        if not low <= self.severity <= high:
            raise UserError(f"conditions: {self.kind}: expected {low:g} to {high:g} {self.unit}, got {self.severity}")

    @property
    def of(self) -> Kind:
        return KINDS[self.kind]

    @property
    def unit(self) -> str:
        return self.of.unit

    @property
    def name(self) -> str:
        return f"{self.of.title}, {self.severity:g} {self.unit}"

    @property
    def description(self) -> str:
        return self.of.description.format(f"{self.severity:g}")


CONDITIONS = tuple(Condition(name, severity) for name, kind in KINDS.items() for severity in kind.severities)


def clip_generator(kind: str, clip: str, seed: int) -> np.random.Generator:
    """The random numbers of one clip: its name and the kind decide them, not its place, batch or process. Severities
    of a kind share them, so that they are of one noise at several levels, and their differences are of the level."""
    return np.random.default_rng((seed, xxhash.xxh3_64_intdigest(f"{kind}/{clip}".encode())))


def apply_condition(
    condition: Condition, waveform: np.ndarray, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """The clip, float32 (samples,), under a condition: float32, as long as it was unless the condition is of its
    length. The clip is not written to; it, or a view of it, is what comes back where nothing is to be done: at the
    kind's clean severity, and of an empty or silent clip, which has no level, under all conditions."""
    severity = condition.severity
    if severity == condition.of.clean or not waveform.any():
        return waveform
    match condition.kind:
        case "noise":
            noise = noises.coloured(len(waveform), 1.0, sampling_rate, rng)
            return add_noise(waveform, noise, severity, sampling_rate)
        case "white_noise":
            return add_noise(waveform, noises.gaussian(len(waveform), rng), severity, sampling_rate)
        case "reverberation":
            return rooms.reverberate(waveform, room_response(severity, sampling_rate, rng))
        case "telephone":
            return channels.telephone(waveform, _TELEPHONE_CODECS[severity], sampling_rate)
        case "codec":
            return opus(waveform, severity, sampling_rate)
        case "gain":
            return channels.gain(waveform, severity)
        case "saturation":
            return np.clip(channels.gain(waveform, severity), -1, 1)
        case "clipping":
            return channels.clip(waveform, severity / 100)
        case "duration":
            return shorten(waveform, severity, sampling_rate)
        case "speed":
            return voices.speed(waveform, severity)
    raise ValueError(f"{condition.kind}: no kind of condition")


def active_frames(waveform: np.ndarray, sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean powers of the frames of 50 ms, (frames,), the last one of what is left, and whether speech is in each."""
    starts = np.arange(0, len(waveform), max(1, round(_FRAME_SECONDS * sampling_rate)))
    sums = np.add.reduceat(np.square(waveform, dtype=np.float64), starts)
    powers = sums / np.diff(starts, append=len(waveform))
    return powers, powers >= powers.max() * 10 ** (-_ACTIVE_RANGE / 10)


def speech_power(waveform: np.ndarray, sampling_rate: int) -> float:
    """The mean power of the frames in which there is speech."""
    powers, active = active_frames(waveform, sampling_rate)
    return float(powers[active].mean())


def add_noise(waveform: np.ndarray, noise: np.ndarray, snr: float, sampling_rate: int) -> np.ndarray:
    """The waveform and `noise`, both (samples,), whose power over the whole clip is `snr` dB below the speech's."""
    silence = 10 * math.log10(speech_power(waveform, sampling_rate) / noises.mean_power(waveform))
    return noises.add_noise(waveform, noise, snr - silence)


def room_response(decay: float, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    """An impulse response, float32 (samples,), that falls by 60 dB in `decay` seconds.

    Its direct-to-reverberant ratio is that of a diffuse field: (critical distance / distance) squared, the critical
    distance being 0.057 sqrt(volume / decay) m (H. Kuttruff, Room Acoustics).
    """
    ratio = 10 * math.log10(0.057**2 * _ROOM_VOLUME / decay / _DISTANCE**2)
    return rooms.generated_response(decay, ratio, sampling_rate, rng)


def opus(waveform: np.ndarray, kilobits: float, sampling_rate: int) -> np.ndarray:
    """Coded by Opus (RFC 6716) and decoded, float32 (samples,), in its place in time. A clip beyond full scale is
    coded at full scale, and brought back.

    Args:
        kilobits: kbit/s that the coder aims at, its rate being variable. Of 24, 12 and 6 its packets take 23.0, 11.8
            and 5.9 on EMO-DB, and on RAVDESS, half of which is silence, 15.6, 8.9 and 4.6.
    """
    rate = min((rate for rate in _OPUS_RATES if rate >= sampling_rate), default=_OPUS_RATES[-1])
    peak = max(np.float32(1), np.abs(waveform).max())
    narrow = soxr.resample(waveform / peak, sampling_rate, rate)
    # A clip of a sample or two may vanish on the way down from higher rates.
    stream = opus_stream(narrow if len(narrow) else np.zeros(1, dtype=np.float32), kilobits, rate)
    decoded, _ = soundfile.read(io.BytesIO(stream), dtype="float32")
    wide = soxr.resample(decoded, rate, sampling_rate)[: len(waveform)] * peak
    return np.pad(wide, (0, len(waveform) - len(wide)))


def opus_stream(waveform: np.ndarray, kilobits: float, sampling_rate: int) -> bytes:
    """The file in an Ogg container; `sampling_rate` is one of Opus's own."""
    least, most = _OPUS_BIT_RATES
    level = (most - kilobits) / (most - least)
    file = io.BytesIO()
    soundfile.write(file, waveform, sampling_rate, format="OGG", subtype="OPUS", compression_level=level)
    return file.getvalue()


def shorten(waveform: np.ndarray, seconds: float, sampling_rate: int) -> np.ndarray:
    """At most so many seconds, a view, around the middle between the first and the last frame with speech: silence at
    either end, of which corpora have more or less, does not decide what is left."""
    length = max(1, round(seconds * sampling_rate))
    if length >= len(waveform):
        return waveform
    spoken = np.flatnonzero(active_frames(waveform, sampling_rate)[1])
    frame = max(1, round(_FRAME_SECONDS * sampling_rate))
    middle = (spoken[0] + spoken[-1] + 1) * frame // 2
    start = min(max(0, middle - length // 2), len(waveform) - length)
    return waveform[start : start + length]


def check_opus() -> None:
    """Raises a `UserError` where libsndfile was built without Opus."""
    if "OPUS" not in soundfile.available_subtypes("OGG"):
        raise UserError(
            f"conditions: codec: libsndfile {soundfile.__libsndfile_version__} here writes no Opus; install soundfile "
            "from PyPI, or leave the kind out"
        )
