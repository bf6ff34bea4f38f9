"""One training of a run: model, freezing, adapters, loss, augmentation, and the fit itself."""

import copy
import dataclasses
import logging
from collections.abc import Sequence
from functools import partial

import numpy as np

from ..audio import Augmenter
from ..evaluation.metrics import (
    compute_metrics,
)
from ..evaluation.tasks import TASKS
from ..loading.build import build_model, start_at
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
from ..training.optimizer import parameter_groups
from ..training.sklearn_solver import fit_classical
from .context import RunContext
from .recipe import Recipe

logger = logging.getLogger(__name__)


def train(run: RunContext, arguments: EmotionTrainingArguments) -> Fit:
    """Train on the train split; with `training.refit` once more, on train and validation."""
    selected = fit_once(run, arguments)
    if not run.recipe.training.refit or run.recipe.evaluation.part == "validation":
        return selected
    state = selected.trainer.state
    rows = run.fold.split.rows
    held_out = window_logits(selected.trainer, run.clips("validation"))
    everything = dataclasses.replace(
        run.fold.split, rows=rows | {"train": sorted(rows["train"] + rows["validation"])}
    )
    own = dataclasses.replace(
        run, folds=[dataclasses.replace(run.fold, split=everything)], watch=None
    )
    steps = state.best_global_step
    planned = selected.trainer.planned_steps or state.max_steps
    speakers = {speaker for part in PARTS[:2] for speaker in run.fold.split.speakers[part]}
    facts = {"steps": steps, "clips": len(everything.rows["train"]), "speakers": len(speakers)}
    logger.info(
        "refit on train and validation: %(clips)d clips, %(speakers)d speakers, %(steps)d steps",
        facts,
    )
    last = fit_once(own, refitting(arguments, steps), planned)
    seconds = selected.seconds + last.seconds
    return dataclasses.replace(
        selected, trainer=last.trainer, seconds=seconds, held_out=held_out, refit=facts
    )


def fit_once(
    run: RunContext,
    arguments: EmotionTrainingArguments,
    planned_steps: int | None = None,
    per_speaker: bool = False,
) -> Fit:
    recipe = run.recipe
    data = run.data
    seed_everything(arguments.seed, recipe.training.deterministic)
    model = build_model(copy.deepcopy(data.plan))
    clips = run.train_clips()
    if data.ranges:
        start_at(model, np.mean(clips["shares"][:], axis=0).tolist())
    freeze(model, run.freezing)
    if run.lora is not None:
        model = add_lora(model, run.lora)
    loss = make_loss(recipe, data.labels, run.train_labels(clips))
    common = (
        model,
        data.plan.extractor,
        data.store,
        clips,
        run.clips("validation"),
        arguments,
        compute_metrics,
    )
    if recipe.training.solver == "sklearn":
        speakers = data.dataset["speaker"][:]
        weights = None if loss.class_weights is None else loss.class_weights.tolist()
        grid = recipe.training.grid
        return fit_classical(
            *common, speakers=speakers, grid=grid, class_weights=weights, per_speaker=per_speaker
        )
    logger.info("%s", trainable_table(model, parameter_groups(model, *arguments.rates)))
    name = "-".join([recipe.name, *run.folder.place, str(arguments.seed)])
    tracking = tracked(
        arguments.report_to, arguments.run_name or name, run.folder.log.parent, arguments.project
    )
    with tracking as arguments.run_name:
        return fit(
            *common,
            loss=loss,
            patience=None if planned_steps else recipe.training.early_stopping.patience,
            planned_steps=planned_steps,
            resume=run.resume,
            watch=run.watch and partial(run.watch, run.folder.place),
            callbacks=run.callbacks,
            transforms=make_transforms(run),
            cache=feature_caching(run),
        )


def make_loss(recipe: Recipe, names: Sequence[str], labels: Sequence[int]) -> Loss:
    """The recipe's loss with class weights from the `labels` of the training clips."""
    return LOSSES[TASKS[recipe.task].loss].from_options(
        dataclasses.asdict(recipe.training.loss), names, labels
    )


def make_transforms(run: RunContext) -> TrainTransforms:
    """Augmentation and mixup of the training clips."""
    recipe = run.recipe
    data = run.data
    augment = recipe.augment
    rate = data.store.sampling_rate
    augmenter = mixing = None
    if augment.steps:
        augmenter = Augmenter(augment, rate, recipe.audio.cache_dir)
    if augment.mixup.probability:
        mixing = Mixing(augment.mixup, len(data.labels))
    return TrainTransforms(augmenter, mixing, round((recipe.audio.fixed_duration or 0) * rate))


def feature_caching(run: RunContext) -> FeatureCaching | None:
    """The cache of frozen layers' outputs, computed once for the clips of all folds, which are
    mostly the same.
    """
    if not run.recipe.freeze.cache:
        return None
    others = []
    for fold in [*run.data.folds, *run.data.foil]:
        own = dataclasses.replace(run, folds=[fold])
        others += [fixed_crops(own.train_clips(), run.data.store), own.clips("validation")]
    return FeatureCaching(run.freezing, run.recipe.audio.cache_dir, others)
