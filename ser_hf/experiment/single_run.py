"""One training with one seed on one fold: train, evaluate each split once, save model, card and report."""

import contextlib
import copy
import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from peft import PeftModel
from transformers import PreTrainedModel

from ..audio import prepare
from ..audio.augmentation import Augmenter
from ..evaluation.calibration import at_limit, fit_temperature, temperature_facts, temperature_warning
from ..evaluation.metrics import all_metrics, softmax, trainer_metrics
from ..evaluation.predictions import Judged, of_rows, to_table
from ..evaluation.summary import evaluate_predictions
from ..inference.batches import classify
from ..inference.classifier import load_classifier
from ..inference.reference import LONGEST, chosen_clips, write_reference
from ..models.preparation import Preparation
from ..protocols import PARTS
from ..training.arguments import EmotionTrainingArguments, seed_everything
from ..training.callbacks import measured_energy, tracked
from ..training.checkpoints import size, whole_model
from ..training.data import Mixing, TrainTransforms, clips_by_corpus, merge
from ..training.factory import build_model
from ..training.feature_cache import FeatureCaching, fixed_crops
from ..training.fit import Fit, fit, window_logits
from ..training.freezing import freeze, trainable_table
from ..training.lora import add_lora, plain_parameters
from ..training.loss import ClassificationLoss, class_weights, log_priors
from ..training.optimizer import parameter_groups
from ..training.sklearn_solver import fit_classical
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from .context import RunContext
from .evaluate import embeddings_map, robustness_of
from .evaluation_data import LabelMapping
from .outputs import header, save_card, save_report, save_weights
from .recipe import Recipe

logger = logging.getLogger(__name__)

# What `window_logits` returns: row and samples of each window, and its logits.
Windows = tuple[Sequence[int], Sequence[int], np.ndarray]


def run_one(run: RunContext) -> dict[str, Any]:
    """Trains with one seed, evaluates the checkpoint that validation selects, writes model/ and report/."""
    arguments = run.arguments()
    with measured_energy(arguments.process_index == 0) as energy:
        fitted = train(run, arguments)
    report, predictions = evaluate_run(run, fitted)
    report |= energy
    model = whole_model(fitted.trainer)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            _save(run, model, report, predictions)
    return report


def _save(
    run: RunContext, model: PreTrainedModel | PeftModel, report: dict[str, Any], predictions: Mapping[str, Judged]
) -> None:
    points = None
    with atomic_folder(run.folder.model) as folder:
        save_weights(model, run.data.plan, report["temperature"], folder)
        save_reference(run, model)
        try:
            found, points = embeddings_and_robustness(run, predictions[run.recipe.evaluation.part], folder)
            report |= found
        except UserError as error:  # the trained model and its figures are still saved
            report["warnings"].append(f"evaluation.embeddings or evaluation.robustness failed: {error}")
        save_card(run.recipe, report, run.folder, folder)
    # Predictions for training clips are not published: they measure nothing.
    tables = [to_table(name, own) for name, own in predictions.items() if name != "train"]
    extras = {"predictions": pa.concat_tables(tables), "embeddings": points}
    save_report(run.recipe, report, run.data.dataset, run.fold.split.rows, extras, run.folder)


def train(run: RunContext, arguments: EmotionTrainingArguments) -> Fit:
    recipe, data = run.recipe, run.data
    seed_everything(arguments.seed, recipe.training.deterministic)
    model = build_model(copy.deepcopy(data.plan))
    freezing, lora = run.freezing, run.lora
    freeze(model, freezing)
    if lora is not None:
        model = add_lora(model, lora)
    train_clips = run.train_clips()
    loss = make_loss(recipe, data.labels, run.train_labels(train_clips))
    parts = train_clips, run.clips("validation")
    common = (model, data.plan.extractor, data.store, *parts, arguments, trainer_metrics)
    if recipe.training.solver == "sklearn":
        speakers = data.dataset["speaker"][:]
        weights = None if loss.class_weights is None else loss.class_weights.tolist()
        return fit_classical(*common, speakers=speakers, grid=recipe.training.grid, class_weights=weights)
    rates = (arguments.learning_rate, arguments.weight_decay, arguments.head_learning_rate, arguments.layer_decay)
    logger.info("%s", trainable_table(model, parameter_groups(model, *rates)))
    name = "-".join([recipe.name, *run.folder.place, str(arguments.seed)])
    with contextlib.ExitStack() as stack:
        tracking = tracked(arguments.report_to, arguments.run_name or name, run.folder.log.parent, arguments.project)
        arguments.run_name = stack.enter_context(tracking)
        rows = run.fold.split.rows["train"]
        log_oversampling(recipe, len(rows), len(train_clips))
        if run.resampled:
            logger.info("clips of an epoch: %s", clips_by_corpus(train_clips, data.dataset["corpus"][:]))
        return fit(
            *common,
            loss=loss,
            freezing=freezing,
            patience=recipe.training.early_stopping.patience,
            resume=run.resume,
            watch=run.watch and partial(run.watch, run.folder.place),
            transforms=make_transforms(run),
            cache=_cache(run),
        )


