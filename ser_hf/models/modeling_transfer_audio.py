"""Networks pretrained on audio: BYOL-S, CNN14 and VGGish."""

from typing import Literal

import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank

from .configuration import (
    AcousticConfig,
    Count,
    CountOrZero,
    Counts,
    Fraction,
    FrameConfig,
    Normalization,
    PoolingKindOrMeanMax,
    Positive,
    PowerFloor,
    WaveformConfig,
)
from .front_end import DerivedBuffers, FrontEnd, ShortTime
from .layers import ConvBlock, MaskedBatchNorm1d, Pooling, as_picture
from .modeling_transfer import PooledTransferClassifier, TransferClassifier, VGGStage

# BYOL-S


class BYOLSConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), here those of the published weights, and:

    Args:
        channels: filters of each of the three convolutional blocks.
        embedding: size of a frame of 80 ms, and of a clip.
        pooling: ``"mean_max"``, sum of mean and maximum over time, as published, or another of `Pooling`.
        frame_dropout: probability between the two linear layers of the encoder.
        standardize: batch normalization, without weights, of the clip's vector before the classifier.
        dropout: probability before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.
    """

    model_type = "ser_byols"

    n_fft: Count = 1024
    win_length: Count = 1024
    hop_length: Count = 160
    center: bool = True
    edges: Literal["zeros", "reflect"] = "reflect"
    n_mels: Count = 64
    f_min: float = 60.0
    f_max: float | None = 7800.0
    floor: PowerFloor = 2.0**-23
    normalization: Normalization = "corpus_level"
    time_masks: CountOrZero = 0
    band_masks: CountOrZero = 0

    channels: Count = 64
    embedding: Count = 512
    pooling: PoolingKindOrMeanMax = "mean_max"
    frame_dropout: Fraction = 0.3
    standardize: bool = True
    dropout: Fraction = 0.0
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.n_mels < 2**BYOLS_BLOCKS:
            raise ValueError(f"n_mels {self.n_mels}: three blocks halve the bands, which takes 8 or more")


BYOLS_BLOCKS = 3  # each halves frames and bands


class BYOLSEncoder(nn.Module):
    """(batch, frames, planes * bands), mask (batch, frames) -> (batch, frames // 8, embedding), and their mask.

    `layers` are the three convolutional blocks and the two linear layers.
    """

    def __init__(self, planes: int, bands: int, config: BYOLSConfig):
        super().__init__()
        self.planes, self.size = planes, config.embedding
        widths = [planes, *[config.channels] * BYOLS_BLOCKS]
        self.layers = nn.ModuleList(ConvBlock(widths[i], widths[i + 1], (2, 2), 0.0) for i in range(BYOLS_BLOCKS))
        joined = config.channels * (bands // 2**BYOLS_BLOCKS)
        self.layers.append(FrameLayer(joined, config.embedding, config.frame_dropout))
        self.layers.append(FrameLayer(config.embedding, config.embedding, 0.0))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        picture = as_picture(features, self.planes)
        for block in self.layers[:BYOLS_BLOCKS]:
            picture, mask = block(picture, mask)
        # All channels of the lowest band first, as the published linear layer expects.
        frames = picture.permute(0, 2, 3, 1).flatten(2)
        for layer in self.layers[BYOLS_BLOCKS:]:
            frames = layer(frames)
        return frames, mask


class FrameLayer(nn.Module):
    """Linear layer, ReLU and dropout of each frame alone."""

    def __init__(self, inputs: int, outputs: int, dropout: float):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(..., inputs) -> (..., outputs)."""
        return self.dropout(torch.relu(self.linear(frames)))


class BYOLSForAudioClassification(PooledTransferClassifier):
    """BYOL-S: log-mel front end, the small convolutional encoder of BYOL-A, mean plus maximum over time.

    Elbanna et al. 2022 (arXiv:2206.12038) trained the encoder of BYOL-A (Niizumi et al. 2021, arXiv:2103.06695) on the
    speech of AudioSet, without labels. Three blocks of convolutions leave one frame every 80 ms, two linear layers
    process each frame alone.
    """

    config_class = BYOLSConfig

    def __init__(self, config: BYOLSConfig):
        front_end = FrontEnd(config, min_frames=2**BYOLS_BLOCKS)
        super().__init__(config, front_end, BYOLSEncoder(front_end.planes, front_end.bands, config))


# CNN14


class CNN14Config(AcousticConfig):
    """The front end's settings (`AcousticConfig`), here those of the published network at 16 kHz, and:

    Args:
        channels: filters of each block of two convolutions; all blocks but the last halve frames and bands.
        embedding: size of the layer after pooling.
        block_dropout: probability after each block.
        dropout: probability before that layer and after it.
        standardize: batch normalization, without weights, of the clip's vector before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.
    """

    model_type = "ser_cnn14"

    n_fft: Count = 512
    win_length: Count = 512
    hop_length: Count = 160
    center: bool = True
    edges: Literal["zeros", "reflect"] = "reflect"
    n_mels: Count = 64
    f_min: float = 50.0
    f_max: float | None = 8000.0
    compression: Literal["log", "db", "pcen"] = "db"
    top_db: Positive | None = None
    normalization: Normalization = "none"
    time_masks: CountOrZero = 0
    band_masks: CountOrZero = 0

    channels: Counts = (64, 128, 256, 512, 1024, 2048)
    embedding: Count = 2048
    block_dropout: Fraction = 0.2
    dropout: Fraction = 0.5
    standardize: bool = True
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.n_mels < 2 ** (len(self.channels) - 1):
            raise ValueError(f"channels {self.channels}: each block but the last halves the {self.n_mels} bands")


class CNN14Encoder(nn.Module):
    """(batch, frames, planes * bands), mask (batch, frames) -> (batch, embedding).

    `layers` are the blocks of convolutions, the first of which normalizes the bands, and the layer after pooling.
    """

    def __init__(self, planes: int, bands: int, config: CNN14Config):
        super().__init__()
        self.planes = planes
        last = len(config.channels) - 1
        widths = [planes, *config.channels]
        self.layers = nn.ModuleList(
            DoubleBlock(
                widths[i],
                widths[i + 1],
                pool=1 if i == last else 2,
                dropout=config.block_dropout,
                normed=0 if i else planes * bands,
            )
            for i in range(last + 1)
        )
        self.layers.append(ClipLayer(config.channels[-1], config.embedding, config.dropout))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        picture = as_picture(features, self.planes)
        for block in self.layers[:-1]:
            picture, mask = block(picture, mask)
        return self.layers[-1](picture.mean(dim=3).transpose(1, 2), mask)


class DoubleBlock(nn.Module):
    """Two convolutions, each with masked batch normalization and ReLU, mean over squares of `pool`, dropout.

    With `normed`, a number of planes times bands, each band of each plane is normalized before.
    """

    def __init__(self, inputs: int, outputs: int, pool: int, dropout: float, normed: int = 0):
        super().__init__()
        if normed:
            self.bands_norm = MaskedBatchNorm1d(normed)
        self.convolutions = nn.ModuleList(
            [ConvBlock(inputs, outputs, (1, 1), 0.0), ConvBlock(outputs, outputs, (1, 1), 0.0)]
        )
        self.pool = nn.AvgPool2d(pool)
        self.time_pool, self.normed = pool, normed
        self.dropout = nn.Dropout(dropout)

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames, bands) -> (batch, outputs, frames // pool, bands // pool), and the pooled mask."""
        if self.normed:
            planes = picture.shape[1]
            rows = picture.transpose(2, 3).flatten(1, 2)
            picture = self.bands_norm(rows, mask).unflatten(1, (planes, -1)).transpose(2, 3)
        for convolution in self.convolutions:
            picture, _ = convolution(picture, mask)
        picture = self.dropout(self.pool(picture))
        # As in `ConvBlock`: a pooled frame is real where its whole window is.
        mask = mask[:, self.time_pool - 1 :: self.time_pool]
        return picture * mask[:, None, :, None].to(picture.dtype), mask


class ClipLayer(nn.Module):
    """Mean plus maximum over time, and a linear layer with ReLU, dropout before it and after it."""

    def __init__(self, inputs: int, outputs: int, dropout: float):
        super().__init__()
        self.pooling = Pooling("mean_max", inputs)
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs), mask (batch, frames) -> (batch, outputs)."""
        return self.dropout(torch.relu(self.linear(self.dropout(self.pooling(frames, mask)))))


class CNN14ForAudioClassification(TransferClassifier):
    """CNN14 of PANNs: log-mel front end, six blocks of two convolutions, mean plus maximum over time.

    Kong et al. 2020 (arXiv:1912.10211) trained it to tag the sounds of AudioSet, speech among 527 of them.
    """

    config_class = CNN14Config

    def __init__(self, config: CNN14Config):
        front_end = FrontEnd(config, min_frames=2 ** (len(config.channels) - 1))
        super().__init__(config, front_end, CNN14Encoder(front_end.planes, front_end.bands, config))
        self._make_head(config.embedding)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.norm(self.encoder(features, mask))


# VGGish

# Front end as published in `mel_features.py` and `vggish_input.py` beside the model (tensorflow/models,
# research/audioset/vggish).
RATE, N_FFT = 16000, 512
FRAMES, BANDS = 96, 64
OFFSET = 0.01
# Convolutions of each stage.
DEPTHS = (1, 1, 2, 2)


class VGGishConfig(WaveformConfig):
    """The front end is fixed (`VGGishFrontEnd`): 16 kHz, examples of 96 frames and 64 mel bands.

    Args:
        example_hop: frames of 10 ms from one example to the next: 96, as published, leaves no overlap. The frames
            after the last whole example, fewer than `example_hop`, are not used.
        channels: filters of each of the four stages; those of the published weights by default, as are
        hidden: units of the two dense layers, and
        embedding_size: of the third, an example's embedding.
        activation: of the embeddings: ``"relu"`` as in the PyTorch port, or ``"none"`` as in later versions of the
            original.
        pooling: of a clip's examples, see `Pooling`.
        standardize: batch normalization, without weights, of the clip's vector before the classifier.
        dropout: probability before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.
    """

    model_type = "ser_vggish"

    example_hop: Count = 96
    channels: Counts = (64, 128, 256, 512)
    hidden: Count = 4096
    embedding_size: Count = 128
    activation: Literal["relu", "none"] = "relu"
    pooling: PoolingKindOrMeanMax = "mean"
    standardize: bool = True
    dropout: Fraction = 0.2
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.sampling_rate != RATE:
            raise ValueError(f"sampling_rate {self.sampling_rate}: vggish needs 16000 Hz; set audio.sampling_rate")
        if len(self.channels) != len(DEPTHS):
            raise ValueError(f"channels {self.channels}: expected four numbers, one for each stage")


class VGGishFrontEnd(DerivedBuffers):
    """Waveform -> examples, each of `FRAMES` frames of `BANDS` bands, and a mask of the real ones.

    Frames of 25 ms every 10 ms, not centered, under a periodic Hann window; magnitudes of an FFT of 512 points; 64
    bands from 125 to 7500 Hz, triangles in mel (HTK's formula) rather than in Hz; the logarithm of their sum plus
    0.01. A clip shorter than one example is padded with silence. As published, frames after the last whole example
    are dropped.

    Args:
        example_hop: frames from one example to the next.
    """

    def __init__(self, example_hop: int = FRAMES):
        super().__init__()
        self.example_hop = example_hop
        self.short_time = ShortTime(FrameConfig(n_fft=400, win_length=400, hop_length=160), min_frames=FRAMES)
        self.derive("filters", N_FFT // 2 + 1, BANDS)
        self.reset()

    def fill(self) -> None:
        filters = mel_filter_bank(
            num_frequency_bins=N_FFT // 2 + 1,
            num_mel_filters=BANDS,
            min_frequency=125.0,
            max_frequency=7500.0,
            sampling_rate=RATE,
            norm=None,
            mel_scale="kaldi",  # 1127 ln(1 + f / 700), HTK's own constant
            triangularize_in_mel_space=True,
        )
        self.filters.copy_(torch.from_numpy(filters))

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples), true lengths (batch,) -> (batch, examples, 96 * 64), and mask (batch, examples)."""
        short_time = self.short_time
        with torch.autocast(waveform.device.type, enabled=False):
            frames = short_time.cut(short_time.pad(waveform.float())) * short_time.window.float()
            spectrum = torch.fft.rfft(nn.functional.pad(frames, (0, N_FFT - short_time.n_fft)))
            magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square())
            features = torch.log(magnitude @ self.filters.float() + OFFSET)
        examples = features.unfold(1, FRAMES, self.example_hop).transpose(2, 3).flatten(2)
        counts = torch.div(short_time.frame_counts(lengths) - FRAMES, self.example_hop, rounding_mode="floor") + 1
        mask = torch.arange(examples.shape[1], device=lengths.device) < counts[:, None]
        return examples * mask[:, :, None], mask


