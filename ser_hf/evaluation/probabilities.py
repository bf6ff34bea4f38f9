"""Probabilities from logits, and what metrics need of them; scikit-learn is not needed here."""

import numpy as np
import scipy.special

BINS = 15
# The smallest step of single precision below 1; a probability of 0 would make the log loss
# infinite.
LEAST = float(np.finfo(np.float32).eps)


def activated(logits: np.ndarray, problem_type: str | None) -> np.ndarray:
    """What logits, float32 (clips, outputs), say, as in `pipeline`: probabilities of classes, of
    each label of a multi-label model by itself, or the values of dimensions, which logits are."""
    if problem_type == "regression":
        return logits
    return (
        scipy.special.expit(logits)
        if problem_type == "multi_label_classification"
        else softmax(logits)
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Convert logits (clips, classes) to probabilities of the same shape, float32."""
    return scipy.special.softmax(logits.astype(np.float64), axis=1).astype(np.float32)


def clipped(probabilities: np.ndarray) -> np.ndarray:
    """Raise probabilities (clips, classes) to at least `LEAST`, and scale the rows to the sum 1,
    float64.
    """
    raised = np.clip(probabilities.astype(np.float64), LEAST, 1)
    return raised / raised.sum(axis=1, keepdims=True)


def confidence_bins(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest probability of each clip and its bin, 0 to `BINS` - 1, upper bounds included (Guo
    et al. 2017).
    """
    top = probabilities.max(axis=1).astype(np.float64)
    return top, np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)
