"""The scikit-learn solver: selects a classifier of a grid by cross-validation, and moves its
parameters into torch.

For classical networks, and for the head of a network on a frozen encoder, whose embeddings are
computed once.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid, StratifiedGroupKFold
from sklearn.svm import SVC, LinearSVC
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PreTrainedModel, SequenceFeatureExtractor

from ..audio import WaveformStore
from ..loading.batches import WindowLogits, firsts, merge
from ..models.layers import KernelMachines, LinearMachines
from ..models.modeling_mfcc import Forest
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .collator import Collator
from .fit import Fit, fit_statistics
from .loss import ClassificationLoss
from .trainer import EmotionTrainer

logger = logging.getLogger(__name__)

Folds = list[tuple[np.ndarray, np.ndarray]]

FOLDS = 5  # at most, of cross-validation and of calibration
SELECTED_BY_CLIPS = (
    "Too few speakers for cross-validation over them: clips of the same speakers selected settings."
)
CALIBRATED_BY_CLIPS = (
    "Too few training speakers to calibrate probabilities on other speakers: they are calibrated on other clips of "
    "the same speakers and are overconfident."
)
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
    per_speaker: bool = False,
) -> Fit:
    """Select a candidate of a grid by cross-validation, and leave `model` with that candidate
    fitted to all clips.

    Vectors are the inputs of the model's classifier in float32; a `FeatureNorm` before them has the
    statistics of all clips. The score of a candidate is the metric of all clips together, each
    predicted by the model of the fold that holds out its speaker: vectors are standardized, fitted
    and calibrated without that fold. The best score wins, the first of equals; the strongest
    regularization within one standard error may be at chance for few speakers. The history has one
    entry per candidate, numbered under ``epoch``.

    Args:
        model: its classifier is a linear layer, `LinearMachines`, `KernelMachines` or `Forest`.
        train: all clips for cross-validation and the last fit, from
            `ser_hf.training.clips.clip_table`.
        validation: those among `train` have predictions in `Fit.held_out`.
        speakers: of each row of the corpus.
        grid: values of each setting (`GRIDS`).
        per_speaker: standardize the vectors of each speaker by themselves; the model needs such
            vectors then.

    Raises:
        UserError: if layers other than the classifier need training, or a class has too few clips.
    """
    began = time.perf_counter()
    # equal weights over layers need no training
    trained = ("front_end.", "encoder.", "layer_sum.", "classifier.")
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
    vectors = embed(model, collator, train, arguments, speakers if per_speaker else ())
    rows, lengths, labels = (np.asarray(train[name][:]) for name in ("row", "length", "labels"))
    voices = np.asarray(speakers)[rows]
    classes = model.config.num_labels
    weights = np.asarray(class_weights or np.ones(classes))[labels]
    calibrated = isinstance(model.classifier, LinearMachines | KernelMachines)
    folds, by_speaker = speaker_folds(labels, voices, rows, classes, least=1 + calibrated)
    candidates = list(ParameterGrid(grid))

    def evaluate(logits: np.ndarray, own: np.ndarray) -> dict[str, float]:
        _, merged = merge(rows[own], lengths[own], logits)
        truth = labels[own][firsts(rows[own])]
        measured = float(loss({"logits": torch.from_numpy(merged)}, torch.from_numpy(truth)))
        return {"loss": measured, **compute_metrics(EvalPrediction(merged, truth))}

    held_out = np.zeros((len(candidates), len(labels), classes), dtype=np.float32)
    train_losses = np.zeros((len(candidates), len(folds)))
    for fold, (own, held) in enumerate(folds):
        mean, deviation = _scale(vectors[own])
        scaled = ((vectors - mean) / deviation).astype(np.float32)
        inner = speaker_folds(labels[own], voices[own], rows[own], classes)[0] if calibrated else []
        for i, candidate in enumerate(candidates):
            estimator = unfitted(model.classifier, candidate, scaled[own], inner, arguments.seed)
            _fit(estimator, scaled[own], labels[own], weights[own])
            classifier = as_module(estimator, model.classifier).to(model.device)
            held_out[i, held] = logits_of(classifier, scaled[held])
            train_losses[i, fold] = evaluate(logits_of(classifier, scaled[own]), own)["loss"]

    metric = arguments.metric_for_best_model
    history: list[dict[str, Any]] = []
    for i, candidate in enumerate(candidates):
        entry = {"epoch": float(i + 1), "step": i + 1, "candidate": candidate}
        entry["train_loss"] = float(train_losses[i].mean())
        entry["validation"] = evaluate(held_out[i], np.arange(len(rows)))
        entry["folds"] = [evaluate(held_out[i, held], held)[metric] for _, held in folds]
        history.append(entry)
        settings = ", ".join(f"{name} {value:g}" for name, value in candidate.items())
        logger.info(
            "%2d/%d  %s  %s %.3f",
            i + 1,
            len(candidates),
            settings,
            metric,
            entry["validation"][metric],
        )
    scores = [entry["validation"][metric] for entry in history]
    best = int(np.argmin(scores) if metric == "loss" else np.argmax(scores))
    history[best]["kept"] = True

    inner, calibrated_by_speaker = (
        speaker_folds(labels, voices, rows, classes) if calibrated else ([], True)
    )
    estimator = unfitted(model.classifier, candidates[best], vectors, inner, arguments.seed)
    _fit(
        estimator, vectors, labels, weights, _scale(vectors) if hasattr(model, "encoder") else None
    )
    model.classifier = as_module(estimator, model.classifier).to(model.device).eval()
    require_same(model.classifier, estimator, vectors)
    if isinstance(model.classifier, KernelMachines):
        model.config.support_vectors = len(model.classifier.vectors)
    elif isinstance(model.classifier, Forest):
        model.config.trees, model.config.nodes = (
            len(model.classifier.roots),
            len(model.classifier.threshold),
        )
        model.config.depth = model.classifier.depth
    notes = [SELECTED_BY_CLIPS] * (not by_speaker) + [CALIBRATED_BY_CLIPS] * (
        not calibrated_by_speaker
    )
    for note in notes:
        logger.warning("%s", note)
    windows = refit = None
    if (shared := np.isin(rows, validation["row"][:])).any():
        windows = WindowLogits(rows[shared], lengths[shared], held_out[best][shared])
        refit = {
            "selection": f"cross-validation over {'speakers' if by_speaker else 'clips'}",
            "folds": len(folds),
        }
        refit |= {"speakers": len(np.unique(voices)), "clips": len(np.unique(rows))}
    return Fit(
        trainer, history, time.perf_counter() - began, [], scores[best], notes, None, windows, refit
    )


@torch.no_grad()
def embed(
    model: PreTrainedModel,
    collator: Collator,
    part: Dataset,
    arguments: EmotionTrainingArguments,
    speakers: Sequence[str] = (),
) -> np.ndarray:
    """Inputs of the model's classifier, (windows, size) float32. With the `speakers` of each row of
    the corpus, those of each speaker are standardized by themselves."""
    model.eval()
    vectors = []
    listener = model.classifier.register_forward_pre_hook(
        lambda _, given: vectors.append(given[0].float().cpu())
    )
    try:
        batches = arguments.evaluation_batches(part["length"][:])
        for batch in DataLoader(part, batch_sampler=batches, collate_fn=collator):
            batch.pop("labels")
            model(**{name: values.to(model.device) for name, values in batch.items()})
    finally:
        listener.remove()
    vectors = torch.cat(vectors).numpy()
    voices = np.asarray(speakers)[part["row"][:]] if speakers else []
    for own in [voices == speaker for speaker in np.unique(voices)]:
        mean, deviation = _scale(vectors[own])
        vectors[own] = (vectors[own] - mean) / deviation
    return vectors


def _scale(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature, (size,) float64, for standardization.

    Deviations have a lower bound, so that (nearly) constant features are not amplified.
    """
    vectors = vectors.astype(np.float64)
    mean = vectors.mean(axis=0)
    deviation = vectors.std(axis=0)
    usual = np.median(deviation[deviation > 0]) if deviation.any() else 0.0
    deviation = np.maximum(deviation, np.maximum(1e-2 * usual, 1e-3 * np.abs(mean)))
    return mean, np.where(deviation > 0, deviation, 1.0)


