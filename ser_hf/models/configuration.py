"""Base configurations of the networks: sampling rate and acoustic front end, each value checked by
its annotation.
"""

import dataclasses
import math
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from transformers import PreTrainedConfig

# Keys that this package adds to the configuration of any model, beside its weights.
# {dimension: [lowest, highest] rating}: which ratings the predictions 0 and 1 stand for.
RANGES_KEY = "target_ranges"
# Not `temperature`, a setting of text generation that transformers refuses to save.
TEMPERATURE_KEY = "calibration_temperature"


def valid(kind: Any, expected: str, holds: Callable[[Any], bool]) -> Any:
    """Annotate a field of type `kind` with a description of its `expected` value and the test
    `holds` for it.
    """
    return Annotated[kind, expected, holds]


def whole(low: int, high: int) -> Any:
    """The annotation of a whole number between bounds."""
    return valid(
        int, f"a whole number from {low} to {high:,}", lambda number: low <= number <= high
    )


def several(high: int) -> Any:
    """The annotation of a list of positive whole numbers up to a bound."""
    expected = f"1 to 64 whole numbers, each from 1 to {high:,}"
    return valid(
        list[int], expected, lambda all: 1 <= len(all) <= 64 and min(all) >= 1 and max(all) <= high
    )


def some_of(*names: str) -> Any:
    """Annotate a list of some of `names`."""
    return valid(
        list[Literal[names]],
        f"some of {', '.join(names)}, each once",
        lambda chosen: bool(chosen) and len(set(chosen)) == len(chosen),
    )


def has_type(value: Any, kind: Any) -> bool:
    """Whether a value is of the type of an annotation. A boolean is no number; a number is finite."""
    origin = get_origin(kind)
    arguments = get_args(kind)
    if origin is list:
        return isinstance(value, list) and all(has_type(item, arguments[0]) for item in value)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if kind is float:
        # also of an integer that no float holds
        return type(value) in (int, float) and abs(value) < 2.0**1023
    return kind is Any or type(value) is kind


def within(values: list[float], most: int, low: float, high: float) -> bool:
    return len(values) <= most and all(low <= value <= high for value in values)


# The largest values are far beyond any use; what several of them take together is checked against
# the memory.
Count = whole(1, 65_536)
CountOrZero = whole(0, 1000)
Counts = several(65_536)
Layers = whole(1, 100)
Depths = several(100)
Samples = whole(1, 32_768)
Bands = whole(1, 1024)
Odd = valid(
    int,
    "an odd number up to 255, so that a window has a middle",
    lambda size: size in range(1, 256, 2),
)
Fraction = valid(float, "0 or more and less than 1", lambda number: 0 <= number < 1)
Share = valid(float, "0 to 1", lambda number: 0 <= number <= 1)
PowerFloor = valid(
    float, "more than 0 and less than 1, the power of a loud band", lambda number: 0 < number < 1
)
Positive = valid(float, "more than 0", lambda number: number > 0)
PoolingKind = Literal["mean", "max", "mean_std", "attention", "attentive_stats"]
PoolingKindOrMeanMax = Literal[
    "mean", "max", "mean_max", "mean_std", "attention", "attentive_stats"
]
Normalization = Literal["clip", "clip_bands", "corpus", "corpus_level", "fixed", "none"]
Speeds = valid(
    list[float], "up to 16 factors, each from 0.5 to 2", lambda all: within(all, 16, 0.5, 2)
)
# Seconds of audio that a network may need at least; shorter clips are padded.
LONGEST_NEED = 10


