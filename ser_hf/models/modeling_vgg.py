"""VGG networks under a new head: VGGish, pretrained on audio, and VGG16, pretrained on images."""

from typing import Annotated, Literal

import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank

from .configuration import (
    Bands,
    Count,
    Counts,
    Fraction,
    FrameConfig,
    Normalization,
    PoolingKindOrMeanMax,
    Samples,
    WaveformConfig,
)
from .front_end import FrontEnd
from .layers import as_picture, pooled_mask
from .modeling_transfer import PooledTransferClassifier, TransferConfig
from .spectra import DerivedBuffers, ShortTime


class VGGStage(nn.Module):
    """Convolutions of 3 x 3 with biases and ReLU, padding set to zero after each, then max-pooling
    of 2 x 2.
    """

    def __init__(self, inputs: int, outputs: int, convolutions: int):
        super().__init__()
        widths = [inputs, *[outputs] * (convolutions - 1)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, outputs, 3, padding=1) for width in widths
        )
        self.pool = nn.MaxPool2d(2)

    def forward(
        self, picture: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames, bands) -> (batch, outputs, frames // 2, bands // 2), and the
        pooled mask.
        """
        for convolution in self.convolutions:
            picture = torch.relu(convolution(picture)) * mask[:, None, :, None]
        mask = pooled_mask(mask, 2)
        return self.pool(picture) * mask[:, None, :, None], mask


# VGGish

# Front end as published beside the model (tensorflow/models, research/audioset/vggish).
RATE = 16000
N_FFT = 512
FRAMES = 96
BANDS = 64
VGGISH_DEPTHS = (1, 1, 2, 2)  # convolutions of each stage


class VGGishConfig(WaveformConfig):
    """The options of VGGish.

    Its front end is fixed (`VGGishFrontEnd`): 16 kHz, examples of 96 frames and 64 mel bands.
    """

    model_type = "ser_vggish"

    example_hop: Annotated[
        Count,
        "frames of 10 ms from one example to the next; 96, as published, leaves no overlap",
    ] = 96
    channels: Annotated[Counts, "filters of each of the four stages"] = (64, 128, 256, 512)
    hidden: Annotated[Count, "units of each of the first two dense layers"] = 4096
    embedding_size: Annotated[
        Count, "units of the third dense layer: the size of an example's embedding"
    ] = 128
    activation: Annotated[
        Literal["relu", "none"],
        "of the embeddings: relu as in the PyTorch port, none as in later originals",
    ] = "relu"
    pooling: Annotated[PoolingKindOrMeanMax, "how the examples' embeddings become one vector"] = (
        "mean"
    )
    standardize: Annotated[
        bool,
        "normalize the clip's vector over the batch, without weights, before the classifier",
    ] = True
    dropout: Annotated[Fraction, "probability of dropout before the classifier"] = 0.2
    head: Annotated[
        Literal["linear", "svm"],
        "the classifier: linear, or svm (support vector machines), which scikit-learn fits",
    ] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.sampling_rate != RATE:
            raise ValueError(f"sampling_rate: vggish needs {RATE} Hz, got {self.sampling_rate}")
        if len(self.channels) != len(VGGISH_DEPTHS):
            raise ValueError(
                f"channels: expected four numbers, one for each stage, got {self.channels}"
            )


class VGGishFrontEnd(DerivedBuffers):
    """Waveform -> examples of `FRAMES` log-mel frames of `BANDS` bands, and a mask of the real
    ones; `example_hop` frames from one example to the next. A clip shorter than one example is
    padded with silence."""

    def __init__(self, example_hop: int = FRAMES):
        super().__init__()
        self.example_hop = example_hop
        self.short_time = ShortTime(FrameConfig(n_fft=400, win_length=400, hop_length=160), FRAMES)
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

    def forward(
        self, waveform: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples), true lengths (batch,) -> (batch, examples, 96 * 64), and mask (batch,
        examples).
        """
        short_time = self.short_time
        with torch.autocast(waveform.device.type, enabled=False):
            frames = short_time.cut(short_time.pad(waveform.float())) * short_time.window.float()
            spectrum = torch.fft.rfft(nn.functional.pad(frames, (0, N_FFT - frames.shape[2])))
            magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square())
            features = torch.log(magnitude @ self.filters.float() + 0.01)
        examples = features.unfold(1, FRAMES, self.example_hop).transpose(2, 3).flatten(2)
        counts = (
            torch.div(
                short_time.frame_counts(lengths) - FRAMES, self.example_hop, rounding_mode="floor"
            )
            + 1
        )
        mask = torch.arange(examples.shape[1], device=lengths.device) < counts[:, None]
        return examples * mask[:, :, None], mask