def speaker_folds(
    labels: np.ndarray, speakers: np.ndarray, clips: np.ndarray, classes: int, least: int = 1
) -> tuple[Folds, bool]:
    """Divide windows into folds with disjoint speakers, or with disjoint clips if too few speakers
    have a class.

    Args:
        labels, speakers, clips: of each window.
        least: clips of each class that the training side of every fold has.

    Returns:
        (training, held-out) indices of at most `FOLDS` folds, and whether their speakers are
        disjoint.

    Raises:
        UserError: if a class has too few clips.
    """

    def fewest(own: np.ndarray) -> int:
        """Clips of the rarest class."""
        return np.bincount(labels[own][firsts(clips[own])], minlength=classes).min()

    for groups in (speakers, clips):
        if (count := min(FOLDS, fewest(np.arange(len(clips))), len(np.unique(groups)))) > 1:
            folds = list(StratifiedGroupKFold(count).split(labels, labels, groups))
            if all(fewest(own) >= least for own, _ in folds):
                return folds, groups is speakers
    raise UserError(
        f"training.solver: a class has fewer than {least + 1} training clips; drop or merge it"
    )


class RadialMachines(ClassifierMixin, BaseEstimator):
    """One-vs-rest `SVC` with a radial kernel; for two classes a single machine."""

    def __init__(self, C: float = 1.0, gamma: float = 1.0):
        self.C = C
        self.gamma = gamma

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        own = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        self.machines_ = [
            SVC(C=self.C, gamma=self.gamma).fit(X, y == label, sample_weight) for label in own
        ]
        return self

    def decision_function(self, X):
        decisions = np.stack([machine.decision_function(X) for machine in self.machines_], axis=1)
        return decisions[:, 0] if len(self.machines_) == 1 else decisions

    def predict(self, X):
        decisions = self.decision_function(X)
        return self.classes_[
            (decisions > 0).astype(int) if decisions.ndim == 1 else decisions.argmax(axis=1)
        ]