class WaveformConfig(PreTrainedConfig):
    """A network that takes waveforms. Every value is checked against the annotation of its field,
    and refused with a ValueError that begins with the field's name.

    Keys that several networks have:

    Args:
        sampling_rate: Hz of the waveform.
        channels: filters of each convolutional block or stage.
        depths: convolutions or residual blocks of each.
        time_pooling, band_pooling: pooling factor of each block along frames and bands.
        kernel_size: of the convolutions, along frames and bands.
        lstm_hidden, lstm_layers: size per direction, and depth.
        hidden: size of the dense layer before the classifier, or of each.
        pooling: of the frames to one vector, see `layers.Pooling`.
        conv_dropout: probability that a channel is dropped after a block.
        dropout: probability before the classifier, and around an LSTM or a dense layer before it.
    """

    # Fields that have one entry per block of layers.
    per_block: ClassVar[tuple[str, ...]] = ()

    sampling_rate: whole(1, 384_000) = 16000

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for field in dataclasses.fields(self):
            if field.name not in PreTrainedConfig.__dataclass_fields__:
                self._check(field.name, field.type)
        per_block = type(self).per_block  # not what a file sets
        if len({len(getattr(self, name)) for name in per_block}) > 1:
            first, *others = per_block
            raise ValueError(
                f"{first}: expected one entry per block, as many as {' and '.join(others)}"
            )

    def _check(self, name: str, kind: Any) -> None:
        value = getattr(self, name)
        if isinstance(value, tuple):  # as defaults are written; JSON has lists only
            value = list(value)
            setattr(self, name, value)
        if get_origin(kind) in (Union, UnionType):  # a type or None
            if value is None:
                return
            kind = get_args(kind)[0]
        expected = {bool: "true or false", float: "a number"}.get(kind, "")
        holds = None
        if get_origin(kind) is Annotated:
            kind, expected, holds = get_args(kind)
        elif get_origin(kind) is Literal:
            expected = f"one of {', '.join(map(str, get_args(kind)))}"
        if not has_type(value, kind) or (holds and not holds(value)):
            raise ValueError(f"{name}: expected {expected}, got {value!r}")

    def _check_need(self, name: str, samples: int) -> None:
        """Refuse layers that pool so much that most clips would be padding; `name` is the key to
        change.
        """
        if samples > LONGEST_NEED * self.sampling_rate:
            seconds = f"{samples / self.sampling_rate:,.0f} s"
            raise ValueError(
                f"{name}: one pooled frame covers {seconds} of audio, expected {LONGEST_NEED} s or less"
            )


class FrameConfig(WaveformConfig):
    """A front end that works frame by frame.

    Args:
        n_fft, win_length, hop_length: samples of the short-time Fourier transform.
        window: ``"hann"`` or ``"hamming"``, periodic.
        center: center the first frame on the first sample (default of librosa and torchaudio).
        edges: samples beyond the clip in centered frames: ``"zeros"`` (librosa) or ``"reflect"``
            (torchaudio).
        deltas: number of time derivatives beside the features: 0, 1 or 2.
        normalization: ``"clip"`` removes each clip's mean level and scales it to unit variance;
            ``"clip_bands"`` does so band by band, which also removes voice and microphone;
            ``"corpus"`` standardizes each band by the statistics of the training clips,
            ``"corpus_level"`` all bands by one mean and deviation; ``"fixed"`` shifts and scales
            log-mels by constants (``compression: log``, no deltas); ``"none"`` leaves values as
            they are. Loudness is an emotion cue, which the first two remove.
        frames: bring each clip to this many frames (null: as long as it is).
        frame_fit: how: ``"pad"`` trims or pads, ``"resize"`` interpolates along time, so that tempo
            is lost.
        time_masks, time_width, band_masks, band_width: SpecAugment stripes and their largest width,
            training only.
        time_stretch: tempo changed by a factor of up to 1 +- this, training only.
        mix_style: share of the clips whose long-term spectrum is mixed with another clip's,
            training only.
    """

    n_fft: Samples = 512
    win_length: Samples = 400
    hop_length: Count = 256
    window: Literal["hann", "hamming"] = "hann"
    center: bool = False
    edges: Literal["zeros", "reflect"] = "zeros"
    deltas: Literal[0, 1, 2] = 0
    normalization: Normalization = "clip"
    frames: Count | None = None
    frame_fit: Literal["pad", "resize"] = "pad"
    time_masks: CountOrZero = 2
    time_width: CountOrZero = 12
    band_masks: CountOrZero = 2
    band_width: CountOrZero = 6
    time_stretch: Fraction = 0.0
    mix_style: Share = 0.0

    @property
    def min_frames(self) -> int:
        """The fewest frames the network can take; shorter clips are padded with zeros, which count
        as real.
        """
        return math.prod(getattr(self, "time_pooling", ()))

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length: {self.win_length} does not fit into n_fft {self.n_fft}")
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length: {self.hop_length} leaves out samples between frames of n_fft {self.n_fft}"
            )
        if self.n_fft < 2 or (self.center and self.n_fft % 2):
            raise ValueError(
                f"n_fft: expected 2 or more, and an even number to center frames, got {self.n_fft}"
            )
        if self.edges == "reflect" and not self.center:
            raise ValueError(
                "edges: frames that are not centered lie inside the clip; set center to true"
            )
        if self.normalization == "none" and (self.time_masks or self.band_masks):
            raise ValueError(
                "normalization: none has no SpecAugment; set time_masks and band_masks to 0, or use corpus"
            )
        if self.frames is not None and self.frames < self.min_frames:
            raise ValueError(
                f"frames: {self.frames} is fewer than the {self.min_frames} that this network needs"
            )
        pooling = (
            name for name in ("time_pooling", "pooling_factors", "channels") if hasattr(self, name)
        )
        self._check_need(next(pooling, "hop_length"), self.min_frames * self.hop_length)