class VGGishEncoder(nn.Module):
    """(batch, examples, frames * bands), mask (batch, examples) -> (batch, examples, embedding),
    and the mask.
    """

    def __init__(self, config: VGGishConfig):
        super().__init__()
        widths = [1, *config.channels]
        stages = [
            VGGStage(widths[i], widths[i + 1], depth) for i, depth in enumerate(VGGISH_DEPTHS)
        ]
        joined = (
            widths[-1] * (FRAMES // 2 ** len(VGGISH_DEPTHS)) * (BANDS // 2 ** len(VGGISH_DEPTHS))
        )
        sizes = [joined, config.hidden, config.hidden, config.embedding_size]
        dense = [nn.Linear(sizes[i], sizes[i + 1]) for i in range(3)]
        self.layers = nn.ModuleList([*stages, *dense])
        self.rectified = config.activation == "relu"
        self.size = config.embedding_size

    def forward(
        self, examples: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        picture = examples.reshape(-1, 1, FRAMES, BANDS).to(memory_format=torch.channels_last)
        real = mask.flatten()[:, None].expand(-1, FRAMES)
        stages = self.layers[: len(VGGISH_DEPTHS)]
        dense = self.layers[len(VGGISH_DEPTHS) :]
        for stage in stages:
            picture, real = stage(picture, real)
        # The dense layers were trained with channels last: frame by frame, band by band, channel by
        # channel.
        vectors = picture.permute(0, 2, 3, 1).flatten(1)
        for layer in dense[:-1]:
            vectors = torch.relu(layer(vectors))
        vectors = dense[-1](vectors)
        vectors = torch.relu(vectors) if self.rectified else vectors
        return vectors.unflatten(0, mask.shape), mask


class VGGishForAudioClassification(PooledTransferClassifier):
    """VGGish pretrained to tag the sound of videos: an embedding for each 0.96 s of a clip, pooled,
    and a classifier.

    Hershey et al. 2017, arXiv:1609.09430, without the principal components and quantization of the
    embeddings.
    """

    config_class = VGGishConfig
    classifier_gain = 0.3

    def __init__(self, config: VGGishConfig):
        super().__init__(config, VGGishFrontEnd(config.example_hop), VGGishEncoder(config))


# VGG16

VGG16_DEPTHS = (2, 2, 3, 3, 3)  # convolutions of each stage


class VGG16Config(TransferConfig):
    """The options of VGG16.

    With `deltas` 0 the three color channels of the published network receive the same plane; with 2
    they receive the features and their two derivatives (Zhang et al. 2018, IEEE Transactions on
    Multimedia 20).
    """

    model_type = "ser_vgg16"

    # Large enough a picture for five halvings: four bands and 0.5 s remain.
    n_fft: Samples = 1024
    win_length: Samples = 1024
    n_mels: Bands = 128
    normalization: Normalization = "corpus_level"
    deltas: Literal[0, 2] = 0
    channels: Annotated[Counts, "filters of each of the five stages"] = (64, 128, 256, 512, 512)
    pooling: Annotated[PoolingKindOrMeanMax, "how the frames become one vector"] = "mean"
    dropout: Annotated[Fraction, "probability of dropout before the classifier"] = 0.3

    @property
    def min_frames(self) -> int:
        return 2 ** len(VGG16_DEPTHS)

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if len(self.channels) != len(VGG16_DEPTHS):
            raise ValueError(
                f"channels: expected five numbers, one for each stage, got {self.channels}"
            )
        if self.bands < self.min_frames:
            name = "n_mfcc" if self.features == "mfcc" else "n_mels"
            raise ValueError(
                f"{name}: expected 32 or more, which are halved five times, got {self.bands}"
            )


class VGG16Encoder(nn.Module):
    """The five stages. With one plane the kernels of the published first layer are summed over its
    colors.
    """

    def __init__(self, planes: int, bands: int, channels: list[int]):
        super().__init__()
        self.planes = planes
        widths = [planes, *channels]
        self.layers = nn.ModuleList(
            VGGStage(widths[i], widths[i + 1], depth) for i, depth in enumerate(VGG16_DEPTHS)
        )
        self.size = channels[-1] * (bands // 2 ** len(VGG16_DEPTHS))

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, planes * bands), mask -> (batch, frames // 32, size), and the mask of
        those frames.
        """
        picture = as_picture(features, self.planes)
        for stage in self.layers:
            picture, mask = stage(picture, mask)
        return picture.transpose(1, 2).flatten(2), mask


class VGG16ForAudioClassification(PooledTransferClassifier):
    """VGG16 pretrained on images, on log-mel spectrograms: five stages, pooling over time, a
    classifier.

    Simonyan and Zisserman 2014, arXiv:1409.1556, configuration D, without its three dense layers.
    """

    config_class = VGG16Config
    classifier_gain = 0.3

    def __init__(self, config: VGG16Config):
        front_end = FrontEnd(config)
        super().__init__(
            config, front_end, VGG16Encoder(front_end.planes, front_end.bands, config.channels)
        )
