"""Base configurations of the networks: sampling rate and acoustic front end.

Every field is an option (see `ser_hf.models.options`); the configuration checks that its values are
within the limits of these options.
"""

import math
from typing import Annotated, ClassVar, Literal

from transformers import PreTrainedConfig

from .options import Items, Number, OddNumber, Option, WholeNumber, options_of

# Keys that this package adds to the configuration of any model, beside its weights.
# {dimension: [lowest, highest] rating}: the ratings that the predictions 0 and 1 stand for.
RANGES_KEY = "target_ranges"
# Not `temperature`, a setting of text generation that transformers refuses to save.
TEMPERATURE_KEY = "calibration_temperature"
# The probability below which a prediction is better called unknown, see `evaluation.error` of a
# recipe.
UNKNOWN_KEY = "unknown_threshold"
# The probability above which a label is predicted, if a clip may have several labels.
LABEL_THRESHOLD_KEY = "label_threshold"
# [low, high]: the lengths of most training clips in seconds, percentiles 5 and 95.
CLIP_SECONDS_KEY = "clip_seconds"

# The upper limits are far beyond any use. Another check compares the memory that a network needs
# with the memory that there is.
Count = Annotated[int, WholeNumber(1, 65_536)]
CountOrZero = Annotated[int, WholeNumber(0, 1000)]
Counts = Annotated[list[int], Items(WholeNumber(1, 65_536))]
Layers = Annotated[int, WholeNumber(1, 100)]
Depths = Annotated[list[int], Items(WholeNumber(1, 100))]
Samples = Annotated[int, WholeNumber(1, 32_768)]
Bands = Annotated[int, WholeNumber(1, 1024)]
Odd = Annotated[int, OddNumber(255)]
Fraction = Annotated[float, Number(at_least=0, less_than=1)]
Share = Annotated[float, Number(at_least=0, at_most=1)]
# The power of a loud band is about 1.
PowerFloor = Annotated[float, Number(more_than=0, less_than=1)]
Positive = Annotated[float, Number(more_than=0)]
Speeds = Annotated[list[float], Items(Number(at_least=0.5, at_most=2), fewest=0, most=16)]
PoolingKind = Literal["mean", "max", "mean_std", "attention", "attentive_stats"]
PoolingKindOrMeanMax = Literal[
    "mean", "max", "mean_max", "mean_std", "attention", "attentive_stats"
]
Normalization = Literal["clip", "clip_bands", "corpus", "corpus_level", "fixed", "none"]

# Seconds of audio that a network may need at least; shorter clips are padded.
LONGEST_NEED = 10


class WaveformConfig(PreTrainedConfig):
    """A network that takes waveforms.

    A value outside of an option's limits is refused with a ValueError that begins with the
    option's name.
    """

    # Options that have one entry per block of layers.
    per_block: ClassVar[tuple[str, ...]] = ()

    sampling_rate: Annotated[
        int, WholeNumber(1, 384_000), "samples per second of the waveform, in Hz"
    ] = 16000

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for option in options_of(type(self)).values():
            self._check(option)
        self._check_blocks()

    def _check(self, option: Option) -> None:
        value = getattr(self, option.name)
        if isinstance(value, tuple):  # defaults are tuples; JSON has lists only
            value = list(value)
            setattr(self, option.name, value)
        if not option.allows(value):
            raise ValueError(f"{option.name}: expected {option.expected}, got {value!r}")

    def _check_blocks(self) -> None:
        # Use the attribute of the class: a configuration file may have a key with this name.
        per_block = type(self).per_block
        lengths = {len(getattr(self, name)) for name in per_block}
        if len(lengths) > 1:
            first, *others = per_block
            raise ValueError(
                f"{first}: expected one entry per block, as many as {' and '.join(others)}"
            )

    def _check_need(self, name: str, samples: int) -> None:
        """Refuse layers that pool so much that most clips would be padding.

        Args:
            name: the option to change.
            samples: the number of samples that one pooled frame covers.
        """
        if samples > LONGEST_NEED * self.sampling_rate:
            seconds = f"{samples / self.sampling_rate:,.0f} s"
            raise ValueError(
                f"{name}: one pooled frame covers {seconds} of audio, "
                f"expected {LONGEST_NEED} s or less"
            )


