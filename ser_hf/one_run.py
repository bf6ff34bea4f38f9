"""A run of one fold with one seed: trains, judges the checkpoint that validation prefers, writes model/, report/."""

import contextlib
import copy
import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from .audio.augmenting import Augmenter
from .delivery import renew_told, save_model, save_report
from .errors import UserError
from .evaluation.conditions import check_opus
from .evaluation.judged import Judged, to_table
from .evaluation.metrics import trainer_metrics
from .material import Fold, Material
from .run_clips import balances, part_of
from .run_extras import extras
from .run_folder import RunFolder
from .run_judgement import judge_run
from .run_reference import keep_reference
from .sections import Recipe
from .training.arguments import EmotionTrainingArguments, training_arguments
from .training.balancing import Turns, balance_table, met_labels
from .training.batches import Changes, part
from .training.build import build_model
from .training.classical import fit_classical
from .training.contrastive import SupervisedContrastive
from .training.energy import measured_energy
from .training.frozen import FrozenCache, fixed_crops
from .training.layers import Freezing, freeze, trainable_table
from .training.lora import Lora, add_lora
from .training.loss import ClassificationLoss, class_weights, log_priors
from .training.machine import seed_everything
from .training.mixing import Mixing
from .training.optimizer import parameter_groups
from .training.rehearsal import rehearse
from .training.run import Fit, fit
from .training.sharding import whole_model
from .training.tracking import tracked

logger = logging.getLogger(__name__)

# Hears of every validation of the Trainer (scikit-learn has none on the way): the place below the run's folder
# ("fold-1", "seed-2"; empty if none), epoch and metrics.
Watch = Callable[[tuple[str, ...], float, dict[str, float]], None]


def arguments_for(recipe: Recipe, folder: RunFolder, seed: int, padding_safe: bool = True) -> EmotionTrainingArguments:
    training = recipe.training
    return training_arguments(
        training.arguments,
        folder.checkpoints,
        seed,
        metric=training.early_stopping.metric,
        padding_safe=padding_safe,
        progress=sys.stderr.isatty(),
        precision=training.precision,
        deterministic=training.deterministic,
        head_learning_rate=training.head_learning_rate,
        layer_decay=training.layer_decay,
        sync_batch_norm=training.sync_batch_norm,
        average=training.average.kind,
        average_decay=training.average.decay,
        average_start=training.average.start,
    )


def rehearse_all(recipe: Recipe, material: Material, arguments: EmotionTrainingArguments) -> None:
    """What only the clips and the network can say of a recipe, before the first file is written."""
    _tell_idle_gain(recipe, material)
    if recipe.evaluation.robustness:
        check_opus()
    for fold in [*material.folds, *material.foil]:
        learnt = part_of(recipe, material, fold, "train", learnt=True)
        _loss(recipe, material, _labels(recipe, material, fold, learnt))
        if recipe.training.solver == "trainer":
            _changes(recipe, material, fold)
            freezing = Freezing(**recipe.freeze.freezing)
            rehearse(material.plan, arguments, len(Turns(learnt)), freezing, _lora(recipe), recipe.freeze.cache)


def run_one(
    recipe: Recipe,
    material: Material,
    fold: Fold,
    folder: RunFolder,
    resume: bool,
    foil: dict | None,
    watch: Watch | None,
) -> dict[str, Any]:
    """Trains with one seed, judges the checkpoint that validation prefers, writes model/ and report/."""
    seed = recipe.training.seeds[0]
    arguments = arguments_for(recipe, folder, seed, material.plan.padding_safe)
    with measured_energy(arguments.process_index == 0) as energy:
        fitted = _train(recipe, material, fold, folder, arguments, resume, watch)
    report, predicted = judge_run(recipe, material, fold, fitted, folder, foil)
    report |= energy
    model = whole_model(fitted.trainer)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            save_model(recipe, material, model, report, folder)
            keep_reference(recipe, material, fold.split.rows[recipe.evaluation.part], model, folder)
            points = None
            try:
                more, points = extras(recipe, material, fold.split.rows[recipe.evaluation.part], folder)
                report |= more
            except UserError as error:  # what was trained and judged is not lost for it
                report["warnings"].append(
                    f"What evaluation.embeddings or evaluation.robustness asked for failed: {error}"
                )
            else:
                if more:
                    renew_told(recipe, report, folder)
            tables = {"predictions": pa.concat_tables(_published(predicted)), "embeddings": points}
            save_report(recipe, report, material.dataset, fold.split.rows, tables, folder)
    return report


def _published(predicted: Mapping[str, Judged]) -> list[pa.Table]:
    """What is published of each part; the answers to training clips are nobody's measure."""
    return [to_table(name, own) for name, own in predicted.items() if name != "train"]


