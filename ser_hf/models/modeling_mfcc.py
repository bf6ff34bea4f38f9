"""Classical baselines on statistics of MFCCs: configurations and networks."""

import itertools
from typing import Annotated, Literal

import torch
from torch import nn
from transformers import initialization as init

from .configuration import AcousticConfig, Bands, Count, Counts, Fraction, Samples
from .front_end import STATISTICS, FrontEnd
from .layers import KernelMachines, LinearMachines, fixed
from .modeling_base import AcousticClassifier
from .options import SomeOf

# The least probability of a class that no leaf has seen, so that its logarithm is finite.
LEAST = 1e-6


class MfccConfig(AcousticConfig):
    """The options of a classifier of MFCC statistics."""

    features: Annotated[Literal["mfcc"], "this network computes MFCCs only"] = "mfcc"
    # On RAVDESS's validation actors support vector machines reached 0.05 to 0.09 more UAR with
    # these long windows than with windows of 25 ms.
    n_fft: Samples = 2048
    win_length: Samples = 2048
    hop_length: Count = 512
    n_mels: Bands = 128
    f_min: float = 0.0
    compression: Literal["log", "db"] = "db"
    # Statistics are computed from values that were not normalized. A SpecAugment stripe of zeros
    # would count as values like any other.
    normalization: Annotated[
        Literal["none"], "this network computes statistics of unchanged values"
    ] = "none"
    time_masks: Annotated[Literal[0], "this network has no SpecAugment"] = 0
    band_masks: Annotated[Literal[0], "this network has no SpecAugment"] = 0
    statistics: Annotated[
        list[str], SomeOf(STATISTICS), "the statistics of each coefficient over a clip's frames"
    ] = ("mean", "std")


class MfccClassifier(AcousticClassifier):
    """A network whose `front_end` computes one vector per clip, which `embed` returns.

    A network overrides `_classifier`, and `_front_end` for other vectors than MFCC statistics.
    """

    config_class = MfccConfig

    def __init__(self, config: MfccConfig):
        super().__init__(config)
        self.front_end = self._front_end(config)
        self.classifier = self._classifier(self.front_end.size, config)
        self.post_init()

    def _front_end(self, config: MfccConfig) -> nn.Module:
        """Make the front end, whose `size` is the size of the vectors."""
        return FrontEnd(config, statistics=config.statistics)

    def _classifier(self, size: int, config: MfccConfig) -> nn.Module:
        """Make the classifier of vectors of `size` numbers."""
        return nn.Linear(size, config.num_labels)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, 1, size), mask (batch, 1) -> (batch, size)."""
        return features[:, 0]


class FittedClassifier(MfccClassifier):
    """A network that only scikit-learn fits: its parameters take no gradient and stay float32."""

    _keep_in_fp32_modules_strict = ("front_end", "classifier")

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """Load a network as transformers does, and switch the gradients of its parameters off."""
        loaded = super().from_pretrained(*args, **kwargs)
        # With `output_loading_info` the result is a pair.
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        # Loading makes every parameter trainable.
        model.requires_grad_(False)
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw random numbers; scikit-learn replaces them when it fits the classifier."""
        super()._init_weights(module)
        if module is self.classifier:
            for name in ("vectors", "weight"):
                if name in module._parameters:
                    init.xavier_uniform_(module._parameters[name])


class MfccLinearConfig(MfccConfig):
    """The options of logistic regression on MFCC statistics."""

    model_type = "ser_mfcc_linear"


class MfccLinearForAudioClassification(MfccClassifier):
    """Logistic regression on MFCC statistics: a weight per statistic and emotion.

    scikit-learn's `LogisticRegression` fits the weights by default; they can be trained by gradient
    as well.
    """

    config_class = MfccLinearConfig


class MfccSvmConfig(MfccConfig):
    """The options of a linear support vector machine on MFCC statistics."""

    model_type = "ser_mfcc_svm"


class MfccSvmForAudioClassification(FittedClassifier):
    """Linear support vector machine on MFCC statistics, with calibrated probabilities.

    The baseline of the INTERSPEECH 2009 Emotion Challenge (Schuller, Steidl and Batliner 2009) with
    cepstra alone, and each emotion against the rest. Loading it needs no scikit-learn.
    """

    config_class = MfccSvmConfig

    def _classifier(self, size: int, config: MfccSvmConfig) -> nn.Module:
        return LinearMachines(size, config.num_labels)


