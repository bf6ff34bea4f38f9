"""Support vector machines as modules: one machine a class against the rest, with calibrated probabilities."""

import torch
from torch import nn


def machines(classes: int) -> int:
    """How many binary machines tell `classes` apart."""
    return 1 if classes == 2 else classes


class Calibration(nn.Module):
    """Decision values (batch, machines) -> logits (batch, classes), whose softmax are calibrated probabilities.

    A sigmoid of each decision value is the probability of that emotion against the rest (Platt 1999, "Probabilistic
    outputs for support vector machines", in Advances in Large Margin Classifiers); divided by their sum they are the
    probabilities of all (Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass probability
    estimates", KDD), as in scikit-learn's `CalibratedClassifierCV`. The softmax of their logarithms is that division.
    """

    def __init__(self, classes: int):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(machines(classes)), requires_grad=False)
        self.offset = nn.Parameter(torch.zeros(machines(classes)), requires_grad=False)

    def forward(self, decisions: torch.Tensor) -> torch.Tensor:
        logits = self.slope * decisions + self.offset
        if logits.shape[1] == 1:
            return torch.cat([torch.zeros_like(logits), logits], dim=1)
        return nn.functional.logsigmoid(logits)


class LinearMachines(nn.Module):
    """Linear machines, (batch, size) -> logits (batch, classes): `weight` (machines, size), `bias` (machines,)."""

    def __init__(self, size: int, classes: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(machines(classes), size), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(machines(classes)), requires_grad=False)
        self.calibration = Calibration(classes)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.calibration(nn.functional.linear(vectors, self.weight, self.bias))


class KernelMachines(nn.Module):
    """Machines with the kernel exp(-gamma |x - v|^2), (batch, size) -> logits (batch, classes).

    `vectors` (support, size) are all machines' support vectors, `weight` (machines, support) their dual coefficients,
    zero where a vector supports other machines only, `bias` (machines,), `gamma` ().
    """

    def __init__(self, size: int, classes: int, support: int):
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(support, size), requires_grad=False)
        self.weight = nn.Parameter(torch.empty(machines(classes), support), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(machines(classes)), requires_grad=False)
        self.gamma = nn.Parameter(torch.tensor(1 / size), requires_grad=False)
        self.calibration = Calibration(classes)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        # Coefficients may be large (C of 100 and more) and cancel: distances must be right to float32's last bits,
        # as |x|^2 + |v|^2 - 2 x v would not be, and half precision could not hold.
        with torch.autocast(vectors.device.type, enabled=False):
            distances = (vectors.float()[:, None] - self.vectors).square().sum(dim=2)
            kernel = torch.exp(-self.gamma * distances)
            return self.calibration(nn.functional.linear(kernel, self.weight, self.bias))


def light_head(kind: str, size: int, classes: int) -> nn.Module:
    """Embeddings (batch, size) -> logits (batch, classes).

    ``"linear"`` is one layer with a softmax, which learns by gradient or is scikit-learn's logistic regression;
    ``"svm"`` are calibrated machines, which scikit-learn alone can fit and whose numbers take no gradient.
    """
    return {"linear": nn.Linear, "svm": LinearMachines}[kind](size, classes)
