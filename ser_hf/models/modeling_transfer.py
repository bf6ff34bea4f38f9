"""Networks pretrained on other tasks, under a new head; and those of audio: BYOL-S and CNN14."""

from typing import Annotated, Literal

import torch
from torch import nn

from .configuration import (
    AcousticConfig,
    Count,
    CountOrZero,
    Counts,
    Fraction,
    Normalization,
    PoolingKindOrMeanMax,
    Positive,
    PowerFloor,
    Samples,
    WaveformConfig,
)
from .front_end import FrontEnd
from .layers import ConvBlock, LinearMachines, MaskedBatchNorm1d, Pooling, as_picture, pooled_mask
from .modeling_base import AcousticClassifier


class TransferConfig(AcousticConfig):
    """The options of a network with published weights."""

    standardize: Annotated[
        bool,
        "normalize the clip's vector over the batch, without weights, before the classifier",
    ] = True
    head: Annotated[
        Literal["linear", "svm"],
        "the classifier: linear, or svm (support vector machines), which scikit-learn fits",
    ] = "linear"


class TransferClassifier(AcousticClassifier):
    """A waveform classifier whose `encoder` has published weights, all in `encoder.layers`, from
    the bottom up.
    """

    def __init__(self, config: WaveformConfig, front_end: nn.Module, encoder: nn.Module):
        super().__init__(config)
        self.front_end = front_end
        self.encoder = encoder

    def _make_head(self, size: int) -> None:
        self.norm = ClipNorm(size) if self.config.standardize else nn.Identity()
        head = {"linear": nn.Linear, "svm": LinearMachines}[self.config.head]
        self.classifier = head(size, self.config.num_labels)
        self.post_init()


class PooledTransferClassifier(TransferClassifier):
    """A `TransferClassifier` whose encoder returns frames and their mask; `encoder.size` is the
    size of a frame.
    """

    def __init__(self, config: WaveformConfig, front_end: nn.Module, encoder: nn.Module):
        super().__init__(config, front_end, encoder)
        self.pooling = Pooling(config.pooling, encoder.size)
        self.dropout = nn.Dropout(config.dropout)
        self._make_head(self.pooling.output_size)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(self.pooling(*self.encoder(features, mask))))


