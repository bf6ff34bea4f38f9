"""Preparation of clips (silence, level, duration, functionals), and the feature extractor that
applies it in a published model."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from transformers import BatchFeature, Wav2Vec2FeatureExtractor

# the usual targets: dBFS of the largest sample, LUFS of EBU R 128
LEVELS = {"peak": -1.0, "loudness": -23.0}
_HOP_SECONDS = 0.016
_HOPS = 4  # in a frame of 64 ms
# ITU-R BS.1770-5, annex 1: blocks of 400 ms every 100 ms, an absolute gate of -70 LUFS and a
# relative one of -10 LU.
_BLOCK_SECONDS = 0.4
_BLOCK_HOP_SECONDS = 0.1
# as powers
_ABSOLUTE_GATE = 10 ** ((-70.0 + 0.691) / 10)
_RELATIVE_GATE = 0.1
# The analog prototypes of its two filters (Hz, dB, quality), of which the bilinear transform is
# taken.
_SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)
_RINGING_SECONDS = 0.2  # by then the high-pass, the slower filter, has decayed to 1e-20
# openSMILE's names of its feature sets -> numbers per clip
FUNCTIONALS = {"eGeMAPSv02": 88, "ComParE_2016": 6373}
_SHORTEST_SECONDS = 0.1  # openSMILE returns nothing for clips below its longest frame, 60 ms


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Steps of the preparation, in this order; None leaves one out.

    Args:
        trim_silence: dB below the clip's loudest frame that count as silence at its beginning and
            end.
        level: ``"peak"``, the largest magnitude, or ``"loudness"``, gated after ITU-R BS.1770.
        target_level: dBFS of a peak, LUFS of a loudness (by default -1 and -23).
        fixed_duration: seconds of every clip.
        functionals: the feature set (`FUNCTIONALS`) of openSMILE whose numbers replace the samples
            of the clip.
    """

    trim_silence: float | None = None
    level: str | None = None
    target_level: float | None = None
    fixed_duration: float | None = None
    functionals: str | None = None

    def __post_init__(self):
        if self.functionals is not None:
            _smile(self.functionals)
        if self.level is not None and self.level not in LEVELS:
            raise ValueError(f"level: {self.level!r} is not one of {', '.join(LEVELS)} or null")
        for name, unit, most in (("trim_silence", "dB", 200), ("fixed_duration", "seconds", 3600)):
            value = getattr(self, name)
            if value is not None and not 0 < value <= most:
                raise ValueError(
                    f"{name}: expected a positive number of {unit}, at most {most:,}, got {value}"
                )
        if self.target_level is not None:
            if self.level is None:
                raise ValueError(
                    "target_level: belongs to a level; set level to peak or loudness as well"
                )
            if not -100 <= self.target_level <= 0:
                raise ValueError(
                    f"target_level: expected -100 to 0 (full scale), got {self.target_level}"
                )
        elif self.level is not None:  # saved with the model
            object.__setattr__(self, "target_level", LEVELS[self.level])

    @property
    def active(self) -> bool:
        return self != UNPREPARED


UNPREPARED = Preparation()


def prepare_waveform(
    samples: np.ndarray, sampling_rate: int, preparation: Preparation
) -> np.ndarray:
    """Apply a `Preparation` to one clip.

    Args:
        samples: float32 (samples,), mono.
        sampling_rate: Hz.
        preparation: the steps; without any the clip is returned as it is.

    Returns:
        float32 (prepared samples,), or (functionals,).
    """
    samples = np.asarray(samples, dtype=np.float32)
    if preparation.trim_silence is not None:
        samples = trim_silence(samples, sampling_rate, preparation.trim_silence)
    if preparation.level is not None:
        samples = set_level(samples, sampling_rate, preparation.level, preparation.target_level)
    if preparation.fixed_duration is not None:
        samples = fix_length(samples, max(1, round(preparation.fixed_duration * sampling_rate)))
    if preparation.functionals is not None:
        samples = compute_functionals(samples, sampling_rate, preparation.functionals)
    return samples


