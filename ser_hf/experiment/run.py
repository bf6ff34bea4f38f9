"""The steps of an experiment, in order: corpus, split, model, waveforms, audit, the runs, and what they say
together.

This module and its callers know the recipe; the packages it leads through take plain values.
"""

import contextlib
import copy
import dataclasses
import datetime
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from ..audio.augmentation import Augmenter
from ..evaluation.metrics import trainer_metrics
from ..evaluation.predictions import Judged, to_table
from ..evaluation.robustness import check_opus
from ..inference.reference import copy_reference
from ..protocols import fingerprint, save_splits
from ..report.card import Runs
from ..report.report import Report
from ..training.arguments import EmotionTrainingArguments, seed_everything, training_arguments
from ..training.balancing import Turns, balance_table, met_labels
from ..training.callbacks import measured_energy, tracked
from ..training.checkpoints import whole_model
from ..training.data import Changes, Mixing, part
from ..training.factory import build_model
from ..training.feature_cache import FrozenCache, fixed_crops
from ..training.fit import Fit, fit, rehearse
from ..training.freezing import Freezing, freeze, trainable_table
from ..training.lora import Lora, add_lora
from ..training.loss import ClassificationLoss, SupervisedContrastive, class_weights, log_priors
from ..training.optimizer import parameter_groups
from ..training.sklearn_solver import fit_classical
from ..utils.environment import environment
from ..utils.errors import UserError
from ..utils.files import whole_folder
from ..utils.logs import quiet_libraries, recorded
from ..utils.run_folder import RunFolder
from .aggregate import over_folds, over_seeds, read_predictions
from .data import Fold, Material, balances, foil_protocol, gather, part_of
from .outputs import card, keep_recipe_and_report, renew_told, save_model, save_report
from .recipe import Recipe
from .run_evaluation import extras, judge_run, keep_reference

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


def run(recipe: Recipe, resume: bool = False, overwrite: bool = False, watch: Watch | None = None) -> dict[str, Any]:
    """Runs a recipe in its `output_dir` and returns the report. What `watch` raises ends it, resumable as it is."""
    with quiet_libraries():
        return _run(recipe, resume, overwrite, watch)


def _run(recipe: Recipe, resume: bool, overwrite: bool, watch: Watch | None) -> dict[str, Any]:
    folder = RunFolder(recipe.output_dir)
    # The first TrainingArguments start the process group, so it is asked for before anything is written.
    arguments = arguments_for(recipe, folder, recipe.training.seeds[0])
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            folder.check(recipe.to_dict(), resume, overwrite)
    if resume and folder.complete:
        logger.info("%s is complete; its report stands", folder.path)
        return folder.read_report()

    with recorded() as write_log_to:
        material = gather(recipe)
        rehearse_all(recipe, material, arguments)
        if material.plan.checkpoint is not None and not material.plan.random_init:
            # Files that are damaged, or another network's, show before a run that stands is replaced.
            build_model(copy.deepcopy(material.plan))
        with arguments.main_process_first(local=False):
            if arguments.process_index == 0:
                folder.check(recipe.to_dict(), resume, overwrite)  # another run may have taken it meanwhile
                folder.open(_with_provenance(recipe), resume)
                _keep_splits(material, material.folds, folder)
                write_log_to(folder.log)
        foil = None
        if material.foil:
            leaky = foil_protocol(recipe.protocol, material.folds[0].split)
            own = dataclasses.replace(recipe, protocol=leaky, output_dir=str(folder.path / "foil"))
            foil = _run_child(own, material, material.foil, folder.child("foil"), resume, None)
        return _run_folds(recipe, material, material.folds, folder, resume, foil, watch)


def _with_provenance(recipe: Recipe) -> dict[str, Any]:
    made_with = environment()
    provenance = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": made_with["versions"],
        "git_revision": made_with["git_revision"],
    }
    return dataclasses.replace(recipe, provenance=provenance).to_dict()


def _keep_splits(material: Material, folds: list[Fold], folder: RunFolder) -> None:
    _require_same_clips(material, folds, folder)
    splits, audits = [fold.split for fold in folds], [fold.audit for fold in folds]
    save_splits(splits, audits, folder.split, [fold.clips for fold in folds], material.recordings)


