"""Masked layers: batch normalization, convolution blocks, LSTM and pooling that count real frames
only.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedConfig

from .configuration import ConvolutionConfig


def as_picture(features: torch.Tensor, planes: int) -> torch.Tensor:
    """(batch, frames, planes * bands) -> (batch, planes, frames, bands), channels last in memory:
    fast on a CPU.
    """
    return features.unflatten(2, (planes, -1)).transpose(1, 2).to(memory_format=torch.channels_last)


def pooled_mask(mask: torch.Tensor, pool: int) -> torch.Tensor:
    """(batch, frames) -> (batch, frames // pool).

    A pooled frame is real where its whole window is.
    """
    return mask[:, pool - 1 :: pool]


# Batch normalization


class _MaskedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalization over (batch, channels, frames, ...) whose statistics count real frames
    only; padded frames are zero on return. A batch of a single value is normalized by the running
    statistics and does not change them."""

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`mask` (batch, frames) is true for real frames."""
        real = mask[:, None] if features.dim() == 3 else mask[:, None, :, None]
        if not self.training:
            return super().forward(features) * real.to(features.dtype)
        # Here shapes and branches must not depend on the mask: an accelerator would wait for it in
        # every layer, and a compiled graph would break.
        if features.device.type != "cpu" or torch.compiler.is_compiling():
            return _normalize_by_moments(self, features, real)
        if mask.all() and mask.numel() > 1:
            return super().forward(features)
        # Frames that are contiguous, so that selecting the real ones is a plain copy, and the fused
        # kernel.
        frames = features.movedim(1, -1).contiguous()
        return (
            _normalize_selected(self, frames.flatten(0, 1), mask).view(frames.shape).movedim(-1, 1)
        )


class MaskedBatchNorm1d(_MaskedBatchNorm, nn.BatchNorm1d):
    """Over (batch, channels, frames)."""


class MaskedBatchNorm2d(_MaskedBatchNorm, nn.BatchNorm2d):
    """Over (batch, channels, frames, bands)."""


def _normalize_selected(
    norm: nn.modules.batchnorm._BatchNorm, frames: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Normalize (batch * frames, ..., channels) by the real frames of `mask`, as in training."""
    rows = mask.flatten().nonzero().squeeze(1)
    real = frames.index_select(0, rows)
    several = real[..., 0].numel() > 1
    norm.num_batches_tracked += several
    normed = nn.functional.batch_norm(
        real.flatten(0, -2),
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        training=several,
        momentum=norm.momentum,
        eps=norm.eps,
    ).view_as(real)
    return torch.zeros_like(frames, dtype=normed.dtype).index_copy(0, rows, normed)


def _normalize_by_moments(
    norm: nn.modules.batchnorm._BatchNorm, features: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """The same for (batch, channels, frames, ...) with a broadcastable mask; no shape depends on
    the mask.
    """
    axes = [axis for axis in range(features.dim()) if axis != 1]
    shape = [1, -1] + [1] * (features.dim() - 2)
    wide = torch.promote_types(features.dtype, torch.float32)
    values = features.to(wide)
    count = (mask.sum() * math.prod(features.shape[3:])).to(wide)
    # Not multiplied by the mask: padding that overflowed in half precision would make zero times
    # infinity. Nor `masked_fill`, which does not keep channels last in memory.
    mean = torch.where(mask, values, 0).sum(axes) / count.clamp(min=1)
    deviation = torch.where(mask, values - mean.view(shape), 0)
    squares = deviation.square().sum(axes)

    several = count > 1
    middle = torch.where(several, mean, norm.running_mean.to(wide))
    variance = torch.where(several, squares / count.clamp(min=1), norm.running_var.to(wide))
    with torch.no_grad():
        norm.num_batches_tracked += several
        for running, new in (norm.running_mean, mean), (norm.running_var, squares / (count - 1)):
            running.copy_(
                torch.where(several, norm.momentum * new + (1 - norm.momentum) * running, running)
            )
    # `deviation` is the only tensor of the features' size that the backward pass keeps.
    scale = torch.rsqrt(variance + norm.eps)
    scale = scale if norm.weight is None else norm.weight * scale
    shift = (mean - middle) * scale
    shift = shift if norm.bias is None else norm.bias + shift
    normed = torch.addcmul(shift.view(shape), deviation, scale.view(shape))
    return torch.where(mask, normed, 0).to(features.dtype)


# Convolutions and recurrent layers


class ConvBlock(nn.Module):
    """Convolution, masked batch normalization, ReLU, max-pooling over (frames, bands), dropout of
    whole channels.
    """

    def __init__(
        self, inputs: int, outputs: int, pool: tuple[int, int], dropout: float, kernel_size: int = 3
    ):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = MaskedBatchNorm2d(outputs)
        self.pool = nn.MaxPool2d(pool)
        self.dropout = nn.Dropout2d(dropout)

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames, bands) -> (batch, outputs, frames // pool, bands // pool), and
        the pooled mask.
        """
        features = torch.relu(self.norm(self.conv(features), mask))
        mask = pooled_mask(mask, self.pool.kernel_size[0])
        return self.dropout(self.pool(features)) * mask[:, None, :, None].to(features.dtype), mask


class ConvBlock1d(nn.Module):
    """Convolution over time, masked batch normalization, ReLU, max-pooling, dropout of whole
    channels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        pool: int = 1,
        dropout: float = 0.0,
        stride: int = 1,
    ):
        super().__init__()
        self.conv = nn.Conv1d(
            inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False
        )
        self.norm = MaskedBatchNorm1d(outputs)
        self.stride = stride
        self.time_pool = pool
        self.dropout = nn.Dropout1d(dropout)

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames) -> (batch, outputs, ceil(frames / stride) // pool), and the mask
        of those frames.
        """
        # An even kernel needs one frame less after a clip than before it.
        around = (self.conv.kernel_size[0] // 2, (self.conv.kernel_size[0] - 1) // 2)
        # As a picture one row high, channels last: on a CPU a `Conv1d` would copy to another layout
        # in both passes.
        picture = nn.functional.conv2d(
            nn.functional.pad(features, around).unsqueeze(2).to(memory_format=torch.channels_last),
            self.conv.weight.unsqueeze(2).to(memory_format=torch.channels_last),
            stride=(1, self.stride),
        )
        mask = mask[:, :: self.stride]
        picture = torch.relu(self.norm(picture.squeeze(2), mask).unsqueeze(2))
        pooled = nn.functional.max_pool2d(picture, (1, self.time_pool)).squeeze(2)
        mask = pooled_mask(mask, self.time_pool)
        return self.dropout(pooled) * mask[:, None, :].to(pooled.dtype), mask


class BiLSTM(nn.Module):
    """A bidirectional LSTM whose backward direction starts at each clip's own last frame.

    It uses packed sequences; on a CPU, where these are slow, it runs a plain LSTM per direction on
    reversed clips.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.lstm = nn.LSTM(
            inputs,
            hidden,
            layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if layers > 1 else 0.0,
        )

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs) -> (batch, frames, 2 * hidden), padding zero."""
        return (
            self._reversed(sequence, mask)
            if sequence.device.type == "cpu"
            else self._packed(sequence, mask)
        )

    def _packed(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        lengths = mask.sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            sequence, lengths, batch_first=True, enforce_sorted=False
        )
        output, _ = nn.utils.rnn.pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=sequence.shape[1]
        )
        return output

    def _reversed(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        place = torch.arange(sequence.shape[1], device=mask.device)[None]
        last = mask.sum(dim=1, keepdim=True) - 1
        reverse_index = torch.where(place <= last, last - place, place)[:, :, None]
        for layer in range(self.lstm.num_layers):
            if layer:
                sequence = nn.functional.dropout(sequence, self.lstm.dropout, self.training)
            ahead = self._one_way(sequence, f"_l{layer}")
            reversed_clips = sequence.gather(1, reverse_index.expand(-1, -1, sequence.shape[2]))
            back = self._one_way(reversed_clips, f"_l{layer}_reverse")
            sequence = torch.cat(
                [ahead, back.gather(1, reverse_index.expand(-1, -1, back.shape[2]))], dim=2
            )
        return sequence * mask[:, :, None].to(sequence.dtype)

    def _one_way(self, sequence: torch.Tensor, suffix: str) -> torch.Tensor:
        """(batch, frames, inputs) -> (batch, frames, hidden): one layer in one direction, from its
        first frame on.
        """
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(self.lstm, part + suffix) for part in parts]
        state = sequence.new_zeros(1, sequence.shape[0], self.lstm.hidden_size)
        return torch.lstm(
            sequence, (state, state), weights, True, 1, 0.0, self.training, False, True
        )[0]


class ConvolutionStack2d(nn.Module):
    """`ConvBlock`s over the picture of frames and bands (of `planes` times `bands` features); an
    output frame is `channels` of `bands` each. A block has `depth` convolutions, of which the last
    one is pooled."""

    def __init__(
        self,
        planes: int,
        bands: int,
        config: ConvolutionConfig,
        kernel_size: int = 3,
        depth: int = 1,
    ):
        super().__init__()
        self.planes = planes
        self.channels = config.channels[-1]
        self.bands = bands
        self.blocks = nn.ModuleList()
        for width, *pool in zip(
            config.channels, config.time_pooling, config.band_pooling, strict=True
        ):
            for _ in range(depth - 1):
                self.blocks.append(ConvBlock(planes, width, (1, 1), 0.0, kernel_size))
                planes = width
            self.blocks.append(
                ConvBlock(planes, width, tuple(pool), config.conv_dropout, kernel_size)
            )
            planes = width
            self.bands = self.bands // pool[1]
        self.size = self.channels * self.bands

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, planes * bands), mask (batch, frames) -> fewer frames of `size`, and
        their mask.
        """
        picture = as_picture(features, self.planes)
        for block in self.blocks:
            picture, mask = block(picture, mask)
        return picture.transpose(1, 2).flatten(2), mask