class FrameConfig(WaveformConfig):
    """A front end that works frame by frame."""

    n_fft: Annotated[Samples, "samples of the short-time Fourier transform"] = 512
    win_length: Annotated[Samples, "samples of its window"] = 400
    hop_length: Annotated[Count, "samples from one frame to the next"] = 256
    window: Annotated[Literal["hann", "hamming"], "form of the window, periodic"] = "hann"
    center: Annotated[
        bool,
        "center the first frame on the first sample, as librosa and torchaudio do by default",
    ] = False
    edges: Annotated[
        Literal["zeros", "reflect"],
        "what centered frames see beyond the clip: zeros (as librosa) or its reflection "
        "(as torchaudio)",
    ] = "zeros"
    deltas: Annotated[
        Literal[0, 1, 2], "how many time derivatives to compute beside the features"
    ] = 0
    normalization: Annotated[
        Normalization,
        "clip removes each clip's mean level and scales it to unit variance; clip_bands does so "
        "band by band, which also removes voice and microphone; corpus standardizes each band by "
        "the statistics of the training clips, corpus_level all bands by one mean and deviation; "
        "fixed shifts and scales log-mels by constants (for compression log, without deltas); "
        "none leaves values as they are; loudness is an emotion cue, which the first two remove",
    ] = "clip"
    frames: Annotated[
        Count | None, "bring each clip to this many frames; null for as many as it has"
    ] = None
    frame_fit: Annotated[
        Literal["pad", "resize"],
        "how to reach that number of frames: pad trims or pads, resize interpolates along time, "
        "so that tempo is lost",
    ] = "pad"
    time_masks: Annotated[
        CountOrZero, "SpecAugment: how many stripes of frames to set to zero, in training only"
    ] = 2
    time_width: Annotated[CountOrZero, "SpecAugment: largest width of these, in frames"] = 12
    band_masks: Annotated[
        CountOrZero, "SpecAugment: how many stripes of bands to set to zero, in training only"
    ] = 2
    band_width: Annotated[CountOrZero, "SpecAugment: largest width of these, in bands"] = 6
    time_stretch: Annotated[
        Fraction,
        "change the tempo of each clip by a random factor of up to 1 +- this, in training only",
    ] = 0.0
    mix_style: Annotated[
        Share,
        "share of the clips whose long-term spectrum is mixed with another clip's, "
        "in training only",
    ] = 0.0

    @property
    def min_frames(self) -> int:
        """The fewest frames that the network can take.

        Shorter clips are padded with zeros, which the mask counts as real frames.
        """
        return math.prod(getattr(self, "time_pooling", ()))

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self._check_transform()
        if self.edges == "reflect" and not self.center:
            raise ValueError(
                "edges: frames that are not centered lie inside the clip; set center to true"
            )
        if self.normalization == "none" and (self.time_masks or self.band_masks):
            raise ValueError(
                "normalization: none has no SpecAugment; set time_masks and band_masks to 0, "
                "or use corpus"
            )
        if self.frames is not None and self.frames < self.min_frames:
            raise ValueError(
                f"frames: {self.frames} is fewer than the {self.min_frames} that this network needs"
            )
        self._check_need(self._pooling_option(), self.min_frames * self.hop_length)

    def _check_transform(self) -> None:
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length: {self.win_length} does not fit into n_fft {self.n_fft}")
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length: {self.hop_length} leaves out samples between frames of "
                f"n_fft {self.n_fft}"
            )
        if self.n_fft < 2 or (self.center and self.n_fft % 2):
            raise ValueError(
                f"n_fft: expected 2 or more, and an even number to center frames, got {self.n_fft}"
            )

    def _pooling_option(self) -> str:
        """The name of the option for the number of frames that are pooled to one."""
        for name in ("time_pooling", "pooling_factors", "channels"):
            if hasattr(self, name):
                return name
        return "hop_length"