def make_loss(recipe: Recipe, names: Sequence[str], labels: Sequence[int]) -> ClassificationLoss:
    """The recipe's loss with weights and priors of the training clips, whose `labels` these are."""
    settings = recipe.training.loss
    weights = None
    if settings.class_weights:
        weights = class_weights(settings.class_weights, labels, names)
    return ClassificationLoss(
        weights,
        settings.label_smoothing,
        settings.focal_gamma,
        settings.logit_adjustment,
        log_priors(labels, len(names)) if settings.logit_adjustment else None,
    )


def make_transforms(run: RunContext) -> TrainTransforms:
    """Augmentation and mixup of the training clips. Babble is made of training clips only."""
    recipe, data = run.recipe, run.data
    augment, rate = recipe.augment, data.store.sampling_rate
    augmenter = mixing = None
    if augment.steps:
        rows = run.fold.split.rows["train"]
        augmenter = Augmenter(augment, rate, data.store, rows, recipe.audio.cache_dir)
    if augment.mixup.probability:
        mixing = Mixing(augment.mixup, len(data.labels), np.asarray(data.dataset["speaker"][:]))
    return TrainTransforms(augmenter, mixing, round((recipe.audio.fixed_duration or 0) * rate))


def _cache(run: RunContext) -> FeatureCaching | None:
    """The cache of frozen layers' outputs, computed once for the clips of all folds, which are mostly the same."""
    if not run.recipe.freeze.cache:
        return None
    others = []
    for fold in [*run.data.folds, *run.data.foil]:
        own = dataclasses.replace(run, folds=[fold])
        others += [fixed_crops(own.train_clips(), run.data.store), own.clips("validation")]
    return FeatureCaching(run.freezing, run.recipe.audio.cache_dir, others)


def log_oversampling(recipe: Recipe, clips: int, entries: int) -> None:
    augment = recipe.augment
    if not augment.oversample or entries == clips:
        return
    logger.info("over-sampled to equal classes: %d clips are met %d times an epoch", clips, entries)
    if not augment.steps and not augment.mixup.probability:
        another = " but for their crops" if recipe.audio.max_duration and not recipe.freeze.cache else ""
        advice = "" if recipe.freeze.cache else "; add steps such as augment.speed to make each copy another"
        logger.warning(
            "augment.oversample: plain repetition of %d clips%s, as nothing else is done to them%s",
            *(entries - clips, another, advice),
        )


def evaluate_run(run: RunContext, fitted: Fit) -> tuple[dict[str, Any], dict[str, Judged]]:
    """The report and the predictions of each split, each computed once; the test split is used here only."""
    began = time.perf_counter()
    recipe, data = run.recipe, run.data
    evaluated = recipe.evaluation.part
    names = PARTS if evaluated == "test" else PARTS[:2]
    outputs = {name: window_logits(fitted.trainer, run.clips(name)) for name in names}
    logits, temperature = _calibrated(run, outputs)
    predictions = {name: of_rows(data.dataset, rows, softmax(own)) for name, (rows, own) in logits.items()}
    evaluation = evaluate_predictions(predictions[evaluated], **recipe.evaluation.bootstrapping)
    metric = recipe.training.early_stopping.metric
    report = {
        **header(recipe, data, [run.fold], run.folder, evaluation["metrics"], run.foil),
        **evaluation,
        "parts": {
            name: all_metrics(own.labels, own.probabilities[0], own.votes)
            for name, own in predictions.items()
            if name != "test"
        },
        "temperature": temperature,
        "history": fitted.history,
        "selected_by": metric,
        "validated": validated_by(fitted, metric),
        "training": _training_facts(run, fitted),
        "seconds": {
            **data.seconds,
            "training": fitted.seconds,
            "per_epoch": float(np.median(fitted.epoch_seconds)) if fitted.epoch_seconds else None,
            "judgement": time.perf_counter() - began,
        },
    }
    report["model"] |= {**_parameter_counts(fitted, recipe.training.solver), "solver": recipe.training.solver}
    report["warnings"] += data.notes + fitted.notes + run.window_notes()
    if temperature and at_limit(temperature["value"]):
        stored = recipe.evaluation.temperature == "store"
        report["warnings"].append(temperature_warning(temperature["value"], stored))
    return report, predictions