class MfccRbfSvmConfig(MfccConfig):
    """`MfccConfig` with `support_vectors`, the number of support vectors, which the fit sets."""

    model_type = "ser_mfcc_rbf_svm"

    support_vectors = 1  # without an annotation: saved, but not a recipe key


class MfccRbfSvmForAudioClassification(FittedClassifier):
    """Support vector machine with a radial kernel on MFCC statistics.

    A machine (Chang and Lin 2011, ACM TIST 2) separates each emotion from the rest; probabilities
    are calibrated. The support vectors are statistics of training clips, which a published model
    therefore contains.
    """

    config_class = MfccRbfSvmConfig

    def _classifier(self, size: int, config: MfccRbfSvmConfig) -> nn.Module:
        return KernelMachines(size, config.num_labels, config.support_vectors)


class MfccForestConfig(MfccConfig):
    """`MfccConfig` with the shape of the forest, which the fit sets.

    The shape is the number of `trees`, the number of `nodes` of all trees, and the largest `depth`.
    """

    model_type = "ser_mfcc_forest"

    # Without annotations: saved, but not recipe keys.
    trees = 1
    nodes = 3
    depth = 1


class Forest(nn.Module):
    """Decision trees; the logits are the logarithm of their mean class distribution.

    Breiman 2001, "Random forests", Machine Learning 45.

    Each tree begins at a node of `roots`. Node i sends the clip to the node `left[i]` if the
    vector's entry `feature[i]` is at most `threshold[i]`, else to `right[i]`; a leaf sends it to
    itself. `shares` (nodes, classes) are the distributions in the leaves.
    """

    def __init__(self, classes: int, trees: int, nodes: int, depth: int):
        super().__init__()
        self.depth = depth
        self.register_buffer("roots", torch.zeros(trees, dtype=torch.long))
        self.register_buffer("feature", torch.zeros(nodes, dtype=torch.long))
        # At first the root compares, and all other nodes are leaves.
        self.register_buffer("left", torch.cat([torch.arange(1, 2), torch.arange(1, nodes)]))
        self.register_buffer("right", torch.cat([torch.arange(2, 3), torch.arange(1, nodes)]))
        self.threshold = fixed(torch.zeros(nodes))
        self.shares = fixed(torch.rand(nodes, classes))

    @property
    def weight(self) -> torch.Tensor:
        """A tensor with the type that the input vectors must have, as `nn.Linear.weight`."""
        return self.threshold

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(batch, size) -> logarithms of probabilities (batch, classes), at least `LEAST`."""
        node = self.roots.expand(len(vectors), -1)
        for _ in range(self.depth):
            low = vectors.gather(1, self.feature[node]) <= self.threshold[node]
            node = torch.where(low, self.left[node], self.right[node])
        return self.shares[node].mean(dim=1).clamp(min=LEAST).log()


class MfccForestForAudioClassification(FittedClassifier):
    """Random forest on MFCC statistics: the mean of many decision trees' distributions.

    It holds scikit-learn's `RandomForestClassifier` as arrays of nodes, so that loading needs
    neither scikit-learn nor a pickle.
    """

    config_class = MfccForestConfig

    def _classifier(self, size: int, config: MfccForestConfig) -> nn.Module:
        return Forest(config.num_labels, config.trees, config.nodes, config.depth)


class MfccMlpConfig(MfccConfig):
    """The options of a multi-layer perceptron on MFCC statistics."""

    model_type = "ser_mfcc_mlp"

    hidden: Annotated[Counts, "units of each hidden layer"] = (256, 128)
    dropout: Annotated[Fraction, "probability of dropout after each hidden layer"] = 0.3


class MfccMlpForAudioClassification(MfccClassifier):
    """Multi-layer perceptron on MFCC statistics: two hidden layers over one vector per clip."""

    config_class = MfccMlpConfig

    def _classifier(self, size: int, config: MfccMlpConfig) -> nn.Module:
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs)
            for inputs, outputs in itertools.pairwise([size, *config.hidden])
        )
        self.dropout = nn.Dropout(config.dropout)
        return nn.Linear(config.hidden[-1], config.num_labels)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, 1, size), mask (batch, 1) -> (batch, units of the last hidden layer)."""
        vector = super().embed(features, mask)
        for layer in self.layers:
            vector = self.dropout(torch.relu(layer(vector)))
        return vector
