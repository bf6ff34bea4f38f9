"""Random forest on MFCC statistics: the mean of many decision trees' distributions.

Breiman 2001 ("Random forests", Machine Learning 45), as scikit-learn's `RandomForestClassifier` grows them and as
notebooks use it on averaged cepstra. The trees are arrays of nodes here, walked down by gathers, so that loading them
needs neither scikit-learn nor a pickle.
"""

import torch
from torch import nn
from transformers import initialization as init

from .configuration_mfcc_forest import MfccForestConfig
from .modeling_mfcc import FittedClassifier

# The least probability: a class that no leaf has seen gets this one, whose logarithm is finite.
LEAST = 1e-6


class Forest(nn.Module):
    """Vectors (batch, size) -> logits (batch, classes): logarithms of the trees' mean distribution, at least `LEAST`.

    All trees' nodes stand in one row, each tree's root at `roots` (trees,). Node i asks whether the vector's entry
    `feature[i]` is at most `threshold[i]`, and sends the clip to the node `left[i]` where it is, to `right[i]` where
    not; a leaf sends it to itself, so that `depth` steps bring every clip to one. `shares` (nodes, classes) are the
    distributions in the leaves.
    """

    def __init__(self, classes: int, trees: int, nodes: int, depth: int):
        super().__init__()
        self.depth = depth
        for name, count in {"roots": trees, "feature": nodes, "left": nodes, "right": nodes}.items():
            self.register_buffer(name, torch.zeros(count, dtype=torch.long))
        self.threshold = nn.Parameter(torch.zeros(nodes), requires_grad=False)
        self.shares = nn.Parameter(torch.full((nodes, classes), 1 / classes), requires_grad=False)

    @property
    def weight(self) -> torch.Tensor:
        """What vectors are compared with, in whose type they must come."""
        return self.threshold

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        node = self.roots.expand(len(vectors), -1)
        for _ in range(self.depth):
            low = vectors.gather(1, self.feature[node]) <= self.threshold[node]
            node = torch.where(low, self.left[node], self.right[node])
        return self.shares[node].mean(dim=1).clamp(min=LEAST).log()


class MfccForestForAudioClassification(FittedClassifier):
    config_class = MfccForestConfig

    def __init__(self, config: MfccForestConfig):
        super().__init__(config)
        self.classifier = Forest(config.num_labels, config.trees, config.nodes, config.depth)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, Forest):
            # One stump on the first feature's mean: node 0 asks, all others are leaves.
            nodes = torch.arange(len(module.threshold))
            init.copy_(module.left, torch.where(nodes == 0, 1, nodes))
            init.copy_(module.right, torch.where(nodes == 0, 2, nodes))
            init.uniform_(module.shares)
        else:
            super()._init_weights(module)
