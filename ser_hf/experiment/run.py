"""Runs a recipe: data, checks, a training for each fold and seed, evaluation, and their reports."""

import contextlib
import copy
import dataclasses
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from peft import PeftModel
from transformers import PreTrainedModel, TrainerCallback

from ..audio import prepare
from ..audio.augmentation import Augmenter
from ..evaluation.calibration import at_limit, fit_temperature, temperature_facts
from ..evaluation.metrics import (
    activated,
    all_metrics,
    compute_metrics,
    lower_is_better,
    softmax,
    transductive_note,
)
from ..evaluation.predictions import Predictions, of_rows, to_table
from ..evaluation.summary import ModelFacts, degenerate, evaluate_predictions
from ..evaluation.tasks import TASKS
from ..inference.classifier import load_classifier
from ..inference.reference import (
    LONGEST,
    chosen_clips,
    compute_logits,
    copy_reference,
    write_reference,
)
from ..loading.batches import TrainTransforms, merge
from ..loading.build import build_model, start_at
from ..models.preparation import Preparation
from ..protocols import PARTS, fingerprint, save_splits
from ..report.card import Runs
from ..report.report import Report, Robustness, read_report
from ..training.arguments import EmotionTrainingArguments, refitting, seed_everything
from ..training.callbacks import tracked
from ..training.checkpoints import full_model, size
from ..training.data import EpochSchedule, clips_by_corpus
from ..training.feature_cache import FeatureCaching, fixed_crops
from ..training.fit import Fit, Windows, dry_run, fit, window_logits
from ..training.freezing import freeze, trainable_table
from ..training.lora import add_lora, plain_parameters
from ..training.loss import LOSSES, Loss
from ..training.mixup import Mixing
from ..training.optimizer import parameter_groups
from ..training.sklearn_solver import embed, fit_classical, logits_of
from ..utils.environment import quiet_libraries, recorded
from ..utils.errors import UserError
from ..utils.files import atomic_folder, read_json
from ..utils.run_folder import RunFolder
from .context import RunContext, Watch, arguments_for
from .data import foil_protocol, load_experiment_data
from .evaluate import MAPPINGS, robustness_of
from .outputs import (
    aggregate,
    read_predictions,
    report_header,
    save_card,
    save_report,
    save_weights,
)
from .recipe import Recipe

logger = logging.getLogger(__name__)


