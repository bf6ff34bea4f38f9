"""Runs an experiment: data, checks, then a training for each fold and seed, and their reports together."""

import copy
import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping
from typing import Any

from ..evaluation.robustness import check_opus
from ..inference.reference import copy_reference
from ..protocols import fingerprint, save_splits
from ..report.card import Runs
from ..report.report import Report
from ..training.arguments import EmotionTrainingArguments
from ..training.data import EpochSchedule
from ..training.factory import build_model
from ..training.fit import dry_run
from ..utils.environment import quiet_libraries, recorded
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from ..utils.run_folder import RunFolder
from .aggregate import over_folds, over_seeds, read_predictions
from .context import RunContext, Watch, arguments_for
from .data import ExperimentData, Fold, foil_protocol, load_experiment_data
from .outputs import save_card, save_report
from .recipe import Recipe
from .single_run import make_loss, make_transforms, run_one

logger = logging.getLogger(__name__)


def run(recipe: Recipe, resume: bool = False, overwrite: bool = False, watch: Watch | None = None) -> dict[str, Any]:
    """Runs a recipe in its `output_dir` and returns the report. An exception of `watch` ends the run, which can be
    resumed."""
    with quiet_libraries():
        return _run(recipe, resume, overwrite, watch)


def _run(recipe: Recipe, resume: bool, overwrite: bool, watch: Watch | None) -> dict[str, Any]:
    folder = RunFolder(recipe.output_dir)
    # The first TrainingArguments start the process group, so they come before anything is written.
    arguments = arguments_for(recipe, folder)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            folder.check(recipe.to_dict(), resume, overwrite)
    if resume and folder.complete:
        logger.info("%s is complete; its report stands", folder.path)
        return folder.read_report()

    with recorded() as write_log_to:
        data = load_experiment_data(recipe)
        context = RunContext(recipe, data, data.folds, folder, resume, watch=watch)
        check_runs(context, arguments)
        if data.plan.checkpoint is not None and not data.plan.random_init:
            build_model(copy.deepcopy(data.plan))  # damaged files raise before an earlier run is replaced
        with arguments.main_process_first(local=False):
            if arguments.process_index == 0:
                folder.check(recipe.to_dict(), resume, overwrite)  # another run may have started there meanwhile
                _open(context)
                write_log_to(folder.log)
        if data.foil:
            leaky = foil_protocol(recipe.protocol, data.folds[0].split)
            foil = context.child("foil", dataclasses.replace(recipe, protocol=leaky), data.foil, None)
            context = dataclasses.replace(context, foil=_run_child(foil))
        return _run_folds(context)


def check_runs(context: RunContext, arguments: EmotionTrainingArguments) -> None:
    """Checks what depends on clips and network, before the first file is written."""
    recipe, data = context.recipe, context.data
    normalizes = getattr(data.plan.extractor, "do_normalize", False)
    if "gain" in recipe.augment.steps and normalizes and not recipe.augment.mixup.probability:
        logger.warning("augment.gain has no effect: the feature extractor brings every clip to unit variance")
    if recipe.evaluation.robustness:
        check_opus()
    for fold in [*data.folds, *data.foil]:
        own = dataclasses.replace(context, folds=[fold])
        clips = own.train_clips()
        make_loss(recipe, data.labels, own.train_labels(clips))
        if recipe.training.solver == "trainer":
            make_transforms(own)
            dry_run(data.plan, arguments, len(EpochSchedule(clips)), own.freezing, own.lora, recipe.freeze.cache)


def _open(context: RunContext) -> None:
    context.folder.open(context.resolved_recipe(), context.resume)
    save_run_splits(context.data, context.folds, context.folder)


def save_run_splits(data: ExperimentData, folds: list[Fold], folder: RunFolder) -> None:
    """Writes split.json; a resumed run must have the clips that it began with."""
    _require_same_clips(data, folds, folder)
    splits, audits = [fold.split for fold in folds], [fold.audit for fold in folds]
    save_splits(splits, audits, folder.split, [fold.clips for fold in folds], data.recordings)


