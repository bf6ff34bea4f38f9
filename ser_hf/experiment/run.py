"""Runs a recipe: data, checks, a training for each fold and seed, evaluation, and their reports."""

import contextlib
import copy
import dataclasses
import logging
from collections.abc import Sequence

from transformers import TrainerCallback

from ..loading.build import build_model
from ..report.report import Report, read_report
from ..training.arguments import EmotionTrainingArguments
from ..training.checkpoints import full_model
from ..training.fit import dry_run
from ..training.sampling import EpochSchedule
from ..utils.environment import quiet_libraries, recorded
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from .context import RunContext, Watch, arguments_for
from .data import foil_protocol, load_experiment_data
from .fitting import make_loss, make_transforms, train
from .folds import aggregate, read_child_predictions
from .measuring import evaluate_run
from .outputs import open_folder, require_same_clips, save_aggregate, save_run
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
                open_folder(context)
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
    table = read_child_predictions(run.folder, kind, list(reports))
    report = aggregate(run, reports, table)
    with run.main_process_first() as main:
        if main:
            save_aggregate(run, report, reports, table)
    return report


def _run_child(run: RunContext) -> Report:
    """Run a fold, a seed or the foil in its own folder; a complete one is not run again."""
    if run.folder.complete:
        require_same_clips(run)
        return read_report(run.folder.report / "report.json")
    with run.main_process_first() as main:
        if main:
            open_folder(run)
    return _run_folds(run)


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
            return save_run(run, model, report, predictions)
    return report
