"""What the classical baselines share: a clip is one vector, the statistics of its cepstra over time."""

import torch

from .configuration_mfcc import MfccConfig
from .front_end import FrontEnd
from .modeling_acoustic import AcousticClassifier


class MfccClassifier(AcousticClassifier):
    """`front_end` makes the vector, `embed` hands it on; a network adds `classifier` and calls `post_init`."""

    config_class = MfccConfig

    def __init__(self, config: MfccConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config, statistics=config.statistics)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return features[:, 0]


class FittedClassifier(MfccClassifier):
    """One that scikit-learn alone can fit: its numbers take no gradient, and stay float32 whatever a model is loaded
    as, since a rounded threshold or distance is another decision."""

    _keep_in_fp32_modules_strict = ("front_end", "classifier")

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        loaded = super().from_pretrained(*args, **kwargs)
        # Loading makes every number one that learns.
        (loaded[0] if isinstance(loaded, tuple) else loaded).requires_grad_(False)
        return loaded
