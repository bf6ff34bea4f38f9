"""Preparation of clips: silence, level, duration and functionals; and a feature extractor."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from transformers import BatchFeature, Wav2Vec2FeatureExtractor

# The default targets: a peak in dBFS, and the loudness of EBU R 128 in LUFS.
LEVELS = {"peak": -1.0, "loudness": -23.0}
_HOP_SECONDS = 0.016
_HOPS = 4  # hops in a frame of 64 ms
# ITU-R BS.1770-5, annex 1: blocks of 400 ms every 100 ms, an absolute gate of -70 LUFS and a
# relative gate of -10 LU.
_BLOCK_SECONDS = 0.4
_BLOCK_HOP_SECONDS = 0.1
# The two gates as powers.
_ABSOLUTE_GATE = 10 ** ((-70.0 + 0.691) / 10)
_RELATIVE_GATE = 0.1
# The analog prototypes of the two filters of BS.1770 (Hz, dB, quality), before the bilinear
# transform.
_SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)
_RINGING_SECONDS = 0.2  # after this time the high-pass, the slower filter, has decayed to 1e-20
# The feature sets of openSMILE, and the number of functionals per clip.
FUNCTIONALS = {"eGeMAPSv02": 88, "ComParE_2016": 6373}
_SHORTEST_SECONDS = 0.1  # openSMILE returns nothing for clips below its longest frame, 60 ms


@dataclasses.dataclass(frozen=True)
class Preparation:
    """The steps of the preparation, in this order; None leaves a step out.

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
        _check_positive("trim_silence", self.trim_silence, unit="dB", most=200)
        _check_positive("fixed_duration", self.fixed_duration, unit="seconds", most=3600)
        self._check_level()
        if self.level is not None and self.target_level is None:
            # The default is saved with the model.
            object.__setattr__(self, "target_level", LEVELS[self.level])

    def _check_level(self) -> None:
        if self.level is not None and self.level not in LEVELS:
            raise ValueError(f"level: {self.level!r} is not one of {', '.join(LEVELS)} or null")
        if self.target_level is None:
            return
        if self.level is None:
            raise ValueError(
                "target_level: belongs to a level; set level to peak or loudness as well"
            )
        if not -100 <= self.target_level <= 0:
            raise ValueError(
                f"target_level: expected -100 to 0 (full scale), got {self.target_level}"
            )

    @property
    def active(self) -> bool:
        """Whether the preparation has any step."""
        return self != UNPREPARED


def _check_positive(name: str, value: float | None, *, unit: str, most: float) -> None:
    if value is not None and not 0 < value <= most:
        raise ValueError(
            f"{name}: expected a positive number of {unit}, at most {most:,}, got {value}"
        )


UNPREPARED = Preparation()


def prepare_waveform(
    samples: np.ndarray, sampling_rate: int, preparation: Preparation
) -> np.ndarray:
    """Apply a `Preparation` to one clip.

    Args:
        samples: float32 (samples,), mono.
        sampling_rate: Hz.
        preparation: the steps; without any step the clip is returned as it is.

    Returns:
        float32 (prepared samples,), or (functionals,).
    """
    samples = np.asarray(samples, dtype=np.float32)
    if preparation.trim_silence is not None:
        samples = trim_silence(samples, sampling_rate, preparation.trim_silence)
    if preparation.level is not None:
        samples = set_level(samples, sampling_rate, preparation.level, preparation.target_level)
    if preparation.fixed_duration is not None:
        length = max(1, round(preparation.fixed_duration * sampling_rate))
        samples = fix_length(samples, length)
    if preparation.functionals is not None:
        samples = compute_functionals(samples, sampling_rate, preparation.functionals)
    return samples


def trim_silence(samples: np.ndarray, sampling_rate: int, below: float) -> np.ndarray:
    """Cut silence at the beginning and the end, as `librosa.effects.trim`.

    Args:
        samples: (samples,).
        sampling_rate: Hz.
        below: a frame is silent if it is this many dB or more under the loudest frame. Frames are
            64 ms long, every 16 ms.

    Returns:
        A view of the samples, at least as long as a frame. If all samples are zero, none is cut.
    """
    hop = max(1, round(_HOP_SECONDS * sampling_rate))
    energies = _frame_energies(samples, hop)
    loud = np.flatnonzero(energies > energies.max() * 10 ** (-below / 10))
    if len(loud) == 0:
        return samples
    start = loud[0] * hop
    stop = max((loud[-1] + 1) * hop, _HOPS * hop)
    latest_start = min(stop, len(samples)) - _HOPS * hop
    return samples[max(0, min(start, latest_start)) : stop]


