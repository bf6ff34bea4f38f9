"""The acoustic front end: from a waveform to normalized features, with a mask of the real frames.

What a frame sees beyond a clip's end is zeros or made of that clip, so a frame that belongs to a clip sees the same
samples whether the clip is alone or padded in a batch.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from transformers.audio_utils import hertz_to_mel, mel_filter_bank, mel_to_hertz

from .configuration import AcousticConfig, FrameConfig

# On a CPU: the number of frames whose spectra are computed at a time, so that they stay in its cache from the Fourier
# transform to the bands; and the number of bands that one matrix product computes.
FRAMES_AT_ONCE = 1024
BANDS_AT_ONCE = 32
# Mean and deviation of log-mel values that are typical of recorded speech, for `normalization="fixed"`.
SPEECH_LOG_MEL = (-12.0, 5.0)
STATISTICS = ("mean", "std", "min", "max", "skewness", "kurtosis")


class FrontEnd(nn.Module):
    """Features, their derivatives, normalization, a fixed length if configured, and augmentation in training.

    `size` features a frame are `planes` (features and derivatives) of `bands` each. With `statistics` a clip becomes
    one frame: those statistics over its frames, one after another, standardized by the training clips' own.

    Args:
        min_frames: the fewest frames the network can take; shorter clips are padded with zeros, which count as real.
        statistics: names from `STATISTICS`.
        features: builds the features from the configuration and `min_frames`; by default those of `config.features`.
    """

    def __init__(
        self,
        config: FrameConfig,
        min_frames: int = 1,
        statistics: Sequence[str] = (),
        features: Callable[[FrameConfig, int], nn.Module] | None = None,
    ):
        super().__init__()
        self.config = config
        if config.frames is not None and config.frames < min_frames:
            raise ValueError(f"frames {config.frames} is fewer than the {min_frames} that this network needs")
        # A clip that is resized may have any length before.
        self.min_frames = 1 if config.frames is not None and config.frame_fit == "resize" else min_frames
        build = features or {"log_mel": LogMel, "mfcc": Mfcc}[config.features]
        self.features = build(config, self.min_frames)
        self.bands, self.planes = self.features.size, 1 + config.deltas
        self.size = self.bands * self.planes
        self.normalize = FeatureNorm(config.normalization, self.size, self.planes)
        self.statistics = list(statistics)
        if self.statistics:
            self.size *= len(self.statistics)
            self.standardize = FeatureNorm("corpus", self.size)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples), true lengths (batch,) -> (batch, frames, size), padding zero, and mask (batch, frames)."""
        config = self.config
        features, mask = self.features(waveform, lengths)
        if self.training and config.time_stretch:
            features, mask = stretch_time(features, mask, config.time_stretch, self.min_frames)
        planes = [features]
        for _ in range(config.deltas):
            planes.append(deltas(planes[-1], mask))
        features = self.normalize(torch.cat(planes, dim=2), mask)
        if config.frames is not None:
            fit = resize if config.frame_fit == "resize" else pad_or_trim
            features, mask = fit(features, mask, config.frames)
        if self.training and config.mix_style:
            features = mix_style(features, mask, config.mix_style)
        if self.training and (config.time_masks or config.band_masks):
            planes = features.unflatten(2, (self.planes, self.bands))
            stripes = config.time_masks, config.time_width, config.band_masks, config.band_width
            features = spec_augment(planes, mask, *stripes).flatten(2)
        if self.statistics:
            features, mask = frame_statistics(features, mask, self.statistics)
            features = self.standardize(features, mask)
        return features, mask


# Short-time analysis


class DerivedBuffers(nn.Module):
    """A module with buffers that follow from the configuration.

    They are not saved; `reset` fills them, also after a model was loaded on the meta device. They stay float32 when
    the model is cast: a rounded window would let loud frequencies leak into quiet bands.
    """

    def derive(self, name: str, *shape: int) -> None:
        """Registers a buffer; the constructor calls `reset` after the last one."""
        self.register_buffer(name, torch.empty(shape, dtype=torch.float32), persistent=False)

    @torch.no_grad()
    def reset(self) -> None:
        if not any(self._buffers[name].is_meta for name in self._non_persistent_buffers_set):
            self.fill()

    def fill(self) -> None:
        """Computes the values of the buffers."""
        raise NotImplementedError

    def _apply(self, *args, **kwargs):
        super()._apply(*args, **kwargs)
        rounded = [name for name in self._non_persistent_buffers_set if self._buffers[name].dtype != torch.float32]
        for name in rounded:
            self._buffers[name] = self._buffers[name].float()
        if rounded:
            self.reset()
        return self


