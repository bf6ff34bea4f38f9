"""Networks that were pretrained on other tasks, with a new head; among them BYOL-S and CNN14."""

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
from .layers import (
    ConvBlock,
    LinearMachines,
    MaskedBatchNorm1d,
    Pooling,
    as_picture,
    masked,
    pooled_mask,
)
from .modeling_base import AcousticClassifier


class TransferConfig(WaveformConfig):
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
    """A waveform classifier whose `encoder` has published weights.

    All these weights are in the list `encoder.layers`, from the lowest layer to the highest, so
    that layers can be frozen.
    """

    def __init__(self, config: WaveformConfig, front_end: nn.Module, encoder: nn.Module):
        super().__init__(config)
        self.front_end = front_end
        self.encoder = encoder

    def _make_head(self, size: int) -> None:
        """Make the layers on the clip's vector of `size` numbers, and initialize all weights."""
        self.norm = ClipNorm(size) if self.config.standardize else nn.Identity()
        if self.config.head == "svm":
            self.classifier = LinearMachines(size, self.config.num_labels)
        else:
            self.classifier = nn.Linear(size, self.config.num_labels)
        self.post_init()


class PooledTransferClassifier(TransferClassifier):
    """A `TransferClassifier` whose encoder returns frames of `encoder.size` numbers, and a mask."""

    def __init__(self, config: WaveformConfig, front_end: nn.Module, encoder: nn.Module):
        super().__init__(config, front_end, encoder)
        self.pooling = Pooling(config.pooling, encoder.size)
        self.dropout = nn.Dropout(config.dropout)
        self._make_head(self.pooling.output_size)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, pooled size)."""
        frames, mask = self.encoder(features, mask)
        vectors = self.norm(self.pooling(frames, mask))
        return self.dropout(vectors)


class ClipNorm(nn.BatchNorm1d):
    """Batch normalization, without weights, of one vector per clip.

    He et al. 2022 (arXiv:2111.06377) use it before a linear classifier of frozen features. A
    feature that is (nearly) constant in training is divided by the share `LEAST` of the mean
    deviation of all features. Otherwise this feature would outweigh the others as soon as a clip of
    another length changes it.
    """

    LEAST = 0.1

    def __init__(self, size: int):
        super().__init__(size, affine=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Normalize (batch, size); a single clip is normalized by the running statistics."""
        mean = self.running_mean
        variance = self.running_var
        if self.training and len(vectors) > 1:
            super().forward(vectors)  # updates the running statistics
            variance, mean = torch.var_mean(vectors.float(), dim=0, correction=0)
        deviation = torch.sqrt(variance + self.eps)
        deviation = torch.maximum(deviation, self.LEAST * deviation.mean())
        return ((vectors - mean) / deviation).to(vectors.dtype)


class PublishedAudioConfig(TransferConfig, AcousticConfig):
    """The front end of BYOL-S and CNN14."""

    hop_length: Count = 160
    center: bool = True
    edges: Literal["zeros", "reflect"] = "reflect"
    time_masks: CountOrZero = 0
    band_masks: CountOrZero = 0


BYOLS_BLOCKS = 3  # each halves frames and bands


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
        if self.n_mels < self.min_frames:  # bands and frames are halved equally often
            raise ValueError(
                f"n_mels: three blocks halve the bands, which takes 8 or more, got {self.n_mels}"
            )


