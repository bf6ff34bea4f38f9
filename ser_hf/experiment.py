"""The steps of a run, in order: corpus, split, model, waveforms, audit, training, judgement, card.

This module and its callers know the recipe; the rooms it leads through take plain values.
"""

import contextlib
import copy
import dataclasses
import datetime
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

from .audio import WaveformStore, prepare
from .corpora import CORPORA, load_corpus
from .environment import environment
from .evaluation.metrics import classification_metrics, trainer_metrics
from .evaluation.report import judge, write_predictions, write_report
from .hub.card import model_card
from .logs import recorded
from .models import ARCHITECTURES
from .protocols import PARTS, PROTOCOLS, Split, audit, save_split
from .recipe import Recipe
from .run_folder import RunFolder
from .training.arguments import training_arguments
from .training.batches import part
from .training.build import Blueprint, blueprint, build_model
from .training.layers import freeze, trainable_table
from .training.loss import balanced_weights
from .training.run import Fit, fit, predict

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Material:
    """What every seed of a run shares: prepared clips, their waveforms, the split with its audit, the model's plan."""

    dataset: Dataset
    store: WaveformStore
    split: Split
    audit: dict[str, Any]
    plan: Blueprint
    seconds: dict[str, float]

    @property
    def labels(self) -> list[str]:
        return self.dataset.features["label"].names


def run(recipe: Recipe, resume: bool = False, overwrite: bool = False) -> dict[str, Any]:
    """Runs a recipe in its `output_dir` and returns the report."""
    # The libraries' bars for casting columns and writing shards would drown the few that tell how long it takes.
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    # Its report of missing keys is checked, and told, by training.build.
    transformers.utils.logging.set_verbosity_error()
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
                folder.open(_with_provenance(recipe), resume)
                save_split(material.split, material.audit, folder.split)
                write_log_to(folder.log)
        if len(recipe.training.seeds) == 1:
            return _run_seed(recipe, material, folder, resume)
        return _run_seeds(recipe, material, folder, resume)


def gather(recipe: Recipe) -> Material:
    """Loads and splits the corpus, plans the model, prepares the waveforms, audits the split: cheap checks first."""
    corpus, audio, protocol, model = recipe.corpus, recipe.audio, recipe.protocol, recipe.model
    began = time.perf_counter()
    dataset = load_corpus(
        corpus.name,
        corpus.root,
        labels=corpus.labels,
        merge=corpus.merge,
        drop=corpus.drop,
        on_unknown=corpus.on_unknown,
        sampling_rate=audio.sampling_rate,
        **corpus.options,
    )
    split = PROTOCOLS[protocol.name](dataset, protocol.train, protocol.validation, protocol.test, protocol.seed)
    plan = blueprint(
        model.architecture,
        dataset.features["label"].names,
        sampling_rate=audio.sampling_rate,
        normalize=audio.normalize,
        checkpoint=model.checkpoint,
        random_init=model.random_init,
        weighted_layer_sum=model.weighted_layer_sum,
        options=model.options,
    )
    dataset, store = prepare(dataset, audio.sampling_rate, audio.cache_dir)
    audited = audit(split, dataset)
    logger.info("%s", split.table(dataset))
    if not plan.padding_safe:
        logger.info("padding changes the answers of %s: evaluated one clip at a time", plan.config.model_type)
    return Material(dataset, store, split, audited, plan, {"preparation": time.perf_counter() - began})


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


def _run_seed(recipe: Recipe, material: Material, folder: RunFolder, resume: bool) -> dict[str, Any]:
    """Trains with one seed, judges the checkpoint that validation prefers, writes model/ and report/."""
    seed = recipe.training.seeds[0]
    arguments = _arguments(recipe, folder, seed, material.plan.padding_safe)
    fitted = _train(recipe, material, arguments, seed, resume)
    report, predicted = _judge(recipe, material, fitted, folder)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            _save_model(recipe, material, fitted, report, folder)
            _save_report(material, report, predicted, folder)
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
    settings = {"bootstrap": recipe.evaluation.bootstrap, "confidence": recipe.evaluation.confidence}
    judgement = judge(material.dataset, rows, logits.argmax(axis=1), **settings)
    epochs = fitted.epoch_seconds
    report = {
        **_header(recipe, material, folder),
        **judgement,
        "parts": parts,
        "history": fitted.history,
        "selected_by": recipe.training.early_stopping.metric,
        "seconds": material.seconds
        | {
            "training": fitted.seconds,
            "per_epoch": float(np.mean(epochs)) if epochs else None,
            "judgement": time.perf_counter() - began,
        },
    }
    return report, predicted


def _header(recipe: Recipe, material: Material, folder: RunFolder) -> dict[str, Any]:
    """What a report says whatever was measured: which run, which protocol, which machine."""
    split = material.split
    return {
        "name": recipe.name,
        "judged_on": recipe.evaluation.part,
        "output_dir": str(folder.path),
        "labels": material.labels,
        "protocol": {
            "name": split.name,
            "sha256": split.sha256,
            "parts": {part: {"clips": len(split.ids[part]), "speakers": split.speakers[part]} for part in PARTS},
        },
        "audit": material.audit,
        "model": {
            "architecture": recipe.model.architecture,
            "model_type": material.plan.config.model_type,
            "checkpoint": material.plan.checkpoint,
            "remote_code": recipe.model.architecture in ARCHITECTURES,
            "padding_safe": material.plan.padding_safe,
        },
        "environment": environment(),
    }