def _require_same_clips(material: Material, folds: list[Fold], folder: RunFolder) -> None:
    """A resumed run goes on with the clips it began with, its own and those of augmentation, or not at all."""
    if not folder.split.is_file():
        return
    try:
        began_with = json.loads(folder.split.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{folder.split}: damaged, no JSON; start anew with --overwrite") from None
    same_clips = began_with.get("clips") == [fold.clips for fold in folds]
    if began_with["sha256"] != fingerprint([fold.split for fold in folds]) or not same_clips:
        raise UserError(
            f"{folder.split}: the corpus, its labels or its split have changed since this run began; start anew with "
            "--overwrite"
        )
    for key, now in material.recordings.items():
        then = began_with.get("recordings", {}).get(key, now)  # older runs kept nothing of them
        if now != then:
            raise UserError(
                f"{key}: the recordings there have changed since this run began ({then['clips']} then, {now['clips']} "
                "now); put back what was there, or start anew with --overwrite"
            )


def _run_folds(
    recipe: Recipe,
    material: Material,
    folds: list[Fold],
    folder: RunFolder,
    resume: bool,
    foil: dict | None,
    watch: Watch | None,
) -> dict[str, Any]:
    """Runs each fold in fold-N/ and each seed in seed-N/ below it, then aggregates upwards; one fold with one seed
    stands in the folder itself."""
    numbered: dict[int, tuple[Recipe, list[Fold]]]
    if len(folds) > 1:
        kind, aggregate = "fold", over_folds
        numbered = {fold.number: (_only(recipe, fold), [fold]) for fold in folds}
    elif len(recipe.training.seeds) > 1:
        kind, aggregate = "seed", over_seeds
        seeds = recipe.training.seeds
        numbered = {seed: (_with_seed(recipe, seed), folds) for seed in seeds}
    else:
        return run_one(recipe, material, folds[0], folder, resume, foil, watch)
    reports = {}
    for number, (own, own_folds) in numbered.items():
        child = folder.child(f"{kind}-{number}")
        logger.info("%s %d", kind, number)
        own = dataclasses.replace(own, output_dir=str(child.path))
        reports[number] = _run_child(own, material, own_folds, child, resume, watch)
    report = aggregate(recipe, material, folds if kind == "fold" else folds[0], folder, reports, foil)
    with _first(recipe, folder) as first:
        if first:
            _deliver(recipe, material, folds, folder, reports, report, kind)
    return report


def _only(recipe: Recipe, fold: Fold) -> Recipe:
    return dataclasses.replace(recipe, protocol=dataclasses.replace(recipe.protocol, folds=[fold.number], foil=None))


def _with_seed(recipe: Recipe, seed: int) -> Recipe:
    training = dataclasses.replace(recipe.training, seeds=[seed])
    return dataclasses.replace(recipe, protocol=dataclasses.replace(recipe.protocol, foil=None), training=training)


def _run_child(
    recipe: Recipe, material: Material, folds: list[Fold], folder: RunFolder, resume: bool, watch: Watch | None
) -> dict[str, Any]:
    """A run below another's folder: taken as it stands where it is complete, run otherwise."""
    if folder.complete:
        _require_same_clips(material, folds, folder)
        return folder.read_report()
    with _first(recipe, folder) as first:
        if first:
            folder.open(_with_provenance(recipe), resume)
            _keep_splits(material, folds, folder)
    return _run_folds(recipe, material, folds, folder, resume, None, watch)


@contextlib.contextmanager
def _first(recipe: Recipe, folder: RunFolder) -> Iterator[bool]:
    """Whether this process is the one that writes; the others wait until it has."""
    arguments = arguments_for(recipe, folder, recipe.training.seeds[0])
    with arguments.main_process_first(local=False):
        yield arguments.process_index == 0


def _deliver(
    recipe: Recipe,
    material: Material,
    folds: list[Fold],
    folder: RunFolder,
    reports: dict[int, dict[str, Any]],
    report: dict[str, Any],
    kind: str,
) -> None:
    """model/ is the run's that validation prefers, its card tells of them all; report/ is the aggregate."""
    chosen = report[f"chosen_{kind}"]
    source, own, numbers = folder.child(f"{kind}-{chosen}"), reports[chosen], [chosen]
    if "chosen_seed" in own:  # the card's figures are those of its weights, not of the mean over a fold's seeds
        numbers.append(own["chosen_seed"])
        own = source.child(f"seed-{own['chosen_seed']}").read_report()
    runs = Runs(Report.from_dict(report), Report.from_dict(own), numbers)
    with whole_folder(folder.model) as partial:
        shutil.copytree(source.model, partial, dirs_exist_ok=True)
        card(recipe, runs, folder).save(partial / "README.md")
        keep_recipe_and_report(recipe, report, partial)
    copy_reference(source.reference, folder.reference)
    tables = {"predictions": read_predictions(folder, kind, list(reports))}
    save_report(recipe, report, material.dataset, _shown_rows(folds, recipe.evaluation.part), tables, folder)


def _shown_rows(folds: list[Fold], judged_on: str) -> dict[str, list[int]]:
    """The rows of each part, or of each fold's judged part, for the picture of the classes."""
    if len(folds) == 1:
        return folds[0].split.rows
    return {f"fold {fold.number}": fold.split.rows[judged_on] for fold in folds}
