"""1-D CNN over the raw waveform: learnt filters in place of a spectrogram, convolutional blocks, pooling over time.

M5 of Dai et al. 2017 (arXiv:1610.00087), which has no dense layer but the classifier; `channels` and `depths` make M11
of it. The paper hears 8 kHz, so that the first layer's 80 samples every 4 are 160 every 8 here; its average over a
fixed length is one over a clip's real frames.
"""

import torch
from torch import nn

from .configuration_cnn1d import CNN1dConfig
from .masked_layers import ConvBlock1d, Pooling
from .modeling_convolutional import ConvolutionalClassifier


class Waveform(nn.Module):
    """The front end of a network that takes the waveform as it is: a frame is a sample.

    Args:
        kind: ``"clip"``, unit root mean square over each clip's real samples; or ``"none"``.
        min_frames: the fewest samples the network can take; shorter clips are padded with zeros, which count as real.
    """

    FLOOR = 1e-8  # mean square of silence: -80 dB of full scale

    def __init__(self, kind: str, min_frames: int):
        super().__init__()
        self.kind, self.min_frames = kind, min_frames

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples), true lengths (batch,) -> (batch, samples + min_frames, 1) and mask (batch, frames)."""
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            if self.kind == "clip":
                power = waveform.square().sum(dim=1, keepdim=True) / lengths[:, None].clamp(min=1)
                waveform = waveform * torch.rsqrt(power.clamp(min=self.FLOOR))
            # Always more, never a look at the batch's length: that would tie an exported network to one.
            waveform = nn.functional.pad(waveform, (0, self.min_frames))
            sample = torch.arange(waveform.shape[1], device=waveform.device)
            return waveform[:, :, None], sample < lengths[:, None].clamp(min=self.min_frames)


class CNN1dForAudioClassification(ConvolutionalClassifier):
    config_class = CNN1dConfig

    def __init__(self, config: CNN1dConfig):
        super().__init__(config)
        self.front_end = Waveform(config.normalization, config.first_stride * config.pool ** len(config.channels))
        self.blocks, inputs = nn.ModuleList(), 1
        for channels, depth in zip(config.channels, config.depths, strict=True):
            for layer in range(depth):
                last = layer == depth - 1
                kernel, stride = (config.kernel_size, 1) if self.blocks else (config.first_kernel, config.first_stride)
                self.blocks.append(
                    ConvBlock1d(
                        inputs,
                        channels,
                        kernel,
                        pool=config.pool if last else 1,
                        dropout=config.conv_dropout if last else 0.0,
                        stride=stride,
                    )
                )
                inputs = channels
        self.pooling = Pooling(config.pooling, inputs)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        frames = features.transpose(1, 2)
        for block in self.blocks:
            frames, mask = block(frames, mask)
        return self.dropout(self.pooling(frames.transpose(1, 2), mask))
