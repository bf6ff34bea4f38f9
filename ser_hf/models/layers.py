"""Layers that count real frames only: batch normalization, convolutions, LSTM and pooling."""

import math
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration import ConvolutionConfig


def as_picture(features: torch.Tensor, planes: int) -> torch.Tensor:
    """Arrange the features of frames as a picture with channels.

    (batch, frames, planes * bands) -> (batch, planes, frames, bands), with channels last in memory,
    which is fast on a CPU.
    """
    picture = features.unflatten(2, (planes, -1)).transpose(1, 2)
    return picture.to(memory_format=torch.channels_last)


def as_frames(picture: torch.Tensor) -> torch.Tensor:
    """Join the bands of each frame; with the channels first, as `as_picture` divides them.

    (batch, channels, frames, bands) -> (batch, frames, channels * bands).
    """
    return picture.transpose(1, 2).flatten(2)


def masked(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Set the padding of features to zero.

    Args:
        features: (batch, channels, frames) or (batch, channels, frames, bands).
        mask: (batch, frames) bool, true for real frames.

    Returns:
        The shape and type of `features`.
    """
    return features * _frame_mask(features, mask).to(features.dtype)


def _frame_mask(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A mask (batch, frames) in a shape that broadcasts to (batch, channels, frames, ...)."""
    return mask[:, None] if features.dim() == 3 else mask[:, None, :, None]


def pooled_mask(mask: torch.Tensor, pool: int) -> torch.Tensor:
    """Pool a mask over time: (batch, frames) -> (batch, frames // pool).

    A pooled frame is real if all frames of its window are real.
    """
    return mask[:, pool - 1 :: pool]


class _MaskedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalization whose statistics count real frames only.

    Ioffe and Szegedy 2015, arXiv:1502.03167. A batch of a single value is normalized by the
    running statistics and does not change them.
    """

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Normalize features.

        Args:
            features: (batch, channels, frames) or (batch, channels, frames, bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            The shape of `features`, zero in the padding.
        """
        if not self.training:
            return masked(super().forward(features), mask)
        # Here shapes and branches must not depend on the values of the mask: the CPU would wait for
        # the accelerator in every layer, and a compiled graph would break.
        if features.device.type != "cpu" or torch.compiler.is_compiling():
            return _normalize_by_moments(self, features, _frame_mask(features, mask))
        if mask.all() and mask.numel() > 1:
            return super().forward(features)
        # If frames are contiguous, a plain copy selects the real frames, and torch can use its
        # fused kernel.
        frames = features.movedim(1, -1).contiguous()
        normed = _normalize_selected(self, frames.flatten(0, 1), mask)
        return normed.view(frames.shape).movedim(-1, 1)


class MaskedBatchNorm1d(_MaskedBatchNorm, nn.BatchNorm1d):
    """Masked batch normalization of (batch, channels, frames)."""


class MaskedBatchNorm2d(_MaskedBatchNorm, nn.BatchNorm2d):
    """Masked batch normalization of (batch, channels, frames, bands)."""


def _normalize_selected(
    norm: nn.modules.batchnorm._BatchNorm, frames: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Normalize frames in training: (batch * frames, ..., channels) -> the same shape.

    The statistics are those of the real frames, which `mask` (batch, frames) selects.
    """
    rows = mask.flatten().nonzero().squeeze(1)
    real_frames = frames.index_select(0, rows)
    several = real_frames[..., 0].numel() > 1
    norm.num_batches_tracked += several
    normed = nn.functional.batch_norm(
        real_frames.flatten(0, -2),
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        training=several,
        momentum=norm.momentum,
        eps=norm.eps,
    ).view_as(real_frames)
    return torch.zeros_like(frames, dtype=normed.dtype).index_copy(0, rows, normed)


def _normalize_by_moments(
    norm: nn.modules.batchnorm._BatchNorm, features: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Normalize features in training, where no shape may depend on the mask.

    Args:
        norm: the layer, whose running statistics are updated.
        features: (batch, channels, frames, ...).
        mask: bool, true for real frames, broadcastable to `features`.

    Returns:
        The shape and type of `features`.
    """
    axes = [axis for axis in range(features.dim()) if axis != 1]
    shape = [1, -1] + [1] * (features.dim() - 2)
    dtype = torch.promote_types(features.dtype, torch.float32)
    values = features.to(dtype)
    count = (mask.sum() * math.prod(features.shape[3:])).to(dtype)
    # `where` is used for two reasons. A product with the mask would be zero times infinity where
    # the padding overflowed in half precision. `masked_fill` does not keep channels last in memory.
    mean = torch.where(mask, values, 0).sum(axes) / count.clamp(min=1)
    deviation = torch.where(mask, values - mean.view(shape), 0)
    squares = deviation.square().sum(axes)

    several = count > 1
    center = torch.where(several, mean, norm.running_mean.to(dtype))
    variance = torch.where(several, squares / count.clamp(min=1), norm.running_var.to(dtype))
    with torch.no_grad():
        norm.num_batches_tracked += several
        _update_running(norm.running_mean, mean, norm.momentum, several)
        _update_running(norm.running_var, squares / (count - 1), norm.momentum, several)

    # `deviation` is the only tensor of the features' size that the backward pass keeps.
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = norm.weight * scale
    shift = (mean - center) * scale
    if norm.bias is not None:
        shift = norm.bias + shift
    normed = torch.addcmul(shift.view(shape), deviation, scale.view(shape))
    return torch.where(mask, normed, 0).to(features.dtype)


def _update_running(
    running: torch.Tensor, new: torch.Tensor, momentum: float, several: torch.Tensor
) -> None:
    """Move a running statistic (channels,) towards a new value, if the batch has several values."""
    moved = momentum * new + (1 - momentum) * running
    running.copy_(torch.where(several, moved, running))


class ConvBlock(nn.Module):
    """2-D convolution, masked batch normalization, ReLU, max-pooling and dropout of channels.

    `pool` are the factors along frames and bands.
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
        """Apply the block.

        Args:
            features: (batch, inputs, frames, bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, outputs, frames // pool, bands // pool), and the mask of these frames.
        """
        features = torch.relu(self.norm(self.conv(features), mask))
        mask = pooled_mask(mask, self.pool.kernel_size[0])
        pooled = self.dropout(self.pool(features))
        return masked(pooled, mask), mask


class ConvBlock1d(nn.Module):
    """`ConvBlock` for a convolution over time only, which may have a stride."""

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
        """Apply the block.

        Args:
            features: (batch, inputs, frames).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, outputs, ceil(frames / stride) // pool), and the mask of these frames.
        """
        convolved = self._convolve(features)
        mask = mask[:, :: self.stride]
        picture = torch.relu(self.norm(convolved, mask).unsqueeze(2))
        pooled = nn.functional.max_pool2d(picture, (1, self.time_pool)).squeeze(2)
        mask = pooled_mask(mask, self.time_pool)
        return masked(self.dropout(pooled), mask), mask

    def _convolve(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, inputs, frames) -> (batch, outputs, ceil(frames / stride)).

        The convolution is that of a picture one row high, with channels last in memory: on a CPU a
        `Conv1d` would copy to another layout in both passes.
        """
        kernel_size = self.conv.kernel_size[0]
        # An even kernel needs one frame less after the clip than before the clip.
        padded = nn.functional.pad(features, (kernel_size // 2, (kernel_size - 1) // 2))
        picture = nn.functional.conv2d(
            padded.unsqueeze(2).to(memory_format=torch.channels_last),
            self.conv.weight.unsqueeze(2).to(memory_format=torch.channels_last),
            stride=(1, self.stride),
        )
        return picture.squeeze(2)


class BiLSTM(nn.Module):
    """A bidirectional LSTM whose backward direction starts at the last real frame of each clip.

    Hochreiter and Schmidhuber 1997, Neural Computation 9; Graves and Schmidhuber 2005, Neural
    Networks 18. The layer uses packed sequences. On a CPU, where packed sequences are slow, it
    runs a plain LSTM for each direction, the backward one on reversed clips.
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
        """Apply all layers.

        Args:
            sequence: (batch, frames, inputs).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, frames, 2 * hidden), zero in the padding: the states of the forward direction,
            then those of the backward direction.
        """
        if sequence.device.type == "cpu":
            return self._reversed(sequence, mask)
        return self._packed(sequence, mask)

    def _packed(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        lengths = mask.sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            sequence, lengths, batch_first=True, enforce_sorted=False
        )
        packed_states, _ = self.lstm(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(
            packed_states, batch_first=True, total_length=sequence.shape[1]
        )
        return states

    def _reversed(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        frame = torch.arange(sequence.shape[1], device=mask.device)[None]
        last = mask.sum(dim=1, keepdim=True) - 1
        reverse_index = torch.where(frame <= last, last - frame, frame)[:, :, None]
        for layer in range(self.lstm.num_layers):
            if layer:
                sequence = nn.functional.dropout(sequence, self.lstm.dropout, self.training)
            forward_states = self._one_way(sequence, f"_l{layer}")
            reversed_clips = sequence.gather(1, reverse_index.expand_as(sequence))
            reversed_states = self._one_way(reversed_clips, f"_l{layer}_reverse")
            backward_states = reversed_states.gather(1, reverse_index.expand_as(reversed_states))
            sequence = torch.cat([forward_states, backward_states], dim=2)
        return sequence * mask[:, :, None].to(sequence.dtype)

    def _one_way(self, sequence: torch.Tensor, suffix: str) -> torch.Tensor:
        """Run a layer in one direction: (batch, frames, inputs) -> (batch, frames, hidden).

        The names of the weights of that layer and direction end in `suffix`.
        """
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(self.lstm, part + suffix) for part in parts]
        state = sequence.new_zeros(1, sequence.shape[0], self.lstm.hidden_size)
        # torch.lstm takes no keywords here. The positional arguments are has_biases, num_layers,
        # dropout, train, bidirectional and batch_first.
        states, _, _ = torch.lstm(
            sequence, (state, state), weights, True, 1, 0.0, self.training, False, True
        )
        return states


class ConvolutionStack2d(nn.Module):
    """`ConvBlock`s over the picture of frames and bands.

    An input frame has `planes` times `bands` numbers; an output frame has `size` numbers,
    `self.channels` of `self.bands` each. A block of the configuration has `depth` convolutions, of
    which the last one is pooled.
    """

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
        inputs = planes
        pools = zip(config.time_pooling, config.band_pooling, strict=True)
        for outputs, pool in zip(config.channels, pools, strict=True):
            for _ in range(depth - 1):
                self.blocks.append(ConvBlock(inputs, outputs, (1, 1), 0.0, kernel_size))
                inputs = outputs
            self.blocks.append(ConvBlock(inputs, outputs, pool, config.conv_dropout, kernel_size))
            inputs = outputs
            _, band_pool = pool
            self.bands //= band_pool
        self.size = self.channels * self.bands

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply all blocks.

        Args:
            features: (batch, frames, planes * bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, fewer frames, size), and the mask of these frames.
        """
        picture = as_picture(features, self.planes)
        for block in self.blocks:
            picture, mask = block(picture, mask)
        return as_frames(picture), mask


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
        """Apply all blocks.

        Args:
            features: (batch, frames, inputs).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, fewer frames, size), and the mask of these frames.
        """
        features = features.transpose(1, 2)
        for block in self.blocks:
            features, mask = block(features, mask)
        return features.transpose(1, 2), mask


class Pooling(nn.Module):
    """Pools the real frames of a clip into one vector.

    The kinds are:

    - ``mean``, ``max``, and ``mean_std``, mean and deviation;
    - ``mean_max``: mean plus maximum (Kong et al. 2020, arXiv:1912.10211);
    - ``attention``: a mean with a trained weight per frame;
    - ``attentive_stats``: mean and deviation with a trained weight per frame and channel
      (Desplanques et al. 2020, arXiv:2005.07143);
    - ``attentive_frame_stats``: the same with a trained weight per frame (Okabe et al. 2018,
      arXiv:1803.10963);
    - ``last``: the last states of both directions of a bidirectional LSTM.
    """

    def __init__(self, kind: str, size: int):
        super().__init__()
        self.kind = kind
        with_deviation = kind in ("mean_std", "attentive_stats", "attentive_frame_stats")
        self.output_size = 2 * size if with_deviation else size
        # Softmax ignores a constant, so a bias would never be trained.
        if kind == "attention":
            self.score = nn.Linear(size, 1, bias=False)
        elif kind == "attentive_stats":
            hidden = max(8, size // 4)
            self.score = nn.Sequential(
                nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, size, bias=False)
            )
        elif kind == "attentive_frame_stats":
            self.score = nn.Sequential(
                nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False)
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
            return _last_states(sequence, mask)
        if self.kind == "max":
            return _maximum(sequence, mask)
        weights = self._weights(sequence, mask)
        mean = (weights * sequence).sum(dim=1)
        if self.kind == "mean_max":
            return mean + _maximum(sequence, mask)
        if self.kind in ("mean", "attention"):
            return mean
        variance = (weights * (sequence - mean[:, None]).square()).sum(dim=1)
        return torch.cat([mean, torch.sqrt(variance + 1e-7)], dim=1)

    def _weights(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Compute the weight of each frame: (batch, frames, 1 or size), 0 for padding."""
        frame_mask = mask[:, :, None]
        if self.kind in ("attention", "attentive_stats", "attentive_frame_stats"):
            return self.score(sequence).masked_fill(~frame_mask, float("-inf")).softmax(dim=1)
        frame_mask = frame_mask.to(sequence.dtype)
        return frame_mask / frame_mask.sum(dim=1, keepdim=True)


def _maximum(sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Compute the maximum over the real frames: (batch, frames, size) -> (batch, size)."""
    return sequence.masked_fill(~mask[:, :, None], float("-inf")).amax(dim=1)


def _last_states(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Take the last states of both directions: (batch, frames, size) -> (batch, size).

    The backward direction ends at the first frame.
    """
    last = (mask.sum(dim=1) - 1)[:, None, None].expand(-1, 1, states.shape[2])
    at_last_frame = states.gather(1, last)[:, 0]
    at_first_frame = states[:, 0]
    forward_state = at_last_frame.chunk(2, dim=1)[0]
    backward_state = at_first_frame.chunk(2, dim=1)[1]
    return torch.cat([forward_state, backward_state], dim=1)


def classifier_output(
    config: PreTrainedConfig, logits: torch.Tensor, labels: torch.Tensor | None
) -> SequenceClassifierOutput:
    """The output of a network, with the mean loss of the batch if there are labels.

    Args:
        config: for `problem_type` ``"regression"`` the loss is the squared error, for any other
            type it is cross entropy.
        logits: (batch, classes), or (batch, dimensions).
        labels: class ids (batch,), or values (batch, dimensions).
    """
    loss = None
    if labels is not None:
        scores = logits.float()
        if config.problem_type == "regression":
            loss = nn.functional.mse_loss(scores, labels.to(scores.dtype).view_as(scores))
        else:
            loss = nn.functional.cross_entropy(scores, labels)
    return SequenceClassifierOutput(loss=loss, logits=logits)


def fixed(values: torch.Tensor) -> nn.Parameter:
    """Make a parameter that takes no gradient."""
    return nn.Parameter(values, requires_grad=False)


class Calibration(nn.Module):
    """Maps decision values of support vector machines to logits of calibrated probabilities.

    Platt scaling (Platt 1999) as in scikit-learn's `CalibratedClassifierCV`: sigmoids, divided by
    their sum. The softmax of the logits is equal to these probabilities. There is one machine for
    each class, which separates it from the rest; for two classes there is a single machine.
    """

    def __init__(self, classes: int):
        super().__init__()
        machines = 1 if classes == 2 else classes
        self.slope = fixed(torch.ones(machines))
        self.offset = fixed(torch.zeros(machines))

    def forward(self, decisions: torch.Tensor) -> torch.Tensor:
        """Calibrate decision values: (batch, machines) -> logits (batch, classes)."""
        logits = self.slope * decisions + self.offset
        if logits.shape[1] == 1:
            return torch.cat([torch.zeros_like(logits), logits], dim=1)
        return nn.functional.logsigmoid(logits)


class LinearMachines(nn.Module):
    """Linear support vector machines: `weight` (machines, size), `bias` (machines,)."""

    def __init__(self, size: int, classes: int):
        super().__init__()
        self.calibration = Calibration(classes)
        machines = len(self.calibration.slope)
        self.weight = fixed(torch.zeros(machines, size))
        self.bias = fixed(torch.zeros(machines))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(batch, size) -> logits (batch, classes)."""
        return self.calibration(nn.functional.linear(vectors, self.weight, self.bias))


class KernelMachines(nn.Module):
    """Support vector machines with the kernel exp(-gamma |x - v|^2).

    `vectors` (support, size) are the support vectors v of all machines, and `weight` (machines,
    support) their coefficients.
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
        """(batch, size) -> logits (batch, classes)."""
        # Coefficients may be large (C of 100 and more) and cancel: distances must be exact to
        # float32's last bits, unlike |x|^2 + |v|^2 - 2 x v or half precision.
        with torch.autocast(vectors.device.type, enabled=False):
            distances = (vectors.float()[:, None] - self.vectors).square().sum(dim=2)
            kernel = torch.exp(-self.gamma * distances)
            return self.calibration(nn.functional.linear(kernel, self.weight, self.bias))