class VGGishEncoder(nn.Module):
    """(batch, examples, frames * bands), mask (batch, examples) -> embeddings (batch, examples, size), and the mask.

    `layers` are the four stages and the three dense layers.
    """

    def __init__(self, config: VGGishConfig):
        super().__init__()
        widths = [1, *config.channels]
        stages = [VGGStage(widths[i], widths[i + 1], depth) for i, depth in enumerate(DEPTHS)]
        joined = widths[-1] * (FRAMES // 2 ** len(DEPTHS)) * (BANDS // 2 ** len(DEPTHS))
        sizes = [joined, config.hidden, config.hidden, config.embedding_size]
        dense = [nn.Linear(sizes[i], sizes[i + 1]) for i in range(3)]
        self.layers = nn.ModuleList([*stages, *dense])
        self.rectified = config.activation == "relu"
        self.size = config.embedding_size

    def forward(self, examples: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        picture = examples.reshape(-1, 1, FRAMES, BANDS).to(memory_format=torch.channels_last)
        real = mask.flatten()[:, None].expand(-1, FRAMES)
        stages, dense = self.layers[: len(DEPTHS)], self.layers[len(DEPTHS) :]
        for stage in stages:
            picture, real = stage(picture, real)
        # The dense layers were trained with channels last: frame by frame, band by band, channel by channel.
        vectors = picture.permute(0, 2, 3, 1).flatten(1)
        for layer in dense[:-1]:
            vectors = torch.relu(layer(vectors))
        vectors = dense[-1](vectors)
        vectors = torch.relu(vectors) if self.rectified else vectors
        return vectors.unflatten(0, mask.shape), mask


class VGGishForAudioClassification(PooledTransferClassifier):
    """VGGish pretrained to tag the sound of videos: an embedding for each 0.96 s of a clip, pooled, and a classifier.

    Hershey et al. 2017, "CNN architectures for large-scale audio classification", arXiv:1609.09430; the network is the
    one released with AudioSet (Gemmeke et al. 2017, "Audio Set: an ontology and human-labeled dataset for audio
    events", ICASSP). The published principal components and 8-bit quantization of the embeddings are left out.
    """

    config_class = VGGishConfig
    classifier_gain = 0.3

    def __init__(self, config: VGGishConfig):
        super().__init__(config, VGGishFrontEnd(config.example_hop), VGGishEncoder(config))
