"""Classical baselines on MFCC statistics: configurations and networks."""

import itertools
from typing import Literal

import torch
from torch import nn
from transformers import initialization as init

from .configuration import AcousticConfig
from .front_end import STATISTICS, FrontEnd
from .modeling_base import AcousticClassifier
from .support_vectors import KernelMachines, LinearMachines


class MfccConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        statistics: what is told of each coefficient over a clip's frames: ``"mean"``, ``"std"``, ``"min"``, ``"max"``,
            ``"skewness"`` and ``"kurtosis"``. The vector is standardised by the training clips' own.
    """

    features: Literal["mfcc"] = "mfcc"
    # librosa's defaults but for the rate, zeros around the clip and twice as many coefficients. On RAVDESS (validation
    # actors 17-20) these long windows gave linear and radial machines 0.05 to 0.09 more UAR than 25 ms ones, forests
    # 0.02 to 0.06 less; slopes, minimum and maximum made no difference beyond chance.
    n_fft: int = 2048
    win_length: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    f_min: float = 0.0
    compression: Literal["log", "db", "pcen"] = "db"
    # Statistics see values as they are; a stripe of zeros would be a value like any other.
    normalization: Literal["none"] = "none"
    time_masks: Literal[0] = 0
    band_masks: Literal[0] = 0
    statistics: list[Literal["mean", "std", "min", "max", "skewness", "kurtosis"]] = ("mean", "std")

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if not set(self.statistics) <= set(STATISTICS):
            raise ValueError(f"statistics {self.statistics}: name some of {', '.join(STATISTICS)}")
        if len(set(self.statistics)) < len(self.statistics):
            raise ValueError(f"statistics {self.statistics}: name each once")


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


class MfccLinearConfig(MfccConfig):
    """Nothing beyond `MfccConfig`."""

    model_type = "ser_mfcc_linear"


class MfccLinearForAudioClassification(MfccClassifier):
    """Logistic regression on MFCC statistics: the simplest of all baselines, one weight a statistic and emotion.

    Cepstra are those of Davis and Mermelstein 1980 ("Comparison of parametric representations for monosyllabic word
    recognition", IEEE Transactions on Acoustics, Speech, and Signal Processing 28), statistics of them over the
    utterance the functionals of Schuller, Steidl and Batliner 2009 ("The INTERSPEECH 2009 Emotion Challenge").
    scikit-learn's `LogisticRegression` fits the weights by default; as one layer with a softmax they can be trained by
    gradient as well.
    """

    config_class = MfccLinearConfig

    def __init__(self, config: MfccLinearConfig):
        super().__init__(config)
        self.classifier = nn.Linear(self.front_end.size, config.num_labels)
        self.post_init()


class MfccSvmConfig(MfccConfig):
    """Nothing beyond `MfccConfig`."""

    model_type = "ser_mfcc_svm"


class MfccSvmForAudioClassification(FittedClassifier):
    """Linear support vector machine on MFCC statistics, with calibrated probabilities.

    A linear machine on statistics of the whole utterance is the baseline of the INTERSPEECH 2009 Emotion Challenge
    (Schuller, Steidl and Batliner 2009), whose 384 statistics of 16 descriptors were told apart pair by pair; here
    cepstra alone, and each emotion against the rest, by LIBLINEAR (Fan et al. 2008, JMLR 9) in scikit-learn's
    `LinearSVC`. Loading it needs no scikit-learn: its numbers are weights like any other's.
    """

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


class MfccRbfSvmConfig(MfccConfig):
    """`MfccConfig`; and `support_vectors`, their number, which the fit finds and no recipe sets."""

    model_type = "ser_mfcc_rbf_svm"

    support_vectors = 1  # without an annotation: saved with the rest, but no key of recipes


class MfccRbfSvmForAudioClassification(FittedClassifier):
    """Support vector machine with a radial kernel on MFCC statistics, with calibrated probabilities.

    The classifier of much of the literature between Gaussian mixtures and neural networks (Schuller, Rigoll and Lang
    2004, "Speech emotion recognition combining acoustic features and linguistic information in a hybrid support vector
    machine - belief network architecture", ICASSP), and of notebooks that call scikit-learn's `SVC`. Each emotion is
    told from the rest by a machine of LIBSVM's (Chang and Lin 2011, ACM TIST 2) rather than from each other one by
    votes: a vote jumps where a decision value changes its sign, a probability must not. The support vectors are
    training clips' statistics, which a published model thus contains.
    """

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


class MfccForestConfig(MfccConfig):
    """`MfccConfig`; and the forest's shape, which the fit finds and no recipe sets: how many `trees`, of how many
    `nodes` together, and the `depth` of the deepest leaf."""

    model_type = "ser_mfcc_forest"

    # Without annotations: saved with the rest, but no keys of recipes.
    trees = 1
    nodes = 3
    depth = 1


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
    """Random forest on MFCC statistics: the mean of many decision trees' distributions.

    Breiman 2001 ("Random forests", Machine Learning 45), as scikit-learn's `RandomForestClassifier` grows them and as
    notebooks use it on averaged cepstra. The trees are arrays of nodes here, walked down by gathers, so that loading
    them needs neither scikit-learn nor a pickle.
    """

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


class MfccMlpConfig(MfccConfig):
    """`MfccConfig`, and:

    Args:
        hidden: units of each hidden layer.
        dropout: probability after each.
    """

    model_type = "ser_mfcc_mlp"

    hidden: list[int] = (256, 128)
    dropout: float = 0.3


class MfccMlpForAudioClassification(MfccClassifier):
    """Multi-layer perceptron on MFCC statistics: two hidden layers over one vector a clip.

    What notebooks on RAVDESS and its kin begin with: librosa's cepstra averaged over time, then scikit-learn's
    `MLPClassifier` or a few dense layers in Keras (for one, the repository x4nth055/emotion-recognition-using-speech).
    Many of them average over padding too, scale nothing and are judged on clips of the speakers they learnt from; here
    the vector is that of the clip's own frames, standardised by the training clips.
    """

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