def run(
    recipe: Recipe,
    resume: bool = False,
    overwrite: bool = False,
    watch: Watch | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Report:
    """Run a recipe in its `output_dir`, one training per fold and seed; see `ser_hf.run_recipe`."""
    folder = RunFolder(recipe.output_dir)
    settings = (recipe.to_dict(), resume, overwrite)
    with quiet_libraries(), recorded() as write_log_to, contextlib.ExitStack() as holding:
        # The first TrainingArguments start the process group, so they come before anything is
        # written.
        arguments = arguments_for(recipe, folder)
        with arguments.main_process_first(local=False):
            if arguments.process_index == 0:
                folder.check(*settings)
        if resume and folder.complete:
            logger.info("%s is complete; its report is used", folder.path)
            return read_report(folder.report / "report.json")
        if arguments.process_index == 0 and folder.recipe.is_file():
            with folder.taken(*settings):  # a folder in use is refused before the data are read
                pass
        data = load_experiment_data(recipe)
        # the choice of `auto`
        audio = dataclasses.replace(recipe.audio, level=data.plan.preparation.level)
        model = dataclasses.replace(recipe.model, revision=data.plan.revision)  # the commit
        recipe = dataclasses.replace(recipe, audio=audio, model=model)
        settings = (recipe.to_dict(), resume, overwrite)
        context = RunContext(
            recipe, data, data.folds, folder, resume, watch=watch, callbacks=callbacks
        )
        check_runs(context, arguments)
        if data.plan.checkpoint is not None and not data.plan.random_init:
            # damaged files raise before an earlier run is replaced
            build_model(copy.deepcopy(data.plan))
        with context.main_process_first() as main:
            if main:
                holding.enter_context(folder.taken(*settings))
                _open(context)
                write_log_to(folder.log)
                if recipe.evaluation.part == "test":
                    logger.info(
                        "the test split is scored once; choose settings with evaluation.part=validation"
                    )
        if data.foil:
            leaky = foil_protocol(recipe.protocol, data.folds[0].split)
            foil = context.child(
                "foil", dataclasses.replace(recipe, protocol=leaky), data.foil, None
            )
            context = dataclasses.replace(context, foil=_run_child(foil))
        return _run_folds(context)


def check_runs(run: RunContext, arguments: EmotionTrainingArguments) -> None:
    """Check what depends on clips and network, before the first file is written."""
    recipe = run.recipe
    data = run.data
    if recipe.evaluation.per_speaker and None in data.dataset["speaker"][:]:
        raise UserError(
            "evaluation.per_speaker: some clips have no known speaker; leave it out, or exclude them"
        )
    for fold in [*data.folds, *data.foil]:
        own = dataclasses.replace(run, folds=[fold])
        clips = own.train_clips()
        make_loss(recipe, data.labels, own.train_labels(clips))
        if recipe.training.solver == "trainer":
            make_transforms(own)
            dry_run(
                data.plan,
                arguments,
                len(EpochSchedule(clips)),
                own.freezing,
                own.lora,
                recipe.freeze.cache,
            )


def _open(run: RunContext) -> None:
    """Write recipe.yaml and split.json; a resumed run must have the clips that it began with."""
    run.folder.open(run.resolved_recipe(), run.resume)
    _require_same_clips(run)
    splits = [fold.split for fold in run.folds]
    audits = [fold.audit for fold in run.folds]
    save_splits(splits, audits, run.folder.split, [fold.clips for fold in run.folds])


def _require_same_clips(run: RunContext) -> None:
    if not run.folder.split.is_file():
        return
    now = {
        "sha256": fingerprint([fold.split for fold in run.folds]),
        "clips": [fold.clips for fold in run.folds],
    }
    saved = read_json(run.folder.split)
    if not isinstance(saved, dict) or {key: saved.get(key) for key in now} != now:
        raise UserError(
            f"{run.folder.split}: the corpus, labels or split of this run have changed; use --overwrite"
        )


def _run_folds(run: RunContext) -> Report:
    """Run each fold in fold-N/ and each seed in seed-N/, then aggregate; a single run is in the
    folder itself.
    """
    recipe, folds, seeds = run.recipe, run.folds, run.recipe.training.seeds
    if len(folds) == len(seeds) == 1:
        return _run_one(run)
    kind = "fold" if len(folds) > 1 else "seed"
    # the foil is the whole run's
    protocol = dataclasses.replace(recipe.protocol, foil=None)
    reports = {}
    for number in [fold.number for fold in folds] if kind == "fold" else seeds:
        logger.info("%s %d", kind, number)
        if kind == "fold":
            own = dataclasses.replace(
                recipe, protocol=dataclasses.replace(protocol, folds=[number])
            )
        else:
            training = dataclasses.replace(recipe.training, seeds=[number])
            own = dataclasses.replace(recipe, protocol=protocol, training=training)
        own_folds = [fold for fold in folds if kind == "seed" or fold.number == number]
        reports[number] = _run_child(run.child(f"{kind}-{number}", own, own_folds, run.watch))
    table = read_predictions(run.folder, kind, list(reports))
    report = aggregate(run, reports, table)
    with run.main_process_first() as main:
        if main:
            _save_aggregate(run, report, reports, table)
    return report


def _run_child(run: RunContext) -> Report:
    """Run a fold, a seed or the foil in its own folder; a complete one is not run again."""
    if run.folder.complete:
        _require_same_clips(run)
        return read_report(run.folder.report / "report.json")
    with run.main_process_first() as main:
        if main:
            _open(run)
    return _run_folds(run)


def _save_aggregate(
    run: RunContext, report: Report, reports: Mapping[int, Report], table: pa.Table
) -> None:
    """model/ is that of the child with the best validation, its card describes all children;
    report/ is of all.
    """
    source = run.folder.child(report.chosen)
    number = report.chosen_seed if report.chosen_fold is None else report.chosen_fold
    own = reports[number]
    numbers = [number]
    # the card's figures are those of its weights, not the mean over a fold's seeds
    if own.chosen_seed is not None:
        numbers.append(own.chosen_seed)
        own = read_report(source.child(own.chosen).report / "report.json")
    with atomic_folder(run.folder.model) as folder:
        shutil.copytree(source.model, folder, dirs_exist_ok=True)
        save_card(run, report, folder, Runs(report, own, numbers))
    copy_reference(source.reference, run.folder.reference)
    save_report(run, report, {"predictions": table})


def _run_one(run: RunContext) -> Report:
    """Train with one seed, evaluate the checkpoint that validation selects, and write model/ and
    report/.
    """
    arguments = run.arguments()
    fitted = train(run, arguments)
    report, predictions = evaluate_run(run, fitted)
    model = full_model(fitted.trainer)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            return _save(run, model, report, predictions)
    return report


def _save(
    run: RunContext,
    model: PreTrainedModel | PeftModel,
    report: Report,
    by_split: Mapping[str, Predictions],
) -> Report:
    settings = run.recipe.evaluation
    predictions = by_split[settings.part]
    # Predictions of training clips are not saved: they measure nothing.
    tables = [to_table(name, own) for name, own in by_split.items() if name != "train"]
    files = {"predictions": pa.concat_tables(tables)}
    with atomic_folder(run.folder.model) as folder:
        save_weights(model, run.data.plan, report, folder)
        _save_reference(run, model)
        try:
            if settings.robustness:
                report = report.model_copy(
                    update={"robustness": _robustness(run, predictions, folder)}
                )
        except UserError as error:  # the trained model and its figures are still saved
            warning = f"evaluation.robustness failed: {error}"
            report = report.model_copy(update={"warnings": [*report.warnings, warning]})
        save_card(run, report, folder)
    save_report(run, report, files)
    return report


def train(run: RunContext, arguments: EmotionTrainingArguments) -> Fit:
    """Train on the train split; with `training.refit` once more, on train and validation."""
    selected = _fit(run, arguments)
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
    last = _fit(own, refitting(arguments, steps), planned)
    seconds = selected.seconds + last.seconds
    return dataclasses.replace(
        selected, trainer=last.trainer, seconds=seconds, held_out=held_out, refit=facts
    )


def _fit(
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


def evaluate_run(run: RunContext, fitted: Fit) -> tuple[Report, dict[str, Predictions]]:
    """Evaluate each split once; this is the only place that uses the test split (`per_speaker`: by
    two fits).

    Returns:
        The report, and the predictions of each split.
    """
    began = time.perf_counter()
    recipe = run.recipe
    data = run.data
    settings = recipe.evaluation
    solver = recipe.training.solver
    metric = recipe.training.early_stopping.metric
    outputs: dict[str, Windows] = {}
    for name in PARTS if settings.part == "test" else PARTS[:2]:
        held_out = fitted.held_out if name == "validation" else None
        outputs[name] = held_out or window_logits(fitted.trainer, run.clips(name))
    logits, temperature = _calibrated(run, outputs)
    predictions = {
        name: of_rows(data.dataset, rows, activated(own, run.task.problem_type))
        for name, (rows, own) in logits.items()
    }
    scores = evaluate_predictions(predictions[settings.part], **settings.bootstrapping)
    parts = {
        name: all_metrics(own.labels, own.probabilities[0], own.votes)
        for name, own in predictions.items()
        if name != "test"
    }
    # A refit model depends on the speakers of both splits, a single epoch is not selected, nor a
    # candidate by them.
    selected = solver == "trainer" and len(fitted.history) > 1 and fitted.refit is None
    selecting = run.fold.split.speakers["validation"] if selected else None
    score = parts["train"][run.task.main]
    known = (
        data.labels,
        scores.get("confusion"),
        score,
        selecting,
        temperature and temperature["value"],
    )
    facts = ModelFacts(*known)
    warnings = (
        degenerate(facts) + scores["warnings"] + data.notes + fitted.notes + run.window_notes()
    )
    fields = report_header(run, scores["metrics"]) | scores
    if settings.per_speaker:
        fields["transductive"] = _per_speaker_metrics(run, fitted.trainer.args)
        warnings.append(transductive_note(fields["transductive"]))
    fields["model"] |= {**_parameter_counts(fitted, solver), "solver": solver}
    fields |= {
        "warnings": warnings,
        "parts": parts,
        "temperature": temperature,
        "history": fitted.history,
        "selected_by": metric,
        "validated": -fitted.validated if lower_is_better(metric) else fitted.validated,
        "training": _training_facts(run, fitted),
        "seconds": {
            **data.seconds,
            "training": fitted.seconds,
            "per_epoch": float(np.median(fitted.epoch_seconds)) if fitted.epoch_seconds else None,
            "judgement": time.perf_counter() - began,
        },
    }
    return Report(**fields), predictions


def _per_speaker_metrics(
    run: RunContext, arguments: EmotionTrainingArguments
) -> dict[str, float | None]:
    """The report's `transductive`: of a second fit, on vectors standardized per speaker, which is
    not published.
    """
    logger.info("once more, standardized per speaker")
    data = run.data
    fitted = _fit(run, arguments, per_speaker=True)
    model = fitted.trainer.model
    collator = fitted.trainer.data_collator
    clips = run.clips(run.recipe.evaluation.part)
    vectors = embed(model, collator, clips, fitted.trainer.args, data.dataset["speaker"][:])
    rows, logits = merge(clips["row"][:], clips["length"][:], logits_of(model.classifier, vectors))
    predictions = of_rows(data.dataset, rows, softmax(logits))
    return all_metrics(predictions.labels, predictions.probabilities[0], predictions.votes)


def _calibrated(
    run: RunContext, outputs: Mapping[str, Windows]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, Any] | None]:
    """Rows and logits of each split as the published model gives them, and the report's
    `temperature`.
    """
    plain = {name: merge(*own, run.task.problem_type) for name, own in outputs.items()}
    setting = run.recipe.evaluation.temperature
    evaluated = run.recipe.evaluation.part
    if setting == "none" or run.task.problem_type:  # dimensions have no probabilities
        return plain, None
    labels = np.asarray(run.data.dataset["label"][:])
    rows, lengths, logits = outputs["validation"]
    value = fit_temperature(
        logits, labels[plain["validation"][0]], lambda own: merge(rows, lengths, own)[1]
    )
    stored = setting == "store" and not at_limit(value)
    scaled = {
        name: merge(own, samples, made / value) for name, (own, samples, made) in outputs.items()
    }
    test_rows, before = plain[evaluated]
    facts = temperature_facts(value, labels[test_rows], before, scaled[evaluated][1], stored)
    return (scaled if stored else plain), facts


def _parameter_counts(fitted: Fit, solver: str) -> dict[str, int]:
    model = fitted.trainer.model
    everything = list(plain_parameters(model))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if solver == "sklearn":
        # scikit-learn fits buffers of the classifier, not parameters.
        trained = list(model.classifier.state_dict().values())
        own = {id(parameter) for parameter in model.classifier.parameters()}
        everything = [parameter for parameter in everything if id(parameter) not in own] + trained
    return {"parameters": sum(map(size, everything)), "learning": sum(map(size, trained))}


def _training_facts(run: RunContext, fitted: Fit) -> dict[str, Any]:
    """The report's `training`."""
    arguments = fitted.trainer.args
    precisions = {"bf16": arguments.bf16, "fp16": arguments.fp16, "tf32": arguments.tf32}
    facts: dict[str, Any] = {
        "precision": next((name for name, used in precisions.items() if used), "fp32"),
        "clips_per_step": arguments.step_batch_size,
        "data_workers": arguments.dataloader_num_workers,
    }
    if run.recipe.training.solver == "trainer":
        facts["strategy"] = "full (every clip computed in each epoch)"
        if fitted.cached is not None:
            facts |= {"strategy": "fast (frozen parts cached)", "cache": fitted.cached}
    if run.resampled:
        per_epoch = clips_by_corpus(run.train_clips(), run.data.dataset["corpus"][:])
        facts |= {"balance": run.recipe.training.balance, "clips_per_epoch": per_epoch}
    if fitted.refit is not None:
        facts["refit"] = fitted.refit
    return facts


def _recordings(run: RunContext, rows: Sequence[int]) -> Sequence[np.ndarray]:
    """The clips of some rows before the run's preparation, whose result the store holds."""
    store = run.data.store
    if not run.data.plan.preparation.active:
        return [store[row] for row in rows]  # views, which take no memory
    dataset = run.data.dataset.select(rows)
    cache_dir = run.recipe.audio.cache_dir
    return prepare(dataset, store.sampling_rate, cache_dir, Preparation())[1]


def _robustness(run: RunContext, predictions: Predictions, model: Path) -> Robustness:
    """The report's `robustness` of the model saved in a folder, on the clips of the `predictions`."""
    classifier = load_classifier(model)
    settings = run.recipe.evaluation
    places = {clip: row for row, clip in enumerate(run.data.dataset["id"][:])}
    # predictions are sorted by length
    waveforms = _recordings(run, [places[clip] for clip in predictions.ids])
    mapping = MAPPINGS[run.recipe.task](*[classifier.labels] * 3)
    more = {"window": settings.window, **settings.bootstrapping}
    return Robustness(**robustness_of(classifier, mapping, predictions, waveforms, **more))


def _save_reference(run: RunContext, model: PreTrainedModel | PeftModel) -> None:
    """Write reference.npz: a few recordings of the evaluated split and the trained model's logits
    of them.
    """
    plan = run.data.plan
    store = run.data.store
    limit = round(LONGEST * store.sampling_rate)
    rows = [row for row in run.test_rows if len(store[row]) >= plan.shortest_clip] or run.test_rows
    chosen = [rows[i] for i in chosen_clips(store.source_lengths[rows], limit)]
    recordings = _recordings(run, chosen)
    clips = [np.array(recordings[i][:limit]) for i in range(len(chosen))]
    clips = [np.pad(clip, (0, max(0, plan.shortest_clip - len(clip)))) for clip in clips]
    logits = compute_logits(model, plan.extractor, plan.preparation, clips)
    write_reference(run.folder.reference, clips, logits, store.sampling_rate)
