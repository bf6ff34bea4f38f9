"""The feature extractors of Whisper, AST and Wav2Vec2-BERT as torch modules.

Transformers computes these features outside of the network, one clip at a time, partly in numpy.
The modules here compute them for a batch of waveforms (batch, samples) with the lengths of the
clips (batch,), so that a file contains everything from the waveform on. Frames are cut, weighted
and transformed by one convolution, because all of these steps are linear.
"""

import importlib.util

import numpy as np
import torch
from torch import nn
from transformers import (
    ASTFeatureExtractor,
    PreTrainedModel,
    SeamlessM4TFeatureExtractor,
    SequenceFeatureExtractor,
    WhisperFeatureExtractor,
)

# Kaldi's filter banks, as AST and Wav2Vec2-BERT use them: 25 ms every 10 ms at 16 kHz.
_FRAME = 400
_HOP = 160
_FFT = 512
_PREEMPHASIS = 0.97
_FLOOR = 1.192092955078125e-07


class PowerSpectrum(nn.Module):
    """Power spectra of frames by one convolution.

    Args:
        frames: the linear map of a frame's samples before the Fourier transform, float64
            (samples, samples).
        hop: samples from one frame to the next.
        size: size of the Fourier transform.
    """

    def __init__(self, frames: np.ndarray, hop: int, size: int):
        super().__init__()
        bins = np.arange(size // 2 + 1)
        angles = -2 * np.pi * np.outer(bins, np.arange(len(frames))) / size
        kernels = np.concatenate([np.cos(angles), np.sin(angles)]) @ frames
        self.hop = hop
        self.register_buffer("kernels", torch.from_numpy(kernels).float()[:, None])

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """(batch, samples) -> (batch, frames, size / 2 + 1), complete frames only."""
        spectrum = nn.functional.conv1d(waveform[:, None], self.kernels, stride=self.hop)
        real, imaginary = spectrum.square().chunk(2, dim=1)
        return (real + imaginary).transpose(1, 2)


def _kaldi_frames(window: np.ndarray) -> np.ndarray:
    """Kaldi's steps on a frame as a matrix: remove the mean, preemphasis, window."""
    size = len(window)
    centered = np.eye(size) - 1 / size
    emphasis = np.eye(size) - _PREEMPHASIS * np.eye(size, k=-1)
    emphasis[0, 0] -= _PREEMPHASIS
    return np.diag(window) @ emphasis @ centered


class WhisperInput(nn.Module):
    """The log-mel spectrogram of Whisper: (batch, bands, frames), as long as its window."""

    def __init__(self, extractor: WhisperFeatureExtractor, masked: bool):
        super().__init__()
        self.samples = extractor.n_samples
        self.hop = extractor.hop_length
        self.margin = extractor.n_fft // 2
        self.masked = masked
        window = np.hanning(extractor.n_fft + 1)[:-1]
        self.spectrum = PowerSpectrum(np.diag(window), extractor.hop_length, extractor.n_fft)
        filters = np.asarray(extractor.mel_filters, dtype=np.float32)
        self.register_buffer("filters", torch.from_numpy(filters))

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        waveform = nn.functional.pad(waveform, (0, self.samples))[:, : self.samples]
        centered = nn.functional.pad(waveform[:, None], (self.margin, self.margin), mode="reflect")[
            :, 0
        ]
        power = self.spectrum(centered)[:, :-1]
        bands = (power @ self.filters).clamp(min=1e-10).log10()
        loudest = bands.amax(dim=(1, 2), keepdim=True)
        bands = (torch.maximum(bands, loudest - 8.0) + 4.0) / 4.0
        inputs = {"input_features": bands.transpose(1, 2)}
        if self.masked:
            starts = self.hop * torch.arange(bands.shape[1], device=lengths.device)
            inputs["attention_mask"] = (starts < lengths[:, None]).long()
        return inputs


class ASTInput(nn.Module):
    """The filter bank of the audio spectrogram transformer: (batch, max_length, bands)."""

    def __init__(self, extractor: ASTFeatureExtractor):
        super().__init__()
        self.frames = extractor.max_length
        self.samples = _FRAME + (extractor.max_length - 1) * _HOP
        self.spectrum = PowerSpectrum(_kaldi_frames(np.hanning(_FRAME)), _HOP, _FFT)
        self.register_buffer("filters", _ast_filters(extractor))
        self.mean = extractor.mean
        self.deviation = extractor.std
        self.normalizes = extractor.do_normalize

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        waveform = nn.functional.pad(waveform, (0, self.samples))[:, : self.samples]
        bands = (self.spectrum(waveform) @ self.filters).clamp(min=_FLOOR).log()
        real = _real_frames(self.frames, lengths)
        bands = torch.where(real[:, :, None], bands, 0.0)
        if self.normalizes:
            bands = (bands - self.mean) / (2 * self.deviation)
        return {"input_values": bands}


def _ast_filters(extractor: ASTFeatureExtractor) -> torch.Tensor:
    """The mel filters, (bins, bands): those of torchaudio, where the extractor uses it."""
    if importlib.util.find_spec("torchaudio") is None:
        return torch.from_numpy(np.asarray(extractor.mel_filters, dtype=np.float32))
    from torchaudio.compliance.kaldi import get_mel_banks

    filters, _ = get_mel_banks(
        extractor.num_mel_bins,
        _FFT,
        float(extractor.sampling_rate),
        low_freq=20.0,
        high_freq=0.0,
        vtln_low=100.0,
        vtln_high=-500.0,
        vtln_warp_factor=1.0,
    )
    return nn.functional.pad(filters.float(), (0, 1)).T.contiguous()


class FilterBankInput(nn.Module):
    """The standardized filter bank of Wav2Vec2-BERT: frames are stacked, (batch, frames, size)."""

    def __init__(self, extractor: SeamlessM4TFeatureExtractor):
        super().__init__()
        self.stride = extractor.stride
        self.padding_value = float(extractor.padding_value)
        # Kaldi's povey window; samples are 16-bit numbers there.
        window = np.hanning(_FRAME) ** 0.85
        self.spectrum = PowerSpectrum(2**15 * _kaldi_frames(window), _HOP, _FFT)
        filters = np.asarray(extractor.mel_filters, dtype=np.float32)
        self.register_buffer("filters", torch.from_numpy(filters))

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        bands = (self.spectrum(waveform) @ self.filters).clamp(min=_FLOOR).log()
        real = _real_frames(bands.shape[1], lengths)
        kept = real[:, :, None].to(bands.dtype)
        count = kept.sum(dim=1, keepdim=True)
        bands = (bands - (bands * kept).sum(dim=1, keepdim=True) / count) * kept
        variance = bands.square().sum(dim=1, keepdim=True) / (count - 1)
        bands = bands / torch.sqrt(variance + 1e-7)
        bands = torch.where(real[:, :, None], bands, self.padding_value)

        # Add frames of padding, so that the last stack is whole; `unfold` leaves out the rest.
        added = self.stride - 1
        bands = nn.functional.pad(bands, (0, 0, 0, added), value=self.padding_value)
        stacks = bands.unfold(1, self.stride, self.stride).transpose(2, 3).flatten(2)
        real = nn.functional.pad(real.long(), (0, added)).unfold(1, self.stride, self.stride)
        return {"input_features": stacks, "attention_mask": real[:, :, 1]}


def _real_frames(frames: int, lengths: torch.Tensor) -> torch.Tensor:
    """The mask of frames that lie inside of clips of `lengths` samples, bool (batch, frames)."""
    counts = torch.div(lengths - _FRAME, _HOP, rounding_mode="floor") + 1
    return torch.arange(frames, device=lengths.device) < counts[:, None]


def feature_input(extractor: SequenceFeatureExtractor, model: PreTrainedModel) -> nn.Module | None:
    """The module that computes what an extractor computes; None for an unknown extractor.

    Its `forward` maps waveforms (batch, samples) and lengths (batch,) to the keyword arguments of
    the model.
    """
    if type(extractor) is WhisperFeatureExtractor:
        # Transformers' own head takes no mask.
        masked = bool(extractor.return_attention_mask) and model.config.model_type == "ser_encoder"
        return WhisperInput(extractor, masked)
    if type(extractor) is ASTFeatureExtractor:
        return ASTInput(extractor)
    if type(extractor) is SeamlessM4TFeatureExtractor and extractor.stride > 1:
        return FilterBankInput(extractor)
    return None
