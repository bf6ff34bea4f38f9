"""Trains one model of a run: builds it, freezes parts, adds adapters, and fits the parameters."""

import copy
import dataclasses
import logging
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel

from ..audio.augmenter import Augmenter
from ..audio.voices import TrainingVoices
from ..evaluation.bootstrap import is_unknown
from ..evaluation.metrics import compute_metrics
from ..evaluation.tasks import DIMENSIONS
from ..loading.build import build_model, set_initial_bias
from ..protocols import PARTS
from ..training.arguments import EmotionTrainingArguments, refitting, seed_everything
from ..training.callbacks import tracked
from ..training.collator import TrainTransforms
from ..training.feature_cache import FeatureCaching, fixed_crops
from ..training.fit import Fit, fit, window_logits
from ..training.freezing import freeze, trainable_table
from ..training.lora import add_lora
from ..training.loss import LOSSES, Loss
from ..training.mixup import Mixing
from ..training.sklearn_solver import fit_classical
from ..training.targets import TargetsLoss
from .clips import evaluation_clips, train_clips, train_labels
from .context import RunContext
from .targets import metrics_function, require_measurable, targets_loss

logger = logging.getLogger(__name__)


def train(run: RunContext, arguments: EmotionTrainingArguments) -> Fit:
    """Train on the train split; with `training.refit` train again on train and validation split."""
    selected = fit_once(run, arguments)
    if run.recipe.training.refit and run.recipe.evaluation.part != "validation":
        return _refit(run, arguments, selected)
    return selected


def _refit(run: RunContext, arguments: EmotionTrainingArguments, selected: Fit) -> Fit:
    """Train on train and validation clips, for as many steps as the selected checkpoint had.

    The predictions of the validation split remain those of the selected checkpoint, which was not
    trained on this split.
    """
    split = run.fold.split
    held_out = window_logits(selected.trainer, evaluation_clips(run, "validation"))

    rows = {**split.rows, "train": sorted(split.rows["train"] + split.rows["validation"])}
    whole_fold = dataclasses.replace(run.fold, split=dataclasses.replace(split, rows=rows))
    speakers = {*split.speakers["train"], *split.speakers["validation"]}
    state = selected.trainer.state
    steps = state.best_global_step
    description = {"steps": steps, "clips": len(rows["train"]), "speakers": len(speakers)}
    logger.info(
        "refit on train and validation: %(clips)d clips, %(speakers)d speakers, %(steps)d steps",
        description,
    )

    last = fit_once(
        dataclasses.replace(run.on_fold(whole_fold), watch=None),
        refitting(arguments, steps, selected.trainer.steps_per_epoch),
        planned_steps=selected.trainer.planned_steps or state.max_steps,
    )
    return dataclasses.replace(
        selected,
        trainer=last.trainer,
        seconds=selected.seconds + last.seconds,
        held_out=held_out,
        refit=description,
    )


def fit_once(
    run: RunContext,
    arguments: EmotionTrainingArguments,
    planned_steps: int | None = None,
    per_speaker: bool = False,
) -> Fit:
    """Build the model and train it on the run's training clips.

    Args:
        planned_steps: for a refit, the number of steps that the learning rate schedule is planned
            for. A refit ends before this number, and early stopping is off.
        per_speaker: whether scikit-learn gets vectors that are standardized per speaker.
    """
    recipe = run.recipe
    clips = train_clips(run)
    seed_everything(arguments.seed, recipe.training.deterministic)
    model = trainable_model(run, clips)
    loss = make_loss(run, clips)
    if recipe.training.solver == "sklearn":
        return _fit_with_sklearn(run, arguments, model, clips, loss, per_speaker=per_speaker)
    return _fit_with_trainer(run, arguments, model, clips, loss, planned_steps=planned_steps)


def trainable_model(run: RunContext, clips: Dataset) -> PreTrainedModel | PeftModel:
    """Build the model before training, with its frozen parts and its adapters.

    New weights are random: set the random seed before.

    Args:
        clips: the training clips; predicted ratings start at the means of their ratings.
    """
    model = build_model(copy.deepcopy(run.data.plan))
    if run.task.has_ratings:
        set_initial_bias(model, _mean_ratings(run, clips))
    freeze(model, run.freezing)
    if run.lora is not None:
        model = add_lora(model, run.lora)
    return model


def _fit_with_sklearn(
    run: RunContext,
    arguments: EmotionTrainingArguments,
    model: PreTrainedModel,
    clips: Dataset,
    loss: Loss,
    *,
    per_speaker: bool,
) -> Fit:
    """Fit the model's classifier with scikit-learn."""
    data = run.data
    return fit_classical(
        model,
        data.plan.extractor,
        data.store,
        clips,
        evaluation_clips(run, "validation"),
        arguments,
        compute_metrics,
        speakers=data.dataset["speaker"][:],
        grid=run.recipe.training.grid,
        class_weights=None if loss.class_weights is None else loss.class_weights.tolist(),
        per_speaker=per_speaker,
        has_statistics=data.plan.has_statistics,
    )


