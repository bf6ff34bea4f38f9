"""Writes the files of a run: first recipe.yaml and split.json, at the end model/ and report/."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from peft import PeftModel
from transformers import PreTrainedModel

from ..corpora import corpus_facts
from ..evaluation.maps import no_map
from ..evaluation.metrics import definitions
from ..evaluation.predictions import Predictions, to_table
from ..inference.reference import copy_reference
from ..loading.data_only import save_code
from ..loading.plan import Blueprint
from ..models.configuration import CLIP_SECONDS_KEY, LABEL_THRESHOLD_KEY
from ..protocols import fingerprint, save_splits
from ..report.card import Runs, model_card, public, public_name
from ..report.clip_plots import ClipRecordings
from ..report.page import Links
from ..report.report import Report, read_report
from ..report.write import MAP, PREDICTIONS, write_report
from ..training.freezing import innermost
from ..training.lora import merged, save_adapter
from ..training.targets import without_auxiliary
from ..training.temperature import store_rating_scale, store_temperature, store_threshold
from ..utils.errors import UserError
from ..utils.files import atomic_folder, read_json, write_json
from ..utils.run_folder import RunFolder
from ..utils.yaml import dump_yaml
from .adaptation import run_adaptation, save_run_statistics
from .context import RunContext
from .measuring import run_hardest_clips, run_map, run_robustness
from .reference import save_reference
from .sections import extended
from .training_clips import save_training_clips

logger = logging.getLogger(__name__)


def open_folder(run: RunContext) -> None:
    """Write recipe.yaml and split.json; a resumed run must have the same clips as at its start."""
    run.folder.open(run.resolved_recipe().to_dict(), run.resume)
    require_same_clips(run)
    splits = [fold.split for fold in run.folds]
    audits = [fold.audit for fold in run.folds]
    save_splits(splits, audits, run.folder.split, [fold.clips for fold in run.folds])


def require_same_clips(run: RunContext) -> None:
    """Raise a `UserError` if split.json has other clips or splits than this run."""
    if not run.folder.split.is_file():
        return
    expected = {
        "sha256": fingerprint([fold.split for fold in run.folds]),
        "clips": [fold.clips for fold in run.folds],
    }
    saved = read_json(run.folder.split)
    if not isinstance(saved, dict) or {key: saved.get(key) for key in expected} != expected:
        raise UserError(
            f"{run.folder.split}: the corpus, labels or split of this run have changed; "
            "use --overwrite"
        )


def save_run(
    run: RunContext,
    model: PreTrainedModel | PeftModel,
    report: Report,
    predictions: Mapping[str, Predictions],
) -> Report:
    """Save a single training: model/, reference.npz and, last, report/.

    Args:
        predictions: the predictions of each split.

    Returns:
        The report. This function adds `adaptation`, `robustness`, `embeddings` and the occlusion of
        the hardest clips, if the recipe wants them, because they are measured on the saved model.
    """
    evaluated = predictions[run.recipe.evaluation.part]
    map_table = None
    recordings = None
    with atomic_folder(run.folder.model) as folder:
        store_clip_seconds(run, model)
        save_weights(model, run.data.plan, report, folder)
        save_training_clips(
            folder,
            hashes=run.data.dataset["content_hash"][:],
            splits=[fold.split for fold in run.folds],
            inherited=run.data.inherited_clips,
        )
        save_reference(run, model)
        save_run_statistics(run, folder)
        if run.recipe.evaluation.adapt is not None:
            report = _with_adaptation(run, report, evaluated, folder)
        if run.recipe.evaluation.robustness:
            report = _with_robustness(run, report, evaluated, folder)
        if run.recipe.evaluation.map is not None:
            report, map_table = _with_map(run, report, evaluated, folder)
        if run.recipe.evaluation.hardest_clips:
            hardest = run_hardest_clips(run, report, folder)
            report = hardest.report
            recordings = hardest.recordings
        save_card(run, report, folder)
    # Predictions of training clips are not saved: they do not show how good the model is.
    tables = [
        to_table(split, split_predictions)
        for split, split_predictions in predictions.items()
        if split != "train"
    ]
    save_report(run, report, pa.concat_tables(tables), map_table=map_table, recordings=recordings)
    return report


def _with_adaptation(
    run: RunContext, report: Report, predictions: Predictions, model_folder: Path
) -> Report:
    """Add `adaptation` to the report; if that fails, add a warning, so that the run is saved."""
    try:
        return extended(report, adaptation=run_adaptation(run, predictions, model_folder))
    except UserError as error:
        warning = f"evaluation.adapt failed: {error}"
        return extended(report, warnings=[*report.warnings, warning])


def _with_robustness(
    run: RunContext, report: Report, predictions: Predictions, model_folder: Path
) -> Report:
    """Add `robustness` to the report; if that fails, add a warning, so that the run is saved."""
    try:
        return extended(report, robustness=run_robustness(run, predictions, model_folder))
    except UserError as error:
        warning = f"evaluation.robustness failed: {error}"
        return extended(report, warnings=[*report.warnings, warning])


def _with_map(
    run: RunContext, report: Report, predictions: Predictions, model_folder: Path
) -> tuple[Report, pa.Table | None]:
    """Add `embeddings` to the report, and return the table of the map; None without a map."""
    try:
        clip_map = run_map(run, predictions, model_folder)
    except UserError as error:
        logger.warning("evaluation.map failed: %s", error)
        clip_map = no_map(run.recipe.evaluation.map, len(predictions), "the computation failed")
    return extended(report, embeddings=clip_map.section), clip_map.table


def save_aggregate(
    run: RunContext, report: Report, reports: Mapping[int, Report], table: pa.Table
) -> None:
    """Save a run with several folds or seeds.

    model/ is copied from the fold or seed with the best validation metric; its card and report/
    describe all folds or seeds.

    Args:
        reports: the report of each fold or seed, by number.
        table: the predictions of all folds or seeds.
    """
    source = run.folder.child(report.chosen)
    number = report.chosen_seed if report.chosen_fold is None else report.chosen_fold
    numbers = [number]
    published = reports[number]
    # The figures on the card belong to the published weights, so they are not a mean over seeds.
    if published.chosen_seed is not None:
        numbers.append(published.chosen_seed)
        published = read_report(source.child(published.chosen).report / "report.json")
    with atomic_folder(run.folder.model) as folder:
        shutil.copytree(source.model, folder, dirs_exist_ok=True)
        save_card(run, report, folder, Runs(report, published, numbers))
    copy_reference(source.reference, run.folder.reference)
    save_report(run, report, table)


def save_weights(
    model: PreTrainedModel | PeftModel, plan: Blueprint, report: Report, folder: Path
) -> None:
    """Save a model as it is published.

    The folder gets the weights with merged adapters, the configuration, the feature extractor and,
    if needed, code.
    """
    is_stored = report.temperature is not None and report.temperature.stored
    store_temperature(model, report.temperature.value if is_stored else None)
    store_rating_scale(model, report.rating_scale or {})
    threshold = None if report.abstention is None else report.abstention.threshold
    store_threshold(model, threshold)
    label_threshold = None if report.label_threshold is None else report.label_threshold.value
    store_threshold(model, label_threshold, LABEL_THRESHOLD_KEY)
    plain = merged(model)
    with without_auxiliary(plain):
        plain.save_pretrained(folder)
    save_code(plain, folder)
    if isinstance(model, PeftModel):
        save_adapter(model, folder / "adapter", public_name(plan.checkpoint))
    plan.published_extractor.save_pretrained(folder)


def store_clip_seconds(run: RunContext, model: PreTrainedModel | PeftModel) -> None:
    """Store the lengths of most training clips (percentiles 5 and 95) in the configuration.

    Recordings are divided into segments of such lengths, see `ser_hf.inference.segmenting`.
    """
    seconds = run.data.store.durations[run.fold.split.rows["train"]]
    lengths = [round(float(length), 2) for length in np.percentile(seconds, [5, 95])]
    setattr(innermost(model).config, CLIP_SECONDS_KEY, lengths)


def save_card(run: RunContext, report: Report, folder: Path, runs: Runs | None = None) -> None:
    """Save the card, recipe.yaml and report.json of a published model.

    `ser-hf reproduce` reads recipe.yaml and report.json. They contain no paths of this machine.

    Args:
        runs: the folds or seeds of the run; None for a single training.
    """
    card = model_card(runs or report, run.recipe.to_dict(), run.folder.model.as_posix())
    card.save(folder / "README.md")

    provenance = {
        "versions": report.environment.versions,
        "git_revision": report.environment.git_revision,
    }
    recipe = run.recipe.replace(provenance=provenance).to_dict()
    (folder / "recipe.yaml").write_text(dump_yaml(public(recipe)), encoding="utf-8")

    hardest = [clip.model_copy(update={"path": None}) for clip in report.hardest]
    values = public(report.model_copy(update={"hardest": hardest}).to_dict())
    write_json(folder / "report.json", {**values, "definitions": definitions(run.task)})


def save_report(
    run: RunContext,
    report: Report,
    predictions: pa.Table,
    *,
    map_table: pa.Table | None = None,
    recordings: ClipRecordings | None = None,
) -> None:
    """Save report/: the page, pictures, report.json and the tables.

    Args:
        map_table: the map of embeddings, from `ser_hf.evaluation.maps.map_embeddings`.
        recordings: of the hardest clips, from `show_hardest`.
    """
    corpus = run.recipe.corpus
    with atomic_folder(run.folder.report) as partial:
        pq.write_table(predictions, partial / PREDICTIONS)
        if map_table is not None:
            pq.write_table(map_table, partial / MAP)
        write_report(
            partial,
            report,
            pictures=run.recipe.evaluation.pictures,
            recordings=recordings,
            audio=run.recipe.evaluation.audio,
            recipe=dump_yaml(public(run.recipe.to_dict())),
            corpus=corpus_facts(corpus.name, corpus.options),
            links=report_links(report, run.folder),
        )


def report_links(report: Report, folder: RunFolder) -> Links:
    """Links from a report to those of the run above it, its folds or seeds, and its foil."""
    kind = "fold" if report.protocol.folds else "seed"
    return Links(
        above="../../report/index.html" if folder.path_in_run else None,
        runs={number: f"../{kind}-{number}/report/index.html" for number in report.runs},
        foil="../foil/report/index.html" if report.foil else None,
    )