class ConvolutionStack1d(nn.Module):
    """`ConvBlock1d`s over time; an output frame has `size` numbers."""

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int],
        time_pooling: Sequence[int],
        kernel_size: int,
        dropout: float,
    ):
        super().__init__()
        widths = [inputs, *channels]
        self.size = channels[-1]
        self.blocks = nn.ModuleList(
            ConvBlock1d(widths[i], widths[i + 1], kernel_size, pool, dropout)
            for i, pool in enumerate(time_pooling)
        )

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, inputs), mask (batch, frames) -> fewer frames of `size` and a mask."""
        features = features.transpose(1, 2)
        for block in self.blocks:
            features, mask = block(features, mask)
        return features.transpose(1, 2), mask


class Pooling(nn.Module):
    """Pools the real frames of a clip into one vector.

    ``mean``, ``max``, ``mean_std``; ``mean_max``: mean plus maximum (Kong et al. 2020,
    arXiv:1912.10211); ``attention``: a mean with one trained weight per frame; ``attentive_stats``:
    mean and deviation with a trained weight per frame and channel (Okabe et al. 2018,
    arXiv:1803.10963; Desplanques et al. 2020, arXiv:2005.07143); ``last``: the last states of both
    directions of a bidirectional LSTM.
    """

    def __init__(self, kind: str, size: int):
        super().__init__()
        self.kind = kind
        self.output_size = 2 * size if kind in ("mean_std", "attentive_stats") else size
        # Softmax ignores a constant, so a bias would never be trained.
        if kind == "attention":
            self.score = nn.Linear(size, 1, bias=False)
        elif kind == "attentive_stats":
            hidden = max(8, size // 4)
            self.score = nn.Sequential(
                nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, size, bias=False)
            )

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool a sequence.

        Args:
            sequence: (batch, frames, size).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, output_size).
        """
        if self.kind == "last":
            last = (mask.sum(dim=1) - 1)[:, None, None].expand(-1, 1, sequence.shape[2])
            ahead = sequence.gather(1, last)[:, 0]
            back = sequence[:, 0]
            return torch.cat([ahead.chunk(2, dim=1)[0], back.chunk(2, dim=1)[1]], dim=1)
        if self.kind in ("max", "mean_max"):
            highest = sequence.masked_fill(~mask[:, :, None], float("-inf")).amax(dim=1)
            if self.kind == "max":
                return highest
        if self.kind in ("attention", "attentive_stats"):
            weights = (
                self.score(sequence).masked_fill(~mask[:, :, None], float("-inf")).softmax(dim=1)
            )
        else:
            real = mask[:, :, None].to(sequence.dtype)
            weights = real / real.sum(dim=1, keepdim=True)
        mean = (weights * sequence).sum(dim=1)
        if self.kind == "mean_max":
            return mean + highest
        if self.kind in ("mean", "attention"):
            return mean
        variance = (weights * (sequence - mean[:, None]).square()).sum(dim=1)
        return torch.cat([mean, torch.sqrt(variance + 1e-7)], dim=1)


