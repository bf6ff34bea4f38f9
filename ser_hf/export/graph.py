"""A classifier as one torch module: preparation, feature extractor and network.

`ser_hf.models.preparation` and `Wav2Vec2FeatureExtractor` process one clip at a time in numpy. The
modules here process a batch of waveforms (batch, samples), which are zero after the end of each
clip, with the lengths of the clips (batch,). A clip gets the same result as alone, up to the last
digits of float32.
"""

import copy
import math

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor
from transformers.modeling_outputs import ModelOutput

from ..loading.encoders import ENCODERS, encoder_config, shortest_clip, takes_waveforms
from ..models import preparation as numpy_steps
from ..models.configuration import RANGES_KEY
from ..models.layers import ConvBlock, ConvBlock1d
from ..models.modeling_base import AcousticClassifier
from ..models.modeling_pooled_encoder import shortest_waveform
from ..models.modeling_resnet import (
    ResidualBlock,
    SeparableBlock,
    SEResNetForAudioClassification,
)
from ..models.preparation import Preparation, PreparedFeatureExtractor
from ..models.spectra import LogMel
from ..models.target_heads import dimension_names
from ..utils.errors import UserError
from .features import feature_input

_VARIANCE_FLOOR = 1e-7
# Two hops of Kaldi's frames, and the samples with which the number of its frames is even.
_BLOCK = 320
_BLOCK_REST = 240


