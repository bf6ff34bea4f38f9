"""The scikit-learn solver: fits a grid of classifiers, and moves the best one's parameters into the torch module.

For classical networks, and for the head of a network on a frozen encoder, whose embeddings are computed once.
"""

import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.svm import SVC, LinearSVC
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PreTrainedModel, SequenceFeatureExtractor

from ..audio import WaveformStore
from ..models.layers import KernelMachines, LinearMachines
from ..models.modeling_mfcc import Forest
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .data import Collator, firsts, merge
from .fit import Fit, fit_statistics
from .loss import ClassificationLoss
from .trainer import EmotionTrainer

logger = logging.getLogger(__name__)

Folds = list[tuple[np.ndarray, np.ndarray]]

CALIBRATION_FOLDS = 5
# Probabilities of the module, in float32, and of scikit-learn, in float64, may differ by this much.
TOLERANCE = 1e-4


def fit_classical(
    model: PreTrainedModel,
    extractor: SequenceFeatureExtractor,
    store: WaveformStore,
    train: Dataset,
    validation: Dataset,
    arguments: EmotionTrainingArguments,
    compute_metrics: Callable,
    *,
    speakers: Sequence[str],
    grid: Mapping[str, Sequence[Any]],
    class_weights: Sequence[float] | None = None,
) -> Fit:
    """Fit every candidate of a grid and leave `model` with the one that has the best validation metric.

    Vectors are the inputs of the model's classifier in float32; those of an encoder are standardized. The history has
    one entry per candidate, numbered under ``epoch``, with its settings under ``candidate``.

    Args:
        model: its classifier is a linear layer, `LinearMachines`, `KernelMachines` or `Forest`.
        train, validation: from `ser_hf.training.data.part`.
        speakers: of each row of the corpus.
        grid: values of each setting (`GRIDS`); the first of equals is kept.

    Raises:
        UserError: if layers other than the classifier need training.
    """
    began = time.perf_counter()
    trained = ("front_end.", "encoder.", "layer_sum.", "classifier.")  # equal weights over layers need no training
    untrained = [name for name, _ in model.named_parameters() if not name.startswith(trained)]
    if untrained:
        raise UserError(
            f"training.solver: scikit-learn trains the classifier only, but {untrained[-1].rpartition('.')[0]} of "
            f"{type(model).__name__} needs training; set model.pooling to mean, max or mean_std without head_layers"
        )
    collator = Collator(store, extractor)
    loss = ClassificationLoss(class_weights)
    trainer = EmotionTrainer(model, arguments, collator, train, validation, loss)
    fit_statistics(model, collator, train, arguments.per_device_eval_batch_size)
    batch_size = arguments.per_device_eval_batch_size
    parts = [(part, *embed(model, collator, part, batch_size)) for part in (train, validation)]
    (_, vectors, labels), (_, unseen, _) = parts
    scale = _scale(vectors) if hasattr(model, "encoder") else None
    folds, notes = [], []
    if isinstance(model.classifier, LinearMachines | KernelMachines):
        folds, notes = calibration_folds(labels, np.asarray(speakers)[train["row"][:]])

    weights = None if class_weights is None else np.asarray(class_weights)[labels]
    metric = arguments.metric_for_best_model
    sign = -1 if metric == "loss" else 1
    candidates = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]

    def evaluate(classifier: nn.Module, part: Dataset, vectors: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        rows = part["row"][:]
        _, logits = merge(rows, part["length"][:], _logits(classifier, vectors).numpy())
        labels = labels[firsts(rows)]
        measured = float(loss({"logits": torch.from_numpy(logits)}, torch.from_numpy(labels)))
        return {"loss": measured, **compute_metrics(EvalPrediction(logits, labels))}

    history: list[dict[str, Any]] = []
    kept, best = None, -np.inf
    for number, candidate in enumerate(candidates, start=1):
        estimator = unfitted(model.classifier, candidate, vectors, folds, arguments.seed)
        fitted = _fit(estimator, vectors, labels, weights, scale)
        classifier = as_module(fitted, model.classifier).to(model.device)
        trained, evaluated = [evaluate(classifier, *part) for part in parts]
        entry = {"epoch": float(number), "step": number, "candidate": candidate, "train_loss": trained["loss"]}
        history.append(entry | {"validation": evaluated})
        if better := sign * evaluated[metric] > best:
            kept, best = (fitted, classifier, history[-1]), sign * evaluated[metric]
        settings = ", ".join(f"{name} {value:g}" for name, value in candidate.items())
        logger.info(
            "%2d/%d  %s  train loss %.3f  validation loss %.3f  UAR %.3f  macro-F1 %.3f%s",
            *(number, len(candidates), settings, trained["loss"], evaluated["loss"], evaluated["uar"]),
            *(evaluated["macro_f1"], "  *" if better else ""),
        )
    fitted, classifier, entry = kept
    entry["kept"] = True
    require_same(classifier, fitted, unseen)
    model.classifier = classifier.eval()
    if isinstance(classifier, KernelMachines):
        model.config.support_vectors = len(classifier.vectors)
    elif isinstance(classifier, Forest):
        model.config.trees, model.config.nodes = len(classifier.roots), len(classifier.threshold)
        model.config.depth = classifier.depth
    return Fit(trainer, history, time.perf_counter() - began, [], sign * best, notes)


@torch.no_grad()
def embed(
    model: PreTrainedModel, collator: Collator, part: Dataset, batch_size: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the model's classifier, (clips, size) float32, and the labels (clips,)."""
    model.eval()
    vectors, labels = [], []
    listener = model.classifier.register_forward_pre_hook(lambda _, given: vectors.append(given[0].float().cpu()))
    try:
        for batch in DataLoader(part, batch_size, collate_fn=collator):
            labels.append(batch.pop("labels"))
            model(**batch.to(model.device))
    finally:
        listener.remove()
    return torch.cat(vectors).numpy(), torch.cat(labels).numpy()


def _scale(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature, (size,) float64, for standardization.

    Deviations have a lower bound, so that (nearly) constant features are not amplified.
    """
    vectors = vectors.astype(np.float64)
    mean, deviation = vectors.mean(axis=0), vectors.std(axis=0)
    usual = np.median(deviation[deviation > 0]) if deviation.any() else 0.0
    deviation = np.maximum(deviation, np.maximum(1e-2 * usual, 1e-3 * np.abs(mean)))
    return mean, np.where(deviation > 0, deviation, 1.0)


def calibration_folds(labels: np.ndarray, speakers: np.ndarray) -> tuple[Folds, list[str]]:
    """(training, calibration) indices of each fold with disjoint speakers; a note if that is impossible."""
    count, classes = len(np.unique(speakers)), len(np.unique(labels))
    if count > 1:
        folds = list(GroupKFold(min(CALIBRATION_FOLDS, count)).split(labels, labels, speakers))
        if all(len(np.unique(labels[own])) == classes for own, _ in folds):
            return folds, []
    least = np.bincount(labels)[np.unique(labels)].min()
    if least < 2:
        raise UserError("training.solver: a class with one training clip cannot be calibrated; drop or merge it")
    note = (
        "Too few training speakers to calibrate probabilities on other speakers: they are calibrated on other "
        "clips of the same speakers and are overconfident."
    )
    logger.warning("%s", note)
    return list(StratifiedKFold(min(CALIBRATION_FOLDS, least)).split(labels, labels)), [note]


class RadialMachines(ClassifierMixin, BaseEstimator):
    """One-vs-rest `SVC` with a radial kernel; for two classes a single machine."""

    def __init__(self, C: float = 1.0, gamma: float = 1.0):
        self.C, self.gamma = C, gamma

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        own = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        self.machines_ = [SVC(C=self.C, gamma=self.gamma).fit(X, y == label, sample_weight) for label in own]
        return self

    def decision_function(self, X):
        decisions = np.stack([machine.decision_function(X) for machine in self.machines_], axis=1)
        return decisions[:, 0] if len(self.machines_) == 1 else decisions

    def predict(self, X):
        decisions = self.decision_function(X)
        return self.classes_[(decisions > 0).astype(int) if decisions.ndim == 1 else decisions.argmax(axis=1)]


def unfitted(
    classifier: nn.Module, candidate: Mapping[str, Any], vectors: np.ndarray, folds: Folds, seed: int
) -> BaseEstimator:
    """The estimator of a candidate; ``gamma_scale`` is gamma relative to scikit-learn's ``gamma="scale"``."""
    settings = dict(candidate)
    if isinstance(classifier, Forest):
        return RandomForestClassifier(random_state=seed, **settings)
    if isinstance(classifier, nn.Linear):
        return LogisticRegression(max_iter=10000, random_state=seed, **settings)
    if isinstance(classifier, LinearMachines):
        machine = LinearSVC(max_iter=10000, random_state=seed, **settings)
    else:
        gamma = float(settings.pop("gamma_scale") / (vectors.shape[1] * vectors.var()))
        machine = RadialMachines(gamma=gamma, **settings)
    return CalibratedClassifierCV(machine, method="sigmoid", cv=folds, ensemble=False)


def _fit(
    estimator: BaseEstimator,
    vectors: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None,
    scale: tuple[np.ndarray, np.ndarray] | None = None,
) -> BaseEstimator:
    """Fit on standardized vectors (`scale`), and fold the scale into the linear weights."""
    # The same numbers in float64: some solvers would otherwise iterate in float32.
    seen = vectors.astype(np.float64)
    if scale is not None:
        seen = (seen - scale[0]) / scale[1]
    estimator.fit(seen, labels, sample_weight=weights)
    if scale is not None:
        calibrated = isinstance(estimator, CalibratedClassifierCV)
        linear = estimator.calibrated_classifiers_[0].estimator if calibrated else estimator
        linear.coef_ = linear.coef_ / scale[1]
        linear.intercept_ = linear.intercept_ - linear.coef_ @ scale[0]
    return estimator


@torch.no_grad()
def _logits(classifier: nn.Module, vectors: np.ndarray) -> torch.Tensor:
    device = classifier.weight.device
    return torch.cat([classifier(rows.to(device)).cpu() for rows in torch.from_numpy(vectors).split(256)])


def as_module(fitted: BaseEstimator, like: nn.Module) -> nn.Module:
    """A module like `like` whose softmax equals the probabilities of the fitted estimator."""
    if isinstance(like, nn.Linear):
        weight, bias = fitted.coef_, fitted.intercept_
        if len(weight) == 1:  # of two classes: the first one's logit is zero
            weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
        layer = nn.Linear(weight.shape[1], len(weight))
        _set(layer.weight, weight)
        _set(layer.bias, bias)
        return layer
    if isinstance(like, Forest):
        return _forest(fitted)
    calibrated = fitted.calibrated_classifiers_[0]
    if isinstance(like, LinearMachines):
        coefficients = calibrated.estimator.coef_
        module = LinearMachines(coefficients.shape[1], len(calibrated.estimator.classes_))
        _set(module.weight, coefficients)
        _set(module.bias, calibrated.estimator.intercept_)
    else:
        module = _kernel_machines(calibrated.estimator)
    # scikit-learn's sigmoid is 1 / (1 + exp(a d + b)) of a decision value d.
    _set(module.calibration.slope, [-sigmoid.a_ for sigmoid in calibrated.calibrators])
    _set(module.calibration.offset, [-sigmoid.b_ for sigmoid in calibrated.calibrators])
    return module


def require_same(classifier: nn.Module, fitted: BaseEstimator, vectors: np.ndarray) -> None:
    """Raise a `RuntimeError` unless module and estimator give the same probabilities."""
    own = _logits(classifier, vectors).softmax(dim=1).numpy()
    gap = np.abs(own - fitted.predict_proba(vectors.astype(np.float64))).max()
    if not gap <= TOLERANCE:
        raise RuntimeError(f"the network's probabilities differ from scikit-learn's by {gap:.1e}")


def _kernel_machines(fitted: RadialMachines) -> KernelMachines:
    rows = np.unique(np.concatenate([machine.support_ for machine in fitted.machines_]))
    size = fitted.machines_[0].support_vectors_.shape[1]
    vectors, weight = np.zeros((len(rows), size)), np.zeros((len(fitted.machines_), len(rows)))
    for own, machine in zip(weight, fitted.machines_, strict=True):
        places = np.searchsorted(rows, machine.support_)
        vectors[places], own[places] = machine.support_vectors_, machine.dual_coef_[0]
    module = KernelMachines(size, len(fitted.classes_), len(rows))
    _set(module.vectors, vectors)
    _set(module.weight, weight)
    _set(module.bias, np.concatenate([machine.intercept_ for machine in fitted.machines_]))
    _set(module.gamma, fitted.gamma)
    return module


def _forest(fitted: RandomForestClassifier) -> Forest:
    trees = [estimator.tree_ for estimator in fitted.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    nodes, depth = sum(tree.node_count for tree in trees), max(tree.max_depth for tree in trees)
    module = Forest(len(fitted.classes_), len(trees), nodes, depth)
    columns: dict[str, list[np.ndarray]] = defaultdict(list)
    for root, tree in zip(roots, trees, strict=True):
        leaf, itself = tree.children_left < 0, np.arange(tree.node_count)
        columns["feature"].append(np.where(leaf, 0, tree.feature))
        columns["left"].append(root + np.where(leaf, itself, tree.children_left))
        columns["right"].append(root + np.where(leaf, itself, tree.children_right))
        columns["threshold"].append(_not_above(np.where(leaf, 0.0, tree.threshold)))
        columns["shares"].append(tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True))
    _set(module.roots, roots)
    for name, parts in columns.items():
        _set(getattr(module, name), np.concatenate(parts))
    return module


def _not_above(thresholds: np.ndarray) -> np.ndarray:
    """Round thresholds down to float32, so that comparisons with float32 features agree with scikit-learn's."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


@torch.no_grad()
def _set(tensor: torch.Tensor, values: Any) -> None:
    values = torch.from_numpy(np.asarray(values))
    tensor.copy_(values.reshape(tensor.shape))
