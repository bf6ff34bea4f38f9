"""Logistic regression on MFCC statistics: the simplest of all baselines, one weight a statistic and emotion.

Cepstra are those of Davis and Mermelstein 1980 ("Comparison of parametric representations for monosyllabic word
recognition", IEEE Transactions on Acoustics, Speech, and Signal Processing 28), statistics of them over the utterance
the functionals of Schuller, Steidl and Batliner 2009 ("The INTERSPEECH 2009 Emotion Challenge"). scikit-learn's
`LogisticRegression` fits the weights by default; as one layer with a softmax they can be trained by gradient as well.
"""

from torch import nn

from .configuration_mfcc_linear import MfccLinearConfig
from .modeling_mfcc import MfccClassifier


class MfccLinearForAudioClassification(MfccClassifier):
    config_class = MfccLinearConfig

    def __init__(self, config: MfccLinearConfig):
        super().__init__(config)
        self.classifier = nn.Linear(self.front_end.size, config.num_labels)
        self.post_init()
