"""Mel spectrograms and cepstra computed inside the network, with a mask of the frames that are real."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from transformers.audio_utils import hertz_to_mel, mel_filter_bank, mel_to_hertz

from .configuration_acoustic import AcousticConfig
from .short_time import Derived, ShortTime, dct_matrix
from .spec_augment import warp_bands

# On a CPU: frames whose spectra are there at a time, so that they stay in its cache from the Fourier transform to the
# bands; and bands that one product computes, from the bins that any of them hears.
FRAMES_AT_ONCE = 1024
BANDS_AT_ONCE = 32


class LogMel(Derived):
    """Compressed mel spectrogram, frames x bands.

    With the same settings it equals librosa's `feature.melspectrogram` (and torchaudio's `MelSpectrogram`) followed by
    a logarithm, `power_to_db` or `pcen`, up to float32 rounding. In training its bands may be warped (`band_warp`).
    """

    def __init__(self, config: AcousticConfig, min_frames: int = 1):
        super().__init__()
        self.config = config
        self.short_time = ShortTime(
            config.n_fft,
            config.win_length,
            config.hop_length,
            config.window,
            config.center,
            min_frames,
            config.edges,
        )
        self.size = config.n_mels
        self.derive("filters", config.n_fft // 2 + 1, config.n_mels)
        self.spans: list[tuple[slice, slice]] = []
        self.derive("centres", config.n_mels)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        if self.filters.is_meta:
            return
        ceiling = self.config.f_max or self.config.sampling_rate / 2
        filters = mel_filter_bank(
            num_frequency_bins=self.config.n_fft // 2 + 1,
            num_mel_filters=self.config.n_mels,
            min_frequency=self.config.f_min,
            max_frequency=ceiling,
            sampling_rate=self.config.sampling_rate,
            norm="slaney" if self.config.mel_scale == "slaney" else None,
            mel_scale=self.config.mel_scale,
        )
        self.filters.copy_(torch.from_numpy(filters))
        self.spans = list(_spans(filters))
        edges = hertz_to_mel(np.array([self.config.f_min, ceiling]), mel_scale=self.config.mel_scale)
        centres = mel_to_hertz(np.linspace(*edges, self.config.n_mels + 2)[1:-1], mel_scale=self.config.mel_scale)
        self.centres.copy_(torch.from_numpy(centres))

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples) and true lengths (batch,) -> (batch, frames, bands) and mask (batch, frames)."""
        with torch.autocast(waveform.device.type, enabled=False):
            frames = self.short_time.cut(self.short_time.pad(waveform.float(), lengths))
            mask = self.short_time.mask(frames, lengths)
            spectrum = self._compress(self._mel(frames), mask)
            if self.training and self.config.band_warp:
                spectrum = warp_bands(spectrum, self.centres.float(), self.config.band_warp)
        return spectrum, mask

    def _mel(self, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames, n_fft) -> mel bands (batch, frames, bands) of the power, of the magnitude for PCEN."""
        if frames.device.type != "cpu" or torch.compiler.is_compiling():
            return self._spectra(frames) @ self.filters.float()
        clips = frames.split(max(1, FRAMES_AT_ONCE // frames.shape[1]))
        return torch.cat([torch.cat([self._few(part) for part in few.split(FRAMES_AT_ONCE, 1)], 1) for few in clips])

    def _few(self, frames: torch.Tensor) -> torch.Tensor:
        """What `_mel` does, without the products with zero: a band hears few of the bins."""
        spectra, filters = self._spectra(frames), self.filters.float()
        return torch.cat([spectra[..., bins] @ filters[bins, bands] for bins, bands in self.spans], dim=2)

    def _spectra(self, frames: torch.Tensor) -> torch.Tensor:
        power = self.short_time.power(frames)
        return power.sqrt() if self.config.compression == "pcen" else power

    def _compress(self, mel: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.config.compression == "pcen":
            # PCEN's constants are meant for magnitudes of 32-bit integer samples (librosa's advice too).
            return pcen(mel * 2.0**31, self._smoothing())
        if self.config.compression == "log":
            return torch.log(mel + self.config.floor)
        return to_decibels(mel, mask, self.config.top_db, self.config.floor)

    def _smoothing(self) -> float:
        """librosa's coefficient of the first-order filter with a time constant of 0.4 s."""
        frames = 0.4 * self.config.sampling_rate / self.config.hop_length
        return ((1 + 4 * frames**2) ** 0.5 - 1) / (2 * frames**2)