def _calibrated(
    run: RunContext, outputs: Mapping[str, Windows]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, Any] | None]:
    """Rows and logits of each split as the published model gives them, and the report's `temperature`."""
    plain = {name: merge(*own) for name, own in outputs.items()}
    setting, evaluated = run.recipe.evaluation.temperature, run.recipe.evaluation.part
    if setting == "none":
        return plain, None
    labels = np.asarray(run.data.dataset["label"][:])
    rows, lengths, logits = outputs["validation"]
    value = fit_temperature(logits, labels[plain["validation"][0]], lambda own: merge(rows, lengths, own)[1])
    stored = setting == "store" and not at_limit(value)
    scaled = {name: merge(own, samples, made / value) for name, (own, samples, made) in outputs.items()}
    test_rows, before = plain[evaluated]
    facts = temperature_facts(value, labels[test_rows], before, scaled[evaluated][1], stored)
    return (scaled if stored else plain), facts


def _parameter_counts(fitted: Fit, solver: str) -> dict[str, int]:
    model = fitted.trainer.model
    everything = list(plain_parameters(model))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if solver == "sklearn":
        # scikit-learn fits numbers that are buffers of the classifier, not parameters.
        trained = list(model.classifier.state_dict().values())
        own = {id(parameter) for parameter in model.classifier.parameters()}
        everything = [parameter for parameter in everything if id(parameter) not in own] + trained
    return {"parameters": sum(map(size, everything)), "learning": sum(map(size, trained))}


def _training_facts(run: RunContext, fitted: Fit) -> dict[str, Any]:
    """What the machine decided where the recipe leaves the choice, whether frozen layers were cached, and the clips of
    an epoch by corpus where they are balanced."""
    arguments = fitted.trainer.args
    precisions = {"bf16": arguments.bf16, "fp16": arguments.fp16, "tf32": arguments.tf32}
    facts: dict[str, Any] = {
        "precision": next((name for name, used in precisions.items() if used), "fp32"),
        "clips_per_step": arguments.step_batch_size,
        "data_workers": arguments.dataloader_num_workers,
    }
    if run.recipe.training.solver == "trainer":
        if fitted.cached is None:
            facts["strategy"] = "full (every clip computed in each epoch)"
        else:
            facts |= {"strategy": "fast (frozen parts cached)", "cache": fitted.cached}
    if run.resampled:
        per_epoch = clips_by_corpus(run.train_clips(), run.data.dataset["corpus"][:])
        facts |= {"balance": run.recipe.training.balance, "clips_per_epoch": per_epoch}
    return facts


def validated_by(fitted: Fit, metric: str) -> float:
    """The validation metric of the selected checkpoint, higher is better."""
    return -fitted.validated if metric == "loss" else fitted.validated


def embeddings_and_robustness(
    run: RunContext, predictions: Judged, model: Path
) -> tuple[dict[str, Any], pa.Table | None]:
    """The report's `embeddings` and `robustness` if the recipe requests them, and the points of the map.

    Args:
        predictions: of the evaluated split.
        model: the folder of the saved model.
    """
    settings, cache_dir = run.recipe.evaluation, run.recipe.audio.cache_dir
    if not (settings.embeddings or settings.robustness):
        return {}, None
    classifier = load_classifier(model)
    names, store = classifier.labels, run.data.store
    waveforms = [store[row] for row in run.test_rows]  # prepared already; views, which take no memory
    found, points = {}, None
    if settings.embeddings:
        _, vectors = classify(classifier, waveforms, predictions.ids, window=settings.window, embeddings=True)
        found["embeddings"], points = embeddings_map(predictions, vectors)
    if settings.robustness:
        if classifier.preparation != Preparation():  # conditions change recordings before they are prepared
            chosen = run.data.dataset.select(run.test_rows)
            _, waveforms = prepare(chosen, store.sampling_rate, cache_dir, Preparation())
        mapping = LabelMapping(names, names, names)
        found["robustness"] = robustness_of(
            classifier, mapping, predictions, waveforms, window=settings.window, **settings.bootstrapping
        )
    return found, points


def save_reference(run: RunContext, model: PreTrainedModel | PeftModel) -> None:
    """Writes reference.npz: a few clips of the evaluated split and the trained model's logits for them."""
    plan, store, rows = run.data.plan, run.data.store, run.test_rows
    limit = round(LONGEST * store.sampling_rate)
    chosen = [rows[i] for i in chosen_clips(store.source_lengths[list(rows)], limit)]
    clips = [store[row] for row in chosen]
    if plan.preparation.active:  # the store holds prepared waveforms, the reference recordings
        dataset = run.data.dataset.select(chosen)
        _, recorded = prepare(dataset, store.sampling_rate, run.recipe.audio.cache_dir, Preparation())
        clips = [recorded[i] for i in range(len(chosen))]
    clips = [np.array(clip[:limit]) for clip in clips]
    clips = [np.pad(clip, (0, max(0, plan.shortest_clip - len(clip)))) for clip in clips]
    write_reference(run.folder.reference, model, plan.extractor, plan.preparation, clips)