def _save_model(recipe: Recipe, material: Material, fitted: Fit, report: dict[str, Any], folder: RunFolder) -> None:
    """The publishable folder: weights, configuration, code where it is ours, feature extractor, card."""
    model = fitted.trainer.accelerator.unwrap_model(fitted.trainer.model)
    report["model"]["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    with _whole_folder(folder.model) as partial:
        model.save_pretrained(partial)
        material.plan.extractor.save_pretrained(partial)
        _card(recipe, material, report, folder).save(partial / "README.md")


def _card(recipe: Recipe, material: Material, report: dict[str, Any], folder: RunFolder):
    module = CORPORA[recipe.corpus.name]
    plan = material.plan
    if plan.checkpoint is None:
        sentence = ARCHITECTURES[recipe.model.architecture].__module__
        sentence = sys.modules[sentence].__doc__.partition("\n")[0]
    else:
        start = "configuration only, random start" if plan.random_init else "fine-tuned"
        sentence = f"{plan.config.model_type} from {plan.checkpoint} ({start})."
    return model_card(
        report,
        corpus={
            "name": recipe.corpus.name,
            "title": module.TITLE,
            "license": module.LICENSE,
            "language": module.LANGUAGE,
            "url": module.URL,
            "citation": module.CITATION,
            "acted": module.ACTED,
        },
        location=folder.model.as_posix(),
        architecture=sentence,
        remote_code=report["model"]["remote_code"],
        sampling_rate=plan.extractor.sampling_rate,
        recipe=recipe.to_yaml(),
        base_model=None if plan.random_init else plan.checkpoint,
    )


def _save_report(material: Material, report: dict[str, Any], predicted: dict[str, Any], folder: RunFolder) -> None:
    with _whole_folder(folder.report) as partial:
        judged = {name: value for name, value in predicted.items() if name != "train"}
        write_predictions(partial / "predictions.parquet", material.dataset, judged)
        write_report(partial, report, material.dataset, material.split.rows)


def _run_seeds(recipe: Recipe, material: Material, folder: RunFolder, resume: bool) -> dict[str, Any]:
    """Runs each seed in seed-N/, then aggregates: mean and deviation, model/ from the seed that validation prefers."""
    reports: dict[int, dict[str, Any]] = {}
    for seed in recipe.training.seeds:
        child = folder.child(f"seed-{seed}")
        if child.complete:
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
                save_split(material.split, material.audit, child.split)
        reports[seed] = _run_seed(own, material, child, resume)
    report = _aggregate(recipe, material, folder, reports)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            chosen = report["chosen_seed"]
            with _whole_folder(folder.model) as partial:
                shutil.copytree(folder.child(f"seed-{chosen}").model, partial, dirs_exist_ok=True)
                described = reports[chosen] | {"seeds": report["seeds"], "seed_mean": report["metrics"]}
                _card(recipe, material, described, folder).save(partial / "README.md")
            with _whole_folder(folder.report) as partial:
                write_report(partial, report, material.dataset, material.split.rows)
    return report


def _aggregate(
    recipe: Recipe, material: Material, folder: RunFolder, reports: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """One report over several seeds: the metrics' mean, their deviation, intervals of the mean."""
    row_of = {id_: row for row, id_ in enumerate(material.dataset["id"])}
    class_of = {label: i for i, label in enumerate(material.labels)}
    judged_on = recipe.evaluation.part
    predictions = []
    for seed in reports:
        table = pq.read_table(folder.child(f"seed-{seed}").report / "predictions.parquet").to_pylist()
        clips = [clip for clip in table if clip["part"] == judged_on]
        judged = sorted((row_of[clip["id"]], class_of[clip["predicted"]]) for clip in clips)
        predictions.append([predicted for _, predicted in judged])
    rows = np.asarray([row for row, _ in judged])
    settings = {"bootstrap": recipe.evaluation.bootstrap, "confidence": recipe.evaluation.confidence}
    judgement = judge(material.dataset, rows, np.asarray(predictions), **settings)
    metric = recipe.training.early_stopping.metric

    def validated(seed: int) -> float:
        kept = [entry["validation"][metric] for entry in reports[seed]["history"] if "validation" in entry]
        return -min(kept) if metric == "loss" else max(kept)

    first = next(iter(reports.values()))
    return {
        **_header(recipe, material, folder),
        **judgement,
        "deviations": {
            name: float(np.std([report["metrics"][name] for report in reports.values()], ddof=1))
            for name in judgement["metrics"]
        },
        "parts": {
            part: {
                name: float(np.mean([report["parts"][part][name] for report in reports.values()]))
                for name in judgement["metrics"]
            }
            for part in first["parts"]
        },
        "seeds": {
            str(seed): {"metrics": report["metrics"], "validation": report["parts"]["validation"]}
            for seed, report in reports.items()
        },
        "chosen_seed": max(reports, key=validated),
        "selected_by": metric,
        "history": [],
        "seconds": material.seconds
        | {
            "training": sum(report["seconds"]["training"] for report in reports.values()),
            "per_epoch": float(np.mean([report["seconds"]["per_epoch"] or np.nan for report in reports.values()])),
        },
    }


@contextlib.contextmanager
def _whole_folder(folder) -> Iterator:
    """A folder that appears by a rename once it is filled; what stood in its place goes then, and not before."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
