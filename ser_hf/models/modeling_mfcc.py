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
