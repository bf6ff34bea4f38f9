"""Classical baselines on openSMILE's functionals, which the feature extractor computes."""

from typing import Annotated, Literal

import torch
from torch import nn

from .configuration import WaveformConfig
from .front_end import FeatureNorm
from .modeling_mfcc import MfccLinearForAudioClassification, MfccSvmForAudioClassification
from .preparation import FUNCTIONALS


class FunctionalsLinearConfig(WaveformConfig):
    """The options of a classifier of functionals."""

    model_type = "ser_functionals_linear"

    feature_set: Annotated[
        Literal[*FUNCTIONALS],
        "feature set of openSMILE, which the feature extractor computes",
    ] = "ComParE_2016"


class FunctionalsSvmConfig(FunctionalsLinearConfig):
    """The options of a support vector machine on functionals."""

    model_type = "ser_functionals_svm"


class Standardized(nn.Module):
    """A front end that standardizes functionals by their statistics over the training clips."""

    def __init__(self, config: FunctionalsLinearConfig):
        super().__init__()
        self.size = FUNCTIONALS[config.feature_set]
        self.standardize = FeatureNorm("corpus", self.size)

    def forward(
        self, vectors: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Standardize functionals.

        Args:
            vectors: (batch, size), the functionals of each clip.
            lengths: not used.

        Returns:
            (batch, 1, size), a single frame for each clip, and a mask (batch, 1) that is true.

        Raises:
            ValueError: the vectors have another size; for example, they are waveforms.
        """
        if vectors.shape[1] != self.size:
            raise ValueError(
                f"expected {self.size} functionals per clip, got {vectors.shape[1]}; "
                "use the extractor"
            )
        mask = torch.ones_like(vectors[:, :1], dtype=torch.bool)
        return self.standardize(vectors[:, None], mask), mask


class FunctionalsLinearForAudioClassification(MfccLinearForAudioClassification):
    """Logistic regression on openSMILE's functionals: one weight per functional and emotion.

    openSMILE (Eyben et al. 2010) computes the set eGeMAPS (Eyben et al. 2016) or ComParE (Schuller
    et al. 2016). Its license allows research only, also for models that were trained on what it
    computes.
    """

    config_class = FunctionalsLinearConfig
    _front_end = Standardized


class FunctionalsSvmForAudioClassification(MfccSvmForAudioClassification):
    """Linear support vector machine on openSMILE's functionals, with calibrated probabilities.

    The baseline of the INTERSPEECH challenges. openSMILE (Eyben et al. 2010) computes the set
    eGeMAPS (Eyben et al. 2016) or ComParE (Schuller et al. 2016). Its license allows research only,
    also for models that were trained on what it computes.
    """

    config_class = FunctionalsSvmConfig
    _front_end = Standardized
