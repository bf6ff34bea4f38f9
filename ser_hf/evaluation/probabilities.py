"""Probabilities from logits, and bins of probabilities. This module needs no scikit-learn."""

import numpy as np
import scipy.special

BINS = 15
# The smallest step of single precision below 1; a probability of 0 would make the log loss
# infinite.
LEAST = float(np.finfo(np.float32).eps)


def activated(logits: np.ndarray, problem_type: str | None, bounded: bool = False) -> np.ndarray:
    """Convert logits, float32 (clips, outputs), to probabilities or values, as `pipeline` does.

    A regression model's logits are the values of the dimensions. The labels of a multi-label model
    have independent probabilities (sigmoid). The probabilities of classes have the sum 1 (softmax).

    Args:
        bounded: whether the values of dimensions are clamped to 0 to 1, the ends of the ratings'
            scale, which `pipeline` does not do.
    """
    if problem_type == "regression":
        return logits.clip(0, 1) if bounded else logits
    return (
        scipy.special.expit(logits)
        if problem_type == "multi_label_classification"
        else softmax(logits)
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Convert logits (clips, classes) to probabilities of the same shape, float32."""
    return scipy.special.softmax(logits.astype(np.float64), axis=1).astype(np.float32)


def clipped(probabilities: np.ndarray) -> np.ndarray:
    """Raise probabilities (clips, classes) to at least `LEAST`, then scale each row to the sum 1.

    The result is float64.
    """
    raised = np.clip(probabilities.astype(np.float64), LEAST, 1)
    return raised / raised.sum(axis=1, keepdims=True)


def confidence_bins(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest probability of each clip, (clips,), and the number of its bin, (clips,).

    Bins are numbered from 0 to `BINS` - 1; a bin includes its upper bound (Guo et al. 2017).
    """
    top = probabilities.max(axis=1).astype(np.float64)
    return top, np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)
