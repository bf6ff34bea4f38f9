"""The steps of a run, in order: corpus, split, model, waveforms, audit, training, judgement, card.

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
import time
from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import transformers
from datasets import Dataset

from .aggregate import over_folds, over_seeds, read_predictions
from .delivery import card, header, keep_recipe_and_report, save_model, save_report
from .environment import environment
from .errors import UserError
from .evaluation.metrics import classification_metrics, trainer_metrics
from .evaluation.report import judge, prediction_table
from .logs import recorded
from .material import Fold, Material, foil_protocol, gather
from .protocols import PARTS, fingerprint, save_splits
from .run_folder import RunFolder
from .sections import Recipe
from .training.arguments import EmotionTrainingArguments, training_arguments
from .training.batches import part
from .training.build import build_model
from .training.classical import fit_classical
from .training.contrastive import SupervisedContrastive
from .training.layers import Freezing, freeze, trainable_table
from .training.lora import Lora, add_lora, plain_parameters
from .training.loss import ClassificationLoss, class_weights, log_priors
from .training.machine import seed_everything
from .training.optimizer import parameter_groups
from .training.rehearsal import rehearse
from .training.run import Fit, fit, predict
from .training.sharding import size, whole_model
from .training.tracking import tracked
from .training.windows import told
from .whole import whole_folder

logger = logging.getLogger(__name__)


def run(recipe: Recipe, resume: bool = False, overwrite: bool = False) -> dict[str, Any]:
    """Runs a recipe in its `output_dir` and returns the report."""
    with _quiet_libraries():
        return _run(recipe, resume, overwrite)


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """The libraries' bars for casting columns and writing shards would drown the few that tell how long it takes, and
    transformers' report of missing keys is checked, and told, by `training.loading`."""
    bars, verbosity = datasets.utils.logging.is_progress_bar_enabled(), transformers.utils.logging.get_verbosity()
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
        transformers.utils.logging.enable_progress_bar()
        if bars:
            datasets.enable_progress_bars()


def _run(recipe: Recipe, resume: bool, overwrite: bool) -> dict[str, Any]:
    folder = RunFolder(recipe.output_dir)
    # The first TrainingArguments start the process group, so it is asked for before anything is written.
    arguments = _arguments(recipe, folder, recipe.training.seeds[0])
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            folder.check(recipe.to_dict(), resume, overwrite)
    if resume and folder.complete:
        logger.info("%s is complete; its report stands", folder.path)
        return folder.read_report()

    with recorded() as write_log_to:
        material = gather(recipe)
        _rehearse(recipe, material, arguments)
        if material.plan.checkpoint is not None and not material.plan.random_init:
            # Files that are damaged, or another network's, show before a run that stands is replaced.
            build_model(copy.deepcopy(material.plan))
        with arguments.main_process_first(local=False):
            if arguments.process_index == 0:
                folder.check(recipe.to_dict(), resume, overwrite)  # another run may have taken it meanwhile
                folder.open(_with_provenance(recipe), resume)
                _keep_splits(material.folds, folder)
                write_log_to(folder.log)
        foil = None
        if material.foil:
            leaky = foil_protocol(recipe.protocol, material.folds[0].split)
            own = dataclasses.replace(recipe, protocol=leaky, output_dir=str(folder.path / "foil"))
            foil = _run_child(own, material, material.foil, folder.child("foil"), resume)
        return _run_folds(recipe, material, material.folds, folder, resume, foil)


def _arguments(recipe: Recipe, folder: RunFolder, seed: int, padding_safe: bool = True) -> EmotionTrainingArguments:
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


def _rehearse(recipe: Recipe, material: Material, arguments: EmotionTrainingArguments) -> None:
    """What only the clips and the network can say of a recipe, before the first file is written."""
    for fold in [*material.folds, *material.foil]:
        labels = np.asarray(material.dataset["label"][:])[fold.split.rows["train"]]
        _loss(recipe, material, labels.tolist())
        if recipe.training.loss.soft_labels:
            _part(recipe, material, fold, "train", learnt=True)
        if recipe.training.solver == "trainer":
            freezing = Freezing(**recipe.freeze.freezing)
            rehearse(material.plan, arguments, len(labels), freezing, _lora(recipe))


def _with_provenance(recipe: Recipe) -> dict[str, Any]:
    made_with = environment()
    provenance = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": made_with["versions"],
        "git_revision": made_with["git_revision"],
    }
    return dataclasses.replace(recipe, provenance=provenance).to_dict()


def _keep_splits(folds: list[Fold], folder: RunFolder) -> None:
    _require_same_splits(folds, folder)
    splits, audits = [fold.split for fold in folds], [fold.audit for fold in folds]
    save_splits(splits, audits, folder.split, clips=[fold.clips for fold in folds])


def _require_same_splits(folds: list[Fold], folder: RunFolder) -> None:
    """A resumed run goes on with the clips it began with, or not at all."""
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


def _run_folds(
    recipe: Recipe, material: Material, folds: list[Fold], folder: RunFolder, resume: bool, foil: dict | None = None
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
        return _run_one(recipe, material, folds[0], folder, resume, foil)
    reports = {}
    for number, (own, own_folds) in numbered.items():
        child = folder.child(f"{kind}-{number}")
        logger.info("%s %d", kind, number)
        own = dataclasses.replace(own, output_dir=str(child.path))
        reports[number] = _run_child(own, material, own_folds, child, resume)
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
    recipe: Recipe, material: Material, folds: list[Fold], folder: RunFolder, resume: bool
) -> dict[str, Any]:
    """A run below another's folder: taken as it stands where it is complete, run otherwise."""
    if folder.complete:
        _require_same_splits(folds, folder)
        return folder.read_report()
    with _first(recipe, folder) as first:
        if first:
            folder.open(_with_provenance(recipe), resume)
            _keep_splits(folds, folder)
    return _run_folds(recipe, material, folds, folder, resume)