def loss_of(config: PreTrainedConfig, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean cross entropy of logits (batch, classes) and class ids, or the mean squared error of
    dimensions.
    """
    if config.problem_type == "regression":
        return nn.functional.mse_loss(logits, labels.to(logits.dtype).view_as(logits))
    return nn.functional.cross_entropy(logits, labels)


# Support vector machines: one per class against the rest, of two classes one in all


def fixed(values: torch.Tensor) -> nn.Parameter:
    """A parameter that takes no gradient."""
    return nn.Parameter(values, requires_grad=False)


class Calibration(nn.Module):
    """Maps decision values (batch, machines) to logits (batch, classes), whose softmax gives
    calibrated probabilities.

    Platt scaling (Platt 1999) as in scikit-learn's `CalibratedClassifierCV`: sigmoids, divided by
    their sum.
    """

    def __init__(self, classes: int):
        super().__init__()
        machines = 1 if classes == 2 else classes
        self.slope = fixed(torch.ones(machines))
        self.offset = fixed(torch.zeros(machines))

    def forward(self, decisions: torch.Tensor) -> torch.Tensor:
        logits = self.slope * decisions + self.offset
        if logits.shape[1] == 1:
            return torch.cat([torch.zeros_like(logits), logits], dim=1)
        return nn.functional.logsigmoid(logits)


class LinearMachines(nn.Module):
    """Linear machines, (batch, size) -> logits (batch, classes): `weight` (machines, size), `bias`
    (machines,).
    """

    def __init__(self, size: int, classes: int):
        super().__init__()
        self.calibration = Calibration(classes)
        machines = len(self.calibration.slope)
        self.weight = fixed(torch.zeros(machines, size))
        self.bias = fixed(torch.zeros(machines))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.calibration(nn.functional.linear(vectors, self.weight, self.bias))


class KernelMachines(nn.Module):
    """Machines with the kernel exp(-gamma |x - v|^2), (batch, size) -> logits (batch, classes).

    `vectors` (support, size) are the support vectors of all machines, `weight` (machines, support)
    their coefficients.
    """

    def __init__(self, size: int, classes: int, support: int):
        super().__init__()
        self.calibration = Calibration(classes)
        machines = len(self.calibration.slope)
        self.vectors = fixed(torch.empty(support, size))
        self.weight = fixed(torch.empty(machines, support))
        self.bias = fixed(torch.zeros(machines))
        self.gamma = fixed(torch.tensor(1 / size))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        # Coefficients may be large (C of 100 and more) and cancel: distances must be exact to
        # float32's last bits, unlike |x|^2 + |v|^2 - 2 x v or half precision.
        with torch.autocast(vectors.device.type, enabled=False):
            distances = (vectors.float()[:, None] - self.vectors).square().sum(dim=2)
            kernel = torch.exp(-self.gamma * distances)
            return self.calibration(nn.functional.linear(kernel, self.weight, self.bias))
