"""A run of one fold with one seed: trains, judges the checkpoint that validation prefers, writes model/, report/."""

import contextlib
import copy
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from .audio.augmenting import Augmenter
from .delivery import header, save_model, save_report
from .evaluation.calibration import at_limit, fit_temperature, temperature_facts, temperature_warning
from .evaluation.judged import Judged, of_rows, to_table
from .evaluation.metrics import all_metrics, trainer_metrics
from .evaluation.report import judge, softmax
from .material import Fold, Material
from .protocols import PARTS
from .run_folder import RunFolder
from .sections import Recipe
from .training.arguments import EmotionTrainingArguments, training_arguments
from .training.balancing import Turns, balance_table, balanced, met_by_corpus, met_labels, oversampled
from .training.batches import Changes, part
from .training.build import build_model
from .training.classical import fit_classical
from .training.contrastive import SupervisedContrastive
from .training.frozen import FrozenCache, fixed_crops
from .training.layers import Freezing, freeze, trainable_table
from .training.lora import Lora, add_lora, plain_parameters
from .training.loss import ClassificationLoss, class_weights, log_priors
from .training.machine import seed_everything
from .training.mixing import Mixing
from .training.optimizer import parameter_groups
from .training.rehearsal import rehearse
from .training.run import Fit, fit, window_logits
from .training.sharding import size, whole_model
from .training.tracking import tracked
from .training.windows import merge, told

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
    for fold in [*material.folds, *material.foil]:
        learnt = _part(recipe, material, fold, "train", learnt=True)
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
    fitted = _train(recipe, material, fold, folder, arguments, resume, watch)
    report, predicted = _judge(recipe, material, fold, fitted, folder, foil)
    model = whole_model(fitted.trainer)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            save_model(recipe, material, model, report, folder)
            told = [to_table(name, own) for name, own in predicted.items() if name != "train"]
            save_report(recipe, report, material.dataset, fold.split.rows, pa.concat_tables(told), folder)
    return report


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
    parts = [_part(recipe, material, fold, "train", learnt=True), _part(recipe, material, fold, "validation")]
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
        if _balances(recipe, material):
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
        others.append(fixed_crops(_part(recipe, material, fold, "train", learnt=True), material.store))
        others.append(_part(recipe, material, fold, "validation"))
    return FrozenCache(freezing, recipe.audio.cache_dir, others)


def _lora(recipe: Recipe) -> Lora | None:
    return None if recipe.lora.rank is None else Lora(**dataclasses.asdict(recipe.lora))


def _labels(recipe: Recipe, material: Material, fold: Fold, learnt: Dataset) -> list[int]:
    """Labels of the training clips, each as often as an epoch meets it by its corpus and class; over-sampling, which
    no correction goes with, leaves them as they are."""
    if _balances(recipe, material):
        return met_labels(learnt)
    return np.asarray(material.dataset["label"][:])[fold.split.rows["train"]].tolist()


def _balances(recipe: Recipe, material: Material) -> bool:
    """Whether an epoch meets some clips more often than others by the weights of corpora, or `training.balance`."""
    return recipe.training.balance is not None or any(weight != 1 for weight in material.weights.values())


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


def _part(recipe: Recipe, material: Material, fold: Fold, name: str, learnt: bool = False) -> Dataset:
    """The clips of a part. Those that the Trainer learns from are cropped where they are too long, and labelled by
    votes, over-sampled and balanced if the recipe says so; all others are whole, in windows if they are too long."""
    rows, rate = fold.split.rows[name], material.store.sampling_rate
    if learnt and recipe.training.solver == "trainer":
        longest = material.plan.longest_clip
        limits = [recipe.audio.max_duration, longest and longest / rate]
        limit = min((seconds for seconds in limits if seconds), default=None)
        clips = part(material.dataset, rows, material.store, limit, recipe.training.loss.soft_labels)
        seed = recipe.training.seeds[0]
        if _balances(recipe, material):
            corpora, speakers = material.dataset["corpus"][:], material.dataset["speaker"][:]
            return balanced(clips, corpora, speakers, material.weights, recipe.training.balance, seed)
        return oversampled(clips, seed) if recipe.augment.oversample else clips
    return part(material.dataset, rows, material.store, window=_window(recipe, material))


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


def _window(recipe: Recipe, material: Material) -> int | None:
    """Samples of the longest piece that is judged at once: the recipe's, or what the model can take."""
    asked = recipe.evaluation.window and round(recipe.evaluation.window * material.store.sampling_rate)
    return min((samples for samples in (asked, material.plan.longest_clip) if samples), default=None)


def _told(recipe: Recipe, material: Material, judged: Dataset) -> list[str]:
    """What was done to clips of the judged part that the model cannot take as they are."""
    plan, rate = material.plan, material.store.sampling_rate
    limits = _window(recipe, material), plan.longest_clip, plan.shortest_clip
    return [f"{sentence}." for sentence in told(recipe.evaluation.part, judged, rate, *limits)]


