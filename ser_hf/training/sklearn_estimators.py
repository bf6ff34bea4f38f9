"""Fits scikit-learn estimators, and converts them to the torch classifiers of our networks.

A fitted estimator becomes a module of a published network, and both give the same probabilities
(`require_same`). No library converts all of these estimators.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC
from torch import nn

from ..models.layers import KernelMachines, LinearMachines
from ..models.modeling_mfcc import Forest

# (training, held-out) indices of each fold.
Folds = list[tuple[np.ndarray, np.ndarray]]

# Probabilities of the module, in float32, and of scikit-learn, in float64, may differ by this much.
TOLERANCE = 1e-4
_MOST_ITERATIONS = 10000


class RadialMachines(ClassifierMixin, BaseEstimator):
    """One-vs-rest `SVC` with a radial kernel; for two classes a single machine."""

    def __init__(self, C: float = 1.0, gamma: float = 1.0):
        self.C = C
        self.gamma = gamma

    def fit(self, X, y, sample_weight=None):
        """Fit one machine for each class."""
        self.classes_ = np.unique(y)
        positive = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        self.machines_ = [
            SVC(C=self.C, gamma=self.gamma).fit(X, y == label, sample_weight) for label in positive
        ]
        return self

    def decision_function(self, X):
        """Decision values (clips, classes); (clips,) for two classes."""
        decisions = np.stack([machine.decision_function(X) for machine in self.machines_], axis=1)
        return decisions[:, 0] if len(self.machines_) == 1 else decisions

    def predict(self, X):
        """The class with the greatest decision value."""
        decisions = self.decision_function(X)
        if decisions.ndim == 1:
            return self.classes_[(decisions > 0).astype(int)]
        return self.classes_[decisions.argmax(axis=1)]


def unfitted(
    classifier: nn.Module,
    candidate: Mapping[str, Any],
    vectors: np.ndarray,
    folds: Folds,
    seed: int,
) -> BaseEstimator:
    """Create the estimator, not yet fitted, of a candidate for a network's classifier.

    Args:
        candidate: settings; ``gamma_scale`` is gamma relative to scikit-learn's ``gamma="scale"``.
        vectors: the vectors on which the estimator will be fitted.
        folds: the folds for the calibration of support vector machines.
    """
    settings = dict(candidate)
    if isinstance(classifier, Forest):
        return RandomForestClassifier(random_state=seed, **settings)
    if isinstance(classifier, nn.Linear):
        return LogisticRegression(max_iter=_MOST_ITERATIONS, random_state=seed, **settings)

    clips, size = vectors.shape
    if isinstance(classifier, LinearMachines):
        machine = LinearSVC(
            max_iter=_MOST_ITERATIONS, random_state=seed, dual=size >= clips, **settings
        )
    else:
        gamma = float(settings.pop("gamma_scale") / (size * vectors.var()))
        machine = RadialMachines(gamma=gamma, **settings)
    return CalibratedClassifierCV(machine, method="sigmoid", cv=folds, ensemble=False)


def scale_of(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature, (size,) float64, for standardization.

    Deviations have a lower bound, so that (nearly) constant features are not amplified.
    """
    vectors = vectors.astype(np.float64)
    mean = vectors.mean(axis=0)
    deviation = vectors.std(axis=0)
    usual = np.median(deviation[deviation > 0]) if deviation.any() else 0.0
    deviation = np.maximum(deviation, np.maximum(1e-2 * usual, 1e-3 * np.abs(mean)))
    return mean, np.where(deviation > 0, deviation, 1.0)


def fit_estimator(
    estimator: BaseEstimator,
    vectors: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None,
    scale: tuple[np.ndarray, np.ndarray] | None = None,
) -> BaseEstimator:
    """Fit on vectors standardized by `scale`, and fold the scale into the linear weights."""
    # The same numbers in float64: some solvers would otherwise iterate in float32.
    inputs = vectors.astype(np.float64)
    if scale is not None:
        mean, deviation = scale
        inputs = (inputs - mean) / deviation

    clips, size = inputs.shape
    machine = getattr(estimator, "estimator", estimator)
    basis = None
    if size > clips and isinstance(machine, LinearSVC | LogisticRegression):
        # The weights are sums of the clips' vectors: in a basis of these the fit is the same, and
        # ten times as fast.
        basis = np.linalg.qr(inputs.T)[0]
        inputs = inputs @ basis
    estimator.fit(inputs, labels, sample_weight=weights)

    linear = estimator
    if isinstance(estimator, CalibratedClassifierCV):
        linear = estimator.calibrated_classifiers_[0].estimator
    if basis is not None:
        linear.coef_ = linear.coef_ @ basis.T
        linear.n_features_in_ = size
    if scale is not None:
        linear.coef_ = linear.coef_ / deviation
        linear.intercept_ = linear.intercept_ - linear.coef_ @ mean
    return estimator


