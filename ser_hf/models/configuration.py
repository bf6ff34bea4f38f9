"""Configurations that all networks share: the sampling rate of the waveform, and the acoustic front end."""

import dataclasses
import typing
from typing import Literal

from transformers import PreTrainedConfig

# Counts of what may be absent altogether.
MAY_BE_ZERO = ("deltas", "depths", "time_masks", "time_width", "band_masks", "band_width", "transformer_layers")


class WaveformConfig(PreTrainedConfig):
    """Settings of a network that hears waveforms; their values are checked against annotations and names.

    Whole numbers, alone or in lists, are 1 or more unless named in `MAY_BE_ZERO`; what is called dropout or drop_path
    is a probability below 1; lists have an entry at least.

    Args:
        sampling_rate: Hz of the waveform the network expects.
    """

    sampling_rate: int = 16000

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        common = {field.name for field in dataclasses.fields(PreTrainedConfig)}
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), typing.get_origin(field.type)
            if field.name in common:
                continue
            if kind is Literal and value not in typing.get_args(field.type):
                words = ", ".join(str(word) for word in typing.get_args(field.type))
                raise ValueError(f"{field.name} {value!r} is none of {words}")
            if kind is list:  # a default is written as a tuple, and JSON knows lists only
                setattr(self, field.name, list(value))
            self._check(field.name)

    def _check(self, name: str) -> None:
        value, least = getattr(self, name), 0 if name in MAY_BE_ZERO else 1
        if value == []:
            raise ValueError(f"{name} is empty: expected one entry or more")
        for number in value if isinstance(value, list) else [value]:
            if type(number) is int and number < least:
                raise ValueError(f"{name} {value}: expected {least} or more")
            if ("dropout" in name or name == "drop_path") and not 0 <= number < 1:
                raise ValueError(f"{name} {value}: expected a probability, 0 or more and less than 1")


class FrameConfig(WaveformConfig):
    """What all front ends that go frame by frame have in common.

    Args:
        n_fft, win_length, hop_length: samples of the short-time Fourier transform.
        window: ``"hann"`` or ``"hamming"``, periodic.
        center: centre the first frame on the first sample, as librosa and torchaudio do by default;
            otherwise frames lie wholly inside the clip.
        edges: what a centred frame sees beyond the clip: ``"zeros"``, as in librosa by default, or ``"reflect"``, the
            clip itself backwards, as in torchaudio.
        deltas: how many time derivatives stand beside the features: 0, 1 or 2.
        normalization: ``"clip"`` takes away each clip's mean level and scales it to unit variance; ``"clip_bands"``
            does so band by band (cepstral mean and variance normalisation), which also removes voice and microphone;
            ``"corpus"`` standardises each band by the training clips' statistics, ``"corpus_level"`` all bands
            by one mean and deviation, which keeps the spectral tilt; ``"fixed"`` shifts and scales log-mels by
            constants (``compression: log``, no deltas); ``"none"`` leaves values as they are. Loudness is
            an emotion cue, which the first two remove.
        frames: bring each clip to this many frames (null: as long as it is).
        frame_fit: how: ``"pad"`` trims longer clips and pads shorter ones, ``"resize"`` interpolates linearly along
            time, so that tempo is lost.
        time_masks, time_width, band_masks, band_width: SpecAugment stripes and their widest size, training only.
        time_stretch: tempo changed by a factor of up to 1 +- this, training only.
        mix_style: share of the clips whose long-term spectrum is mixed with another clip's, training only; of no
            effect with ``"clip_bands"``, which has taken it away.
    """

    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 256
    window: Literal["hann", "hamming"] = "hann"
    center: bool = False
    edges: Literal["zeros", "reflect"] = "zeros"
    deltas: Literal[0, 1, 2] = 0
    normalization: Literal["clip", "clip_bands", "corpus", "corpus_level", "fixed", "none"] = "clip"
    frames: int | None = None
    frame_fit: Literal["pad", "resize"] = "pad"
    time_masks: int = 2
    time_width: int = 12
    band_masks: int = 2
    band_width: int = 6
    time_stretch: float = 0.0
    mix_style: float = 0.0

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} does not fit into n_fft {self.n_fft}")
        if self.n_fft < 2 or (self.center and self.n_fft % 2):
            raise ValueError(f"n_fft {self.n_fft}: expected 2 or more, and an even number to centre frames")
        if self.edges == "reflect" and not self.center:
            raise ValueError("edges reflect: frames that are not centred lie inside the clip; set center to true")
        if self.normalization == "none" and (self.time_masks or self.band_masks):
            raise ValueError(
                "normalization none leaves features off zero, where SpecAugment's stripes would mark, not hide: set "
                "time_masks and band_masks to 0, or use corpus, which keeps loudness too"
            )
        if not 0 <= self.time_stretch < 1:
            raise ValueError(f"time_stretch {self.time_stretch} lies outside 0 to 1")
        if not 0 <= self.mix_style <= 1:
            raise ValueError(f"mix_style {self.mix_style} lies outside 0 to 1")


