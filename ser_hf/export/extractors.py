"""Feature extractors of transformers as modules for a graph: of each clip what the extractor makes of it alone.

The extractors themselves compute clip by clip in numpy; here a batch of waveforms comes with its lengths. What is
behind a clip's end never reaches its features.
"""

import torch
from torch import nn
from transformers import (
    ASTFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.audio_utils import mel_filter_bank, window_function

from ..errors import UserError

# Kaldi's frames in samples at 16 kHz, for which the extractors are made: 25 ms every 10 ms, whole ones only.
_FRAME, _HOP, _FFT = 400, 160, 512
_KALDI_FLOOR = 1.192092955078125e-07
_VARIANCE_FLOOR = 1e-7


def extractor_module(extractor: SequenceFeatureExtractor | None) -> nn.Module:
    """(batch, samples) waveforms and their lengths (batch,) -> the keyword arguments that the network takes.

    Args:
        extractor: None gives waveforms as they are, with a mask.

    Raises:
        UserError: for an extractor that is not known here, or one that draws random numbers.
    """
    if extractor is None:
        return WaveformInput(normalize=False, padding_value=0.0, masked=True)
    if type(extractor) is Wav2Vec2FeatureExtractor:
        return WaveformInput(extractor.do_normalize, extractor.padding_value, extractor.return_attention_mask)
    if type(extractor) is ASTFeatureExtractor:
        return SpectrogramInput(extractor)
    if type(extractor) is WhisperFeatureExtractor:
        return WhisperInput(extractor)
    if type(extractor) is SeamlessM4TFeatureExtractor:
        return FilterbankInput(extractor)
    raise UserError(f"what {type(extractor).__name__} makes of a waveform cannot be put into a file here")


class WaveformInput(nn.Module):
    """`Wav2Vec2FeatureExtractor`: zero mean and unit variance of each clip by itself, where it is asked for."""

    def __init__(self, normalize: bool, padding_value: float, masked: bool):
        super().__init__()
        self.normalize, self.padding_value, self.masked = normalize, padding_value, masked

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        real = _real(waveform.shape[1], lengths)
        if self.normalize:
            count = lengths[:, None].to(waveform.dtype)
            waveform = waveform - waveform.sum(dim=1, keepdim=True) / count
            waveform = torch.where(real, waveform, 0.0)
            variance = waveform.square().sum(dim=1, keepdim=True) / count
            waveform = waveform / torch.sqrt(variance + _VARIANCE_FLOOR)
        waveform = torch.where(real, waveform, self.padding_value)
        return {"input_values": waveform} | ({"attention_mask": real.long()} if self.masked else {})


class KaldiFilterbank(nn.Module):
    """Logarithms of mel energies as Kaldi computes them: (batch, samples) -> (batch, frames, bands).

    Args:
        window: as `transformers.audio_utils.window_function` names it.
        scale: of the waveform; Kaldi's own is that of 16 bit integers.
        dtype: that the extractor itself computes in, up to the logarithm.
    """

    def __init__(self, bands: int, sampling_rate: int, window: str, scale: float, dtype: torch.dtype):
        super().__init__()
        self.scale, self.dtype = scale, dtype
        filters = mel_filter_bank(
            num_frequency_bins=_FFT // 2 + 1,
            num_mel_filters=bands,
            min_frequency=20,
            max_frequency=sampling_rate // 2,
            sampling_rate=sampling_rate,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        self.register_buffer("filters", torch.from_numpy(filters).to(dtype), persistent=False)
        samples = window_function(_FRAME, window, periodic=False)
        self.register_buffer("window", torch.from_numpy(samples).to(dtype), persistent=False)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        frames = (waveform.to(self.dtype) * self.scale).unfold(1, _FRAME, _HOP)
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        frames = (frames - 0.97 * before) * self.window
        mel = _power(nn.functional.pad(frames, (0, _FFT - _FRAME))) @ self.filters
        return mel.clamp(min=_KALDI_FLOOR).log().float()


class SpectrogramInput(nn.Module):
    """`ASTFeatureExtractor`: a filter bank of `max_length` frames, zeros after a clip's own."""

    def __init__(self, extractor: ASTFeatureExtractor):
        super().__init__()
        self.frames = extractor.max_length
        self.filterbank = KaldiFilterbank(extractor.num_mel_bins, extractor.sampling_rate, "hann", 1.0, torch.float32)
        self.mean, self.deviation = (extractor.mean, 2 * extractor.std) if extractor.do_normalize else (0.0, 1.0)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.filterbank(fixed(waveform, _FRAME + (self.frames - 1) * _HOP))
        real = _real(self.frames, _kaldi_frames(lengths))
        features = torch.where(real[:, :, None], features, 0.0)
        return {"input_values": (features - self.mean) / self.deviation}


class FilterbankInput(nn.Module):
    """`SeamlessM4TFeatureExtractor` of wav2vec2-bert: a filter bank, each band of zero mean and unit variance over the
    clip's frames, two frames stacked into one; the mask tells which of the stacked ones are whole."""

    def __init__(self, extractor: SeamlessM4TFeatureExtractor):
        super().__init__()
        self.stride, self.padding_value = extractor.stride, extractor.padding_value
        if self.stride != 2:
            raise UserError(f"its extractor stacks {self.stride} frames; only 2 can be put into a file here")
        self.filterbank = KaldiFilterbank(
            extractor.num_mel_bins, extractor.sampling_rate, "povey", 2.0**15, torch.float64
        )

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.filterbank(waveform)
        frames = _kaldi_frames(lengths)
        real = _real(features.shape[1], frames)[:, :, None]
        count = frames[:, None, None].to(features.dtype)
        features = features - torch.where(real, features, 0.0).sum(dim=1, keepdim=True) / count
        variance = torch.where(real, features.square(), 0.0).sum(dim=1, keepdim=True) / (count - 1)
        features = torch.where(real, features / torch.sqrt(variance + _VARIANCE_FLOOR), self.padding_value)
        # One frame more than there are; an odd one out is left.
        padded = nn.functional.pad(features, (0, 0, 0, 1), value=self.padding_value)
        stacked = padded.unfold(1, 2, 2).transpose(2, 3).flatten(2)
        mask = _real(stacked.shape[1], torch.div(frames, 2, rounding_mode="floor"))
        return {"input_features": stacked, "attention_mask": mask.long()}


class WhisperInput(nn.Module):
    """`WhisperFeatureExtractor`: log-mel spectrograms of `chunk_length` seconds, (batch, bands, frames)."""

    def __init__(self, extractor: WhisperFeatureExtractor):
        super().__init__()
        if extractor.dither:
            raise UserError("its extractor adds noise (dither), other at every call; set that to 0")
        self.samples, self.hop, self.n_fft = extractor.n_samples, extractor.hop_length, extractor.n_fft
        self.padding_value, self.masked = extractor.padding_value, extractor.return_attention_mask
        filters = torch.from_numpy(extractor.mel_filters).float()
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        real = _real(self.samples, lengths)
        waveform = torch.where(real, fixed(waveform, self.samples), self.padding_value)
        reach = self.n_fft // 2
        padded = nn.functional.pad(waveform[:, None], (reach, reach), mode="reflect")[:, 0]
        frames = padded.unfold(1, self.n_fft, self.hop)[:, :-1] * self.window
        mel = (_power(frames) @ self.filters).clamp(min=1e-10).log10()
        mel = torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - 8.0)
        inputs = {"input_features": ((mel + 4.0) / 4.0).transpose(1, 2)}
        # By samples, as this extractor gives it unless a call asks for it by frames.
        return inputs | ({"attention_mask": real.long()} if self.masked else {})


def fixed(waveform: torch.Tensor, samples: int) -> torch.Tensor:
    """The first `samples` of (batch, any samples), with zeros after them where there are fewer."""
    return nn.functional.pad(waveform, (0, samples))[:, :samples]


def _real(places: int, counts: torch.Tensor) -> torch.Tensor:
    """(batch, places) bool: the first `counts` (batch,) of them."""
    return torch.arange(places, device=counts.device) < counts[:, None]


def _kaldi_frames(lengths: torch.Tensor) -> torch.Tensor:
    return torch.div(lengths - _FRAME, _HOP, rounding_mode="floor") + 1


def _power(frames: torch.Tensor) -> torch.Tensor:
    parts = torch.view_as_real(torch.fft.rfft(frames))
    return parts.square().sum(dim=-1)
