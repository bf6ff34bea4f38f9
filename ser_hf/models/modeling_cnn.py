"""2-D CNN over a spectrogram and 1-D CNN over the waveform: configurations and networks."""

from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from .configuration import (
    ConvolutionConfig,
    Count,
    Counts,
    Depths,
    Fraction,
    Odd,
    PoolingKind,
    WaveformConfig,
)
from .front_end import FrontEnd
from .layers import ConvBlock1d, ConvolutionStack2d, Pooling
from .modeling_base import AcousticClassifier


class CNN2dConfig(ConvolutionConfig):
    """The options of a 2-D CNN over the picture of frames and bands."""

    model_type = "ser_cnn2d"

    kernel_size: Annotated[Odd, "size of the convolutions along frames and bands"] = 3
    pooling: Annotated[Literal["mean", "max", "mean_max"], "how the picture becomes one vector"] = (
        "mean"
    )
    pooling_over: Annotated[
        Literal["frames_and_bands", "frames"],
        "frames_and_bands pools both, for which a pattern means the same in every band; frames "
        "keeps the remaining bands apart, as flattening does",
    ] = "frames_and_bands"
    hidden: Annotated[Count, "units of the dense layer before the classifier"] = 64
    dropout: Annotated[
        Fraction, "probability of dropout before the dense layer and before the classifier"
    ] = 0.2


class CNN2dForAudioClassification(AcousticClassifier):
    """2-D CNN: convolutional blocks over the spectrogram, global pooling and a dense layer.

    The network of most speech emotion notebooks, for clips of any length (``frame_fit: resize``
    resizes as they do).
    """

    config_class = CNN2dConfig
    classifier_gain = 0.3

    def __init__(self, config: CNN2dConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config)
        self.stack = ConvolutionStack2d(
            self.front_end.planes, self.front_end.bands, config, config.kernel_size
        )
        self.pools_bands = config.pooling_over == "frames_and_bands"
        pooled_size = self.stack.channels if self.pools_bands else self.stack.size
        self.pooling = Pooling(config.pooling, pooled_size)
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(self.pooling.output_size, config.hidden)
        self.classifier = nn.Linear(config.hidden, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, hidden)."""
        frames, mask = self.stack(features, mask)
        if self.pools_bands:
            # Each band of a frame is an item to pool: (batch, frames * bands, channels).
            picture = frames.unflatten(2, (self.stack.channels, self.stack.bands))
            frames = picture.transpose(2, 3).flatten(1, 2)
            mask = mask.repeat_interleave(self.stack.bands, dim=1)
        pooled = self.dropout(self.pooling(frames, mask))
        return self.dropout(torch.relu(self.dense(pooled)))


class CNN1dConfig(WaveformConfig):
    """The options of a 1-D CNN over the waveform."""

    model_type = "ser_cnn1d"
    per_block: ClassVar[tuple[str, ...]] = ("channels", "depths")

    normalization: Annotated[
        Literal["clip", "none"],
        "clip brings each clip to unit root mean square; none leaves its level as it is",
    ] = "clip"
    first_kernel: Annotated[Count, "size of the first layer's filters, in samples"] = 160
    first_stride: Annotated[Count, "samples from one frame of the first layer to the next"] = 8
    channels: Annotated[Counts, "filters of each convolutional block"] = (128, 128, 256, 512)
    depths: Annotated[Depths, "convolutions of each block"] = (1, 1, 1, 1)
    kernel_size: Annotated[Odd, "size of the other layers' filters, in frames"] = 3
    pool: Annotated[Count, "factor by which each block pools time"] = 4
    pooling: Annotated[PoolingKind, "how the frames become one vector"] = "mean"
    conv_dropout: Annotated[Fraction, "probability that a channel is dropped after a block"] = 0.05
    dropout: Annotated[Fraction, "probability of dropout before the classifier"] = 0.2

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self._check_need("pool", self.first_stride * self.pool ** len(self.channels))


class Waveform(nn.Module):
    """A front end whose frames are samples.

    A clip shorter than `min_frames` samples is padded with zeros, which the mask counts as real.
    """

    FLOOR = 1e-8  # mean square of silence: -80 dB of full scale

    def __init__(self, kind: str, min_frames: int):
        super().__init__()
        self.kind = kind
        self.min_frames = min_frames

    def forward(
        self, waveform: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Bring clips to unit root mean square, if the kind is ``"clip"``.

        Args:
            waveform: (batch, samples), zero beyond each clip.
            lengths: (batch,) samples of each clip.

        Returns:
            (batch, samples + min_frames, 1), and a mask (batch, samples + min_frames) bool, true
            for real samples.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            if self.kind == "clip":
                power = waveform.square().sum(dim=1, keepdim=True) / lengths[:, None].clamp(min=1)
                waveform = waveform * torch.rsqrt(power.clamp(min=self.FLOOR))
            # A batch that is long enough is padded too: a condition would fix the length of the
            # batch in an exported network.
            waveform = nn.functional.pad(waveform, (0, self.min_frames))
            sample = torch.arange(waveform.shape[1], device=waveform.device)
            return waveform[:, :, None], sample < lengths[:, None].clamp(min=self.min_frames)


class CNN1dForAudioClassification(AcousticClassifier):
    """1-D CNN over the raw waveform: trained filters in place of a spectrogram.

    M5 of Dai et al. 2017 (arXiv:1610.00087); `depths` ``[1, 2, 2, 3, 2]`` of `channels` ``[64, 64,
    128, 256, 512]`` make M11. The paper uses 8 kHz, so the first layer's 80 samples every 4 are 160
    every 8 here.
    """

    config_class = CNN1dConfig
    classifier_gain = 0.3

    def __init__(self, config: CNN1dConfig):
        super().__init__(config)
        self.front_end = Waveform(
            config.normalization, config.first_stride * config.pool ** len(config.channels)
        )
        self.blocks = nn.ModuleList()
        inputs = 1
        for outputs, depth in zip(config.channels, config.depths, strict=True):
            for layer in range(depth):
                first_of_network = len(self.blocks) == 0
                last_of_block = layer == depth - 1
                convolution = ConvBlock1d(
                    inputs,
                    outputs,
                    kernel_size=config.first_kernel if first_of_network else config.kernel_size,
                    pool=config.pool if last_of_block else 1,
                    dropout=config.conv_dropout if last_of_block else 0.0,
                    stride=config.first_stride if first_of_network else 1,
                )
                self.blocks.append(convolution)
                inputs = outputs
        self.pooling = Pooling(config.pooling, inputs)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, samples, 1), mask (batch, samples) -> (batch, pooled size)."""
        frames = features.transpose(1, 2)
        for block in self.blocks:
            frames, mask = block(frames, mask)
        return self.dropout(self.pooling(frames.transpose(1, 2), mask))
