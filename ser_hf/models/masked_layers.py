"""Layers that know which frames are real, so that padding neither enters a statistic nor leaks into an answer."""

import torch
from torch import nn


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over (batch, channels, frames, bands) whose statistics count real frames only.

    Padded frames are zero on return. Equals `nn.BatchNorm2d` where the mask is all true.
    """

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(features) * mask[:, None, :, None].to(features.dtype)
        # With channels last in memory a frame is one run of numbers, so that gathering the real ones is a plain copy
        # and the fused kernel can do the rest.
        frames = features.permute(0, 2, 3, 1).contiguous()
        rows = mask.flatten().nonzero().squeeze(1)
        real = frames.flatten(0, 1).index_select(0, rows)
        self.num_batches_tracked += 1
        normed = nn.functional.batch_norm(
            real.flatten(0, 1),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=self.momentum,
            eps=self.eps,
        )
        if len(rows) < mask.numel():
            normed = torch.zeros_like(frames).flatten(0, 1).index_copy(0, rows, normed.view_as(real))
        return normed.view(frames.shape).permute(0, 3, 1, 2)


class ConvBlock(nn.Module):
    """Convolution, masked batch normalisation, ReLU, max-pooling over (frames, bands), dropout of whole channels."""

    def __init__(self, inputs: int, outputs: int, pool: tuple[int, int], dropout: float):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
        self.norm = MaskedBatchNorm2d(outputs)
        self.pool = nn.MaxPool2d(pool)
        self.time_pool = pool[0]
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames, bands) -> (batch, outputs, frames // pool, bands // pool), and the pooled mask."""
        features = torch.relu(self.norm(self.conv(features), mask))
        features = self.dropout(self.pool(features))
        # A pooled frame is real where its whole window is: lengths are floored, as they are for a clip alone.
        mask = mask[:, self.time_pool - 1 :: self.time_pool]
        return features * mask[:, None, :, None].to(features.dtype), mask


class BiLSTM(nn.Module):
    """A bidirectional LSTM whose backward direction starts at each clip's own last frame (packed sequences)."""

    def __init__(self, inputs: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.lstm = nn.LSTM(
            inputs, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs) -> (batch, frames, 2 * hidden), padding zero."""
        lengths = mask.sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=False)
        output, _ = nn.utils.rnn.pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=sequence.shape[1]
        )
        return output


class Pooling(nn.Module):
    """One vector per clip from its real frames: ``mean``, ``max``, ``mean_std`` or learnt ``attention`` weights."""

    KINDS = ("mean", "max", "mean_std", "attention")

    def __init__(self, kind: str, size: int):
        super().__init__()
        if kind not in self.KINDS:
            raise ValueError(f"pooling {kind!r} is none of {', '.join(self.KINDS)}")
        self.kind = kind
        self.output_size = 2 * size if kind == "mean_std" else size
        if kind == "attention":
            # Softmax ignores a constant, so a bias would never learn.
            self.score = nn.Linear(size, 1, bias=False)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), (batch, frames) -> (batch, output_size)."""
        if self.kind == "max":
            return sequence.masked_fill(~mask[:, :, None], float("-inf")).amax(dim=1)
        if self.kind == "attention":
            weights = self.score(sequence).masked_fill(~mask[:, :, None], float("-inf")).softmax(dim=1)
            return (weights * sequence).sum(dim=1)
        real = mask[:, :, None].to(sequence.dtype)
        mean = (sequence * real).sum(dim=1) / real.sum(dim=1)
        if self.kind == "mean":
            return mean
        variance = ((sequence - mean[:, None]).square() * real).sum(dim=1) / real.sum(dim=1)
        return torch.cat([mean, torch.sqrt(variance + 1e-7)], dim=1)
