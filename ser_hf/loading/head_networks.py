"""Networks of classifiers that the Hub has and transformers does not: an encoder with another head.

- `DenseHead`: pooling, a dense layer with tanh, and the output layer. `pooling_mode` in the
  configuration is mean, sum or max (github.com/m3hrdadfi/soxan). Models of dimensions have it with
  the mean (Wagner et al. 2023, arXiv:2203.07378).
- `LayerNormHead`: attentive statistics (Okabe et al. 2018, arXiv:1803.10963) or the mean over
  frames, dense layers with layer norm and ReLU, and the output layer (the baselines of the
  MSP-Podcast challenges, github.com/msplabresearch/MSP-Podcast_Challenge).
"""

from collections.abc import Mapping
from types import SimpleNamespace

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from ..models.layers import Pooling

POOLING_MODES = ("mean", "sum", "max")

Tensors = Mapping[str, torch.Tensor]


class DenseHead(nn.Module):
    """Pooling over frames, a dense layer with tanh, and the output layer.

    Args:
        size: the size of the encoder's frames.
        hidden: the size of the dense layer.
        outputs: the number of classes or dimensions.
        pooling_mode: one of `POOLING_MODES`.
    """

    def __init__(self, size: int, hidden: int, outputs: int, pooling_mode: str):
        super().__init__()
        self.sums = pooling_mode == "sum"
        self.pooling = Pooling("max" if pooling_mode == "max" else "mean", size)
        self.dense = nn.Linear(size, hidden)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Outputs (batch, outputs) of frames (batch, frames, size) and their mask."""
        vector = self.pooling(frames, mask)
        if self.sums:
            vector = vector * mask.sum(dim=1, keepdim=True)
        return self.output(torch.tanh(self.dense(vector)))


class AttentiveStatistics(nn.Module):
    """The weighted mean and deviation over frames, with one trained weight for each frame."""

    def __init__(self, size: int):
        super().__init__()
        self.sap_linear = nn.Linear(size, size)
        self.attention = nn.Parameter(torch.zeros(size, 1))

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Vectors (batch, 2 * size) of frames (batch, frames, size) and their mask."""
        scores = torch.tanh(self.sap_linear(frames)) @ self.attention
        weights = scores.masked_fill(~mask[:, :, None], float("-inf")).softmax(dim=1)
        mean = (weights * frames).sum(dim=1)
        variance = (weights * frames.square()).sum(dim=1) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)


class LayerNormHead(nn.Module):
    """Pooling over frames, dense layers with layer norm and ReLU, and the output layer.

    Args:
        size: the size of the encoder's frames.
        hidden_sizes: the sizes of the dense layers.
        outputs: the number of classes or dimensions.
        attentive: attentive statistics, otherwise the mean.
    """

    def __init__(self, size: int, hidden_sizes: list[int], outputs: int, attentive: bool):
        super().__init__()
        self.pooling = AttentiveStatistics(size) if attentive else Pooling("mean", size)
        size_in = 2 * size if attentive else size
        self.hidden = nn.ModuleList()
        for size_out in hidden_sizes:
            self.hidden.append(
                nn.Sequential(nn.Linear(size_in, size_out), nn.LayerNorm(size_out), nn.ReLU())
            )
            size_in = size_out
        self.output = nn.Sequential(nn.Linear(size_in, outputs))

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Outputs (batch, outputs) of frames (batch, frames, size) and their mask."""
        vector = self.pooling(frames, mask)
        for layer in self.hidden:
            vector = layer(vector)
        return self.output(vector)


class PublishedClassifier(PreTrainedModel):
    """An encoder with one of these heads; it is called like a classifier of transformers.

    Args:
        config: the configuration of the encoder, with the labels.
        head: a module that maps frames and their mask to outputs.
        mean, deviation: standardize the waveforms.
    """

    def __init__(
        self, config: PreTrainedConfig, head: nn.Module, mean: float = 0.0, deviation: float = 1.0
    ):
        super().__init__(config)
        self.encoder = AutoModel.from_config(config, trust_remote_code=False)
        self.head = head
        self.mean = mean
        self.deviation = deviation

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> SimpleNamespace:
        """Predict outputs (batch, outputs), in `logits`, from waveforms (batch, samples)."""
        mask = attention_mask
        if mask is None:
            mask = torch.ones_like(input_values, dtype=torch.long)
        waveform = (input_values - self.mean) / self.deviation * mask
        frames = self.encoder(waveform, attention_mask=mask).last_hidden_state
        frame_mask = self.encoder._get_feature_vector_attention_mask(frames.shape[1], mask)
        return SimpleNamespace(logits=self.head(frames, frame_mask.bool()))
