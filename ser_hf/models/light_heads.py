"""Light classifiers on an embedding: a linear layer, or linear support vector machines."""

from torch import nn

from .support_vectors import LinearMachines


def light_head(kind: str, size: int, classes: int) -> nn.Module:
    """Embeddings (batch, size) -> logits (batch, classes).

    ``"linear"`` is one layer with a softmax, which learns by gradient or is scikit-learn's logistic regression;
    ``"svm"`` are calibrated machines, which scikit-learn alone can fit and whose numbers take no gradient.
    """
    return {"linear": nn.Linear, "svm": LinearMachines}[kind](size, classes)