@torch.no_grad()
def logits_of(classifier: nn.Module, vectors: np.ndarray) -> np.ndarray:
    """Logits (clips, classes) of vectors (clips, size), computed on the classifier's device."""
    device = classifier.weight.device
    parts = torch.from_numpy(vectors).split(256)
    return torch.cat([classifier(rows.to(device)).cpu() for rows in parts]).numpy()


def as_module(fitted: BaseEstimator, like: nn.Module) -> nn.Module:
    """Convert a fitted estimator to a module of the type of `like` with equal probabilities."""
    if isinstance(like, nn.Linear):
        return _linear(fitted)
    if isinstance(like, Forest):
        return _forest(fitted)
    calibrated = fitted.calibrated_classifiers_[0]
    if isinstance(like, LinearMachines):
        module = _linear_machines(calibrated.estimator)
    else:
        module = _kernel_machines(calibrated.estimator)
    # scikit-learn's sigmoid is 1 / (1 + exp(a d + b)) of a decision value d.
    _set(module.calibration.slope, [-sigmoid.a_ for sigmoid in calibrated.calibrators])
    _set(module.calibration.offset, [-sigmoid.b_ for sigmoid in calibrated.calibrators])
    return module


def require_same(classifier: nn.Module, fitted: BaseEstimator, vectors: np.ndarray) -> None:
    """Raise a `RuntimeError` unless module and estimator give the same probabilities."""
    probabilities = softmax(logits_of(classifier, vectors), axis=1)
    gap = np.abs(probabilities - fitted.predict_proba(vectors.astype(np.float64))).max()
    if not gap <= TOLERANCE:  # also if it is NaN
        raise RuntimeError(f"the network's probabilities differ from scikit-learn's by {gap:.1e}")


def _linear(fitted: LogisticRegression) -> nn.Linear:
    weight = fitted.coef_
    bias = fitted.intercept_
    if len(weight) == 1:  # for two classes, the logit of the first class is zero
        weight = np.concatenate([0 * weight, weight])
        bias = np.concatenate([0 * bias, bias])
    layer = nn.Linear(weight.shape[1], len(weight))
    _set(layer.weight, weight)
    _set(layer.bias, bias)
    return layer


def _linear_machines(fitted: LinearSVC) -> LinearMachines:
    module = LinearMachines(fitted.coef_.shape[1], len(fitted.classes_))
    _set(module.weight, fitted.coef_)
    _set(module.bias, fitted.intercept_)
    return module


def _kernel_machines(fitted: RadialMachines) -> KernelMachines:
    """Convert support vector machines, so that they share one list of support vectors."""
    rows = np.unique(np.concatenate([machine.support_ for machine in fitted.machines_]))
    size = fitted.machines_[0].support_vectors_.shape[1]
    vectors = np.zeros((len(rows), size))
    weight = np.zeros((len(fitted.machines_), len(rows)))
    for machine_weight, machine in zip(weight, fitted.machines_, strict=True):
        numbers = np.searchsorted(rows, machine.support_)
        vectors[numbers] = machine.support_vectors_
        machine_weight[numbers] = machine.dual_coef_[0]
    module = KernelMachines(size, len(fitted.classes_), len(rows))
    _set(module.vectors, vectors)
    _set(module.weight, weight)
    _set(module.bias, np.concatenate([machine.intercept_ for machine in fitted.machines_]))
    _set(module.gamma, fitted.gamma)
    return module


def _forest(fitted: RandomForestClassifier) -> Forest:
    """Convert a forest to one table of nodes, which has its trees one after the other."""
    trees = [estimator.tree_ for estimator in fitted.estimators_]
    sizes = [tree.node_count for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    depth = max(tree.max_depth for tree in trees)
    module = Forest(len(fitted.classes_), len(trees), sum(sizes), depth)
    columns: dict[str, list[np.ndarray]] = defaultdict(list)
    for root, tree in zip(roots, trees, strict=True):
        # The children of a leaf are the leaf itself.
        leaf = tree.children_left < 0
        itself = np.arange(tree.node_count)
        columns["feature"].append(np.where(leaf, 0, tree.feature))
        columns["left"].append(root + np.where(leaf, itself, tree.children_left))
        columns["right"].append(root + np.where(leaf, itself, tree.children_right))
        columns["threshold"].append(not_above(np.where(leaf, 0.0, tree.threshold)))
        columns["shares"].append(tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True))
    _set(module.roots, roots)
    for name, parts in columns.items():
        _set(getattr(module, name), np.concatenate(parts))
    return module


def not_above(thresholds: np.ndarray) -> np.ndarray:
    """Round thresholds down to float32.

    Comparisons with float32 features then agree with scikit-learn's.
    """
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


@torch.no_grad()
def _set(tensor: torch.Tensor, values: Any) -> None:
    values = torch.from_numpy(np.asarray(values))
    tensor.copy_(values.reshape(tensor.shape))