class ShortTime(DerivedBuffers):
    """Windowed power spectra of frames: the settings of `FrameConfig` from `n_fft` to `edges`.

    Args:
        min_frames: shorter clips are padded with zeros to this many frames, which then count as real.
    """

    def __init__(self, config: FrameConfig, min_frames: int = 1):
        super().__init__()
        self.n_fft, self.win_length, self.hop_length = config.n_fft, config.win_length, config.hop_length
        self.kind, self.center, self.edges = config.window, config.center, config.edges
        self.min_frames = min_frames
        self.derive("window", self.n_fft)
        self.reset()

    def fill(self) -> None:
        window = {"hann": torch.hann_window, "hamming": torch.hamming_window}[self.kind](self.win_length)
        left = (self.n_fft - self.win_length) // 2
        self.window.copy_(nn.functional.pad(window, (left, self.n_fft - self.win_length - left)))

    def frame_counts(self, lengths: torch.Tensor) -> torch.Tensor:
        """Number of real frames (batch,) of clips of `lengths` samples: the frames that lie wholly inside the clip,
        or that begin in it when centered."""
        reach = 0 if self.center else self.n_fft
        frames = torch.div(lengths - reach, self.hop_length, rounding_mode="floor") + 1
        return frames.clamp(min=self.min_frames)

    def pad(self, waveform: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, samples) with what framing needs before and after; `lengths` (batch,) say where to reflect."""
        before = after = self.n_fft // 2 if self.center else 0
        least = self.n_fft + (self.min_frames - 1) * self.hop_length - before
        # An exported graph must not depend on how long the clips are: there it always pads enough.
        missing = least if torch.compiler.is_compiling() else max(0, least - waveform.shape[1])
        after = max(missing, after)
        padded = nn.functional.pad(waveform, (before, after)) if before or after else waveform
        return reflected(padded, lengths, before) if self.edges == "reflect" else padded

    def cut(self, padded: torch.Tensor) -> torch.Tensor:
        """What `pad` returns, or anything as long, -> (batch, frames, n_fft), not windowed."""
        return padded.unfold(1, self.n_fft, self.hop_length)

    def mask(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(batch, frames), true for the real ones of `frames` (batch, frames, ...)."""
        return torch.arange(frames.shape[1], device=lengths.device) < self.frame_counts(lengths)[:, None]

    def power(self, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames, n_fft) -> (batch, frames, n_fft // 2 + 1)."""
        # Real and imaginary parts are interleaved in memory: squaring both in one pass takes half the time.
        squares = torch.view_as_real(torch.fft.rfft(frames * self.window.float())).square_()
        return squares[..., 0] + squares[..., 1]


def reflected(padded: torch.Tensor, lengths: torch.Tensor, reach: int) -> torch.Tensor:
    """Clips that begin at sample `reach` of `padded` (batch, samples), continued by their own reflection for `reach`
    samples before and after, as numpy's `pad` does with ``mode="reflect"``, back and forth where a clip is short."""
    last = (lengths - 1)[:, None]
    position = torch.arange(padded.shape[1], device=padded.device)[None] - reach
    # A triangle wave over the clip's samples. A single sample is its own reflection.
    position = torch.remainder(position, (2 * last).clamp(min=1))
    source = torch.minimum(position, 2 * last - position).clamp(min=0)
    inside = torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None] + 2 * reach
    return padded.gather(1, source + reach) * inside


# Mel bands and cepstra


