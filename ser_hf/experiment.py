"""The steps of a run, in order: corpus, split, model, waveforms, audit, training, judgement, card.

This module and its callers know the recipe; the rooms it leads through take plain values.
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
import pyarrow.parquet as pq
import transformers
from datasets import Dataset
from transformers import TrainingArguments

from .delivery import card, header, save_model, save_report, whole_folder
from .environment import environment
from .errors import UserError
from .evaluation.metrics import classification_metrics, trainer_metrics
from .evaluation.report import judge, write_report
from .logs import recorded
from .material import Material, gather
from .protocols import PARTS, save_split
from .recipe import Recipe
from .run_folder import RunFolder
from .seeds import aggregate, read_predictions
from .training.arguments import training_arguments
from .training.batches import part
from .training.build import build_model
from .training.layers import freeze, trainable_table
from .training.loss import balanced_weights
from .training.run import Fit, fit, predict

logger = logging.getLogger(__name__)


def run(recipe: Recipe, resume: bool = False, overwrite: bool = False) -> dict[str, Any]:
    """Runs a recipe in its `output_dir` and returns the report."""
    with _quiet_libraries():
        return _run(recipe, resume, overwrite)


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """The libraries' bars for casting columns and writing shards would drown the few that tell how long it takes, and
    transformers' report of missing keys is checked, and told, by `training.build`."""
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
        with arguments.main_process_first(local=False):
            if arguments.process_index == 0:
                folder.check(recipe.to_dict(), resume, overwrite)  # another run may have taken it meanwhile
                folder.open(_with_provenance(recipe), resume)
                _keep_split(material, folder)
                write_log_to(folder.log)
        if len(recipe.training.seeds) == 1:
            return _run_one(recipe, material, folder, resume)
        return _run_seeds(recipe, material, folder, resume)


def _arguments(recipe: Recipe, folder: RunFolder, seed: int, padding_safe: bool = True) -> TrainingArguments:
    return training_arguments(
        recipe.training.arguments,
        folder.checkpoints,
        seed,
        metric=recipe.training.early_stopping.metric,
        padding_safe=padding_safe,
        progress=sys.stderr.isatty(),
    )


def _with_provenance(recipe: Recipe) -> dict[str, Any]:
    made_with = environment()
    provenance = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": made_with["versions"],
        "git_revision": made_with["git_revision"],
    }
    return dataclasses.replace(recipe, provenance=provenance).to_dict()


def _keep_split(material: Material, folder: RunFolder) -> None:
    _require_same_split(material, folder)
    save_split(material.split, material.audit, folder.split)


def _require_same_split(material: Material, folder: RunFolder) -> None:
    """A resumed run goes on with the clips it began with, or not at all."""
    if not folder.split.is_file():
        return
    if json.loads(folder.split.read_text(encoding="utf-8"))["sha256"] != material.split.sha256:
        raise UserError(f"{folder.split}: the corpus has changed since this run began; start anew with --overwrite")


def _run_one(recipe: Recipe, material: Material, folder: RunFolder, resume: bool) -> dict[str, Any]:
    """Trains with one seed, judges the checkpoint that validation prefers, writes model/ and report/."""
    seed = recipe.training.seeds[0]
    arguments = _arguments(recipe, folder, seed, material.plan.padding_safe)
    fitted = _train(recipe, material, arguments, seed, resume)
    report, predicted = _judge(recipe, material, fitted, folder)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            save_model(recipe, material, fitted, report, folder)
            save_report(material, report, predicted, folder)
    return report


def _train(recipe: Recipe, material: Material, arguments: TrainingArguments, seed: int, resume: bool) -> Fit:
    transformers.set_seed(seed)
    model = build_model(copy.deepcopy(material.plan))
    freeze(model, **dataclasses.asdict(recipe.freeze))
    logger.info("%s", trainable_table(model))
    labels = np.asarray(material.dataset["label"][:])[material.split.rows["train"]]
    weights = balanced_weights(labels, len(material.labels)) if recipe.training.class_weights else None
    return fit(
        model,
        material.plan.extractor,
        material.store,
        _part(recipe, material, "train", crop=True),
        _part(recipe, material, "validation"),
        arguments,
        trainer_metrics,
        class_weights=weights,
        head_learning_rate=recipe.training.head_learning_rate,
        patience=recipe.training.early_stopping.patience,
        resume=resume,
    )


def _part(recipe: Recipe, material: Material, name: str, crop: bool = False) -> Dataset:
    limit = recipe.audio.max_duration if crop else None
    return part(material.dataset, material.split.rows[name], material.store, limit)


def _judge(
    recipe: Recipe, material: Material, fitted: Fit, folder: RunFolder
) -> tuple[dict[str, Any], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Predicts each part once; the test part enters here and nowhere else."""
    began = time.perf_counter()
    judged_on = recipe.evaluation.part
    asked = PARTS if judged_on == "test" else PARTS[:2]
    predicted = {name: predict(fitted.trainer, _part(recipe, material, name)) for name in asked}
    labels = np.asarray(material.dataset["label"][:])
    parts = {
        name: classification_metrics(labels[rows], logits.argmax(axis=1), len(material.labels))
        for name, (rows, logits) in predicted.items()
        if name != "test"
    }
    rows, logits = predicted[judged_on]
    judgement = judge(material.dataset, rows, logits.argmax(axis=1), **recipe.evaluation.bootstrapping)
    epochs = fitted.epoch_seconds
    parameters = sum(parameter.numel() for parameter in fitted.trainer.model.parameters())
    report = {
        **header(recipe, material, folder),
        **judgement,
        "parts": parts,
        "history": fitted.history,
        "selected_by": recipe.training.early_stopping.metric,
        "seconds": material.seconds
        | {
            "training": fitted.seconds,
            "per_epoch": float(np.median(epochs)) if epochs else None,
            "judgement": time.perf_counter() - began,
        },
    }
    report["model"]["parameters"] = parameters
    return report, predicted


def _run_seeds(recipe: Recipe, material: Material, folder: RunFolder, resume: bool) -> dict[str, Any]:
    """Runs each seed in seed-N/, then aggregates: mean and deviation, model/ from the seed that validation prefers."""
    reports: dict[int, dict[str, Any]] = {}
    for seed in recipe.training.seeds:
        child = folder.child(f"seed-{seed}")
        if child.complete:
            _require_same_split(material, child)
            reports[seed] = child.read_report()
            continue
        own = dataclasses.replace(
            recipe,
            output_dir=str(child.path),
            training=dataclasses.replace(recipe.training, seeds=[seed]),
        )
        arguments = _arguments(own, child, seed)
        logger.info("seed %d", seed)
        with arguments.main_process_first(local=False):
            if arguments.process_index == 0:
                child.open(_with_provenance(own), resume)
                _keep_split(material, child)
        reports[seed] = _run_one(own, material, child, resume)
    report = aggregate(recipe, material, folder, reports)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            chosen = report["chosen_seed"]
            with whole_folder(folder.model) as partial:
                shutil.copytree(folder.child(f"seed-{chosen}").model, partial, dirs_exist_ok=True)
                over_seeds = {key: report[key] for key in ("seeds", "deviations")}
                described = reports[chosen] | over_seeds | {"means": report["metrics"], "chosen_seed": chosen}
                card(recipe, material, described, folder).save(partial / "README.md")
            with whole_folder(folder.report) as partial:
                pq.write_table(read_predictions(folder, reports), partial / "predictions.parquet")
                write_report(partial, report, material.dataset, material.split.rows)
    return report