class AcousticConfig(FrameConfig):
    """A front end of mel bands or cepstra."""

    features: Annotated[
        Literal["log_mel", "mfcc"],
        "log_mel: bands of a mel spectrogram; mfcc: mel-frequency cepstral coefficients of them",
    ] = "log_mel"
    n_mels: Annotated[Bands, "bands of the mel filter bank"] = 64
    f_min: Annotated[float, "lower end of the lowest band, in Hz"] = 50.0
    f_max: Annotated[
        float | None, "upper end of the highest band, in Hz; null for half the sampling rate"
    ] = None
    mel_scale: Annotated[
        Literal["slaney", "htk"],
        "slaney: librosa's default, filters of unit area; htk: O'Shaughnessy's formula, filters "
        "of unit height, torchaudio's default",
    ] = "slaney"
    compression: Annotated[
        Literal["log", "db"], "log: natural logarithm of the bands' power; db: decibels"
    ] = "log"
    floor: Annotated[
        PowerFloor,
        "power that log adds to each band, and the least power for db, so that silence stays "
        "finite",
    ] = 1e-10
    top_db: Annotated[
        Positive | None,
        "decibels below a clip's loudest band at which db cuts off; null for no cut",
    ] = 80.0
    n_mfcc: Annotated[
        Bands, "how many cepstral coefficients to keep (DCT-II, orthonormal, of the bands)"
    ] = 40
    band_warp: Annotated[
        Fraction,
        "vocal tract length perturbation: move the bands' frequencies by a random factor of up to "
        "1 +- this, in training only",
    ] = 0.0
    test_speeds: Annotated[
        Speeds,
        "in evaluation, a clip's embedding is the mean of its embeddings at these speeds, 1 being "
        "its own; pitch and formants change too; empty for its own speed alone",
    ] = ()

    @property
    def bands(self) -> int:
        """The number of features per frame, without derivatives."""
        return self.n_mfcc if self.features == "mfcc" else self.n_mels

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self._check_band_range()
        if self.features == "mfcc" and self.n_mfcc > self.n_mels:
            raise ValueError(
                f"n_mfcc: {self.n_mfcc} is more than n_mels {self.n_mels}, "
                "the bands it is computed from"
            )
        if self.features == "mfcc" and self.normalization == "clip":
            raise ValueError(
                "normalization: clip lets the first coefficient of mfcc outweigh the others; "
                "use corpus"
            )
        if self.band_warp and self.n_mels < 2:
            raise ValueError(f"band_warp: expected n_mels of 2 or more for {self.band_warp}")
        log_mels_alone = (
            self.features == "log_mel" and self.compression == "log" and self.deltas == 0
        )
        if self.normalization == "fixed" and not log_mels_alone:
            raise ValueError(
                "normalization: fixed is for log_mel features with compression log and without "
                "deltas"
            )

    def _check_band_range(self) -> None:
        half = self.sampling_rate / 2
        ceiling = half if self.f_max is None else self.f_max
        if not 0 <= self.f_min < ceiling <= half:
            name = "f_max" if 0 <= self.f_min < half else "f_min"
            bands = f"{self.f_min:g} Hz to {ceiling:g} Hz"
            raise ValueError(
                f"{name}: expected bands that rise from 0 Hz to at most {half:g} Hz, got {bands}"
            )


class ConvolutionConfig(AcousticConfig):
    """Convolutional blocks over the picture of frames and bands."""

    per_block: ClassVar[tuple[str, ...]] = ("channels", "time_pooling", "band_pooling")

    channels: Annotated[Counts, "filters of each convolutional block"] = (32, 64, 128, 128)
    time_pooling: Annotated[Counts, "pooling factor of each block along frames"] = (2, 2, 2, 2)
    band_pooling: Annotated[Counts, "pooling factor of each block along bands"] = (2, 2, 2, 2)
    conv_dropout: Annotated[Fraction, "probability that a channel is dropped after a block"] = 0.05

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.bands < math.prod(self.band_pooling):
            raise ValueError(
                f"band_pooling: {self.band_pooling} leaves nothing of {self.bands} bands"
            )