def trim_silence(samples: np.ndarray, sampling_rate: int, below: float) -> np.ndarray:
    """A view of the samples from the first to the last frame that is less than `below` dB under the
    loudest one, as `librosa.effects.trim` with frames of 64 ms every 16 ms. At least one frame
    stays, and all of a clip of zeros."""
    hop = max(1, round(_HOP_SECONDS * sampling_rate))
    whole = len(samples) // hop
    energies = np.zeros(whole + _HOPS)
    # Hop by hop and then four to a frame: running sums would lose quiet frames to rounding.
    squares = np.square(samples, dtype=np.float64)
    energies[2 : whole + 2] = squares[: whole * hop].reshape(whole, hop).sum(axis=1)
    energies[whole + 2] = squares[whole * hop :].sum()
    frames = sum(energies[i : i + whole + 1] for i in range(_HOPS))
    loud = np.flatnonzero(frames > frames.max() * 10 ** (-below / 10))
    if len(loud) == 0:
        return samples
    start = loud[0] * hop
    stop = (loud[-1] + 1) * hop
    stop = max(stop, _HOPS * hop)
    return samples[max(0, min(start, min(stop, len(samples)) - _HOPS * hop)) : stop]


def set_level(samples: np.ndarray, sampling_rate: int, level: str, target: float) -> np.ndarray:
    """The samples, float32, with a peak of `target` dBFS or a loudness of `target` LUFS; peaks may
    exceed 1. Silence is unchanged, and so is a clip without a loudness (see `gated_loudness`)."""
    if level == "peak":
        peak = float(np.abs(samples).max(initial=0.0))
        now = 20 * math.log10(peak) if peak > 0 else None
    else:
        now = gated_loudness(samples, sampling_rate)
    if now is None:
        return samples
    return (samples * np.float64(10 ** ((target - now) / 20))).astype(np.float32)


