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
from collections.abc import Iterator
from typing import Any

from .aggregate import over_folds, over_seeds, read_predictions
from .delivery import card, keep_recipe_and_report, save_report
from .environment import environment
from .errors import UserError
from .hub.reference import copy_reference
from .hub.run_card import of_several
from .logs import quiet_libraries, recorded
from .material import Fold, Material, foil_protocol, gather
from .one_run import Watch, arguments_for, rehearse_all, run_one
from .protocols import fingerprint, save_splits
from .run_folder import RunFolder
from .sections import Recipe
from .training.build import build_model
from .whole import whole_folder

logger = logging.getLogger(__name__)


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
    described = of_several(report, own, numbers)
    with whole_folder(folder.model) as partial:
        shutil.copytree(source.model, partial, dirs_exist_ok=True)
        card(recipe, described, folder).save(partial / "README.md")
        keep_recipe_and_report(recipe, report, partial)
    copy_reference(source.reference, folder.reference)
    tables = {"predictions": read_predictions(folder, kind, list(reports))}
    save_report(recipe, report, material.dataset, _shown_rows(folds, recipe.evaluation.part), tables, folder)


def _shown_rows(folds: list[Fold], judged_on: str) -> dict[str, list[int]]:
    """The rows of each part, or of each fold's judged part, for the picture of the classes."""
    if len(folds) == 1:
        return folds[0].split.rows
    return {f"fold {fold.number}": fold.split.rows[judged_on] for fold in folds}