def _fit_with_trainer(
    run: RunContext,
    arguments: EmotionTrainingArguments,
    model: PreTrainedModel | PeftModel,
    clips: Dataset,
    loss: Loss | TargetsLoss,
    *,
    planned_steps: int | None,
) -> Fit:
    """Train the model by gradient descent with the Trainer."""
    logger.info("%s", trainable_table(model, arguments.parameter_groups(model)))
    watch = None if run.watch is None else partial(run.watch, run.folder.path_in_run)
    patience = None if planned_steps else run.recipe.training.early_stopping.patience
    with _tracked(run, arguments) as arguments.run_name:
        return fit(
            model,
            run.data.plan.extractor,
            run.data.store,
            clips,
            evaluation_clips(run, "validation"),
            arguments,
            metrics_function(run.recipe, run.layout),
            loss=loss,
            layout=run.layout,
            patience=patience,
            planned_steps=planned_steps,
            resume=run.resume,
            watch=watch,
            callbacks=run.callbacks,
            transforms=make_transforms(run),
            cache=feature_caching(run),
            has_statistics=run.data.plan.has_statistics,
        )


def _tracked(run: RunContext, arguments: EmotionTrainingArguments) -> AbstractContextManager[str]:
    """Open a run in each tracker of `training.report_to`, with the name of recipe and folders."""
    name = "-".join([run.recipe.name, *run.folder.path_in_run, str(arguments.seed)])
    return tracked(
        arguments.report_to,
        arguments.run_name or name,
        run.folder.log.parent,
        arguments.project,
    )


def make_loss(run: RunContext, clips: Dataset) -> Loss | TargetsLoss:
    """Create the loss of a run.

    Args:
        clips: the training clips, by which class weights are computed.

    Raises:
        UserError: for wrong weights, or if the clips of a split lack a target.
    """
    recipe = run.recipe
    if run.layout is None:
        options = recipe.training.loss.model_dump()
        labels = train_labels(run, clips)
        return LOSSES[run.task.loss].from_options(options, run.data.labels, labels)
    targets = np.asarray(clips["shares"][:])
    for split in PARTS[1:] if recipe.evaluation.part == "test" else ["validation"]:
        shares = evaluation_clips(run, split)["shares"][:]
        require_measurable(run.layout, np.asarray(shares), split)
    return targets_loss(recipe, run.layout, run.data.labels, targets)


def _mean_ratings(run: RunContext, clips: Dataset) -> list[float]:
    """The mean rating of the training clips in each dimension."""
    targets = np.asarray(clips["shares"][:])
    if run.layout is not None:
        targets = targets[:, run.layout.block(DIMENSIONS.name).columns]
    return np.nanmean(targets, axis=0).tolist()


def make_transforms(run: RunContext) -> TrainTransforms:
    """Create the augmentation and the mixup of the training clips."""
    recipe = run.recipe
    data = run.data
    rate = data.store.sampling_rate
    augmenter = None
    steps = recipe.augment.waveform_steps
    if steps:
        voices = None
        if any(step.needs_voices for step in steps.values()):
            voices = _training_voices(run)
        augmenter = Augmenter(recipe.augment, rate, recipe.audio.cache_dir, voices)
    mixing = None
    if recipe.augment.mixup.probability:
        mixing = Mixing(recipe.augment.mixup, len(data.labels))
    fixed_length = round((recipe.audio.fixed_duration or 0) * rate)
    return TrainTransforms(augmenter, mixing, fixed_length)


def _training_voices(run: RunContext) -> TrainingVoices:
    """The clips of the train split, of which babble is made.

    A clip with an unknown speaker gets its own speaker key.
    """
    data = run.data
    rows = run.fold.split.rows["train"]
    speakers = data.dataset["speaker"][:]
    keys = []
    for row in rows:
        speaker = speakers[row]
        keys.append(f"{speaker or ''} in row {row}" if is_unknown(speaker) else speaker)
    return TrainingVoices(data.store, rows, keys)


def feature_caching(run: RunContext) -> FeatureCaching | None:
    """Settings of the cache for outputs of frozen layers; None without `freeze.cache`.

    The cache is computed once for the clips of all folds, which are mostly the same clips.
    """
    if not run.recipe.freeze.cache:
        return None
    clips = []
    for fold in [*run.data.folds, *run.data.foil]:
        fold_run = run.on_fold(fold)
        clips.append(fixed_crops(train_clips(fold_run), run.data.store))
        clips.append(evaluation_clips(fold_run, "validation"))
    return FeatureCaching(run.freezing, run.recipe.audio.cache_dir, clips)
