"""A perceptron on the mean of the log-mel bands: configuration and network in one file, which is
published as code.

It imports torch, transformers and modules of ser_hf.models only; published, it lies beside the
latter and needs no ser_hf.
"""

from typing import Annotated

import torch
from torch import nn

from ser_hf.models.configuration import AcousticConfig, Count, Fraction
from ser_hf.models.front_end import FrontEnd
from ser_hf.models.modeling_base import AcousticClassifier


class MeanMLPConfig(AcousticConfig):
    """The options of a mean MLP: keys of `model` in a recipe, checked by their annotations."""

    model_type = "example_mean_mlp"

    hidden: Annotated[Count, "units of the hidden layer"] = 64
    dropout: Annotated[Fraction, "probability of dropout before the classifier"] = 0.2


class MeanMLPForAudioClassification(AcousticClassifier):
    """Mean MLP: the mean of each mel band over a clip, one hidden layer, classifier."""

    config_class = MeanMLPConfig

    def __init__(self, config: MeanMLPConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config)
        self.hidden = nn.Linear(self.front_end.size, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # features are zero in the padding
        mean = features.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return self.dropout(self.hidden(mean).relu())