def _frame_energies(samples: np.ndarray, hop: int) -> np.ndarray:
    """Energies of frames of `_HOPS` hops, centered at every hop: float64 (hops + 1,)."""
    whole = len(samples) // hop
    # Add the squares of each hop, then four hops for each frame: running sums would lose quiet
    # frames to rounding.
    squares = np.square(samples, dtype=np.float64)
    hop_energies = np.zeros(whole + _HOPS)
    hop_energies[2 : whole + 2] = squares[: whole * hop].reshape(whole, hop).sum(axis=1)
    hop_energies[whole + 2] = squares[whole * hop :].sum()
    return sum(hop_energies[i : i + whole + 1] for i in range(_HOPS))


def set_level(samples: np.ndarray, sampling_rate: int, level: str, target: float) -> np.ndarray:
    """Scale a clip to a peak or a loudness.

    Args:
        samples: (samples,).
        sampling_rate: Hz.
        level: ``"peak"`` or ``"loudness"``.
        target: the peak in dBFS, or the loudness in LUFS. With a target loudness peaks may exceed
            1.

    Returns:
        float32 (samples,); unchanged if the clip is silent or has no loudness (`gated_loudness`).
    """
    if level == "peak":
        current = _peak_level(samples)
    else:
        current = gated_loudness(samples, sampling_rate)
    if current is None:
        return samples
    factor = np.float64(10 ** ((target - current) / 20))
    return (samples * factor).astype(np.float32)


def _peak_level(samples: np.ndarray) -> float | None:
    """Measure the level of the largest sample in dBFS; None for silence."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0:
        return None
    return 20 * math.log10(peak)


def fix_length(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut (samples,) to `length` samples, or append zeros up to it.

    No attention mask marks these zeros as padding.
    """
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def compute_functionals(samples: np.ndarray, sampling_rate: int, feature_set: str) -> np.ndarray:
    """Compute the functionals of a clip with openSMILE (Eyben et al. 2010).

    Args:
        samples: (samples,); a clip shorter than 0.1 s is padded with zeros.
        sampling_rate: Hz.
        feature_set: a key of `FUNCTIONALS`.

    Returns:
        float32 (functionals,), with 0 in place of numbers that are not finite.

    Raises:
        ValueError: there is no such feature set.
        ImportError: openSMILE is not installed.
    """
    shortest = math.ceil(_SHORTEST_SECONDS * sampling_rate)
    samples = fix_length(samples, max(len(samples), shortest))
    # openSMILE uses 16-bit integers, where 1.0 would overflow to -1.0.
    samples = samples.clip(-1.0, 1.0 - 2.0**-15)
    numbers = _smile(feature_set)(samples, sampling_rate).reshape(-1)
    return np.nan_to_num(numbers, posinf=0.0, neginf=0.0).astype(np.float32)


@functools.cache
def _smile(feature_set: str) -> Any:
    """Return the extractor of a feature set, one per process; several threads may call it."""
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
    shelf_frequency = _SHELF[0]
    if sampling_rate < 4 * shelf_frequency or len(samples) == 0:
        return None
    powers = _block_powers(np.square(_k_weighted(samples, sampling_rate)), sampling_rate)
    powers = powers[powers > _ABSOLUTE_GATE]
    if len(powers) == 0:
        return None
    powers = powers[powers > _RELATIVE_GATE * powers.mean()]
    return -0.691 + 10 * math.log10(powers.mean())


