"""VGGish that learnt to tag the sound of videos: an embedding for each 0.96 s of a clip, pooled, and a classifier.

Hershey et al. 2017, "CNN architectures for large-scale audio classification", arXiv:1609.09430; the network is the one
released with AudioSet (Gemmeke et al. 2017, "Audio Set: an ontology and human-labeled dataset for audio events",
ICASSP). The principal components and the 8 bits to which the embeddings of AudioSet were brought are left out: they
make published embeddings comparable, and a classifier of ours learns from our own.
"""

import torch
from torch import nn

from .configuration_vggish import VGGishConfig
from .modeling_vgg import VGGClassifier
from .vgg_stage import VGGStage
from .vggish_front_end import BANDS, FRAMES, VGGishFrontEnd

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
    config_class = VGGishConfig

    def __init__(self, config: VGGishConfig):
        super().__init__(config, VGGishFrontEnd(config.example_hop), VGGishEncoder(config))