class FrameLayer(nn.Module):
    """A linear layer on each frame, ReLU and dropout."""

    def __init__(self, inputs: int, outputs: int, dropout: float):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs) -> (batch, frames, outputs)."""
        return self.dropout(torch.relu(self.linear(frames)))


class BYOLSEncoder(nn.Module):
    """The encoder of BYOL-S, which turns frames of 10 ms into frames of 80 ms."""

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
        """Encode features.

        Args:
            features: (batch, frames, planes * bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, frames // 8, embedding), and the mask of these frames.
        """
        picture = as_picture(features, self.planes)
        for block in self.layers[:BYOLS_BLOCKS]:
            picture, mask = block(picture, mask)
        # The published linear layer expects all channels of the lowest band first.
        frames = picture.permute(0, 2, 3, 1).flatten(2)
        for layer in self.layers[BYOLS_BLOCKS:]:
            frames = layer(frames)
        return frames, mask


class BYOLSForAudioClassification(PooledTransferClassifier):
    """BYOL-S: the small convolutional encoder of BYOL-A, pooled by mean plus maximum over time.

    Elbanna et al. 2022 (arXiv:2206.12038) trained it without labels on speech, after Niizumi et al.
    2021 (arXiv:2103.06695).
    """

    config_class = BYOLSConfig

    def __init__(self, config: BYOLSConfig):
        front_end = FrontEnd(config)
        encoder = BYOLSEncoder(front_end.planes, front_end.bands, config)
        super().__init__(config, front_end, encoder)


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
    """Two convolution blocks, mean over squares of `pool` frames and bands, and dropout.

    With `normed_bands` (planes times bands) the picture is first normalized band by band.
    """

    def __init__(
        self, inputs: int, outputs: int, *, pool: int, dropout: float, normed_bands: int = 0
    ):
        super().__init__()
        if normed_bands:
            self.bands_norm = MaskedBatchNorm1d(normed_bands)
        self.convolutions = nn.ModuleList(
            [
                ConvBlock(inputs, outputs, pool=(1, 1), dropout=0.0),
                ConvBlock(outputs, outputs, pool=(1, 1), dropout=0.0),
            ]
        )
        self.pool = nn.AvgPool2d(pool)
        self.time_pool = pool
        self.norms_bands = normed_bands > 0
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, picture: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the block.

        Args:
            picture: (batch, inputs, frames, bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, outputs, frames // pool, bands // pool), and the mask of these frames.
        """
        if self.norms_bands:
            picture = self._normalize_bands(picture, mask)
        for convolution in self.convolutions:
            picture, _ = convolution(picture, mask)
        mask = pooled_mask(mask, self.time_pool)
        return masked(self.dropout(self.pool(picture)), mask), mask

    def _normalize_bands(self, picture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        planes = picture.shape[1]
        band_rows = picture.transpose(2, 3).flatten(1, 2)  # (batch, planes * bands, frames)
        normed = self.bands_norm(band_rows, mask)
        return normed.unflatten(1, (planes, -1)).transpose(2, 3)


class ClipLayer(nn.Module):
    """Mean plus maximum over time, then a linear layer with ReLU, with dropout around it."""

    def __init__(self, inputs: int, outputs: int, dropout: float):
        super().__init__()
        self.pooling = Pooling("mean_max", inputs)
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs), mask (batch, frames) -> (batch, outputs)."""
        pooled = self.dropout(self.pooling(frames, mask))
        return self.dropout(torch.relu(self.linear(pooled)))


class CNN14Encoder(nn.Module):
    """The encoder of CNN14, which turns the frames of a clip into one vector."""

    def __init__(self, planes: int, bands: int, config: CNN14Config):
        super().__init__()
        self.planes = planes
        self.layers = nn.ModuleList()
        inputs = planes
        last = len(config.channels) - 1
        for number, outputs in enumerate(config.channels):
            block = DoubleBlock(
                inputs,
                outputs,
                pool=1 if number == last else 2,
                dropout=config.block_dropout,
                normed_bands=planes * bands if number == 0 else 0,
            )
            self.layers.append(block)
            inputs = outputs
        self.layers.append(ClipLayer(inputs, config.embedding, config.dropout))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, planes * bands), mask (batch, frames) -> (batch, embedding)."""
        *blocks, clip_layer = self.layers
        picture = as_picture(features, self.planes)
        for block in blocks:
            picture, mask = block(picture, mask)
        frames = picture.mean(dim=3).transpose(1, 2)
        return clip_layer(frames, mask)


class CNN14ForAudioClassification(TransferClassifier):
    """CNN14 of PANNs: six blocks of two convolutions, pooled by mean plus maximum over time.

    Kong et al. 2020 (arXiv:1912.10211) trained it to tag the sounds of AudioSet.
    """

    config_class = CNN14Config

    def __init__(self, config: CNN14Config):
        front_end = FrontEnd(config)
        encoder = CNN14Encoder(front_end.planes, front_end.bands, config)
        super().__init__(config, front_end, encoder)
        self._make_head(config.embedding)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, embedding)."""
        return self.norm(self.encoder(features, mask))