@contextlib.contextmanager
def _first(recipe: Recipe, folder: RunFolder) -> Iterator[bool]:
    """Whether this process is the one that writes; the others wait until it has."""
    arguments = _arguments(recipe, folder, recipe.training.seeds[0])
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
    source, own = folder.child(f"{kind}-{chosen}"), reports[chosen]
    if "chosen_seed" in own:  # the card's figures are those of its weights, not of the mean over a fold's seeds
        chosen = f"{chosen}, seed {own['chosen_seed']}"
        own = source.child(f"seed-{own['chosen_seed']}").read_report()
    over = {"kind": kind, "chosen": chosen, "runs": {n: child["metrics"] for n, child in reports.items()}}
    over |= {key: report[key] for key in ("metrics", "deviations", "intervals")}
    described = own | {"over": over, "pooled": report.get("pooled"), "foil": report["foil"]}
    with whole_folder(folder.model) as partial:
        shutil.copytree(source.model, partial, dirs_exist_ok=True)
        card(recipe, material, described, folder).save(partial / "README.md")
        keep_recipe_and_report(recipe, report, partial)
    predictions = read_predictions(folder, kind, list(reports))
    save_report(report, material.dataset, _shown_rows(folds, recipe.evaluation.part), predictions, folder)


def _shown_rows(folds: list[Fold], judged_on: str) -> dict[str, list[int]]:
    """The rows of each part, or of each fold's judged part, for the picture of the classes."""
    if len(folds) == 1:
        return folds[0].split.rows
    return {f"fold {fold.number}": fold.split.rows[judged_on] for fold in folds}


def _run_one(
    recipe: Recipe, material: Material, fold: Fold, folder: RunFolder, resume: bool, foil: dict | None
) -> dict[str, Any]:
    """Trains with one seed, judges the checkpoint that validation prefers, writes model/ and report/."""
    seed = recipe.training.seeds[0]
    arguments = _arguments(recipe, folder, seed, material.plan.padding_safe)
    fitted = _train(recipe, material, fold, folder, arguments, resume)
    report, predicted = _judge(recipe, material, fold, fitted, folder, foil)
    model = whole_model(fitted.trainer)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            save_model(recipe, material, model, report, folder)
            judged = {name: own for name, own in predicted.items() if name != "train"}
            save_report(report, material.dataset, fold.split.rows, prediction_table(material.dataset, judged), folder)
    return report


def _train(
    recipe: Recipe,
    material: Material,
    fold: Fold,
    folder: RunFolder,
    arguments: EmotionTrainingArguments,
    resume: bool,
) -> Fit:
    seed_everything(arguments.seed, recipe.training.deterministic)
    model = build_model(copy.deepcopy(material.plan))
    freezing = Freezing(**recipe.freeze.freezing)
    freeze(model, freezing)
    lora = _lora(recipe)
    if lora is not None:
        model = add_lora(model, lora)
    labels = np.asarray(material.dataset["label"][:])[fold.split.rows["train"]]
    loss = _loss(recipe, material, labels.tolist())
    parts = [_part(recipe, material, fold, "train", learnt=True), _part(recipe, material, fold, "validation")]
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
        return fit(*common, loss=loss, freezing=freezing, patience=patience, resume=resume)


def _lora(recipe: Recipe) -> Lora | None:
    return None if recipe.lora.rank is None else Lora(**dataclasses.asdict(recipe.lora))


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
    votes if the recipe says so; all others are whole, in windows where they are too long."""
    rows, rate = fold.split.rows[name], material.store.sampling_rate
    if learnt and recipe.training.solver == "trainer":
        longest = material.plan.longest_clip
        limits = [recipe.audio.max_duration, longest and longest / rate]
        limit = min((seconds for seconds in limits if seconds), default=None)
        return part(material.dataset, rows, material.store, limit, recipe.training.loss.soft_labels)
    return part(material.dataset, rows, material.store, window=_window(recipe, material))


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
) -> tuple[dict[str, Any], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Predicts each part once; the test part enters here and nowhere else."""
    began = time.perf_counter()
    judged_on = recipe.evaluation.part
    asked = PARTS if judged_on == "test" else PARTS[:2]
    predicted = {name: predict(fitted.trainer, _part(recipe, material, fold, name)) for name in asked}
    labels = np.asarray(material.dataset["label"][:])
    parts = {
        name: classification_metrics(labels[rows], logits.argmax(axis=1), len(material.labels))
        for name, (rows, logits) in predicted.items()
        if name != "test"
    }
    rows, logits = predicted[judged_on]
    judgement = judge(material.dataset, rows, logits.argmax(axis=1), **recipe.evaluation.bootstrapping)
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
    report["warnings"] += fitted.notes + _told(recipe, material, _part(recipe, material, fold, judged_on))
    return report, predicted


def _training_facts(arguments: EmotionTrainingArguments) -> dict[str, Any]:
    """What the machine decided, where the recipe left it the choice."""
    asked = {"bf16": arguments.bf16, "fp16": arguments.fp16, "tf32": arguments.tf32}
    return {
        "precision": next((word for word, used in asked.items() if used), "fp32"),
        "clips_per_step": arguments.step_batch_size,
        "data_workers": arguments.dataloader_num_workers,
    }


def _validated(fitted: Fit, metric: str) -> float:
    """What validation says of the kept checkpoint, higher for better whatever the metric."""
    return -fitted.validated if metric == "loss" else fitted.validated
