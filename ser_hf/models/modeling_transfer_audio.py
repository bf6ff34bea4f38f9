"""Networks pretrained on audio: BYOL-S, CNN14 and VGGish."""

from typing import Literal

import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank

from .configuration import AcousticConfig, WaveformConfig
from .front_end import Derived, FrontEnd, ShortTime
from .layers import ConvBlock, MaskedBatchNorm1d, Pooling, as_picture
from .modeling_transfer import ClipNorm, TransferClassifier, VGGClassifier, VGGStage
from .support_vectors import light_head


class BYOLSConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), here those that the published weights learnt with, and:

    Args:
        channels: filters of each of the three convolutional blocks.
        embedding: size of a frame of 80 ms, and of a clip.
        pooling: ``"mean_max"``, sum of mean and maximum over time, as published, or another of `Pooling`.
        frame_dropout: probability between the two linear layers of the encoder.
        standardize: batch normalisation, without weights, of the clip's vector before the classifier.
        dropout: probability before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.
    """

    model_type = "ser_byols"

    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 160
    center: bool = True
    edges: Literal["zeros", "reflect"] = "reflect"
    n_mels: int = 64
    f_min: float = 60.0
    f_max: float | None = 7800.0
    floor: float = 2.0**-23
    normalization: Literal["clip", "clip_bands", "corpus", "corpus_level", "fixed", "none"] = "corpus_level"
    time_masks: int = 0
    band_masks: int = 0

    channels: int = 64
    embedding: int = 512
    pooling: Literal["mean", "max", "mean_max", "mean_std", "attention", "attentive_stats"] = "mean_max"
    frame_dropout: float = 0.3
    standardize: bool = True
    dropout: float = 0.0
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.n_mels < 8:
            raise ValueError(f"n_mels {self.n_mels}: three blocks halve the bands, which takes 8 or more")


_BLOCKS = 3  # each halves frames and bands


class BYOLSForAudioClassification(TransferClassifier):
    """BYOL-S: log-mel front end, the small convolutional encoder of BYOL-A, mean plus maximum over time.

    Elbanna et al. 2022 (arXiv:2206.12038) trained the encoder of BYOL-A (Niizumi et al. 2021, arXiv:2103.06695) on the
    speech of AudioSet, without labels. Three blocks of convolutions leave one frame every 80 ms, two linear layers
    look at each frame alone.
    """

    config_class = BYOLSConfig

    def __init__(self, config: BYOLSConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=2**_BLOCKS)
        self.encoder = BYOLSEncoder(self.front_end.planes, self.front_end.bands, config)
        self.pooling = Pooling(config.pooling, config.embedding)
        self.norm = ClipNorm(self.pooling.output_size) if config.standardize else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = light_head(config.head, self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(self.pooling(*self.encoder(features, mask))))


class BYOLSEncoder(nn.Module):
    """(batch, frames, planes * bands), mask (batch, frames) -> (batch, frames // 8, embedding), and their mask.

    `layers` are the three convolutional blocks and the two linear layers.
    """

    def __init__(self, planes: int, bands: int, config: BYOLSConfig):
        super().__init__()
        self.planes = planes
        widths = [planes, *[config.channels] * _BLOCKS]
        self.layers = nn.ModuleList(ConvBlock(widths[i], widths[i + 1], (2, 2), 0.0) for i in range(_BLOCKS))
        self.layers.append(FrameLayer(config.channels * (bands // 2**_BLOCKS), config.embedding, config.frame_dropout))
        self.layers.append(FrameLayer(config.embedding, config.embedding, 0.0))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        picture = as_picture(features, self.planes)
        for block in self.layers[:_BLOCKS]:
            picture, mask = block(picture, mask)
        # All channels of the lowest band first, as the first linear layer has learnt.
        frames = picture.permute(0, 2, 3, 1).flatten(2)
        for layer in self.layers[_BLOCKS:]:
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


class CNN14Config(AcousticConfig):
    """The front end's settings (`AcousticConfig`), here those of the published network at 16 kHz, and:

    Args:
        channels: filters of each block of two convolutions; all blocks but the last halve frames and bands.
        embedding: size of the layer after pooling.
        block_dropout: probability after each block.
        dropout: probability before that layer and after it.
        standardize: batch normalisation, without weights, of the clip's vector before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.
    """

    model_type = "ser_cnn14"

    n_fft: int = 512
    win_length: int = 512
    hop_length: int = 160
    center: bool = True
    edges: Literal["zeros", "reflect"] = "reflect"
    n_mels: int = 64
    f_min: float = 50.0
    f_max: float | None = 8000.0
    compression: Literal["log", "db", "pcen"] = "db"
    top_db: float | None = None
    normalization: Literal["clip", "clip_bands", "corpus", "corpus_level", "fixed", "none"] = "none"
    time_masks: int = 0
    band_masks: int = 0

    channels: list[int] = (64, 128, 256, 512, 1024, 2048)
    embedding: int = 2048
    block_dropout: float = 0.2
    dropout: float = 0.5
    standardize: bool = True
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.n_mels < 2 ** (len(self.channels) - 1):
            raise ValueError(f"channels {self.channels}: each block but the last halves the {self.n_mels} bands")


class CNN14ForAudioClassification(TransferClassifier):
    """CNN14 of PANNs: log-mel front end, six blocks of two convolutions, mean plus maximum over time.

    Kong et al. 2020 (arXiv:1912.10211) trained it to tag the sounds of AudioSet, speech among 527 of them.
    """

    config_class = CNN14Config

    def __init__(self, config: CNN14Config):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=2 ** (len(config.channels) - 1))
        self.encoder = CNN14Encoder(self.front_end.planes, self.front_end.bands, config)
        self.norm = ClipNorm(config.embedding) if config.standardize else nn.Identity()
        self.classifier = light_head(config.head, config.embedding, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.norm(self.encoder(features, mask))


class CNN14Encoder(nn.Module):
    """(batch, frames, planes * bands), mask (batch, frames) -> (batch, embedding).

    `layers` are the blocks of convolutions, the first of which normalises the bands, and the layer after pooling.
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
    """Two convolutions, each with masked batch normalisation and ReLU, mean over squares of `pool`, dropout.

    With `normed`, a number of planes times bands, each band of each plane is normalised before.
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


RATE, WINDOW, HOP, N_FFT = 16000, 400, 160, 512
FRAMES, BANDS = 96, 64
OFFSET = 0.01


class VGGishFrontEnd(Derived):
    """Waveform -> examples, each of `FRAMES` frames of `BANDS` bands, and a mask of those that are real.

    A clip shorter than one example is padded with silence to one. As published, what is left after the last whole
    example is dropped.

    Args:
        example_hop: frames from one example to the next.
    """

    def __init__(self, example_hop: int = FRAMES):
        super().__init__()
        self.example_hop = example_hop
        self.short_time = ShortTime(WINDOW, WINDOW, HOP, min_frames=FRAMES)
        self.derive("filters", N_FFT // 2 + 1, BANDS)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        if self.filters.is_meta:
            return
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
        with torch.autocast(waveform.device.type, enabled=False):
            frames = self.short_time.cut(self.short_time.pad(waveform.float())) * self.short_time.window.float()
            spectrum = torch.fft.rfft(nn.functional.pad(frames, (0, N_FFT - WINDOW)))
            magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square())
            features = torch.log(magnitude @ self.filters.float() + OFFSET)
        examples = features.unfold(1, FRAMES, self.example_hop).transpose(2, 3).flatten(2)
        counts = torch.div(self.short_time.frame_counts(lengths) - FRAMES, self.example_hop, rounding_mode="floor") + 1
        mask = torch.arange(examples.shape[1], device=lengths.device) < counts[:, None]
        return examples * mask[:, :, None], mask


class VGGishConfig(WaveformConfig):
    """The front end is fixed (`VGGishFrontEnd`): 16 kHz, examples of 96 frames and 64 mel bands.

    Args:
        example_hop: frames of 10 ms from one example to the next: 96, as published, leaves no overlap. What is left
            after the last whole example, up to `example_hop` frames, is not heard.
        channels: filters of each of the four stages; those of the published weights by default, as are
        hidden: units of the two dense layers, and
        embedding_size: of the third, an example's embedding.
        activation: what is done to embeddings: ``"relu"`` as in the PyTorch port, or ``"none"`` as in later versions
            of the original, which leave a non-linearity to those who build upon them.
        pooling: how a clip's examples become one vector (`ser_hf.models.layers.Pooling`).
        standardize: batch normalisation, without weights, of the clip's vector before the classifier.
        dropout: probability before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.
    """

    model_type = "ser_vggish"

    example_hop: int = 96
    channels: list[int] = (64, 128, 256, 512)
    hidden: int = 4096
    embedding_size: int = 128
    activation: Literal["relu", "none"] = "relu"
    pooling: Literal["mean", "max", "mean_max", "mean_std", "attention", "attentive_stats"] = "mean"
    standardize: bool = True
    dropout: float = 0.2
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.sampling_rate != 16000:
            raise ValueError(f"sampling_rate {self.sampling_rate}: vggish hears 16000 Hz; set audio.sampling_rate")
        if len(self.channels) != 4:
            raise ValueError(f"channels {self.channels}: expected four numbers, one for each stage")


# Convolutions of each stage.
DEPTHS = (1, 1, 2, 2)


class VGGishEncoder(nn.Module):
    """(batch, examples, frames * bands), mask (batch, examples) -> embeddings (batch, examples, size), and the mask.

    `layers` are the four stages and the three dense layers.
    """

    def __init__(self, config: VGGishConfig):
        super().__init__()
        widths = [1, *config.channels]
        stages = [VGGStage(widths[i], widths[i + 1], depth) for i, depth in enumerate(DEPTHS)]
        left = widths[-1] * (FRAMES // 2 ** len(DEPTHS)) * (BANDS // 2 ** len(DEPTHS))
        sizes = [left, config.hidden, config.hidden, config.embedding_size]
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
        # Channels come last where the dense layers were trained: frame by frame, band by band, channel by channel.
        vectors = picture.permute(0, 2, 3, 1).flatten(1)
        for layer in dense[:-1]:
            vectors = torch.relu(layer(vectors))
        vectors = dense[-1](vectors)
        vectors = torch.relu(vectors) if self.rectified else vectors
        return vectors.unflatten(0, mask.shape), mask


class VGGishForAudioClassification(VGGClassifier):
    """VGGish that learnt to tag the sound of videos: an embedding for each 0.96 s of a clip, pooled, and a classifier.

    Hershey et al. 2017, "CNN architectures for large-scale audio classification", arXiv:1609.09430; the network is the
    one released with AudioSet (Gemmeke et al. 2017, "Audio Set: an ontology and human-labeled dataset for audio
    events", ICASSP). The principal components and the 8 bits to which the embeddings of AudioSet were brought are left
    out: they make published embeddings comparable, and a classifier of ours learns from our own.
    """

    config_class = VGGishConfig

    def __init__(self, config: VGGishConfig):
        super().__init__(config, VGGishFrontEnd(config.example_hop), VGGishEncoder(config))
