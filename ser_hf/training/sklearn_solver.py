"""The scikit-learn solver, which selects a classifier from a grid by cross-validation.

It fits classical networks, and heads on frozen encoders, whose embeddings are computed once.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sklearn.model_selection import ParameterGrid, StratifiedGroupKFold
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PreTrainedModel, SequenceFeatureExtractor

from ..audio import WaveformStore
from ..loading.batches import WindowLogits, first_indices, merge, original_positions
from ..models.layers import KernelMachines, LinearMachines
from ..models.modeling_mfcc import Forest
from ..utils.environment import MemoryLimit, return_freed_memory
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .collator import Collator
from .fit import Fit, fit_statistics
from .loss import ClassificationLoss
from .sklearn_estimators import (
    Folds,
    as_module,
    fit_estimator,
    logits_of,
    require_same,
    scale_of,
    unfitted,
)
from .trainer import EmotionTrainer

logger = logging.getLogger(__name__)

FOLDS = 5  # the largest number of folds for cross-validation and for calibration
SELECTED_BY_CLIPS = (
    "Too few speakers for cross-validation over them: clips of the same speakers selected settings."
)
CALIBRATED_BY_CLIPS = (
    "Too few training speakers to calibrate probabilities on other speakers: they are calibrated "
    "on other clips of the same speakers and are overconfident."
)

# Layers that the solver trains, or that need no training (equal weights over layers).
_TRAINED = ("front_end.", "encoder.", "layer_sum.", "classifier.")


@dataclasses.dataclass(frozen=True)
class _Windows:
    """Vectors (windows, size) of the windows of the training clips, and their other columns."""

    vectors: np.ndarray
    rows: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    weights: np.ndarray
    classes: int

    def folds(self, indices: np.ndarray | None = None, least: int = 1) -> tuple[Folds, bool]:
        """Divide the windows at `indices` (by default all) into folds; see `speaker_folds`."""
        if indices is None:
            indices = np.arange(len(self.rows))
        return speaker_folds(
            self.labels[indices], self.speakers[indices], self.rows[indices], self.classes, least
        )


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    """Computes loss and metrics of clips from the logits of the windows at given indices."""

    windows: _Windows
    loss: ClassificationLoss
    compute_metrics: Callable[[EvalPrediction], dict[str, float]]

    def __call__(self, logits: np.ndarray, indices: np.ndarray) -> dict[str, float]:
        windows = self.windows
        rows = windows.rows[indices]
        _, merged = merge(rows, windows.lengths[indices], logits)
        labels = windows.labels[indices][first_indices(rows)]
        loss = self.loss({"logits": torch.from_numpy(merged)}, torch.from_numpy(labels))
        return {"loss": float(loss), **self.compute_metrics(EvalPrediction(merged, labels))}


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
    has_statistics: bool = False,
) -> Fit:
    """Select a candidate from a grid by cross-validation, and fit it to all clips.

    Vectors are the inputs of the model's classifier in float32. A `FeatureNorm` before the
    classifier has the statistics of all clips. Each clip is predicted by the model of the fold that
    holds out its speaker; vectors are standardized, fitted and calibrated without that fold. The
    score of a candidate is the metric over the predictions of all clips. The candidate with the
    best score is selected, the first among equals. (The one-standard-error rule is not used: with
    few speakers, it may select a candidate at chance level.) The history has one entry per
    candidate, whose number is under ``epoch``.

    Args:
        model: its classifier is a linear layer, `LinearMachines`, `KernelMachines` or `Forest`;
            it has the fitted classifier afterwards.
        train: all clips for cross-validation and the last fit, from
            `ser_hf.training.clips.clip_table`.
        validation: validation clips; if they are among `train`, `Fit.held_out` has their
            predictions.
        speakers: the speaker of each row of the corpus.
        grid: {setting: values to try}, see `GRIDS`.
        per_speaker: whether to standardize the vectors of each speaker separately; the fitted model
            then needs vectors that are standardized in this way.
        has_statistics: whether the weights contain the statistics of the front end; otherwise they
            are computed from `train`.

    Raises:
        UserError: if layers other than the classifier need training, or a class has too few clips.
    """
    began = time.perf_counter()
    _require_trained_layers(model)
    collator = Collator(store, extractor)
    loss = ClassificationLoss(class_weights)
    trainer = EmotionTrainer(model, arguments, collator, train, validation, loss)
    if not has_statistics:
        fit_statistics(model, collator, train, arguments.per_device_eval_batch_size)

    rows = np.asarray(train["row"][:])
    labels = np.asarray(train["labels"][:])
    classes = model.config.num_labels
    windows = _Windows(
        vectors=embed(model, collator, train, arguments, speakers if per_speaker else ()),
        rows=rows,
        lengths=np.asarray(train["length"][:]),
        labels=labels,
        speakers=np.asarray(speakers)[rows],
        weights=np.asarray(class_weights or np.ones(classes))[labels],
        classes=classes,
    )
    is_calibrated = isinstance(model.classifier, LinearMachines | KernelMachines)
    folds, by_speaker = windows.folds(least=2 if is_calibrated else 1)
    candidates = list(ParameterGrid(grid))

    evaluate = _Evaluation(windows, loss, compute_metrics)
    validated = _cross_validate(model, candidates, folds, evaluate, arguments.seed)
    metric = arguments.metric_for_best_model
    history = _history(candidates, folds, validated, evaluate, metric)
    scores = [entry["validation"][metric] for entry in history]
    best = int(np.argmin(scores) if metric == "loss" else np.argmax(scores))
    history[best]["kept"] = True

    calibrated_by_speaker = _fit_to_all(model, candidates[best], windows, arguments.seed)
    notes = []
    if not by_speaker:
        notes.append(SELECTED_BY_CLIPS)
    if not calibrated_by_speaker:
        notes.append(CALIBRATED_BY_CLIPS)
    for note in notes:
        logger.warning("%s", note)

    held_out = None
    refit = None
    cross_validated = None
    if by_speaker:
        cross_validated = WindowLogits(rows, windows.lengths, validated.held_out[best])
    is_validation = np.isin(rows, validation["row"][:])
    if is_validation.any():
        held_out = WindowLogits(
            rows[is_validation],
            windows.lengths[is_validation],
            validated.held_out[best][is_validation],
        )
        refit = {
            "selection": f"cross-validation over {'speakers' if by_speaker else 'clips'}",
            "folds": len(folds),
            "speakers": len(np.unique(windows.speakers)),
            "clips": len(np.unique(rows)),
        }
    return Fit(
        trainer,
        history,
        time.perf_counter() - began,
        [],
        scores[best],
        notes=notes,
        held_out=held_out,
        cross_validated=cross_validated,
        refit=refit,
    )


def _require_trained_layers(model: PreTrainedModel) -> None:
    untrained = [name for name, _ in model.named_parameters() if not name.startswith(_TRAINED)]
    if untrained:
        layer = untrained[-1].rpartition(".")[0]
        raise UserError(
            f"training.solver: scikit-learn trains the classifier only, but {layer} of "
            f"{type(model).__name__} needs training; set model.pooling to mean, max or mean_std "
            "without head_layers"
        )


@dataclasses.dataclass(frozen=True)
class _CrossValidation:
    """The result of a cross-validation.

    `held_out` are the logits of held-out windows, (candidates, windows, classes); `train_losses`
    have the shape (candidates, folds).
    """

    held_out: np.ndarray
    train_losses: np.ndarray


def _cross_validate(
    model: PreTrainedModel,
    candidates: Sequence[Mapping[str, Any]],
    folds: Folds,
    evaluate: _Evaluation,
    seed: int,
) -> _CrossValidation:
    """Fit each candidate without the windows of a fold, and predict these, for every fold."""
    windows = evaluate.windows
    count = len(windows.labels)
    held_out = np.zeros((len(candidates), count, windows.classes), dtype=np.float32)
    train_losses = np.zeros((len(candidates), len(folds)))
    for fold, (trained, left_out) in enumerate(folds):
        mean, deviation = scale_of(windows.vectors[trained])
        scaled = ((windows.vectors - mean) / deviation).astype(np.float32)
        inner: Folds = []
        if isinstance(model.classifier, LinearMachines | KernelMachines):
            inner, _ = windows.folds(trained)
        for i, candidate in enumerate(candidates):
            estimator = unfitted(model.classifier, candidate, scaled[trained], inner, seed)
            fit_estimator(
                estimator, scaled[trained], windows.labels[trained], windows.weights[trained]
            )
            classifier = as_module(estimator, model.classifier).to(model.device)
            held_out[i, left_out] = logits_of(classifier, scaled[left_out])
            train_logits = logits_of(classifier, scaled[trained])
            train_losses[i, fold] = evaluate(train_logits, trained)["loss"]
    return _CrossValidation(held_out, train_losses)


def _history(
    candidates: Sequence[Mapping[str, Any]],
    folds: Folds,
    validated: _CrossValidation,
    evaluate: _Evaluation,
    metric: str,
) -> list[dict[str, Any]]:
    """Make and log the history, which has one entry per candidate."""
    all_windows = np.arange(len(evaluate.windows.rows))
    history: list[dict[str, Any]] = []
    for i, candidate in enumerate(candidates):
        logits = validated.held_out[i]
        entry = {
            "epoch": float(i + 1),
            "step": i + 1,
            "candidate": candidate,
            "train_loss": float(validated.train_losses[i].mean()),
            "validation": evaluate(logits, all_windows),
            "folds": [evaluate(logits[left_out], left_out)[metric] for _, left_out in folds],
        }
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
    return history


def _fit_to_all(
    model: PreTrainedModel, candidate: Mapping[str, Any], windows: _Windows, seed: int
) -> bool:
    """Fit a candidate to all windows, and put the fitted classifier into the model.

    Returns whether probabilities are calibrated on other speakers; True without calibration.
    """
    inner: Folds = []
    by_speaker = True
    if isinstance(model.classifier, LinearMachines | KernelMachines):
        inner, by_speaker = windows.folds()
    estimator = unfitted(model.classifier, candidate, windows.vectors, inner, seed)
    # Networks from scratch standardize in their front end.
    scale = scale_of(windows.vectors) if hasattr(model, "encoder") else None
    fit_estimator(estimator, windows.vectors, windows.labels, windows.weights, scale)
    model.classifier = as_module(estimator, model.classifier).to(model.device).eval()
    require_same(model.classifier, estimator, windows.vectors)
    _describe_sizes(model)
    return by_speaker


def _describe_sizes(model: PreTrainedModel) -> None:
    """Write the sizes of the fitted classifier into the configuration."""
    classifier: nn.Module = model.classifier
    if isinstance(classifier, KernelMachines):
        model.config.support_vectors = len(classifier.vectors)
    elif isinstance(classifier, Forest):
        model.config.trees = len(classifier.roots)
        model.config.nodes = len(classifier.threshold)
        model.config.depth = classifier.depth


@torch.no_grad()
def embed(
    model: PreTrainedModel,
    collator: Collator,
    clips: Dataset,
    arguments: EmotionTrainingArguments,
    speakers: Sequence[str] = (),
) -> np.ndarray:
    """Compute the inputs of the model's classifier for clips, (windows, size) float32.

    If `speakers` (the speaker of each row of the corpus) are given, the vectors of each speaker are
    standardized separately.
    """
    model.eval()
    inputs: list[torch.Tensor] = []

    def record(classifier: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        # A copy, because a view would keep the feature maps of its batch.
        inputs.append(args[0].float().cpu().clone())

    window_batches = arguments.evaluation_batches(clips["length"][:])
    handle = model.classifier.register_forward_pre_hook(record)
    memory = MemoryLimit()
    try:
        for batch in DataLoader(clips, batch_sampler=window_batches, collate_fn=collator):
            batch.pop("labels")
            model(**{name: values.to(model.device) for name, values in batch.items()})
            memory.check()
    finally:
        handle.remove()
    return_freed_memory()
    vectors = torch.cat(inputs).numpy()[original_positions(window_batches)]
    if speakers:
        speaker_of_window = np.asarray(speakers)[clips["row"][:]]
        for speaker in np.unique(speaker_of_window):
            of_speaker = speaker_of_window == speaker
            mean, deviation = scale_of(vectors[of_speaker])
            vectors[of_speaker] = (vectors[of_speaker] - mean) / deviation
    return vectors


def speaker_folds(
    labels: np.ndarray, speakers: np.ndarray, clips: np.ndarray, classes: int, least: int = 1
) -> tuple[Folds, bool]:
    """Divide windows into folds with disjoint speakers.

    If a class has too few speakers, the folds have disjoint clips instead.

    Args:
        labels, speakers, clips: the label, the speaker and the clip of each window.
        least: smallest number of clips of each class among the training clips of a fold.

    Returns:
        (training, held-out) indices of at most `FOLDS` folds, and whether their speakers are
        disjoint.

    Raises:
        UserError: if a class has too few clips.
    """

    def fewest(indices: np.ndarray) -> int:
        """Clips of the rarest class."""
        labels_of_clips = labels[indices][first_indices(clips[indices])]
        return np.bincount(labels_of_clips, minlength=classes).min()

    fewest_of_all = fewest(np.arange(len(clips)))
    for groups in (speakers, clips):
        count = min(FOLDS, fewest_of_all, len(np.unique(groups)))
        if count < 2:
            continue
        folds = list(StratifiedGroupKFold(count).split(labels, labels, groups))
        if all(fewest(trained) >= least for trained, _ in folds):
            return folds, groups is speakers
    raise UserError(
        f"training.solver: a class has fewer than {least + 1} training clips; drop or merge it"
    )