class WaveformClassifier(nn.Module):
    """A module that maps waveforms (batch, samples) to logits and probabilities (batch, labels).

    It holds a copy of the model on the CPU, in float32 and evaluation mode; the model itself does
    not change. Models are refused whose extractor or preparation no module can compute.

    Args:
        half: compute the network in float16. Preparation and features stay in float32, because the
            power of a quiet band is below the smallest number of float16.
    """

    def __init__(
        self, model: PreTrainedModel, extractor: SequenceFeatureExtractor, half: bool = False
    ):
        super().__init__()
        preparation = Preparation()
        if isinstance(extractor, PreparedFeatureExtractor):
            preparation = extractor.preparation
            extractor = extractor.stock()
        config = model.config
        kind = encoder_config(config).model_type
        if preparation.functionals:
            raise UserError(
                f"{kind} cannot be exported: openSMILE computes its input, which no ONNX file "
                "contains"
            )
        self.extract = _extraction(extractor, model, kind)
        self.trims = preparation.trim_silence is not None and preparation.fixed_duration is None
        self.extractor = extractor
        self.preparation = preparation
        self.problem_type = config.problem_type
        ranges = getattr(config, RANGES_KEY, None) or {}
        self.dimensions = dimension_names(config)
        names = self.dimensions or [config.id2label[i] for i in range(config.num_labels)]
        bounds = [ranges.get(name, (0.0, 1.0)) for name in names]
        self.bounded = bool(ranges)
        self.register_buffer("bounds", torch.tensor(bounds, dtype=torch.float32))  # of dimensions
        self.sampling_rate = extractor.sampling_rate
        self.prepare = PrepareWaveform(preparation, self.sampling_rate)
        self.model = _for_runtimes(
            copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
        )
        self.spare_blocks = 0  # padding after the longest clip, see `_whole_blocks`
        self.encoder = kind in ENCODERS
        self.half_precision = half
        if half:
            _halve(self.model)
        # ser_hf's pooling head pads short waveforms for its encoder; for other models this module
        # pads them.
        pads = config.model_type == "ser_encoder" and shortest_waveform(config.encoder) is not None
        self.shortest = shortest_clip(config) if kind in ENCODERS and not pads else 0
        self.eval()

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs of `forward`."""
        if self.problem_type == "regression":
            return ["logits", "values"]
        names = ["logits", "probabilities"]
        return [*names, "values"] if self.dimensions else names

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Compute logits and probabilities, or values of dimensions, float32 (batch, labels) each.

        A model of both has the values as third output, float32 (batch, dimensions).

        Args:
            input_values: waveforms, float32 (batch, samples). The padding may have any value.
            attention_mask: int64 (batch, samples), 1 for samples of the clip.
        """
        waveform, lengths = self.prepare.waveform_and_lengths(input_values, attention_mask)
        if self.spare_blocks:
            waveform = self._whole_blocks(waveform)
        if self.shortest:
            missing = torch.sym_max(0, self.shortest - waveform.shape[1])
            waveform = nn.functional.pad(waveform, (0, missing))
            lengths = lengths.clamp(min=self.shortest)
        output = self._network_output(waveform, lengths)
        logits = output.logits.float()
        if self.problem_type == "regression":
            return logits, self._on_scale(logits)
        if self.dimensions:
            return logits, logits.softmax(dim=1), self._on_scale(output.ratings.float())
        if self.problem_type == "multi_label_classification":
            return logits, logits.sigmoid()
        return logits, logits.softmax(dim=1)

    def _on_scale(self, values: torch.Tensor) -> torch.Tensor:
        """Convert values from 0 to 1, (batch, dimensions), to the scale of the ratings."""
        if self.bounded:
            values = values.clamp(0, 1)
        return self.bounds[:, 0] + values * (self.bounds[:, 1] - self.bounds[:, 0])

    def _whole_blocks(self, waveform: torch.Tensor) -> torch.Tensor:
        """Pad waveforms (batch, samples) to whole blocks, and with `spare_blocks` more of them.

        The number of samples then leaves no remainder in the frames of a spectrogram and in their
        pooling, and is never too small, so that a program for one length is one for every length.
        """
        config = self.model.config
        block = getattr(config, "hop_length", 1) * max(1, getattr(config, "min_frames", 1))
        rest = 0
        if self.encoder:
            block = _BLOCK
            rest = _BLOCK_REST
        blocks = (waveform.shape[1] + block - 1) // block
        total = (blocks + self.spare_blocks) * block + rest
        return nn.functional.pad(waveform, (0, total - waveform.shape[1]))

    def _network_output(self, waveform: torch.Tensor, lengths: torch.Tensor) -> ModelOutput:
        """The output of the network for waveforms that are zero beyond each clip.

        A network of ser_hf takes lengths: a mask of samples would be made and summed for nothing.
        """
        if isinstance(self.model, AcousticClassifier) and self.extract.masked:
            return self.model.classify(self.extract.scaled(waveform, lengths), lengths)
        return self.model(**self._network_inputs(waveform, lengths))

    def _network_inputs(
        self, waveform: torch.Tensor, lengths: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The keyword arguments of the network, in the type of its encoder."""
        inputs = self.extract(waveform, lengths)
        if not (self.half_precision and self.encoder):
            return inputs  # the networks of ser_hf convert the output of their front end
        return {
            name: value.half() if value.is_floating_point() else value
            for name, value in inputs.items()
        }


def _halve(model: PreTrainedModel) -> None:
    """Convert a network to float16, except its front end."""
    kept = getattr(model, "_keep_in_fp32_modules_strict", None) or ()
    for name, module in model.named_children():
        if name not in kept:
            module.half()
    for parameter in model.parameters(recurse=False):
        parameter.data = parameter.data.half()


def _extraction(
    extractor: SequenceFeatureExtractor, model: PreTrainedModel, kind: str
) -> nn.Module:
    """The module that computes what the extractor computes, for a `kind` of network."""
    features = feature_input(extractor, model)
    if features is not None:
        return features
    features_in_encoder = kind in ENCODERS and not takes_waveforms(model.config)
    if type(extractor) is not Wav2Vec2FeatureExtractor or features_in_encoder:
        raise UserError(
            f"{kind} cannot be exported: its features are those of {type(extractor).__name__}, "
            "which export does not know"
        )
    return WaveformInput(extractor)


class PrepareWaveform(nn.Module):
    """`prepare_waveform` for a batch; after trimming, the longest clip sets the batch's length."""

    def __init__(self, preparation: Preparation, sampling_rate: int):
        super().__init__()
        self.preparation = preparation
        self.rate = sampling_rate
        self.crops = True  # cut a batch of trimmed clips to the longest of them
        self.measurable = sampling_rate >= 4 * numpy_steps._SHELF[0]
        if preparation.level == "loudness" and self.measurable:
            response, self.stretch = numpy_steps._k_response(sampling_rate)
            parts = torch.view_as_real(torch.from_numpy(response)).float()
            self.register_buffer("response", parts, persistent=False)

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prepare a batch.

        Args:
            input_values: waveforms, float32 (batch, samples). The padding may have any value.
            attention_mask: int64 (batch, samples), 1 for samples of the clip.

        Returns:
            Waveforms (batch, samples), zero beyond each clip, and their mask, int64.
        """
        waveform, lengths = self.waveform_and_lengths(input_values, attention_mask)
        return waveform, _is_real(waveform.shape[1], lengths).long()

    def waveform_and_lengths(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prepare a batch as `forward`; return waveforms and the lengths of the clips (batch,)."""
        steps = self.preparation
        # Runtimes sum integers slowly; float64 is exact for as many samples as memory holds.
        lengths = attention_mask.sum(dim=1, dtype=torch.float64).long()
        waveform = torch.where(attention_mask > 0, input_values, 0.0)
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
            # The zeros after a short clip count as a part of the clip.
            padded = nn.functional.pad(waveform, (0, samples))
            waveform = padded[:, :samples]
            lengths = torch.full_like(lengths, samples)
        if self.crops and steps.trim_silence is not None and steps.fixed_duration is None:
            longest = lengths.max().item()
            torch._check(longest <= waveform.shape[1])
            waveform = waveform[:, :longest]
        return waveform, lengths

    def _trim(
        self, waveform: torch.Tensor, lengths: torch.Tensor, share: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hop = max(1, round(numpy_steps._HOP_SECONDS * self.rate))
        hops = numpy_steps._HOPS
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
        start = torch.where(silent, 0, start)
        end = torch.where(silent, lengths, end)
        source = torch.arange(waveform.shape[1], device=lengths.device)[None] + start[:, None]
        moved = waveform.gather(1, torch.minimum(source, lengths[:, None] - 1))
        return torch.where(source < end[:, None], moved, 0.0), end - start

    def _gated_power(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Compute the mean power of the blocks that pass the gates of ITU-R BS.1770-5: (batch, 1).

        It is 0 for a clip without such a block.
        """
        size = 2 * (len(self.response) - 1)
        before = size - self.stretch
        # The signal is filtered in the frequency domain. Each stretch begins after as many samples
        # as the filters need to ring out.
        stretches = nn.functional.pad(waveform, (before, self.stretch)).unfold(
            1, size, self.stretch
        )
        spectrum = torch.fft.rfft(stretches) * torch.view_as_complex(self.response)
        weighted = torch.fft.irfft(spectrum, size)[..., before:].flatten(1)
        block = round(numpy_steps._BLOCK_SECONDS * self.rate)
        hop = round(numpy_steps._BLOCK_HOP_SECONDS * self.rate)
        power = torch.where(_is_real(weighted.shape[1], lengths), weighted.square(), 0.0)
        padded = nn.functional.pad(power, (0, block))[:, None]
        means = nn.functional.avg_pool1d(padded, block, hop)[:, 0]
        # A clip shorter than a block is one block.
        means = means * (block / lengths.clamp(max=block).to(means.dtype))[:, None]
        blocks = torch.div(lengths - block, hop, rounding_mode="floor").clamp(min=0) + 1
        gated = _is_real(means.shape[1], blocks) & (means > numpy_steps._ABSOLUTE_GATE)
        gated = gated & (means > _mean(means, gated) * numpy_steps._RELATIVE_GATE)
        return _mean(means, gated)


class WaveformInput(nn.Module):
    """Computes the network's keyword arguments from waveforms and lengths.

    They are equal to those that `Wav2Vec2FeatureExtractor` returns.
    """

    def __init__(self, extractor: Wav2Vec2FeatureExtractor):
        super().__init__()
        self.normalize = extractor.do_normalize
        self.padding_value = extractor.padding_value
        self.masked = extractor.return_attention_mask

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        real = _is_real(waveform.shape[1], lengths)
        waveform = torch.where(real, self.scaled(waveform, lengths), self.padding_value)
        inputs = {"input_values": waveform}
        if self.masked:
            inputs["attention_mask"] = real.long()
        return inputs

    def scaled(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Normalize waveforms, if the extractor does: (batch, samples), zero beyond each clip."""
        if not self.normalize:
            return waveform
        count = lengths[:, None].to(waveform.dtype)
        centered = waveform - waveform.sum(dim=1, keepdim=True) / count
        centered = torch.where(_is_real(waveform.shape[1], lengths), centered, 0.0)
        variance = centered.square().sum(dim=1, keepdim=True) / count
        return centered / torch.sqrt(variance + _VARIANCE_FLOOR)


class ProductLogMel(nn.Module):
    """`LogMel` computed by matrix products instead of Fourier transforms.

    Runtimes compute Fourier transforms slowly, above all those of lengths such as 922. The Fourier
    sum is divided as by Cooley and Tukey: the samples of a frame are arranged in rows of `columns`
    samples. For bin a + b * rows, a first step sums over the rows, for each column and each a. This
    is a convolution that also cuts and windows the frames. A second step sums over the columns, for
    each b. Bins above the middle of the spectrum mirror the bins below it.
    """

    def __init__(self, mel: LogMel):
        super().__init__()
        size = mel.config.n_fft
        hop = mel.config.hop_length
        # Choose the divisor that needs the fewest multiplications in both steps.
        divisors = [q for q in range(1, hop + 1) if hop % q == size % q == 0]
        columns = min(divisors, key=lambda q: (size // q // 2 + 1) * (2 * size + 4 * q * q))
        rows = size // columns
        self.mel = mel
        self.columns = columns
        self.stride = hop // columns
        column = torch.arange(columns)
        low = torch.arange(rows // 2 + 1)
        sample = torch.arange(size).view(rows, columns).T[:, None]
        angles = (sample * low[:, None]).double() * (-2 * math.pi / size)
        factors = torch.polar(mel.short_time.window.double()[sample].expand_as(angles), angles)
        self.register_buffer(
            "first", torch.view_as_real(factors).movedim(3, 1).reshape(-1, 1, rows).float()
        )
        bins = low + rows * column[:, None]
        bins = torch.minimum(bins, size - bins)
        once = np.zeros(bins.numel(), np.float32)
        once[np.unique(bins, return_index=True)[1]] = 1
        filters = mel.filters[bins] * torch.from_numpy(once).view(*bins.shape, 1)
        used = filters.flatten(1).any(dim=1)
        self.register_buffer("filters", filters[used].flatten(0, 1).T.contiguous())
        angles = torch.outer(column[used], column).double() * (-2 * math.pi / columns)
        factors = torch.polar(torch.ones_like(angles), angles)
        self.register_buffer(
            "real", torch.stack([factors.real, -factors.imag], dim=2).flatten(1).float()
        )
        self.register_buffer(
            "imaginary", torch.stack([factors.imag, factors.real], dim=2).flatten(1).float()
        )

    def forward(
        self, waveform: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        padded = self.mel.short_time.pad(waveform, lengths)
        columns = self.columns
        # `unfold` would become a gather of single samples.
        whole_rows = padded[:, : padded.shape[1] // columns * columns]
        rows = whole_rows.unflatten(1, (-1, columns)).transpose(1, 2)
        sums = nn.functional.conv1d(rows, self.first, stride=self.stride, groups=columns)
        frames = sums.shape[2]
        sums = sums.unflatten(1, (2 * columns, -1)).flatten(2)
        power = (self.real @ sums).square() + (self.imaginary @ sums).square()
        bands = (self.filters @ power.reshape(-1, self.filters.shape[1], frames)).transpose(1, 2)
        mask = self.mel.short_time.mask(bands, lengths)
        return self.mel._compress(bands, mask), mask


class _Unmasked(nn.Module):
    """Batch normalization without a mask, which runtimes can merge into the convolution.

    A later mask sets the padding to zero.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm):
        super().__init__()
        self.norm = norm

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        mean = norm.running_mean
        variance = norm.running_var
        return nn.functional.batch_norm(
            features, mean, variance, norm.weight, norm.bias, eps=norm.eps
        )


def _for_runtimes(model: nn.Module) -> nn.Module:
    """Replace modules by modules with equal outputs that runtimes compute faster."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LogMel):
            model.set_submodule(name, ProductLogMel(module))
        elif isinstance(module, ConvBlock | ConvBlock1d):  # both mask their outputs themselves
            module.norm = _Unmasked(module.norm)
        elif isinstance(module, ResidualBlock):  # it masks what follows both layers itself
            module.norm1 = _Unmasked(module.norm1)
            module.norm2 = _Unmasked(module.norm2)
        elif isinstance(module, SEResNetForAudioClassification):
            module.stem_norm = _Unmasked(module.stem_norm)
        elif isinstance(module, SeparableBlock):
            module.norm = _Unmasked(module.norm)
    return model


def _is_real(places: int, counts: torch.Tensor) -> torch.Tensor:
    """Return a mask, bool (batch, places), true for the first `counts` (batch,) places of a row."""
    return torch.arange(places, device=counts.device) < counts[:, None]


def _mean(values: torch.Tensor, selected: torch.Tensor) -> torch.Tensor:
    """Average the selected values: (batch, blocks) -> (batch, 1), 0 if no value is selected."""
    return torch.where(selected, values, 0.0).sum(dim=1, keepdim=True) / selected.sum(
        dim=1, keepdim=True
    ).clamp(min=1)


def _gain(level: torch.Tensor, target: float) -> torch.Tensor:
    """Compute the factor that scales a level to the target; 1 for silence."""
    return torch.where(level > 0, target / torch.where(level > 0, level, 1.0), 1.0)
