"""Makes the section of the report about the model of ser_hf that a training starts from."""

import logging
from pathlib import Path

from ..loading.files import find_file
from ..loading.plan import Blueprint
from ..report.card import corpora_of, public_name
from ..report.report import Report, read_report
from ..report.saved_recipe import read_saved_recipe
from ..report.sections import Parent, TrainingCorpus
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder

logger = logging.getLogger(__name__)


def parent_section(plan: Blueprint) -> Parent | None:
    """The report's `parent`: the parent model, its corpora and the labels in common.

    The result is None if training starts from random weights, or from a model of others. A parent
    without a readable report has no corpora.
    """
    if plan.labels is None:
        return None
    section = Parent(
        name=_name(plan.checkpoint),
        kept_labels=list(plan.labels.kept),
        new_labels=list(plan.labels.new),
    )
    report = _report(plan)
    if report is None:
        return section
    inherited = report.model.parent
    corpora = _corpora(plan, report)
    origin = report.model.origin
    if inherited is not None:
        names = {corpus.name for corpus in corpora}
        corpora += [corpus for corpus in inherited.corpora if corpus.name not in names]
        origin = origin or inherited.origin
    return section.model_copy(
        update={
            "name": section.name if "/" in section.name else report.name,
            "protocol": report.protocol.name,
            "sha256": report.protocol.sha256,
            "corpora": corpora,
            "origin": origin,
        }
    )


def _name(checkpoint: str) -> str:
    """The Hub id of a parent, or the name of its folder; model/ has the name of its run."""
    path = Path(checkpoint)
    if path.is_dir() and path.name == RunFolder(path.parent).model.name:
        return path.resolve().parent.name
    return public_name(checkpoint)


def _report(plan: Blueprint) -> Report | None:
    """The report of the parent; None without a readable one."""
    path = find_file(plan.checkpoint, "report.json", plan.revision, required=False)
    if path is None:
        return None
    try:
        return read_report(Path(path))
    except UserError as error:
        logger.warning("the report of %s cannot be read: %s", plan.checkpoint, error)
        return None


def _corpora(plan: Blueprint, report: Report) -> list[TrainingCorpus]:
    """The corpora that the parent was trained on, from its recipe; empty without a readable one."""
    path = find_file(plan.checkpoint, "recipe.yaml", plan.revision, required=False)
    if path is None:
        return []
    try:
        recipe = read_saved_recipe(Path(path))
    except UserError as error:
        logger.warning("the corpora of %s are unknown: %s", plan.checkpoint, error)
        return []
    corpora = []
    # A report over several folds has no training split, and all corpora of its recipe count.
    for facts in corpora_of(report, recipe["corpus"], "train", "validation").facts_of_each():
        keys = {key: facts[key] for key in TrainingCorpus.model_fields}
        corpora.append(TrainingCorpus(**keys))
    return corpora