class Mfcc(Derived):
    """Mel-frequency cepstral coefficients, frames x coefficients: the orthonormal DCT-II of a mel spectrogram,
    in decibels (``compression: db``) as librosa's `feature.mfcc` and torchaudio's `MFCC` compute them."""

    def __init__(self, config: AcousticConfig, min_frames: int = 1):
        super().__init__()
        self.mel = LogMel(config, min_frames)
        self.top_db = config.top_db
        self.size = config.n_mfcc
        self.derive("basis", config.n_mels, config.n_mfcc)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        if not self.basis.is_meta:
            self.basis.copy_(dct_matrix(*self.basis.shape))

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples) and true lengths (batch,) -> (batch, frames, coefficients) and mask (batch, frames)."""
        spectrum, mask = self.mel(waveform, lengths)
        with torch.autocast(waveform.device.type, enabled=False):
            return spectrum @ self.basis.float(), mask


def _spans(filters: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Bins and bands of the parts of a filter bank (bins, bands) that are not all zero, `BANDS_AT_ONCE` wide."""
    for begin in range(0, filters.shape[1], BANDS_AT_ONCE):
        bands = slice(begin, begin + BANDS_AT_ONCE)
        heard = np.flatnonzero(filters[:, bands].any(axis=1))
        # Bands narrower than the bins may hear none.
        yield (slice(int(heard[0]), int(heard[-1]) + 1) if len(heard) else slice(0, 1)), bands


def to_decibels(power: torch.Tensor, mask: torch.Tensor, top_db: float | None, floor: float) -> torch.Tensor:
    """10 log10 of (batch, frames, bands), cut off `top_db` below each clip's loudest real value."""
    decibels = 10.0 * power.clamp(min=floor).log10()
    if top_db is None:
        return decibels
    peak = decibels.amax(dim=2).masked_fill(~mask, float("-inf")).amax(dim=1)
    return torch.maximum(decibels, peak[:, None, None] - top_db)


def pcen(
    energy: torch.Tensor,
    smoothing: float,
    gain: float = 0.98,
    bias: float = 2.0,
    power: float = 0.5,
    floor: float = 1e-6,
) -> torch.Tensor:
    """Per-channel energy normalisation (Wang et al. 2017, arXiv:1607.05666) of (batch, frames, bands).

    Each band is divided by a smoothed past of itself, then compressed by a root. The smoother,
    ``m[t] = (1 - s) m[t - 1] + s e[t]`` from ``m[-1] = 1`` as in librosa, looks back only, so padding after a clip
    cannot reach it; it is one product with the lower triangle of its impulse responses, not a loop over frames.
    """
    times = torch.arange(energy.shape[1], device=energy.device)
    lag = (times[:, None] - times[None, :]).to(energy.dtype)
    decay = torch.exp(lag.clamp(min=0) * math.log1p(-smoothing))
    past = torch.where(lag >= 0, smoothing * decay, torch.zeros_like(decay)) @ energy
    past = past + torch.exp((times[:, None] + 1) * math.log1p(-smoothing))
    smooth = torch.exp(-gain * torch.log(floor + past))
    # (energy * smooth + bias) ** power - bias ** power, without the rounding of that difference.
    return bias**power * torch.expm1(power * torch.log1p(energy * smooth / bias))