def _block_powers(squares: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Compute the mean square of each block, (blocks,), from squared samples (samples,)."""
    block = round(_BLOCK_SECONDS * sampling_rate)
    hop = round(_BLOCK_HOP_SECONDS * sampling_rate)
    if len(squares) <= block:
        return np.array([squares.mean()])
    sums = np.concatenate([[0.0], np.cumsum(squares)])
    starts = np.arange(0, len(squares) - block + 1, hop)
    return (sums[starts + block] - sums[starts]) / block


def _k_weighted(samples: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Filter samples by K-weighting: (samples,) -> float64 (samples,).

    Each section of the clip is multiplied by the response of the filters in the frequency domain.
    The ringing of a section is added to the next section.
    """
    response, part_length = _k_response(sampling_rate)
    size = 2 * (len(response) - 1)
    weighted = np.zeros(len(samples) + size)
    for begin in range(0, len(samples), part_length):
        part = samples[begin : begin + part_length].astype(np.float64)
        spectrum = np.fft.rfft(part, size)
        weighted[begin : begin + size] += np.fft.irfft(spectrum * response, size)
    return weighted[: len(samples)]


@functools.lru_cache(maxsize=8)
def _k_response(sampling_rate: int) -> tuple[np.ndarray, int]:
    """Compute the response of both filters, and the number of samples to transform at once.

    Returns:
        The response, complex128 (bins,), and the number of samples. This number plus the samples of
        the filters' ringing is the size of the transform.
    """
    ringing = round(_RINGING_SECONDS * sampling_rate)
    size = 2 ** math.ceil(math.log2(4 * ringing))
    delay = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    powers = np.stack([np.ones_like(delay), delay, delay**2])
    shelf_numerator, shelf_denominator = _shelf_coefficients(sampling_rate)
    shelf = (shelf_numerator @ powers) / (shelf_denominator @ powers)
    frequency, quality = _HIGH_PASS
    high_pass = _denominator(math.tan(math.pi * frequency / sampling_rate), quality)
    # In the recommendation's table the numerator of the high-pass is 1, -2, 1 and its denominator
    # begins with 1.
    response = shelf * high_pass[0] * ([1, -2, 1] @ powers) / (high_pass @ powers)
    return response, size - ringing


def _shelf_coefficients(sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the numerator and the denominator of the high shelf, each (3,)."""
    frequency, gain, quality = _SHELF
    k = math.tan(math.pi * frequency / sampling_rate)
    high = 10 ** (gain / 20)
    band = high**0.4996667741545416
    numerator = [
        high + band * k / quality + k * k,
        2 * (k * k - high),
        high - band * k / quality + k * k,
    ]
    return np.array(numerator), _denominator(k, quality)


def _denominator(k: float, quality: float) -> np.ndarray:
    """Compute the coefficients of a filter's denominator, (3,), by the bilinear transform."""
    return np.array([1 + k / quality + k * k, 2 * (k * k - 1), 1 - k / quality + k * k])


class PreparedFeatureExtractor(Wav2Vec2FeatureExtractor):
    """`Wav2Vec2FeatureExtractor` that first applies a `Preparation`.

    preprocessor_config.json holds the fields of the preparation beside the stock settings.
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
        preparation = Preparation(
            trim_silence=trim_silence,
            level=level,
            target_level=target_level,
            fixed_duration=fixed_duration,
            functionals=functionals,
        )
        vars(self).update(vars(preparation))

    @classmethod
    def from_stock(
        cls, extractor: Wav2Vec2FeatureExtractor, preparation: Preparation
    ) -> "PreparedFeatureExtractor":
        """Create an extractor with the settings of a stock extractor and a preparation."""
        return cls.from_dict(_settings(extractor) | vars(preparation))

    def stock(self) -> Wav2Vec2FeatureExtractor:
        """Return the stock extractor without the preparation, for prepared waveforms."""
        settings = _settings(self)
        for name in vars(UNPREPARED):
            del settings[name]
        return Wav2Vec2FeatureExtractor(**settings)

    @property
    def preparation(self) -> Preparation:
        """The steps that are applied to each clip."""
        return Preparation(**{name: getattr(self, name) for name in vars(UNPREPARED)})

    def __call__(self, raw_speech: np.ndarray | list, *args: Any, **kwargs: Any) -> BatchFeature:
        """Prepare clips and call the stock class; it truncates and pads after the preparation."""
        # The stock class uses the same rule to recognize a list of clips.
        several = len(raw_speech) > 0 and np.ndim(raw_speech[0]) > 0
        if several:
            prepared = [self._prepare(clip) for clip in raw_speech]
        else:
            prepared = self._prepare(raw_speech)
        return super().__call__(prepared, *args, **kwargs)

    def _prepare(self, clip: np.ndarray | list) -> np.ndarray:
        samples = np.asarray(clip, dtype=np.float32)
        if samples.ndim != 1:
            raise ValueError(
                f"expected mono clips, one number per sample, got an array of shape {samples.shape}"
            )
        return prepare_waveform(samples, self.sampling_rate, self.preparation)


def _settings(extractor: Wav2Vec2FeatureExtractor) -> dict[str, Any]:
    """Return the settings of an extractor, without the keys that name its class."""
    settings = extractor.to_dict()
    settings.pop("feature_extractor_type", None)
    settings.pop("auto_map", None)
    return settings
