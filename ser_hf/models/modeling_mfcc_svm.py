"""Linear support vector machine on MFCC statistics, with calibrated probabilities.

A linear machine on statistics of the whole utterance is the baseline of the INTERSPEECH 2009 Emotion Challenge
(Schuller, Steidl and Batliner 2009), whose 384 statistics of 16 descriptors were told apart pair by pair; here cepstra
alone, and each emotion against the rest, by LIBLINEAR (Fan et al. 2008, JMLR 9) in scikit-learn's `LinearSVC`. Loading
it needs no scikit-learn: its numbers are weights like any other's.
"""

import torch
from torch import nn
from transformers import initialization as init

from .configuration_mfcc_svm import MfccSvmConfig
from .modeling_mfcc import FittedClassifier
from .support_vectors import LinearMachines


class MfccSvmForAudioClassification(FittedClassifier):
    config_class = MfccSvmConfig

    def __init__(self, config: MfccSvmConfig):
        super().__init__(config)
        self.classifier = LinearMachines(self.front_end.size, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LinearMachines):
            init.xavier_uniform_(module.weight)
        else:
            super()._init_weights(module)