class LogMel(DerivedBuffers):
    """Compressed mel spectrogram, frames x bands.

    With the same settings it equals librosa's `feature.melspectrogram` (and torchaudio's `MelSpectrogram`) followed by
    a logarithm, `power_to_db` or `pcen`, up to float32 rounding. In training its bands may be warped (`band_warp`).
    """

    def __init__(self, config: AcousticConfig, min_frames: int = 1):
        super().__init__()
        self.config = config
        self.short_time = ShortTime(config, min_frames)
        self.size = config.n_mels
        self.derive("filters", config.n_fft // 2 + 1, config.n_mels)
        self.derive("centers", config.n_mels)
        self.spans: list[tuple[slice, slice]] = []
        self.reset()

    def fill(self) -> None:
        config = self.config
        ceiling = config.f_max or config.sampling_rate / 2
        filters = mel_filter_bank(
            num_frequency_bins=config.n_fft // 2 + 1,
            num_mel_filters=config.n_mels,
            min_frequency=config.f_min,
            max_frequency=ceiling,
            sampling_rate=config.sampling_rate,
            norm="slaney" if config.mel_scale == "slaney" else None,
            mel_scale=config.mel_scale,
        )
        self.filters.copy_(torch.from_numpy(filters))
        self.spans = nonzero_spans(filters)
        edges = hertz_to_mel(np.array([config.f_min, ceiling]), mel_scale=config.mel_scale)
        centers = mel_to_hertz(np.linspace(*edges, config.n_mels + 2)[1:-1], mel_scale=config.mel_scale)
        self.centers.copy_(torch.from_numpy(centers))

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples) and true lengths (batch,) -> (batch, frames, bands) and mask (batch, frames)."""
        with torch.autocast(waveform.device.type, enabled=False):
            frames = self.short_time.cut(self.short_time.pad(waveform.float(), lengths))
            mask = self.short_time.mask(frames, lengths)
            spectrum = self._compress(self._mel(frames), mask)
            if self.training and self.config.band_warp:
                spectrum = warp_bands(spectrum, self.centers.float(), self.config.band_warp)
        return spectrum, mask

    def _mel(self, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames, n_fft) -> mel bands (batch, frames, bands) of the power, of the magnitude for PCEN."""
        if frames.device.type != "cpu" or torch.compiler.is_compiling():
            return self._spectra(frames) @ self.filters.float()
        clips = frames.split(max(1, FRAMES_AT_ONCE // frames.shape[1]))
        return torch.cat([torch.cat([self._few(part) for part in few.split(FRAMES_AT_ONCE, 1)], 1) for few in clips])

    def _few(self, frames: torch.Tensor) -> torch.Tensor:
        """The same without most of the products with zero: each band has few bins."""
        spectra, filters = self._spectra(frames), self.filters.float()
        return torch.cat([spectra[..., bins] @ filters[bins, bands] for bins, bands in self.spans], dim=2)

    def _spectra(self, frames: torch.Tensor) -> torch.Tensor:
        power = self.short_time.power(frames)
        return power.sqrt() if self.config.compression == "pcen" else power

    def _compress(self, mel: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        config = self.config
        if config.compression == "log":
            return torch.log(mel + config.floor)
        if config.compression == "pcen":
            # librosa's coefficient of a first-order filter with a time constant of 0.4 s. The constants of PCEN are
            # meant for magnitudes of 32-bit integer samples (librosa's advice too).
            frames = 0.4 * config.sampling_rate / config.hop_length
            return pcen(mel * 2.0**31, ((1 + 4 * frames**2) ** 0.5 - 1) / (2 * frames**2))
        decibels = 10.0 * mel.clamp(min=config.floor).log10()
        if config.top_db is None:
            return decibels
        peak = decibels.amax(dim=2).masked_fill(~mask, float("-inf")).amax(dim=1)
        return torch.maximum(decibels, peak[:, None, None] - config.top_db)


class Mfcc(DerivedBuffers):
    """Mel-frequency cepstral coefficients, frames x coefficients: the orthonormal DCT-II of a mel spectrogram,
    in decibels (``compression: db``) as librosa's `feature.mfcc` and torchaudio's `MFCC` compute them."""

    def __init__(self, config: AcousticConfig, min_frames: int = 1):
        super().__init__()
        self.mel = LogMel(config, min_frames)
        self.size = config.n_mfcc
        self.derive("basis", config.n_mels, config.n_mfcc)
        self.reset()

    def fill(self) -> None:
        inputs, outputs = self.basis.shape
        angles = torch.arange(outputs) * (torch.arange(inputs)[:, None] + 0.5) * (math.pi / inputs)
        self.basis.copy_(torch.cos(angles) * math.sqrt(2 / inputs))
        self.basis[:, 0] /= math.sqrt(2)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples) and true lengths (batch,) -> (batch, frames, coefficients) and mask (batch, frames)."""
        spectrum, mask = self.mel(waveform, lengths)
        with torch.autocast(waveform.device.type, enabled=False):
            return spectrum @ self.basis.float(), mask


def nonzero_spans(filters: np.ndarray) -> list[tuple[slice, slice]]:
    """Bins and bands of the parts of a filter bank (bins, bands) that are not all zero, `BANDS_AT_ONCE` wide."""
    spans = []
    for begin in range(0, filters.shape[1], BANDS_AT_ONCE):
        bands = slice(begin, begin + BANDS_AT_ONCE)
        used = np.flatnonzero(filters[:, bands].any(axis=1))
        # Bands narrower than the bins may have none.
        spans.append((slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1), bands))
    return spans


def pcen(energy: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Per-channel energy normalization (Wang et al. 2017, arXiv:1607.05666) of (batch, frames, bands).

    Each band is divided by a smoothed past of itself, then compressed by a root. The smoother,
    ``m[t] = (1 - s) m[t - 1] + s e[t]`` from ``m[-1] = 1`` as in librosa, looks back only, so padding after a clip
    cannot reach it; it is one product with the lower triangle of its impulse responses, not a loop over frames.
    """
    gain, bias, power, floor = 0.98, 2.0, 0.5, 1e-6
    times = torch.arange(energy.shape[1], device=energy.device)
    lag = (times[:, None] - times[None, :]).to(energy.dtype)
    decay = torch.exp(lag.clamp(min=0) * math.log1p(-smoothing))
    past = torch.where(lag >= 0, smoothing * decay, torch.zeros_like(decay)) @ energy
    past = past + torch.exp((times[:, None] + 1) * math.log1p(-smoothing))
    smooth = torch.exp(-gain * torch.log(floor + past))
    # (energy * smooth + bias) ** power - bias ** power, without the rounding of that difference.
    return bias**power * torch.expm1(power * torch.log1p(energy * smooth / bias))


def deltas(features: torch.Tensor, mask: torch.Tensor, width: int = 9) -> torch.Tensor:
    """Time derivatives by linear regression over `width` frames, a clip's edge frames repeated beyond its ends.

    As in HTK (Young et al., The HTK Book, section 5.6) and torchaudio's `compute_deltas`; equals librosa's `delta`
    with ``mode="nearest"``. (batch, frames, size) -> the same, padding zero.
    """
    reach = width // 2
    last = mask.sum(dim=1, keepdim=True) - 1
    here = torch.arange(features.shape[1], device=features.device)[None]
    slope = torch.zeros_like(features)
    for step in range(1, reach + 1):
        after = torch.minimum(here + step, last).clamp(min=0)[:, :, None].expand_as(features)
        before = torch.minimum((here - step).clamp(min=0), last)[:, :, None].expand_as(features)
        slope = slope + step * (features.gather(1, after) - features.gather(1, before))
    return slope / (2 * sum(step * step for step in range(1, reach + 1))) * mask[:, :, None]


# Normalization and fixed lengths


class FeatureNorm(nn.Module):
    """Normalization of (batch, frames, size), padding zero; `kind` is `FrameConfig.normalization`.

    With ``"corpus"`` and ``"corpus_level"``, `mean` and `deviation` (size,) are saved with the weights. They are the
    training clips' own: while `observing`, real frames are counted and passed on unchanged, and `settle` computes the
    two. Before that they are 0 and 1. With ``"corpus_level"`` all bands of a plane have the same.

    Args:
        size: features a frame, `planes` times as many as bands (a plane is the features or one of their derivatives).
    """

    def __init__(self, kind: str, size: int, planes: int = 1):
        super().__init__()
        self.kind, self.planes = kind, planes
        if self.counts:
            self.register_buffer("mean", torch.zeros(size))
            self.register_buffer("deviation", torch.ones(size))
        self.observing = False
        self._sums: torch.Tensor | None = None

    @property
    def counts(self) -> bool:
        """Whether it has statistics of the training clips."""
        return self.kind in ("corpus", "corpus_level")

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.kind in ("clip", "clip_bands"):
            planes = features.unflatten(2, (self.planes, -1))
            return _standardize(planes, mask, bands_apart=self.kind == "clip_bands").flatten(2)
        if self.observing:
            self._observe(features, mask)
        elif self.counts:
            features = (features - self.mean.float()) / self.deviation.float()
        elif self.kind == "fixed":
            mean, deviation = SPEECH_LOG_MEL
            features = (features - mean) / deviation
        return features * mask[:, :, None]

    @torch.no_grad()
    def _observe(self, features: torch.Tensor, mask: torch.Tensor) -> None:
        real = features[mask].cpu().double()  # an Apple GPU has no float64
        sums = torch.stack([torch.ones_like(real).sum(dim=0), real.sum(dim=0), real.square().sum(dim=0)])
        self._sums = sums if self._sums is None else self._sums + sums

    @torch.no_grad()
    def settle(self) -> None:
        """Computes `mean` and `deviation` from what was observed, and ends the observation."""
        if self.kind == "corpus_level":
            planes = self._sums.unflatten(1, (self.planes, -1))
            self._sums = planes.sum(dim=2, keepdim=True).expand_as(planes).flatten(1)
        count, total, squares = self._sums
        mean = total / count
        variance = squares / count - mean.square()
        # What is constant in training is not scaled: divided by next to nothing, it would outweigh the rest later.
        constant = variance <= 1e-10 * (1 + mean.square())
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(constant, 1.0, variance.clamp(min=0).sqrt()))
        self._sums, self.observing = None, False


def _standardize(planes: torch.Tensor, mask: torch.Tensor, bands_apart: bool) -> torch.Tensor:
    """Zero mean and unit variance over each clip's real frames: (batch, frames, planes, bands), padding zero.

    One mean for all bands of a plane keeps the spectral tilt, an emotion cue, and removes the recording level; one for
    each band (`bands_apart`) removes the tilt too, and with it voice and microphone.
    """
    real = mask[:, :, None, None].to(planes.dtype)
    count = real.sum(dim=1, keepdim=True)

    def mean(values: torch.Tensor) -> torch.Tensor:
        # Band by band, then over frames: runtimes that add one by one lose digits in long sums.
        values = values if bands_apart else values.mean(dim=3, keepdim=True)
        return values.sum(dim=1, keepdim=True) / count

    centered = (planes - mean(planes * real)) * real
    # A second time: otherwise digital silence becomes the rounding error of its mean.
    centered = (centered - mean(centered)) * real
    return centered * torch.rsqrt(mean(centered.square()) + 1e-5)


def pad_or_trim(features: torch.Tensor, mask: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, any, size) -> (batch, frames, size): the first frames of each clip; missing frames stay padding."""
    features = nn.functional.pad(features, (0, 0, 0, frames))[:, :frames]
    return features, nn.functional.pad(mask, (0, frames))[:, :frames]


def resize(features: torch.Tensor, mask: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, any, size) -> (batch, frames, size), all real: each clip's own frames, linearly interpolated.

    As `torch.nn.functional.interpolate` (``align_corners=False``) along time does for the clip alone.
    """
    lengths = mask.sum(dim=1, keepdim=True)
    grid = (torch.arange(frames, device=features.device) + 0.5)[None]
    position = (grid * (lengths / frames) - 0.5).clamp(min=0)
    return _interpolate(features, position, lengths - 1), torch.ones_like(position, dtype=torch.bool)


def _interpolate(features: torch.Tensor, position: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Frames (batch, positions, size) at fractional positions (batch, positions), up to each clip's `last` frame."""
    below = torch.minimum(position.long(), last)
    above = torch.minimum(below + 1, last)
    share = (position - below)[:, :, None].to(features.dtype)
    low, high = (features.gather(1, index[:, :, None].expand(-1, -1, features.shape[2])) for index in (below, above))
    return low + share * (high - low)


def frame_statistics(
    features: torch.Tensor, mask: torch.Tensor, names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Statistics of each feature over a clip's real frames, population moments (kurtosis of a normal: 0).

    (batch, frames, size), mask (batch, frames) -> (batch, 1, len(names) * size), and a mask of that one frame. A clip
    of one frame, or a constant feature, has a deviation, skewness and kurtosis of zero.
    """
    real = mask[:, :, None]
    count = mask.sum(dim=1, keepdim=True).to(features.dtype)
    mean = (features * real).sum(dim=1) / count
    centered = (features - mean[:, None]) * real
    variance = centered.square().sum(dim=1) / count
    # Rounding alone makes a variance of about 1e-14 of the square; higher moments of that would be noise.
    varying = variance > 1e-10 * mean.square() + 1e-20
    safe, zero = torch.where(varying, variance, torch.ones_like(variance)), torch.zeros_like(mean)
    moments = {
        "mean": lambda: mean,
        "std": lambda: torch.where(varying, safe.sqrt(), zero),
        "min": lambda: features.masked_fill(~real, float("inf")).amin(dim=1),
        "max": lambda: features.masked_fill(~real, float("-inf")).amax(dim=1),
        "skewness": lambda: torch.where(varying, (centered**3).sum(dim=1) / count / safe**1.5, zero),
        "kurtosis": lambda: torch.where(varying, (centered**4).sum(dim=1) / count / safe**2 - 3, zero),
    }
    vector = torch.cat([moments[name]() for name in names], dim=1)[:, None]
    return vector, torch.ones_like(mask[:, :1])


# Augmentation, in training only: on the model's device, clip by clip


def spec_augment(
    features: torch.Tensor, mask: torch.Tensor, time_masks: int, time_width: int, band_masks: int, band_width: int
) -> torch.Tensor:
    """SpecAugment (Park et al. 2019, arXiv:1904.08779) without time warping: stripes of frames and bands set to zero.

    Each stripe's width is uniform from 0 to its maximum, which is at most half of the clip's real frames or bands.
    Features are (batch, frames, planes, bands), normalized, so that zero is an ordinary value.
    """
    batch, frames, _, bands = features.shape
    lengths = mask.sum(dim=1)
    for axis, count, widest, size, axis_lengths in (
        (1, time_masks, time_width, frames, lengths),
        (3, band_masks, band_width, bands, torch.full_like(lengths, bands)),
    ):
        most = torch.div(axis_lengths, 2, rounding_mode="floor").clamp(max=widest)
        positions = torch.arange(size, device=features.device)
        for _ in range(count):
            width = torch.rand(batch, device=features.device) * most
            start = torch.rand(batch, device=features.device) * (axis_lengths - width)
            hidden = (positions >= start[:, None]) & (positions < (start + width)[:, None])
            shape = [batch, 1, 1, 1]
            shape[axis] = size
            features = features.masked_fill(hidden.view(shape), 0.0)
    return features


def warp_bands(spectrum: torch.Tensor, centers: torch.Tensor, most: float) -> torch.Tensor:
    """Vocal tract length perturbation (Jaitly and Hinton, ICML workshop 2013): each clip's frequency axis stretched by
    its own factor, uniform from ``1 - most`` to ``1 + most``, as if a taller or shorter person had spoken.

    Mel bands (batch, frames, bands) before normalization; `centers` (bands,) are the bands' frequencies in Hz. Bands
    that would come from beyond the axis repeat its edge.
    """
    batch, frames, bands = spectrum.shape
    factor = 1 + most * (2 * torch.rand(batch, 1, device=spectrum.device) - 1)
    wanted = factor * centers
    above = torch.searchsorted(centers, wanted).clamp(1, bands - 1)
    low, high = centers[above - 1], centers[above]
    share = ((wanted - low) / (high - low)).clamp(0, 1)[:, None]
    lower, upper = (spectrum.gather(2, index[:, None].expand(-1, frames, -1)) for index in (above - 1, above))
    return lower + share * (upper - lower)


def stretch_time(
    features: torch.Tensor, mask: torch.Tensor, most: float, min_frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each clip's frames resampled to its own tempo: lengths times a factor uniform from ``1 - most`` to ``1 + most``.

    (batch, frames, size), mask (batch, frames) -> the same with as many frames as the longest may have.
    """
    lengths = mask.sum(dim=1, keepdim=True)
    factor = 1 + most * (2 * torch.rand(len(features), 1, device=features.device) - 1)
    stretched = (lengths * factor).round().long().clamp(min=min_frames)
    # A bound, not the longest clip's frames: reading that value would make a GPU wait.
    most_frames = max(min_frames, math.ceil(features.shape[1] * (1 + most)))
    here = torch.arange(most_frames, device=features.device)[None]
    position = torch.minimum(here * (lengths / stretched), (lengths - 1).float())
    return _interpolate(features, position, lengths - 1), here < stretched


def mix_style(features: torch.Tensor, mask: torch.Tensor, share: float, alpha: float = 0.3) -> torch.Tensor:
    """Frequency-wise MixStyle (Zhou et al. 2021, arXiv:2104.02008; by band as in Kim et al. 2022, arXiv:2206.12513):
    in a `share` of the clips each band's mean and deviation over time move towards those of another clip.

    How a band moves stays, the long-term spectrum changes: voice, room and microphone.
    (batch, frames, size), padding zero -> the same.
    """
    real = mask[:, :, None].to(features.dtype)
    count = real.sum(dim=1, keepdim=True)
    mean = features.sum(dim=1, keepdim=True) / count
    centered = (features - mean) * real
    deviation = (centered.square().sum(dim=1, keepdim=True) / count + 1e-5).sqrt()
    other = torch.randperm(len(features), device=features.device)
    concentration = torch.full((len(features), 1, 1), alpha, device=features.device)
    kept = torch.distributions.Beta(concentration, concentration).sample()
    kept = torch.where(torch.rand_like(kept) < share, kept, torch.ones_like(kept))
    new_mean = kept * mean + (1 - kept) * mean[other]
    new_deviation = kept * deviation + (1 - kept) * deviation[other]
    return (centered / deviation * new_deviation + new_mean) * real
