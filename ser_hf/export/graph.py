"""A classifier as one torch module from the waveform to probabilities: preparation, feature extractor and network.

`ser_hf.models.preparation` and the extractors of transformers process one clip at a time in numpy. The
modules here do the same to a batch of waveforms (batch, samples), zero behind each clip's end, with their lengths
(batch,), and give each clip what it gets alone, up to the last digits of float32.
"""

import copy

import torch
from torch import nn
from transformers import (
    ASTFeatureExtractor,
    PreTrainedModel,
    SeamlessM4TFeatureExtractor,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.audio_utils import mel_filter_bank, window_function

from ..models import preparation as numpy_steps
from ..models.modeling_pooled_encoder import shortest_waveform
from ..models.preparation import Preparation, PreparedFeatureExtractor
from ..training.encoders import ENCODERS, encoder_config, shortest_clip, takes_waveforms
from ..utils.errors import UserError

# Kaldi's frames at 16 kHz: 25 ms every 10 ms, whole frames only.
_FRAME, _HOP, _FFT = 400, 160, 512
_KALDI_FLOOR = 1.192092955078125e-07
_VARIANCE_FLOOR = 1e-7


class WaveformClassifier(nn.Module):
    """Decoded waveforms (batch, samples) to logits and probabilities, (batch, labels) each.

    It holds a copy of the model on the CPU, in float32 and evaluation mode; the model itself does not change.

    Args:
        extractor: the one that the model is published with; None passes waveforms on as they are.

    Raises:
        UserError: if the extractor or the preparation has no equivalent here.
    """

    def __init__(self, model: PreTrainedModel, extractor: SequenceFeatureExtractor | None = None):
        super().__init__()
        preparation = Preparation()
        if isinstance(extractor, PreparedFeatureExtractor):
            preparation, extractor = extractor.preparation, extractor.stock()
        config = model.config
        kind = encoder_config(config).model_type
        if extractor is None and kind in ENCODERS and not takes_waveforms(config):
            raise UserError(f"{kind} takes features, which its feature extractor computes; pass the extractor as well")
        trims = preparation.trim_silence is not None and preparation.fixed_duration is None
        if trims and kind in ENCODERS and not gives_mask(extractor):
            raise UserError(
                f"{kind} uses no attention mask, so that its output depends on the length that trimming leaves "
                f"(trim_silence {preparation.trim_silence:g}), and one graph cannot cut a batch to several lengths; "
                "train it with audio.fixed_duration, or without trim_silence"
            )
        self.extractor, self.preparation = extractor, preparation
        self.multi_label = config.problem_type == "multi_label_classification"
        rates = [getattr(source, "sampling_rate", None) for source in (extractor, config)]
        self.sampling_rate = rates[0] or rates[1] or 16000
        self.prepare = PrepareWaveform(preparation, self.sampling_rate)
        self.extract = extractor_module(extractor)
        self.model = copy.deepcopy(model).to("cpu", torch.float32).requires_grad_(False)
        # Our own head pads short waveforms for its encoder; for other models it is done here.
        pads = config.model_type == "ser_encoder" and shortest_waveform(config.encoder) is not None
        self.shortest = shortest_clip(config) if kind in ENCODERS and not pads else 0
        self.eval()

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Args:
        input_values: float32 (batch, samples); any values may follow a clip's end.
        attention_mask: int64 (batch, samples), 1 for the samples of the clip.
        """
        lengths = attention_mask.sum(dim=1)
        waveform = torch.where(attention_mask > 0, input_values, 0.0)
        waveform, lengths = self.prepare(waveform, lengths)
        if self.shortest:
            missing = torch.sym_max(0, self.shortest - waveform.shape[1])
            waveform, lengths = nn.functional.pad(waveform, (0, missing)), lengths.clamp(min=self.shortest)
        logits = self.model(**self.extract(waveform, lengths)).logits.float()
        return logits, logits.sigmoid() if self.multi_label else logits.softmax(dim=1)


def gives_mask(extractor: SequenceFeatureExtractor | None) -> bool:
    """Whether the network, or the extractor that computes its features, knows where clips end."""
    return not isinstance(extractor, Wav2Vec2FeatureExtractor) or extractor.return_attention_mask


class PrepareWaveform(nn.Module):
    """`prepare_waveform` on a batch."""

    def __init__(self, preparation: Preparation, sampling_rate: int):
        super().__init__()
        self.preparation, self.rate = preparation, sampling_rate
        self.measurable = sampling_rate >= 4 * numpy_steps._SHELF[0]
        if preparation.level == "loudness" and self.measurable:
            response, self.stretch = numpy_steps._k_response(sampling_rate)
            parts = torch.view_as_real(torch.from_numpy(response)).float()
            self.register_buffer("response", parts, persistent=False)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        steps = self.preparation
        if steps.trim_silence is not None:
            waveform, lengths = self._trim(waveform, lengths, 10 ** (-steps.trim_silence / 10))
        if steps.level == "peak":
            peak = waveform.abs().amax(dim=1, keepdim=True)
            waveform = waveform * _gain(peak, 10 ** (steps.target_level / 20))
        elif steps.level == "loudness" and self.measurable:
            power = self._gated_power(waveform, lengths)
            waveform = waveform * _gain(power, 10 ** ((steps.target_level + 0.691) / 10)).sqrt()
        if steps.fixed_duration is not None:
            samples = max(1, round(steps.fixed_duration * self.rate))
            # The zeros behind a short clip count as a part of it.
            waveform, lengths = _fixed(waveform, samples), torch.full_like(lengths, samples)
        return waveform, lengths

    def _trim(self, waveform: torch.Tensor, lengths: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        hop, hops = max(1, round(numpy_steps._HOP_SECONDS * self.rate)), numpy_steps._HOPS
        # float64, as in numpy: a frame right at the threshold must fall on the same side.
        squares = nn.functional.pad(waveform.double().square(), (2 * hop, 2 * hop))
        energies = squares.unfold(1, hop, hop).sum(dim=2)
        frames = energies.unfold(1, hops, 1).sum(dim=2)
        place = torch.arange(frames.shape[1], device=lengths.device)[None]
        whole = torch.div(lengths, hop, rounding_mode="floor")[:, None]
        frames = torch.where(place <= whole, frames, 0.0)
        loud = frames > frames.amax(dim=1, keepdim=True) * share
        first = torch.where(loud, place, frames.shape[1]).amin(dim=1)
        last = torch.where(loud, place, -1).amax(dim=1)
        silent = last < 0
        end = torch.minimum(((last + 1) * hop).clamp(min=hops * hop), lengths)
        start = torch.minimum(first * hop, end - hops * hop).clamp(min=0)
        start, end = torch.where(silent, 0, start), torch.where(silent, lengths, end)
        source = torch.arange(waveform.shape[1], device=lengths.device)[None] + start[:, None]
        moved = waveform.gather(1, torch.minimum(source, lengths[:, None] - 1))
        return torch.where(source < end[:, None], moved, 0.0), end - start

    def _gated_power(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Mean power of the blocks that pass the gates of ITU-R BS.1770-5, (batch, 1); 0 where none passes."""
        size = 2 * (len(self.response) - 1)
        before = size - self.stretch
        # Filtered in the frequency domain; each stretch follows as many samples as the filters take to ring out.
        stretches = nn.functional.pad(waveform, (before, self.stretch)).unfold(1, size, self.stretch)
        spectrum = torch.fft.rfft(stretches) * torch.view_as_complex(self.response)
        weighted = torch.fft.irfft(spectrum, size)[..., before:].flatten(1)
        block, hop = (
            round(seconds * self.rate) for seconds in (numpy_steps._BLOCK_SECONDS, numpy_steps._BLOCK_HOP_SECONDS)
        )
        power = torch.where(_is_real(weighted.shape[1], lengths), weighted.square(), 0.0)
        means = nn.functional.avg_pool1d(nn.functional.pad(power, (0, block))[:, None], block, hop)[:, 0]
        # A clip shorter than a block is one block.
        means = means * (block / lengths.clamp(max=block).to(means.dtype))[:, None]
        blocks = torch.div(lengths - block, hop, rounding_mode="floor").clamp(min=0) + 1
        gated = _is_real(means.shape[1], blocks) & (means > numpy_steps._ABSOLUTE_GATE)
        gated = gated & (means > _mean(means, gated) * numpy_steps._RELATIVE_GATE)
        return _mean(means, gated)


def extractor_module(extractor: SequenceFeatureExtractor | None) -> nn.Module:
    """A module from waveforms and lengths to the keyword arguments of the network.

    Args:
        extractor: None gives waveforms as they are, with a mask.

    Raises:
        UserError: if the extractor is of another class than those here, or adds random noise.
    """
    if extractor is None:
        return WaveformInput(normalize=False, padding_value=0.0, masked=True)
    if type(extractor) is Wav2Vec2FeatureExtractor:
        return WaveformInput(extractor.do_normalize, extractor.padding_value, extractor.return_attention_mask)
    modules = {
        ASTFeatureExtractor: SpectrogramInput,
        WhisperFeatureExtractor: WhisperInput,
        SeamlessM4TFeatureExtractor: FilterbankInput,
    }
    if type(extractor) not in modules:
        raise UserError(
            f"export cannot convert {type(extractor).__name__}; it converts Wav2Vec2FeatureExtractor, "
            f"{', '.join(kind.__name__ for kind in modules)}"
        )
    return modules[type(extractor)](extractor)


class WaveformInput(nn.Module):
    """`Wav2Vec2FeatureExtractor`: the waveform, optionally with zero mean and unit variance per clip."""

    def __init__(self, normalize: bool, padding_value: float, masked: bool):
        super().__init__()
        self.normalize, self.padding_value, self.masked = normalize, padding_value, masked

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        real = _is_real(waveform.shape[1], lengths)
        if self.normalize:
            count = lengths[:, None].to(waveform.dtype)
            waveform = waveform - waveform.sum(dim=1, keepdim=True) / count
            waveform = torch.where(real, waveform, 0.0)
            variance = waveform.square().sum(dim=1, keepdim=True) / count
            waveform = waveform / torch.sqrt(variance + _VARIANCE_FLOOR)
        waveform = torch.where(real, waveform, self.padding_value)
        return {"input_values": waveform} | ({"attention_mask": real.long()} if self.masked else {})


class KaldiFilterbank(nn.Module):
    """Kaldi's log mel energies: (batch, samples) -> (batch, frames, bands).

    Args:
        window: a name that `transformers.audio_utils.window_function` takes.
        scale: of the waveform; Kaldi's own is that of 16-bit integers.
        dtype: the one in which the extractor computes before the logarithm.
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
        mel = _spectrum(nn.functional.pad(frames, (0, _FFT - _FRAME))) @ self.filters
        return mel.clamp(min=_KALDI_FLOOR).log().float()


class SpectrogramInput(nn.Module):
    """`ASTFeatureExtractor`: `max_length` frames of a filter bank, zeros after those of the clip."""

    def __init__(self, extractor: ASTFeatureExtractor):
        super().__init__()
        self.frames = extractor.max_length
        self.filterbank = KaldiFilterbank(extractor.num_mel_bins, extractor.sampling_rate, "hann", 1.0, torch.float32)
        self.mean, self.deviation = (extractor.mean, 2 * extractor.std) if extractor.do_normalize else (0.0, 1.0)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.filterbank(_fixed(waveform, _FRAME + (self.frames - 1) * _HOP))
        real = _is_real(self.frames, _kaldi_frames(lengths))
        features = torch.where(real[:, :, None], features, 0.0)
        return {"input_values": (features - self.mean) / self.deviation}


class FilterbankInput(nn.Module):
    """`SeamlessM4TFeatureExtractor` of Wav2Vec2-BERT: a filter bank, each band with zero mean and unit variance over
    the clip, two frames stacked into one; the mask marks complete stacks."""

    def __init__(self, extractor: SeamlessM4TFeatureExtractor):
        super().__init__()
        self.padding_value = extractor.padding_value
        if extractor.stride != 2:
            raise UserError(f"its extractor stacks {extractor.stride} frames, and export supports only 2")
        self.filterbank = KaldiFilterbank(
            extractor.num_mel_bins, extractor.sampling_rate, "povey", 2.0**15, torch.float64
        )

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.filterbank(waveform)
        frames = _kaldi_frames(lengths)
        real = _is_real(features.shape[1], frames)[:, :, None]
        count = frames[:, None, None].to(features.dtype)
        features = features - torch.where(real, features, 0.0).sum(dim=1, keepdim=True) / count
        variance = torch.where(real, features.square(), 0.0).sum(dim=1, keepdim=True) / (count - 1)
        features = torch.where(real, features / torch.sqrt(variance + _VARIANCE_FLOOR), self.padding_value)
        # One more frame, so that the last one of an odd number is kept as well.
        padded = nn.functional.pad(features, (0, 0, 0, 1), value=self.padding_value)
        stacked = padded.unfold(1, 2, 2).transpose(2, 3).flatten(2)
        mask = _is_real(stacked.shape[1], torch.div(frames, 2, rounding_mode="floor"))
        return {"input_features": stacked, "attention_mask": mask.long()}


class WhisperInput(nn.Module):
    """`WhisperFeatureExtractor`: log mel spectrograms of `chunk_length` seconds, (batch, bands, frames)."""

    def __init__(self, extractor: WhisperFeatureExtractor):
        super().__init__()
        if extractor.dither:
            raise UserError("its extractor adds random noise (dither); set dither to 0 in preprocessor_config.json")
        self.samples, self.hop, self.n_fft = extractor.n_samples, extractor.hop_length, extractor.n_fft
        self.padding_value, self.masked = extractor.padding_value, extractor.return_attention_mask
        filters = torch.from_numpy(extractor.mel_filters).float()
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        real = _is_real(self.samples, lengths)
        waveform = torch.where(real, _fixed(waveform, self.samples), self.padding_value)
        reach = self.n_fft // 2
        padded = nn.functional.pad(waveform[:, None], (reach, reach), mode="reflect")[:, 0]
        frames = padded.unfold(1, self.n_fft, self.hop)[:, :-1] * self.window
        mel = (_spectrum(frames) @ self.filters).clamp(min=1e-10).log10()
        mel = torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - 8.0)
        inputs = {"input_features": ((mel + 4.0) / 4.0).transpose(1, 2)}
        # A mask of samples: the extractor makes one of frames only when a call requests it.
        return inputs | ({"attention_mask": real.long()} if self.masked else {})


def _fixed(waveform: torch.Tensor, samples: int) -> torch.Tensor:
    """The first `samples` of (batch, any samples), padded with zeros."""
    return nn.functional.pad(waveform, (0, samples))[:, :samples]


def _is_real(places: int, counts: torch.Tensor) -> torch.Tensor:
    """(batch, places) bool, true for the first `counts` (batch,) places."""
    return torch.arange(places, device=counts.device) < counts[:, None]


def _kaldi_frames(lengths: torch.Tensor) -> torch.Tensor:
    return torch.div(lengths - _FRAME, _HOP, rounding_mode="floor") + 1


def _spectrum(frames: torch.Tensor) -> torch.Tensor:
    """Power spectra of frames."""
    return torch.view_as_real(torch.fft.rfft(frames)).square().sum(dim=-1)


def _mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """(batch, blocks) -> (batch, 1): the mean of the counted values, 0 where none is."""
    return torch.where(counted, values, 0.0).sum(dim=1, keepdim=True) / counted.sum(dim=1, keepdim=True).clamp(min=1)


def _gain(level: torch.Tensor, target: float) -> torch.Tensor:
    """What brings a level to the target; 1 for silence."""
    return torch.where(level > 0, target / torch.where(level > 0, level, 1.0), 1.0)
