"""Multi-layer perceptron on MFCC statistics: two hidden layers over one vector a clip.

What notebooks on RAVDESS and its kin begin with: librosa's cepstra averaged over time, then scikit-learn's
`MLPClassifier` or a few dense layers in Keras (for one, the repository x4nth055/emotion-recognition-using-speech).
Many of them average over padding too, scale nothing and are judged on clips of the speakers they learnt from; here the
vector is that of the clip's own frames, standardised by the training clips.
"""

import itertools

import torch
from torch import nn

from .configuration_mfcc_mlp import MfccMlpConfig
from .modeling_mfcc import MfccClassifier


class MfccMlpForAudioClassification(MfccClassifier):
    config_class = MfccMlpConfig

    def __init__(self, config: MfccMlpConfig):
        super().__init__(config)
        sizes = [self.front_end.size, *config.hidden]
        layers = [nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes)]
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(sizes[-1], config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        vector = super().embed(features, mask)
        for layer in self.layers:
            vector = self.dropout(torch.relu(layer(vector)))
        return vector