def fix_length(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut (samples,) to `length` samples, or append zeros up to it; no attention mask marks these
    zeros as padding.
    """
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def compute_functionals(samples: np.ndarray, sampling_rate: int, feature_set: str) -> np.ndarray:
    """Compute openSMILE's functionals (Eyben et al. 2010) of a clip (samples,): float32
    (functionals,), 0 for those that are not finite. A clip shorter than 0.1 s is padded with zeros.
    """
    samples = fix_length(samples, max(len(samples), math.ceil(_SHORTEST_SECONDS * sampling_rate)))
    # openSMILE takes 16 bits, in which 1.0 would become -1.0.
    samples = samples.clip(-1.0, 1.0 - 2.0**-15)
    numbers = _smile(feature_set)(samples, sampling_rate).reshape(-1)
    return np.nan_to_num(numbers, posinf=0.0, neginf=0.0).astype(np.float32)


@functools.cache
def _smile(feature_set: str) -> Any:
    """The extractor of a feature set, one per process; several threads may call it."""
    if feature_set not in FUNCTIONALS:
        raise ValueError(
            f"functionals: {feature_set!r} is not one of {', '.join(FUNCTIONALS)} or null"
        )
    try:
        import opensmile
    except ImportError:
        raise ImportError(
            "functionals: openSMILE is not installed: pip install opensmile"
        ) from None
    return opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals)


def gated_loudness(samples: np.ndarray, sampling_rate: int) -> float | None:
    """Measure the integrated loudness of a clip after ITU-R BS.1770-5.

    Args:
        samples: (samples,), mono; a clip shorter than a block (400 ms) is one block.
        sampling_rate: Hz.

    Returns:
        LUFS; None if no block is above -70 LUFS, or the rate is too low for the weighting filter
        (6.7 kHz).
    """
    if sampling_rate < 4 * _SHELF[0] or len(samples) == 0:
        return None
    power = np.square(_k_weighted(samples, sampling_rate))
    block = round(_BLOCK_SECONDS * sampling_rate)
    hop = round(_BLOCK_HOP_SECONDS * sampling_rate)
    if len(power) <= block:
        means = np.array([power.mean()])
    else:
        sums = np.concatenate([[0.0], np.cumsum(power)])
        starts = np.arange(0, len(power) - block + 1, hop)
        means = (sums[starts + block] - sums[starts]) / block
    means = means[means > _ABSOLUTE_GATE]
    if len(means) == 0:
        return None
    return -0.691 + 10 * math.log10(means[means > _RELATIVE_GATE * means.mean()].mean())


def _k_weighted(samples: np.ndarray, sampling_rate: int) -> np.ndarray:
    """The samples through both filters, float64 (samples,), in pieces of spectra."""
    response, part = _k_response(sampling_rate)
    size = 2 * (len(response) - 1)
    weighted = np.zeros(len(samples) + size)
    for begin in range(0, len(samples), part):
        spectrum = np.fft.rfft(samples[begin : begin + part].astype(np.float64), size)
        weighted[begin : begin + size] += np.fft.irfft(spectrum * response, size)
    return weighted[: len(samples)]


@functools.lru_cache(maxsize=8)
def _k_response(sampling_rate: int) -> tuple[np.ndarray, int]:
    """The complex response of both filters, complex128 (bins,), and how many samples to transform
    at once.
    """
    ringing = round(_RINGING_SECONDS * sampling_rate)
    size = 2 ** math.ceil(math.log2(4 * ringing))
    delay = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    powers = np.stack([np.ones_like(delay), delay, delay**2])
    frequency, gain, quality = _SHELF
    k = math.tan(math.pi * frequency / sampling_rate)
    high = 10 ** (gain / 20)
    band = high**0.4996667741545416
    above = [
        high + band * k / quality + k * k,
        2 * (k * k - high),
        high - band * k / quality + k * k,
    ]
    shelf = (above @ powers) / (_denominator(k, quality) @ powers)
    frequency, quality = _HIGH_PASS
    k = math.tan(math.pi * frequency / sampling_rate)
    below = _denominator(k, quality)
    # In the recommendation's table the numerator of the high-pass is 1, -2, 1 and its denominator
    # begins with 1.
    return shelf * below[0] * ([1, -2, 1] @ powers) / (below @ powers), size - ringing


def _denominator(k: float, quality: float) -> np.ndarray:
    return np.array([1 + k / quality + k * k, 2 * (k * k - 1), 1 - k / quality + k * k])


class PreparedFeatureExtractor(Wav2Vec2FeatureExtractor):
    """`Wav2Vec2FeatureExtractor` that first applies a `Preparation`, which preprocessor_config.json
    holds too.
    """

    def __init__(
        self,
        trim_silence: float | None = None,
        level: str | None = None,
        target_level: float | None = None,
        fixed_duration: float | None = None,
        functionals: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        vars(self).update(
            vars(Preparation(trim_silence, level, target_level, fixed_duration, functionals))
        )

    @classmethod
    def from_stock(
        cls, extractor: Wav2Vec2FeatureExtractor, preparation: Preparation
    ) -> "PreparedFeatureExtractor":
        return cls.from_dict(_settings(extractor) | vars(preparation))

    def stock(self) -> Wav2Vec2FeatureExtractor:
        """The stock extractor without the preparation, for waveforms that are prepared already."""
        settings = _settings(self)
        return Wav2Vec2FeatureExtractor(
            **{key: settings[key] for key in settings if key not in vars(UNPREPARED)}
        )

    @property
    def preparation(self) -> Preparation:
        return Preparation(**{name: getattr(self, name) for name in vars(UNPREPARED)})

    def __call__(self, raw_speech: np.ndarray | list, *args: Any, **kwargs: Any) -> BatchFeature:
        """As the stock class; `truncation` and `padding` come after the preparation."""
        several = len(raw_speech) > 0 and np.ndim(raw_speech[0]) > 0  # the stock class's own rule
        prepared = (
            [self._prepared(clip) for clip in raw_speech] if several else self._prepared(raw_speech)
        )
        return super().__call__(prepared, *args, **kwargs)

    def _prepared(self, clip: np.ndarray | list) -> np.ndarray:
        samples = np.asarray(clip, dtype=np.float32)
        if samples.ndim != 1:
            raise ValueError(
                f"expected mono clips, one number per sample, got an array of shape {samples.shape}"
            )
        return prepare_waveform(samples, self.sampling_rate, self.preparation)


def _settings(extractor: Wav2Vec2FeatureExtractor) -> dict[str, Any]:
    """An extractor's settings, without the keys that name its class."""
    settings = extractor.to_dict()
    return {
        key: settings[key] for key in settings if key not in ("feature_extractor_type", "auto_map")
    }
