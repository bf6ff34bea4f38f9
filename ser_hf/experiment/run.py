"""Runs a recipe, from its data to its report, with a training for each fold and seed.

Each step is a module: `data` (corpus, splits, plan of the model, waveforms, audit), `fitting` (one
training), `measuring` (predictions and metrics), `folds` (the report over several trainings) and
`outputs` (files).
"""

import contextlib
import copy
import dataclasses
import logging
from collections.abc import Sequence

from transformers import TrainerCallback

from ..loading.build import build_model
from ..report.report import Report, read_report
from ..training.arguments import EmotionTrainingArguments
from ..training.fit import dry_run
from ..training.sampling import EpochSchedule
from ..training.sharding import full_model
from ..utils.environment import quiet_libraries, recorded
from ..utils.errors import UserError
from ..utils.executor import Jobs
from ..utils.run_folder import RunFolder
from .batch_size import with_batch_size
from .clips import train_clips
from .context import RunContext, Watch, arguments_for
from .data import ExperimentData, foil_protocol, load_experiment_data
from .fitting import make_loss, make_transforms, train
from .folds import aggregate, child_runs, is_single, kind_of_children, read_child_predictions
from .learning_curve import curve_runs, learning_curve
from .measuring import conditions_of, evaluate_run
from .outputs import open_folder, require_same_clips, save_aggregate, save_run
from .recipe import Recipe
from .side_by_side import single_runs, train_side_by_side

logger = logging.getLogger(__name__)


def run(
    recipe: Recipe,
    resume: bool = False,
    overwrite: bool = False,
    watch: Watch | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    jobs: Jobs | None = None,
) -> Report:
    """Run a recipe in its `output_dir`, one training per fold and seed; see `ser_hf.run_recipe`."""
    folder = RunFolder(recipe.output_dir)
    with quiet_libraries(), recorded() as write_log_to, contextlib.ExitStack() as lock:
        # The first TrainingArguments object starts the process group, which must exist before
        # files are written.
        arguments = arguments_for(recipe, folder)
        _check_folder(recipe, folder, arguments, resume=resume, overwrite=overwrite)
        if resume and folder.complete:
            logger.info("%s is complete; its report is used", folder.path)
            return read_report(folder.report / "report.json")

        data = load_experiment_data(recipe)
        recipe = _resolved(recipe, data)
        context = RunContext(
            recipe=recipe,
            data=data,
            folds=data.folds,
            folder=folder,
            resume=resume,
            watch=watch,
            callbacks=callbacks,
        )
        check_runs(context, arguments)
        _check_weights(data)
        context = with_batch_size(context)
        recipe = context.recipe

        with context.main_process_first() as is_main_process:
            if is_main_process:
                lock.enter_context(folder.taken(recipe.to_dict(), resume, overwrite))
                open_folder(context)
                write_log_to(folder.log)
                if recipe.evaluation.part == "test":
                    logger.info(
                        "the test split is scored once; choose settings with "
                        "evaluation.part=validation"
                    )

        if jobs is not None:
            _train_side_by_side(context, jobs)
        if data.foil:
            foil_report = _run_child(_foil_run(context))
            context = dataclasses.replace(context, foil=foil_report)
        if recipe.evaluation.learning_curve:
            context = dataclasses.replace(context, curve=learning_curve(context, _run_child))
        return _run_all(context)


def _train_side_by_side(context: RunContext, jobs: Jobs) -> None:
    """Train the foil, the learning curve, and all folds and seeds side by side.

    A run that is one training itself is left to this process.
    """
    runs = []
    if context.data.foil:
        runs += single_runs(_foil_run(context))
    if context.recipe.evaluation.learning_curve:
        for curve_run in curve_runs(context):
            runs += single_runs(curve_run)
    if not is_single(context):
        runs += single_runs(context)
    if runs:
        train_side_by_side(context, runs, jobs, _run_child)
    else:
        logger.info("one fold and one seed: a single training, without other processes")


def _run_all(run: RunContext) -> Report:
    """Run each fold in fold-N/ and each seed in seed-N/, and aggregate their reports.

    A run with one fold and one seed is written into the run's folder itself.
    """
    if is_single(run):
        return _run_training(run)
    kind = kind_of_children(run)
    reports = {}
    for number, child in child_runs(run).items():
        logger.info("%s %d", kind, number)
        reports[number] = _run_child(child)
    table = read_child_predictions(run.folder, kind, reports)
    report = aggregate(run, reports, table)
    with run.main_process_first() as is_main_process:
        if is_main_process:
            save_aggregate(run, report, reports, table)
    return report


def _run_child(run: RunContext) -> Report:
    """Run a fold, a seed or the foil in its subfolder, unless it is complete already."""
    if run.folder.complete:
        require_same_clips(run)
        return read_report(run.folder.report / "report.json")
    with run.main_process_first() as is_main_process:
        if is_main_process:
            open_folder(run)
    return _run_all(run)


def _run_training(run: RunContext) -> Report:
    """Train with one seed, evaluate the selected checkpoint, and write model/ and report/."""
    arguments = run.arguments()
    fitted = train(run, arguments)
    report, predictions = evaluate_run(run, fitted)
    model = full_model(fitted.trainer)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            return save_run(run, model, report, predictions)
    return report


def _check_folder(
    recipe: Recipe,
    folder: RunFolder,
    arguments: EmotionTrainingArguments,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Refuse a folder that has another run or is in use, before the data are read."""
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            folder.check(recipe.to_dict(), resume, overwrite)
    if resume and folder.complete:
        return
    if arguments.process_index == 0 and folder.recipe.is_file():
        with folder.taken(recipe.to_dict(), resume, overwrite):
            pass


def _resolved(recipe: Recipe, data: ExperimentData) -> Recipe:
    """The recipe with the level that `audio.level: auto` became, and the checkpoint's commit."""
    model = recipe.model
    if "revision" in type(model).model_fields:
        model = model.replace(revision=data.plan.revision)
    return recipe.replace(
        audio=recipe.audio.replace(level=data.plan.preparation.level), model=model
    )


def check_runs(run: RunContext, arguments: EmotionTrainingArguments) -> None:
    """Check settings that depend on the clips and the network, before any file is written."""
    recipe = run.recipe
    data = run.data
    if recipe.evaluation.per_speaker and None in data.dataset["speaker"][:]:
        raise UserError(
            "evaluation.per_speaker: some clips have no known speaker; leave it out, or exclude "
            "them"
        )
    if recipe.evaluation.robustness:
        conditions_of(run)
    for fold in [*data.folds, *data.foil]:
        fold_run = run.on_fold(fold)
        clips = train_clips(fold_run)
        make_loss(fold_run, clips)
        if recipe.training.solver == "trainer":
            make_transforms(fold_run)
            dry_run(
                data.plan,
                arguments,
                len(EpochSchedule(clips)),
                freezing=run.freezing,
                lora=run.lora,
                cache=recipe.freeze.cache,
            )


def _check_weights(data: ExperimentData) -> None:
    """Load the checkpoint once, so that damaged files raise before an earlier run is replaced."""
    if data.plan.checkpoint is not None and not data.plan.random_init:
        build_model(copy.deepcopy(data.plan))


def _foil_run(run: RunContext) -> RunContext:
    """The run under the leaky protocol, in foil/, with which this run is compared."""
    leaky_protocol = foil_protocol(run.recipe.protocol, run.folds[0].split)
    recipe = run.recipe.replace(protocol=leaky_protocol)
    return run.child("foil", recipe, run.data.foil, watch=None)
