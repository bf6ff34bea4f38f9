"""A classification problem with speakers."""

import numpy as np
from sklearn.datasets import make_classification


def problem(classes, clips=160):
    """Overlapping clouds of 6 features in float32, with a rare class, and 8 speakers."""
    weights = [0.15, *[0.85 / (classes - 1)] * (classes - 1)]
    settings = {
        "n_informative": 4,
        "n_redundant": 1,
        "n_classes": classes,
        "weights": weights,
        "random_state": 1,
    }
    vectors, labels = make_classification(clips, 6, **settings)
    return vectors.astype(np.float32), labels, np.arange(clips) % 8
