"""What networks share whose classifier meets what convolutions found, max-pooled."""

import torch
from torch import nn
from transformers import initialization as init

from .modeling_acoustic import AcousticClassifier


class ConvolutionalClassifier(AcousticClassifier):
    """Gives the classifier smaller weights to begin with.

    Max-pooled activations are all positive, so that with the usual weights their offsets add up: a fresh network's
    logits would be 2 to 4, and it sure of itself. Smaller weights keep it near an even guess.
    """

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self.classifier:
            init.xavier_uniform_(module.weight, gain=0.3)