def _train(
    recipe: Recipe,
    material: Material,
    fold: Fold,
    folder: RunFolder,
    arguments: EmotionTrainingArguments,
    resume: bool,
    watch: Watch | None,
) -> Fit:
    seed_everything(arguments.seed, recipe.training.deterministic)
    model = build_model(copy.deepcopy(material.plan))
    freezing = Freezing(**recipe.freeze.freezing)
    freeze(model, freezing)
    lora = _lora(recipe)
    if lora is not None:
        model = add_lora(model, lora)
    parts = [part_of(recipe, material, fold, "train", learnt=True), part_of(recipe, material, fold, "validation")]
    loss = _loss(recipe, material, _labels(recipe, material, fold, parts[0]))
    common = (model, material.plan.extractor, material.store, *parts, arguments, trainer_metrics)
    if recipe.training.solver == "sklearn":
        speakers = material.dataset["speaker"][:]
        weights = None if loss.class_weights is None else loss.class_weights.tolist()
        return fit_classical(*common, speakers=speakers, grid=recipe.training.grid, class_weights=weights)
    own = (arguments.learning_rate, arguments.weight_decay, arguments.head_learning_rate, arguments.layer_decay)
    logger.info("%s", trainable_table(model, parameter_groups(model, *own)))
    name = "-".join([recipe.name, *folder.place, str(arguments.seed)])
    with contextlib.ExitStack() as during:
        if loss.contrastive:
            during.callback(loss.contrastive.listen(model.classifier).remove)
        tracking = tracked(arguments.report_to, arguments.run_name or name, folder.log.parent, arguments.project)
        arguments.run_name = during.enter_context(tracking)
        patience = recipe.training.early_stopping.patience
        _tell_oversampling(recipe, len(fold.split.rows["train"]), len(parts[0]))
        if balances(recipe, material):
            clips = part(material.dataset, fold.split.rows["train"], material.store)
            corpora = material.dataset["corpus"][:]
            logger.info("%s", balance_table(clips, parts[0], corpora, material.labels))
        return fit(
            *common,
            loss=loss,
            freezing=freezing,
            patience=patience,
            resume=resume,
            watch=watch and partial(watch, folder.place),
            changes=_changes(recipe, material, fold),
            cache=_cache(recipe, material, freezing),
        )


def _cache(recipe: Recipe, material: Material, freezing: Freezing) -> FrozenCache | None:
    """What is frozen of all folds is computed once, since their training and validation clips are mostly the same."""
    if not recipe.freeze.cache:
        return None
    others = []
    for fold in [*material.folds, *material.foil]:
        others.append(fixed_crops(part_of(recipe, material, fold, "train", learnt=True), material.store))
        others.append(part_of(recipe, material, fold, "validation"))
    return FrozenCache(freezing, recipe.audio.cache_dir, others)


def _lora(recipe: Recipe) -> Lora | None:
    return None if recipe.lora.rank is None else Lora(**dataclasses.asdict(recipe.lora))


def _labels(recipe: Recipe, material: Material, fold: Fold, learnt: Dataset) -> list[int]:
    """Labels of the training clips, each as often as an epoch meets it by its corpus and class; over-sampling, which
    no correction goes with, leaves them as they are."""
    if balances(recipe, material):
        return met_labels(learnt)
    return np.asarray(material.dataset["label"][:])[fold.split.rows["train"]].tolist()


def _loss(recipe: Recipe, material: Material, labels: list[int]) -> ClassificationLoss:
    """The recipe's loss, its weights and priors those of the training clips, whose `labels` these are."""
    asked = recipe.training.loss
    weights = None
    if asked.class_weights:
        weights = class_weights(asked.class_weights, labels, material.labels, asked.effective_number_beta)
    contrastive = None
    if asked.contrastive_weight:
        contrastive = SupervisedContrastive(asked.contrastive_weight, asked.contrastive_temperature)
    return ClassificationLoss(
        weights,
        asked.label_smoothing,
        asked.focal_gamma,
        asked.logit_adjustment,
        log_priors(labels, len(material.labels)) if asked.logit_adjustment else None,
        contrastive,
    )


def _changes(recipe: Recipe, material: Material, fold: Fold) -> Changes:
    """What is done to the clips that are learnt from. Babble is made of training clips alone."""
    augment, rate = recipe.augment, material.store.sampling_rate
    augmenter = mixing = None
    if augment.steps:
        rows = fold.split.rows["train"]
        augmenter = Augmenter(augment, rate, material.store, rows, recipe.audio.cache_dir)
    if augment.mixup.probability:
        mixing = Mixing(augment.mixup, len(material.labels), np.asarray(material.dataset["speaker"][:]))
    return Changes(augmenter, mixing, round((recipe.audio.fixed_duration or 0) * rate))


def _tell_idle_gain(recipe: Recipe, material: Material) -> None:
    """A gain alone is gone again where each clip is brought to unit variance."""
    augment = recipe.augment
    normalizes = getattr(material.plan.extractor, "do_normalize", False)
    if "gain" in augment.steps and normalizes and not augment.mixup.probability:
        logger.warning("augment.gain has no effect: the feature extractor brings every clip to unit variance")


def _tell_oversampling(recipe: Recipe, clips: int, entries: int) -> None:
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
