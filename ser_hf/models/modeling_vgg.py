"""VGG networks with a new head: VGGish, pretrained on audio, and VGG16, pretrained on images."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank

from .configuration import (
    AcousticConfig,
    Bands,
    Count,
    Counts,
    Fraction,
    FrameConfig,
    Normalization,
    PoolingKindOrMeanMax,
    Samples,
)
from .front_end import FrontEnd
from .layers import as_frames, as_picture, masked, pooled_mask
from .modeling_transfer import PooledTransferClassifier, TransferConfig
from .spectra import DerivedBuffers, ShortTime


class VGGStage(nn.Module):
    """Convolutions of 3 x 3 with biases and ReLU, then max-pooling of 2 x 2.

    Padding is set to zero after each convolution.
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
        """Apply the stage.

        Args:
            picture: (batch, inputs, frames, bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, outputs, frames // 2, bands // 2), and the mask of these frames.
        """
        for convolution in self.convolutions:
            picture = masked(torch.relu(convolution(picture)), mask)
        mask = pooled_mask(mask, 2)
        return masked(self.pool(picture), mask), mask


def _stages(inputs: int, channels: Sequence[int], depths: Sequence[int]) -> list[VGGStage]:
    """A stage for each number of output channels, with as many convolutions as `depths` says."""
    stages = []
    for outputs, depth in zip(channels, depths, strict=True):
        stages.append(VGGStage(inputs, outputs, depth))
        inputs = outputs
    return stages


# The front end that is published beside the model (tensorflow/models, research/audioset/vggish).
RATE = 16000  # Hz
N_FFT = 512
FRAMES = 96  # frames of an example
BANDS = 64
VGGISH_DEPTHS = (1, 1, 2, 2)  # convolutions of each stage


class VGGishConfig(TransferConfig):
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
    dropout: Annotated[Fraction, "probability of dropout before the classifier"] = 0.2

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.sampling_rate != RATE:
            raise ValueError(f"sampling_rate: vggish needs {RATE} Hz, got {self.sampling_rate}")
        if len(self.channels) != len(VGGISH_DEPTHS):
            raise ValueError(
                f"channels: expected four numbers, one for each stage, got {self.channels}"
            )


class VGGishFrontEnd(DerivedBuffers):
    """Cuts a clip into examples of `FRAMES` log-mel frames of `BANDS` bands.

    There are `example_hop` frames from one example to the next. A clip shorter than one example is
    padded with silence.
    """

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
        """Compute examples.

        Args:
            waveform: (batch, samples), zero beyond each clip.
            lengths: (batch,) samples of each clip.

        Returns:
            Examples (batch, examples, FRAMES * BANDS), zero in the padding, and a mask (batch,
            examples) bool, true for real examples.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            features = self._log_mel(waveform.float())
        examples = features.unfold(1, FRAMES, self.example_hop).transpose(2, 3).flatten(2)
        last_start = self.short_time.frame_counts(lengths) - FRAMES
        counts = torch.div(last_start, self.example_hop, rounding_mode="floor") + 1
        mask = torch.arange(examples.shape[1], device=lengths.device) < counts[:, None]
        return examples * mask[:, :, None], mask

    def _log_mel(self, waveform: torch.Tensor) -> torch.Tensor:
        """Compute log-mel magnitudes: (batch, samples) -> (batch, frames, BANDS)."""
        frames = self.short_time.cut(self.short_time.pad(waveform))
        frames = frames * self.short_time.window.float()
        spectrum = torch.fft.rfft(nn.functional.pad(frames, (0, N_FFT - frames.shape[2])))
        magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square())
        return torch.log(magnitude @ self.filters.float() + 0.01)


class VGGishEncoder(nn.Module):
    """The encoder of VGGish: four stages and three dense layers, on each example by itself."""

    def __init__(self, config: VGGishConfig):
        super().__init__()
        halvings = len(VGGISH_DEPTHS)
        joined = config.channels[-1] * (FRAMES // 2**halvings) * (BANDS // 2**halvings)
        dense = [
            nn.Linear(joined, config.hidden),
            nn.Linear(config.hidden, config.hidden),
            nn.Linear(config.hidden, config.embedding_size),
        ]
        self.layers = nn.ModuleList([*_stages(1, config.channels, VGGISH_DEPTHS), *dense])
        self.rectified = config.activation == "relu"
        self.size = config.embedding_size

    def forward(
        self, examples: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode examples.

        Args:
            examples: (batch, examples, FRAMES * BANDS).
            mask: (batch, examples) bool, true for real examples.

        Returns:
            (batch, examples, embedding), and the same mask.
        """
        picture = examples.reshape(-1, 1, FRAMES, BANDS).to(memory_format=torch.channels_last)
        frame_mask = mask.flatten()[:, None].expand(-1, FRAMES)
        stages = self.layers[: len(VGGISH_DEPTHS)]
        dense = self.layers[len(VGGISH_DEPTHS) :]
        for stage in stages:
            picture, frame_mask = stage(picture, frame_mask)
        # The dense layers were trained with channels last: frame by frame, band by band, channel by
        # channel.
        vectors = picture.permute(0, 2, 3, 1).flatten(1)
        *hidden_layers, last_layer = dense
        for layer in hidden_layers:
            vectors = torch.relu(layer(vectors))
        vectors = last_layer(vectors)
        if self.rectified:
            vectors = torch.relu(vectors)
        return vectors.unflatten(0, mask.shape), mask


class VGGishForAudioClassification(PooledTransferClassifier):
    """VGGish: an embedding for each 0.96 s of a clip, pooled over the clip.

    Hershey et al. 2017 (arXiv:1609.09430) trained it to tag the sound of videos. The principal
    components and the quantization of the published embeddings are left out.
    """

    config_class = VGGishConfig
    classifier_gain = 0.3

    def __init__(self, config: VGGishConfig):
        super().__init__(config, VGGishFrontEnd(config.example_hop), VGGishEncoder(config))


VGG16_DEPTHS = (2, 2, 3, 3, 3)  # convolutions of each stage


class VGG16Config(TransferConfig, AcousticConfig):
    """The options of VGG16.

    With `deltas` 0 the three color channels of the published network receive the same plane; with 2
    they receive the features and their two derivatives (Zhang et al. 2018, IEEE Transactions on
    Multimedia 20).
    """

    model_type = "ser_vgg16"

    # The picture is large enough to be halved five times: four bands and frames of 0.5 s remain.
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
    """The five stages of VGG16.

    With a single plane the kernels of the published first layer are summed over its colors.
    """

    def __init__(self, planes: int, bands: int, channels: list[int]):
        super().__init__()
        self.planes = planes
        self.layers = nn.ModuleList(_stages(planes, channels, VGG16_DEPTHS))
        self.size = channels[-1] * (bands // 2 ** len(VGG16_DEPTHS))

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode features.

        Args:
            features: (batch, frames, planes * bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, frames // 32, size), and the mask of these frames.
        """
        picture = as_picture(features, self.planes)
        for stage in self.layers:
            picture, mask = stage(picture, mask)
        return as_frames(picture), mask


class VGG16ForAudioClassification(PooledTransferClassifier):
    """VGG16, pretrained on images, on log-mel spectrograms, pooled over time.

    Simonyan and Zisserman 2014 (arXiv:1409.1556), configuration D without its three dense layers.
    """

    config_class = VGG16Config
    classifier_gain = 0.3

    def __init__(self, config: VGG16Config):
        front_end = FrontEnd(config)
        encoder = VGG16Encoder(front_end.planes, front_end.bands, config.channels)
        super().__init__(config, front_end, encoder)