class AcousticConfig(FrameConfig):
    """A front end of mel bands or cepstra: `FrameConfig`, and:

    Args:
        features: ``"log_mel"`` spectrogram bands, or ``"mfcc"``, mel-frequency cepstral
            coefficients of them.
        n_mels, f_min, f_max: bands of the mel filter bank and their range in Hz (`f_max` null: half
            the rate).
        mel_scale: ``"slaney"`` (librosa's default, filters of unit area) or ``"htk"``
            (O'Shaughnessy's formula, filters of unit height, torchaudio's default).
        compression: ``"log"``, natural logarithm of mel power, or ``"db"``, decibels.
        floor: power added before ``"log"`` and the least power for ``"db"``, so that silence stays
            finite.
        top_db: decibels below a clip's loudest band at which ``"db"`` is cut off (null: not cut
            off).
        n_mfcc: cepstral coefficients kept (DCT-II, orthonormal, of the compressed bands).
        band_warp: vocal tract length perturbation by a factor of up to 1 +- this, training only.
        test_speeds: in evaluation a clip's embedding is the mean of those at these speeds, 1 being
            its own (pitch and formants change too); without any, only that at its own.
    """

    features: Literal["log_mel", "mfcc"] = "log_mel"
    n_mels: Bands = 64
    f_min: float = 50.0
    f_max: float | None = None
    mel_scale: Literal["slaney", "htk"] = "slaney"
    compression: Literal["log", "db"] = "log"
    floor: PowerFloor = 1e-10
    top_db: Positive | None = 80.0
    n_mfcc: Bands = 40
    band_warp: Fraction = 0.0
    test_speeds: Speeds = ()

    @property
    def bands(self) -> int:
        """Features a frame, without derivatives."""
        return self.n_mfcc if self.features == "mfcc" else self.n_mels

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        half = self.sampling_rate / 2
        ceiling = half if self.f_max is None else self.f_max
        if not 0 <= self.f_min < ceiling <= half:
            name = "f_max" if 0 <= self.f_min < half else "f_min"
            bands = f"{self.f_min:g} Hz to {ceiling:g} Hz"
            raise ValueError(
                f"{name}: expected bands that rise from 0 Hz to at most {half:g} Hz, got {bands}"
            )
        if self.features == "mfcc" and self.n_mfcc > self.n_mels:
            raise ValueError(
                f"n_mfcc: {self.n_mfcc} is more than n_mels {self.n_mels}, the bands it is computed from"
            )
        if self.features == "mfcc" and self.normalization == "clip":
            raise ValueError(
                "normalization: clip lets the first coefficient of mfcc outweigh the others; use corpus"
            )
        if self.band_warp and self.n_mels < 2:
            raise ValueError(f"band_warp: expected n_mels of 2 or more for {self.band_warp}")
        if self.normalization == "fixed" and (self.features, self.compression, self.deltas) != (
            "log_mel",
            "log",
            0,
        ):
            raise ValueError(
                "normalization: fixed is for log_mel features with compression log and without deltas"
            )


class ConvolutionConfig(AcousticConfig):
    """Convolutional blocks over the picture of frames and bands."""

    per_block: ClassVar[tuple[str, ...]] = ("channels", "time_pooling", "band_pooling")

    channels: Counts = (32, 64, 128, 128)
    time_pooling: Counts = (2, 2, 2, 2)
    band_pooling: Counts = (2, 2, 2, 2)
    conv_dropout: Fraction = 0.05

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.bands < math.prod(self.band_pooling):
            raise ValueError(
                f"band_pooling: {self.band_pooling} leaves nothing of {self.bands} bands"
            )