class ClipNorm(nn.BatchNorm1d):
    """Batch normalization, without weights, of one vector per clip (He et al. 2022,
    arXiv:2111.06377).

    A feature that is (nearly) constant in training is divided by the share `LEAST` of the mean
    deviation of all features, so that it does not outweigh them where a clip of another length
    makes it differ.
    """

    LEAST = 0.1

    def __init__(self, size: int):
        super().__init__(size, affine=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(batch, size) -> the same; a batch of a single clip is normalized by the running
        statistics.
        """
        mean = self.running_mean
        variance = self.running_var
        if self.training and len(vectors) > 1:
            super().forward(vectors)  # updates the running statistics
            variance, mean = torch.var_mean(vectors.float(), dim=0, correction=0)
        deviation = torch.sqrt(variance + self.eps)
        deviation = torch.maximum(deviation, self.LEAST * deviation.mean())
        return ((vectors - mean) / deviation).to(vectors.dtype)


# BYOL-S


class PublishedAudioConfig(TransferConfig):
    """The front end of BYOL-S and CNN14."""

    hop_length: Count = 160
    center: bool = True
    edges: Literal["zeros", "reflect"] = "reflect"
    time_masks: CountOrZero = 0
    band_masks: CountOrZero = 0


class BYOLSConfig(PublishedAudioConfig):
    """The options of BYOL-S. Defaults are those of the published weights."""

    model_type = "ser_byols"

    n_fft: Samples = 1024
    win_length: Samples = 1024
    f_min: float = 60.0
    f_max: float | None = 7800.0
    floor: PowerFloor = 2.0**-23
    normalization: Normalization = "corpus_level"
    channels: Annotated[Count, "filters of each of the three convolutional blocks"] = 64
    embedding: Annotated[Count, "size of a frame of 80 ms, and of a clip"] = 512
    pooling: Annotated[PoolingKindOrMeanMax, "how the frames become one vector"] = "mean_max"
    frame_dropout: Annotated[
        Fraction, "probability of dropout between the two linear layers of the encoder"
    ] = 0.3
    dropout: Annotated[Fraction, "probability of dropout before the classifier"] = 0.0

    @property
    def min_frames(self) -> int:
        return 2**BYOLS_BLOCKS

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.n_mels < 2**BYOLS_BLOCKS:
            raise ValueError(
                f"n_mels: three blocks halve the bands, which takes 8 or more, got {self.n_mels}"
            )


BYOLS_BLOCKS = 3  # each halves frames and bands


class FrameLayer(nn.Module):
    def __init__(self, inputs: int, outputs: int, dropout: float):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.dropout(torch.relu(self.linear(frames)))


class BYOLSEncoder(nn.Module):
    """Frames of 10 ms and their mask -> frames of 80 ms, (batch, frames // 8, embedding), and their
    mask.
    """

    def __init__(self, planes: int, bands: int, config: BYOLSConfig):
        super().__init__()
        self.planes = planes
        self.size = config.embedding
        widths = [planes, *[config.channels] * BYOLS_BLOCKS]
        self.layers = nn.ModuleList(
            ConvBlock(widths[i], widths[i + 1], (2, 2), 0.0) for i in range(BYOLS_BLOCKS)
        )
        joined = config.channels * (bands // 2**BYOLS_BLOCKS)
        self.layers.append(FrameLayer(joined, config.embedding, config.frame_dropout))
        self.layers.append(FrameLayer(config.embedding, config.embedding, 0.0))

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        picture = as_picture(features, self.planes)
        for block in self.layers[:BYOLS_BLOCKS]:
            picture, mask = block(picture, mask)
        # All channels of the lowest band first, as the published linear layer expects.
        frames = picture.permute(0, 2, 3, 1).flatten(2)
        for layer in self.layers[BYOLS_BLOCKS:]:
            frames = layer(frames)
        return frames, mask


class BYOLSForAudioClassification(PooledTransferClassifier):
    """BYOL-S: log-mel front end, the small convolutional encoder of BYOL-A, mean plus maximum over
    time.

    Elbanna et al. 2022 (arXiv:2206.12038) trained it without labels, after Niizumi et al. 2021
    (arXiv:2103.06695).
    """

    config_class = BYOLSConfig

    def __init__(self, config: BYOLSConfig):
        front_end = FrontEnd(config)
        super().__init__(config, front_end, BYOLSEncoder(front_end.planes, front_end.bands, config))


# CNN14


class CNN14Config(PublishedAudioConfig):
    """The options of CNN14. Defaults are those of the published network at 16 kHz."""

    model_type = "ser_cnn14"

    win_length: Samples = 512
    f_max: float | None = 8000.0
    compression: Literal["log", "db"] = "db"
    top_db: Positive | None = None
    normalization: Normalization = "none"
    channels: Annotated[
        Counts,
        "filters of each block of two convolutions; all but the last halve frames and bands",
    ] = (64, 128, 256, 512, 1024, 2048)
    embedding: Annotated[Count, "size of the layer after pooling"] = 2048
    block_dropout: Annotated[Fraction, "probability of dropout after each block"] = 0.2
    dropout: Annotated[
        Fraction, "probability of dropout before and after the layer that follows pooling"
    ] = 0.5

    @property
    def min_frames(self) -> int:
        return 2 ** (len(self.channels) - 1)

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.n_mels < self.min_frames:
            raise ValueError(
                f"channels: each block but the last halves the {self.n_mels} bands, "
                f"got {self.channels}"
            )


class DoubleBlock(nn.Module):
    """Two convolution blocks, mean over squares of `pool`, dropout; with `normed` bands they are
    normalized before.
    """

    def __init__(self, inputs: int, outputs: int, pool: int, dropout: float, normed: int = 0):
        super().__init__()
        if normed:
            self.bands_norm = MaskedBatchNorm1d(normed)
        self.convolutions = nn.ModuleList(
            ConvBlock(width, outputs, (1, 1), 0.0) for width in (inputs, outputs)
        )
        self.pool = nn.AvgPool2d(pool)
        self.time_pool = pool
        self.normed = normed
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, picture: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames, bands) -> (batch, outputs, frames // pool, bands // pool), and
        the pooled mask.
        """
        if self.normed:
            rows = picture.transpose(2, 3).flatten(1, 2)
            picture = (
                self.bands_norm(rows, mask).unflatten(1, (picture.shape[1], -1)).transpose(2, 3)
            )
        for convolution in self.convolutions:
            picture, _ = convolution(picture, mask)
        mask = pooled_mask(mask, self.time_pool)
        return self.dropout(self.pool(picture)) * mask[:, None, :, None].to(picture.dtype), mask


class ClipLayer(nn.Module):
    """Mean plus maximum over time, and a linear layer with ReLU, dropout before it and after it."""

    def __init__(self, inputs: int, outputs: int, dropout: float):
        super().__init__()
        self.pooling = Pooling("mean_max", inputs)
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(torch.relu(self.linear(self.dropout(self.pooling(frames, mask)))))


class CNN14Encoder(nn.Module):
    """(batch, frames, planes * bands), mask (batch, frames) -> (batch, embedding)."""

    def __init__(self, planes: int, bands: int, config: CNN14Config):
        super().__init__()
        self.planes, self.layers = planes, nn.ModuleList()
        inputs = planes
        last = len(config.channels) - 1
        for i, width in enumerate(config.channels):
            pool = 1 if i == last else 2
            normed = 0 if i else planes * bands
            self.layers.append(DoubleBlock(inputs, width, pool, config.block_dropout, normed))
            inputs = width
        self.layers.append(ClipLayer(inputs, config.embedding, config.dropout))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        picture = as_picture(features, self.planes)
        for block in self.layers[:-1]:
            picture, mask = block(picture, mask)
        return self.layers[-1](picture.mean(dim=3).transpose(1, 2), mask)


class CNN14ForAudioClassification(TransferClassifier):
    """CNN14 of PANNs: log-mel front end, six blocks of two convolutions, mean plus maximum over
    time.

    Kong et al. 2020 (arXiv:1912.10211) trained it to tag the sounds of AudioSet.
    """

    config_class = CNN14Config

    def __init__(self, config: CNN14Config):
        front_end = FrontEnd(config)
        super().__init__(config, front_end, CNN14Encoder(front_end.planes, front_end.bands, config))
        self._make_head(config.embedding)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.norm(self.encoder(features, mask))
