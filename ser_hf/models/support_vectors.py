"""Support vector machines as modules: one machine per class against the rest (of two classes one machine in all)."""

import torch
from torch import nn


def fixed(values: torch.Tensor) -> nn.Parameter:
    """A parameter that takes no gradient."""
    return nn.Parameter(values, requires_grad=False)


def machines(classes: int) -> int:
    return 1 if classes == 2 else classes


class Calibration(nn.Module):
    """Decision values (batch, machines) -> logits (batch, classes), whose softmax gives calibrated probabilities.

    As in scikit-learn's `CalibratedClassifierCV`: a sigmoid of each decision value (Platt 1999), divided by their sum
    (Zadrozny and Elkan 2002, KDD), which is the softmax of their logarithms.
    """

    def __init__(self, classes: int):
        super().__init__()
        self.slope = fixed(torch.ones(machines(classes)))
        self.offset = fixed(torch.zeros(machines(classes)))

    def forward(self, decisions: torch.Tensor) -> torch.Tensor:
        logits = self.slope * decisions + self.offset
        if logits.shape[1] == 1:
            return torch.cat([torch.zeros_like(logits), logits], dim=1)
        return nn.functional.logsigmoid(logits)


class LinearMachines(nn.Module):
    """Linear machines, (batch, size) -> logits (batch, classes): `weight` (machines, size), `bias` (machines,)."""

    def __init__(self, size: int, classes: int):
        super().__init__()
        self.weight = fixed(torch.zeros(machines(classes), size))
        self.bias = fixed(torch.zeros(machines(classes)))
        self.calibration = Calibration(classes)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.calibration(nn.functional.linear(vectors, self.weight, self.bias))


class KernelMachines(nn.Module):
    """Machines with the kernel exp(-gamma |x - v|^2), (batch, size) -> logits (batch, classes).

    `vectors` (support, size) are the support vectors of all machines, `weight` (machines, support) their dual
    coefficients, zero where a vector supports other machines only, `bias` (machines,), `gamma` ().
    """

    def __init__(self, size: int, classes: int, support: int):
        super().__init__()
        self.vectors = fixed(torch.empty(support, size))
        self.weight = fixed(torch.empty(machines(classes), support))
        self.bias = fixed(torch.zeros(machines(classes)))
        self.gamma = fixed(torch.tensor(1 / size))
        self.calibration = Calibration(classes)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        # Coefficients may be large (C of 100 and more) and cancel: distances must be exact to float32's last bits,
        # unlike |x|^2 + |v|^2 - 2 x v or half precision.
        with torch.autocast(vectors.device.type, enabled=False):
            distances = (vectors.float()[:, None] - self.vectors).square().sum(dim=2)
            kernel = torch.exp(-self.gamma * distances)
            return self.calibration(nn.functional.linear(kernel, self.weight, self.bias))