def _judge(
    recipe: Recipe, material: Material, fold: Fold, fitted: Fit, folder: RunFolder, foil: dict | None
) -> tuple[dict[str, Any], dict[str, Judged]]:
    """Predicts each part once; the test part enters here and nowhere else."""
    began = time.perf_counter()
    judged_on = recipe.evaluation.part
    asked = PARTS if judged_on == "test" else PARTS[:2]
    heard = {name: window_logits(fitted.trainer, _part(recipe, material, fold, name)) for name in asked}
    answered, temperature = _calibrated(recipe, material, heard)
    predicted = {name: of_rows(material.dataset, rows, softmax(logits)) for name, (rows, logits) in answered.items()}
    parts = {
        name: all_metrics(own.labels, own.probabilities[0], own.votes)
        for name, own in predicted.items()
        if name != "test"
    }
    judgement = judge(predicted[judged_on], **recipe.evaluation.bootstrapping)
    epochs = fitted.epoch_seconds
    model = fitted.trainer.model
    everything = list(plain_parameters(model))
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.training.solver == "sklearn":
        # What scikit-learn has fitted are no parameters of torch's, yet numbers that were learnt.
        learning = list(model.classifier.state_dict().values())
        own = {id(parameter) for parameter in model.classifier.parameters()}
        everything = [parameter for parameter in everything if id(parameter) not in own] + learning
    report = {
        **header(recipe, material, [fold], folder, judgement["metrics"], foil),
        **judgement,
        "parts": parts,
        "temperature": temperature,
        "history": fitted.history,
        "selected_by": recipe.training.early_stopping.metric,
        "validated": _validated(fitted, recipe.training.early_stopping.metric),
        "seconds": material.seconds
        | {
            "training": fitted.seconds,
            "per_epoch": float(np.median(epochs)) if epochs else None,
            "judgement": time.perf_counter() - began,
        },
    }
    report["model"] |= {
        "parameters": sum(map(size, everything)),
        "learning": sum(map(size, learning)),
        "solver": recipe.training.solver,
    }
    report["training"] = _training_facts(fitted.trainer.args)
    if recipe.training.solver == "trainer":
        report["training"] |= _strategy(fitted)
    if _balances(recipe, material):
        learnt = _part(recipe, material, fold, "train", learnt=True)
        met = met_by_corpus(learnt, material.dataset["corpus"][:])
        report["training"] |= {"balance": recipe.training.balance, "clips_per_epoch": met}
    report["warnings"] += (
        material.notes + fitted.notes + _told(recipe, material, _part(recipe, material, fold, judged_on))
    )
    if temperature and at_limit(temperature["value"]):
        asked = recipe.evaluation.temperature == "store"
        report["warnings"].append(temperature_warning(temperature["value"], asked))
    return report, predicted


def _calibrated(
    recipe: Recipe, material: Material, heard: Mapping[str, tuple[Sequence[int], Sequence[int], np.ndarray]]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, Any] | None]:
    """Rows and logits of each part as the published model answers them, and what is to be told of the temperature
    that validation asks for."""
    plain = {name: merge(*own) for name, own in heard.items()}
    asked, judged_on = recipe.evaluation.temperature, recipe.evaluation.part
    if asked == "none":
        return plain, None
    labels = np.asarray(material.dataset["label"][:])
    rows, lengths, logits = heard["validation"]
    value = fit_temperature(logits, labels[plain["validation"][0]], lambda own: merge(rows, lengths, own)[1])
    stored = asked == "store" and not at_limit(value)
    tempered = {name: merge(own, samples, made / value) for name, (own, samples, made) in heard.items()}
    judged, before = plain[judged_on]
    facts = temperature_facts(value, labels[judged], before, tempered[judged_on][1], stored)
    return (tempered if stored else plain), facts


def _training_facts(arguments: EmotionTrainingArguments) -> dict[str, Any]:
    """What the machine decided, where the recipe left it the choice."""
    asked = {"bf16": arguments.bf16, "fp16": arguments.fp16, "tf32": arguments.tf32}
    return {
        "precision": next((word for word, used in asked.items() if used), "fp32"),
        "clips_per_step": arguments.step_batch_size,
        "data_workers": arguments.dataloader_num_workers,
    }


def _strategy(fitted: Fit) -> dict[str, Any]:
    """Whether what is frozen was computed once (the FAST strategy), how large that is, and how long it took here."""
    if fitted.cached is None:
        return {"strategy": "full (every clip computed in each epoch)"}
    return {"strategy": "fast (frozen parts cached)", "cache": fitted.cached}


def _validated(fitted: Fit, metric: str) -> float:
    """What validation says of the kept checkpoint, higher for better whatever the metric."""
    return -fitted.validated if metric == "loss" else fitted.validated