class AcousticConfig(FrameConfig):
    """A front end of mel bands or cepstra: `FrameConfig`, and:

    Args:
        features: ``"log_mel"`` spectrogram bands, or ``"mfcc"``, mel-frequency cepstral coefficients of them.
        n_mels, f_min, f_max: bands of the mel filter bank and their range in Hz (`f_max` null: half the rate).
        mel_scale: ``"slaney"`` (librosa's default, filters of unit area) or ``"htk"`` (O'Shaughnessy's formula,
            filters of unit height, torchaudio's default).
        compression: ``"log"``, natural logarithm of mel power; ``"db"``, decibels; ``"pcen"``, per-channel energy
            normalisation (Wang et al. 2017, arXiv:1607.05666), which removes steady level and keeps onsets.
        floor: power below which bands are silent, so that silence stays finite: added before ``"log"``, the least that
            ``"db"`` knows.
        top_db: decibels below a clip's loudest band at which ``"db"`` is cut off (null: not cut off).
        n_mfcc: cepstral coefficients kept (DCT-II, orthonormal, of the compressed bands).
        band_warp: vocal tract length perturbation by a factor of up to 1 +- this, training only.
    """

    features: Literal["log_mel", "mfcc"] = "log_mel"
    n_mels: int = 64
    f_min: float = 50.0
    f_max: float | None = None
    mel_scale: Literal["slaney", "htk"] = "slaney"
    compression: Literal["log", "db", "pcen"] = "log"
    floor: float = 1e-10
    top_db: float | None = 80.0
    n_mfcc: int = 40
    band_warp: float = 0.0

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        half = self.sampling_rate / 2
        ceiling = half if self.f_max is None else self.f_max
        if not 0 <= self.f_min < ceiling <= half:
            raise ValueError(
                f"f_min {self.f_min:g} and f_max {ceiling:g}: expected to rise, from 0 Hz or more to {half:g} Hz "
                "(half the sampling rate) or less"
            )
        if not 0 < self.floor < 1:
            raise ValueError(f"floor {self.floor}: expected more than zero and less than 1, the power of a loud band")
        if self.top_db is not None and self.top_db <= 0:
            raise ValueError(f"top_db {self.top_db}: expected more than zero")
        if self.features == "mfcc" and self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc {self.n_mfcc} is more than n_mels {self.n_mels}, the bands it is computed from")
        if self.features == "mfcc" and self.normalization == "clip":
            raise ValueError(
                "normalization clip would let the first coefficient drown the others of mfcc: use clip_bands, "
                "corpus or none"
            )
        if not 0 <= self.band_warp < 1 or (self.band_warp and self.n_mels < 2):
            raise ValueError(f"band_warp {self.band_warp}: expected 0 or more and less than 1, and two bands or more")
        if self.normalization == "fixed" and (self.features, self.compression, self.deltas) != ("log_mel", "log", 0):
            raise ValueError("normalization fixed knows typical log_mels with compression log, without deltas, only")
