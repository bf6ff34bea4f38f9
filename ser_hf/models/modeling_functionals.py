"""Classical baselines on openSMILE's functionals, which the feature extractor computes."""

from typing import Literal

import torch
from torch import nn

from .configuration import WaveformConfig
from .front_end import FeatureNorm
from .layers import LinearMachines
from .modeling_mfcc import FittedClassifier, MfccClassifier
from .preparation import FUNCTIONALS


class FunctionalsConfig(WaveformConfig):
    """`feature_set` is the one that the feature extractor computes (`Preparation.functionals`)."""

    feature_set: Literal[*FUNCTIONALS] = "ComParE_2016"


class Standardized(nn.Module):
    """Functionals (batch, size), standardized by those of the training clips, as the one frame of each clip."""

    def __init__(self, config: FunctionalsConfig):
        super().__init__()
        self.feature_set, self.size = config.feature_set, FUNCTIONALS[config.feature_set]
        self.standardize = FeatureNorm("corpus", self.size)

    def forward(self, vectors: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if vectors.shape[1] != self.size:
            raise ValueError(
                f"expected {self.size} functionals ({self.feature_set}) per clip, got {vectors.shape[1]} numbers; "
                "use the model's feature extractor"
            )
        mask = torch.ones_like(vectors[:, :1], dtype=torch.bool)
        return self.standardize(vectors[:, None], mask), mask


class FunctionalsLinearConfig(FunctionalsConfig):
    model_type = "ser_functionals_linear"


class FunctionalsLinearForAudioClassification(MfccClassifier):
    """Logistic regression on openSMILE's functionals: one weight per functional and emotion.

    The eGeMAPS (Eyben et al. 2016, IEEE Transactions on Affective Computing 7) or the ComParE set (Schuller et al.
    2016, Interspeech) by openSMILE (Eyben et al. 2010, ACM Multimedia), whose license allows research only, also for
    models that were trained on what it computes.
    """

    config_class = FunctionalsLinearConfig
    _front_end = Standardized


class FunctionalsSvmConfig(FunctionalsConfig):
    model_type = "ser_functionals_svm"


class FunctionalsSvmForAudioClassification(FittedClassifier):
    """Linear support vector machine on openSMILE's functionals, with calibrated probabilities.

    The baseline of the INTERSPEECH challenges. The eGeMAPS (Eyben et al. 2016, IEEE Transactions on Affective
    Computing 7) or the ComParE set (Schuller et al. 2016, Interspeech) by openSMILE (Eyben et al. 2010, ACM
    Multimedia), whose license allows research only, also for models that were trained on what it computes.
    """

    config_class = FunctionalsSvmConfig
    _front_end = Standardized

    def _classifier(self, size: int, config: FunctionalsSvmConfig) -> nn.Module:
        return LinearMachines(size, config.num_labels)