def _require_same_clips(data: ExperimentData, folds: list[Fold], folder: RunFolder) -> None:
    if not folder.split.is_file():
        return
    try:
        saved = json.loads(folder.split.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{folder.split}: damaged, no JSON; start anew with --overwrite") from None
    same_clips = saved.get("clips") == [fold.clips for fold in folds]
    if saved["sha256"] != fingerprint([fold.split for fold in folds]) or not same_clips:
        raise UserError(
            f"{folder.split}: the corpus, its labels or its split have changed since this run began; start anew with "
            "--overwrite"
        )
    for key, now in data.recordings.items():
        then = saved["recordings"][key]
        if now != then:
            raise UserError(
                f"{key}: the recordings there have changed since this run began ({then['clips']} then, {now['clips']} "
                "now); put back what was there, or start anew with --overwrite"
            )


def _run_folds(context: RunContext) -> dict[str, Any]:
    """Runs each fold in fold-N/ and each seed in seed-N/ below it, then aggregates upwards; one fold with one seed
    runs in the folder itself."""
    recipe, folds = context.recipe, context.folds
    children: dict[int, tuple[Recipe, list[Fold]]]
    if len(folds) > 1:
        kind = "fold"
        children = {fold.number: (_with(recipe, folds=[fold.number]), [fold]) for fold in folds}
    elif len(recipe.training.seeds) > 1:
        kind = "seed"
        children = {seed: (_with(recipe, seeds=[seed]), folds) for seed in recipe.training.seeds}
    else:
        return run_one(context)
    reports = {}
    for number, (own, own_folds) in children.items():
        logger.info("%s %d", kind, number)
        reports[number] = _run_child(context.child(f"{kind}-{number}", own, own_folds, context.watch))
    aggregate = over_folds if kind == "fold" else over_seeds
    report = aggregate(
        recipe, context.data, folds if kind == "fold" else folds[0], context.folder, reports, context.foil
    )
    with context.main_process_first() as main:
        if main:
            _save_aggregate(context, kind, reports, report)
    return report


def _with(recipe: Recipe, folds: list[int] | None = None, seeds: list[int] | None = None) -> Recipe:
    """The recipe of some folds or seeds only, without its foil."""
    protocol = dataclasses.replace(recipe.protocol, folds=folds or recipe.protocol.folds, foil=None)
    training = dataclasses.replace(recipe.training, seeds=seeds or recipe.training.seeds)
    return dataclasses.replace(recipe, protocol=protocol, training=training)


def _run_child(context: RunContext) -> dict[str, Any]:
    """A run below another's folder, skipped where it is complete."""
    if context.folder.complete:
        _require_same_clips(context.data, context.folds, context.folder)
        return context.folder.read_report()
    with context.main_process_first() as main:
        if main:
            _open(context)
    return _run_folds(context)


def _save_aggregate(
    context: RunContext, kind: str, reports: Mapping[int, dict[str, Any]], report: dict[str, Any]
) -> None:
    """model/ is that of the child with the best validation, its card describes all children; report/ is of all."""
    chosen = report[f"chosen_{kind}"]
    source, own, numbers = context.folder.child(f"{kind}-{chosen}"), reports[chosen], [chosen]
    if "chosen_seed" in own:  # the card's figures are those of its weights, not the mean over a fold's seeds
        numbers.append(own["chosen_seed"])
        own = source.child(f"seed-{own['chosen_seed']}").read_report()
    runs = Runs(Report.from_dict(report), Report.from_dict(own), numbers)
    with atomic_folder(context.folder.model) as partial:
        shutil.copytree(source.model, partial, dirs_exist_ok=True)
        save_card(context.recipe, report, context.folder, partial, runs)
    copy_reference(source.reference, context.folder.reference)
    rows = context.fold.split.rows
    if len(context.folds) > 1:
        evaluated = context.recipe.evaluation.part
        rows = {f"fold {fold.number}": fold.split.rows[evaluated] for fold in context.folds}
    tables = {"predictions": read_predictions(context.folder, kind, list(reports))}
    save_report(context.recipe, report, context.data.dataset, rows, tables, context.folder)