def unfitted(
    classifier: nn.Module,
    candidate: Mapping[str, Any],
    vectors: np.ndarray,
    folds: Folds,
    seed: int,
) -> BaseEstimator:
    """The estimator of a candidate; ``gamma_scale`` is gamma relative to scikit-learn's
    ``gamma="scale"``.
    """
    settings = dict(candidate)
    if isinstance(classifier, Forest):
        return RandomForestClassifier(random_state=seed, **settings)
    if isinstance(classifier, nn.Linear):
        return LogisticRegression(max_iter=10000, random_state=seed, **settings)
    if isinstance(classifier, LinearMachines):
        machine = LinearSVC(
            max_iter=10000, random_state=seed, dual=vectors.shape[1] >= len(vectors), **settings
        )
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
    size = seen.shape[1]
    basis = None
    if size > len(seen) and isinstance(
        getattr(estimator, "estimator", estimator), LinearSVC | LogisticRegression
    ):
        # The weights are sums of the clips' vectors: in a basis of these the fit is the same, and
        # ten times as fast.
        basis = np.linalg.qr(seen.T)[0]
        seen = seen @ basis
    estimator.fit(seen, labels, sample_weight=weights)
    calibrated = isinstance(estimator, CalibratedClassifierCV)
    linear = estimator.calibrated_classifiers_[0].estimator if calibrated else estimator
    if basis is not None:
        linear.coef_ = linear.coef_ @ basis.T
        linear.n_features_in_ = size
    if scale is not None:
        linear.coef_ = linear.coef_ / scale[1]
        linear.intercept_ = linear.intercept_ - linear.coef_ @ scale[0]
    return estimator


@torch.no_grad()
def logits_of(classifier: nn.Module, vectors: np.ndarray) -> np.ndarray:
    device = classifier.weight.device
    return torch.cat(
        [classifier(rows.to(device)).cpu() for rows in torch.from_numpy(vectors).split(256)]
    ).numpy()


def as_module(fitted: BaseEstimator, like: nn.Module) -> nn.Module:
    """A module like `like` whose softmax equals the probabilities of the fitted estimator."""
    if isinstance(like, nn.Linear):
        weight = fitted.coef_
        bias = fitted.intercept_
        if len(weight) == 1:  # of two classes: the first one's logit is zero
            weight = np.concatenate([0 * weight, weight])
            bias = np.concatenate([0 * bias, bias])
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
    own = softmax(logits_of(classifier, vectors), axis=1)
    gap = np.abs(own - fitted.predict_proba(vectors.astype(np.float64))).max()
    if not gap <= TOLERANCE:
        raise RuntimeError(f"the network's probabilities differ from scikit-learn's by {gap:.1e}")


def _kernel_machines(fitted: RadialMachines) -> KernelMachines:
    rows = np.unique(np.concatenate([machine.support_ for machine in fitted.machines_]))
    size = fitted.machines_[0].support_vectors_.shape[1]
    vectors = np.zeros((len(rows), size))
    weight = np.zeros((len(fitted.machines_), len(rows)))
    for own, machine in zip(weight, fitted.machines_, strict=True):
        places = np.searchsorted(rows, machine.support_)
        vectors[places] = machine.support_vectors_
        own[places] = machine.dual_coef_[0]
    module = KernelMachines(size, len(fitted.classes_), len(rows))
    _set(module.vectors, vectors)
    _set(module.weight, weight)
    _set(module.bias, np.concatenate([machine.intercept_ for machine in fitted.machines_]))
    _set(module.gamma, fitted.gamma)
    return module


def _forest(fitted: RandomForestClassifier) -> Forest:
    trees = [estimator.tree_ for estimator in fitted.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    nodes = sum(tree.node_count for tree in trees)
    depth = max(tree.max_depth for tree in trees)
    module = Forest(len(fitted.classes_), len(trees), nodes, depth)
    columns: dict[str, list[np.ndarray]] = defaultdict(list)
    for root, tree in zip(roots, trees, strict=True):
        leaf = tree.children_left < 0
        itself = np.arange(tree.node_count)
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
    """Round thresholds down to float32, so that comparisons with float32 features agree with
    scikit-learn's.
    """
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


@torch.no_grad()
def _set(tensor: torch.Tensor, values: Any) -> None:
    values = torch.from_numpy(np.asarray(values))
    tensor.copy_(values.reshape(tensor.shape))
