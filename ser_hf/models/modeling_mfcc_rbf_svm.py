"""Support vector machine with a radial kernel on MFCC statistics, with calibrated probabilities.

The classifier of much of the literature between Gaussian mixtures and neural networks (Schuller, Rigoll and Lang 2004,
"Speech emotion recognition combining acoustic features and linguistic information in a hybrid support vector machine -
belief network architecture", ICASSP), and of notebooks that call scikit-learn's `SVC`. Each emotion is told from the
rest by a machine of LIBSVM's (Chang and Lin 2011, ACM TIST 2) rather than from each other one by votes: a vote jumps
where a decision value changes its sign, a probability must not. The support vectors are training clips' statistics,
which a published model thus contains.
"""

import torch
from torch import nn
from transformers import initialization as init

from .configuration_mfcc_rbf_svm import MfccRbfSvmConfig
from .modeling_mfcc import FittedClassifier
from .support_vectors import KernelMachines


class MfccRbfSvmForAudioClassification(FittedClassifier):
    config_class = MfccRbfSvmConfig

    def __init__(self, config: MfccRbfSvmConfig):
        super().__init__(config)
        self.classifier = KernelMachines(self.front_end.size, config.num_labels, config.support_vectors)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, KernelMachines):
            init.normal_(module.vectors)
            init.normal_(module.weight)
        else:
            super()._init_weights(module)
