"""Self-attention over frames that knows which are real: transformer blocks and the positions they need."""

import math

import torch
from torch import nn


class SelfAttention(nn.Module):
    """Scaled dot-product attention with several heads, among the real frames.

    Raises:
        ValueError: where `heads` do not divide `size`.
    """

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        if heads < 1 or size < 1 or size % heads:
            raise ValueError(f"a transformer's size {size} is no multiple of its {heads} heads")
        self.heads, self.dropout = heads, dropout
        self.project = nn.Linear(size, 3 * size)  # queries, keys and values
        self.join = nn.Linear(size, size)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, frames, size)."""
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.project(sequence).chunk(3, dim=2)
        )
        attended = nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask[:, None, None, :], dropout_p=self.dropout if self.training else 0.0
        )
        return self.join(attended.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward layer with ReLU, each a residual (Vaswani et al. 2017, arXiv:1706.03762).

    Equals `nn.TransformerEncoderLayer` with a key padding mask.

    Args:
        size: of a frame.
        heads: of the attention.
        feed_forward: hidden size of the feed-forward layer.
        dropout: probability within the attention and the feed-forward layer, and after each.
        norm_first: normalise what enters a residual branch (Xiong et al. 2020, arXiv:2002.04745: such blocks need no
            warm-up of the learning rate, but a normalisation after the last one); otherwise what leaves the sum.
    """

    def __init__(self, size: int, heads: int, feed_forward: int, dropout: float, norm_first: bool = True):
        super().__init__()
        self.norm_first = norm_first
        self.attention = SelfAttention(size, heads, dropout)
        self.widen, self.narrow = nn.Linear(size, feed_forward), nn.Linear(feed_forward, size)
        self.attention_norm, self.feed_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, frames, size)."""
        if self.norm_first:
            sequence = sequence + self._attend(self.attention_norm(sequence), mask)
            return sequence + self._feed(self.feed_norm(sequence))
        sequence = self.attention_norm(sequence + self._attend(sequence, mask))
        return self.feed_norm(sequence + self._feed(sequence))

    def _attend(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.attention(sequence, mask))

    def _feed(self, sequence: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.narrow(self.dropout(torch.relu(self.widen(sequence)))))


class Transformer(nn.Module):
    """Frames of any size, brought to `size`, told their place, and passed through `layers` pre-norm blocks."""

    def __init__(self, inputs: int, size: int, layers: int, heads: int, feed_forward: int, dropout: float):
        super().__init__()
        self.enter = nn.Linear(inputs, size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(size, heads, feed_forward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs), mask (batch, frames) -> (batch, frames, size)."""
        sequence = self.enter(sequence)
        sequence = self.dropout(sequence + positions(sequence))
        for block in self.blocks:
            sequence = block(sequence, mask)
        return self.norm(sequence)


def positions(sequence: torch.Tensor) -> torch.Tensor:
    """Sinusoids of the frame's number (Vaswani et al. 2017, section 3.5): (frames, size) for (batch, frames, size).

    Feature 2i is ``sin(frame / 10000^(2i / size))`` and feature 2i + 1 its cosine, for any number of frames.
    """
    size = sequence.shape[2]
    frame = torch.arange(sequence.shape[1], device=sequence.device, dtype=torch.float32)[:, None]
    even = torch.arange(0, size, 2, device=sequence.device, dtype=torch.float32)
    angle = frame * torch.exp(even * (-math.log(10000.0) / size))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :size].to(sequence.dtype)
