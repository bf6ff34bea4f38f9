"""The acoustic front end inside the network: waveform to log-mel spectrogram, with a mask of the frames that are real.

Written so that padding changes nothing: frames are never centred or reflected over a clip's true end, so a frame that
starts inside the clip sees the same samples whether the clip stands alone or padded in a batch.
"""

import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank


class LogMel(nn.Module):
    """Log-mel spectrogram (natural logarithm of Slaney-scaled mel power), frames x bands.

    With the same settings and `center=False` it equals librosa's `feature.melspectrogram` up to float32 rounding.

    Args:
        sampling_rate: Hz of the waveform.
        n_fft, win_length, hop_length: samples; a window of `win_length` is centred in `n_fft`.
        n_mels, f_min, f_max: number of bands and their range in Hz.
        min_frames: shorter clips are padded with zeros to this many frames, which then count as real.
    """

    def __init__(
        self,
        sampling_rate: int,
        n_fft: int,
        win_length: int,
        hop_length: int,
        n_mels: int,
        f_min: float,
        f_max: float,
        min_frames: int = 1,
    ):
        super().__init__()
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length
        self.sampling_rate, self.n_mels, self.f_min, self.f_max = sampling_rate, n_mels, f_min, f_max
        self.min_frames = min_frames
        # Derived from the configuration, so not saved; `reset` refills them after loading on the meta device.
        self.register_buffer("window", torch.empty(n_fft), persistent=False)
        self.register_buffer("filters", torch.empty(n_fft // 2 + 1, n_mels), persistent=False)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Computes the window and the filter bank anew, in place."""
        if self.window.is_meta:
            return
        hann = torch.hann_window(self.win_length)
        left = (self.n_fft - self.win_length) // 2
        self.window.copy_(nn.functional.pad(hann, (left, self.n_fft - self.win_length - left)))
        filters = mel_filter_bank(
            num_frequency_bins=self.n_fft // 2 + 1,
            num_mel_filters=self.n_mels,
            min_frequency=self.f_min,
            max_frequency=self.f_max,
            sampling_rate=self.sampling_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        self.filters.copy_(torch.from_numpy(filters))

    def frame_counts(self, lengths: torch.Tensor) -> torch.Tensor:
        """Real frames of clips of `lengths` samples, shape (batch,): those that lie wholly inside the clip."""
        frames = torch.div(lengths - self.n_fft, self.hop_length, rounding_mode="floor") + 1
        return frames.clamp(min=self.min_frames)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples) and true lengths (batch,) -> log-mel (batch, frames, bands) and mask (batch, frames)."""
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            least = self.n_fft + (self.min_frames - 1) * self.hop_length
            waveform = nn.functional.pad(waveform, (0, max(0, least - waveform.shape[1])))
            frames = waveform.unfold(1, self.n_fft, self.hop_length) * self.window.float()
            spectrum = torch.fft.rfft(frames)
            power = spectrum.real.square() + spectrum.imag.square()
            # Keeps digital silence finite (a log-mel of -23); recorded rooms lie well above it.
            log_mel = torch.log(power @ self.filters.float() + 1e-10)
        mask = torch.arange(log_mel.shape[1], device=lengths.device) < self.frame_counts(lengths)[:, None]
        return log_mel, mask


def normalize_per_clip(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit variance over each clip's real frames and all bands: (batch, frames, bands), padding zero.

    One mean for all bands keeps the spectral tilt, an emotion cue, and removes the recording level.
    """
    real = mask[:, :, None].to(features.dtype)
    count = real.sum(dim=(1, 2), keepdim=True) * features.shape[2]
    mean = (features * real).sum(dim=(1, 2), keepdim=True) / count
    variance = ((features - mean).square() * real).sum(dim=(1, 2), keepdim=True) / count
    return (features - mean) * torch.rsqrt(variance + 1e-5) * real


def spec_augment(
    features: torch.Tensor,
    mask: torch.Tensor,
    time_masks: int,
    time_width: int,
    band_masks: int,
    band_width: int,
) -> torch.Tensor:
    """SpecAugment (Park et al. 2019, arXiv:1904.08779) without time warping: stripes of frames and bands set to zero.

    Each stripe's width is uniform from 0 to its maximum; time stripes cover at most half of a clip's real frames.
    Features are (batch, frames, bands), normalised, so that zero is an ordinary value and hides rather than marks.
    """
    batch, frames, bands = features.shape
    lengths = mask.sum(dim=1)
    for count, widest, limit, axis_length in (
        (time_masks, time_width, torch.div(lengths, 2, rounding_mode="floor"), lengths),
        (band_masks, band_width, torch.full_like(lengths, bands // 2), torch.full_like(lengths, bands)),
    ):
        along_time = axis_length is lengths
        positions = torch.arange(frames if along_time else bands, device=features.device)
        for _ in range(count):
            width = torch.rand(batch, device=features.device) * limit.clamp(max=widest)
            start = torch.rand(batch, device=features.device) * (axis_length - width)
            hidden = (positions >= start[:, None]) & (positions < (start + width)[:, None])
            hidden = hidden[:, :, None] if along_time else hidden[:, None, :]
            features = features.masked_fill(hidden, 0.0)
    return features


def mel_ceiling(sampling_rate: int, f_max: float | None) -> float:
    """The upper edge of the filter bank: `f_max`, or half the sampling rate."""
    nyquist = sampling_rate / 2
    if f_max is not None and not 0 < f_max <= nyquist:
        raise ValueError(f"f_max {f_max} lies outside 0 to {nyquist:g} Hz, half the sampling rate")
    return nyquist if f_max is None else float(f_max)
