"""The reports of runs, single and aggregated, and the files that a run saves."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from peft import PeftModel
from transformers import PreTrainedModel

from ..audio import prepare
from ..corpora import corpus_facts
from ..evaluation.metrics import definitions
from ..evaluation.predictions import Predictions, to_table
from ..evaluation.sections import Robustness
from ..inference.classifier import load_classifier
from ..inference.reference import (
    LONGEST,
    chosen_clips,
    compute_logits,
    copy_reference,
    write_reference,
)
from ..loading.data_only import save_code
from ..loading.plan import Blueprint
from ..models.preparation import Preparation
from ..protocols import fingerprint, save_splits
from ..report.card import Runs, model_card, public, public_name
from ..report.report import Report, read_report
from ..report.write import write_report
from ..training.lora import merged, save_adapter
from ..training.temperature import store_temperature
from ..utils.errors import UserError
from ..utils.files import atomic_folder, read_json, write_json
from ..utils.run_folder import RunFolder
from ..utils.yaml import dump_yaml
from .context import RunContext
from .evaluate import robustness_of
from .label_mapping import MAPPINGS


def save_weights(
    model: PreTrainedModel | PeftModel, plan: Blueprint, report: Report, folder: Path
) -> None:
    """Save a published model: weights with merged adapters, configuration, code if needed, and
    feature extractor.
    """
    stored = report.temperature and report.temperature.stored
    store_temperature(model, report.temperature.value if stored else None)
    plain = merged(model)
    plain.save_pretrained(folder)
    save_code(plain, folder)
    if isinstance(model, PeftModel):
        save_adapter(model, folder / "adapter", public_name(plan.checkpoint))
    plan.published_extractor.save_pretrained(folder)


def save_card(run: RunContext, report: Report, folder: Path, runs: Runs | None = None) -> None:
    """Save the card, and for `ser-hf reproduce` recipe.yaml and report.json without paths of this
    machine.
    """
    card = model_card(runs or report, run.recipe.to_dict(), run.folder.model.as_posix())
    card.save(folder / "README.md")
    provenance = {
        "versions": report.environment.versions,
        "git_revision": report.environment.git_revision,
    }
    recipe = dataclasses.replace(run.recipe, provenance=provenance).to_dict()
    (folder / "recipe.yaml").write_text(dump_yaml(public(recipe)), encoding="utf-8")
    hardest = [clip.model_copy(update={"path": None}) for clip in report.hardest]
    values = public(report.model_copy(update={"hardest": hardest}).to_dict()) | {
        "definitions": definitions(run.task)
    }
    write_json(folder / "report.json", values)


def save_report(run: RunContext, report: Report, tables: Mapping[str, pa.Table]) -> None:
    """Save report/: the page, pictures, report.json and the `tables`, such as predictions, as
    parquet.
    """
    corpus = run.recipe.corpus
    with atomic_folder(run.folder.report) as partial:
        for name, table in tables.items():
            pq.write_table(table, partial / f"{name}.parquet")
        write_report(
            partial,
            report,
            recipe=dump_yaml(public(run.recipe.to_dict())),
            corpus=corpus_facts(corpus.name, corpus.options),
            links=report_links(report, run.folder),
        )


def report_links(report: Report, folder: RunFolder) -> dict[str, Any]:
    """Addresses of the reports above and below one, relative to its folder."""
    kind = "fold" if report.protocol.folds else "seed"
    return {
        "above": "../../report/index.html" if folder.place else None,
        "runs": {number: f"../{kind}-{number}/report/index.html" for number in report.runs},
        "foil": "../foil/report/index.html" if report.foil else None,
    }


def open_folder(run: RunContext) -> None:
    """Write recipe.yaml and split.json; a resumed run must have the clips that it began with."""
    run.folder.open(run.resolved_recipe(), run.resume)
    require_same_clips(run)
    splits = [fold.split for fold in run.folds]
    audits = [fold.audit for fold in run.folds]
    save_splits(splits, audits, run.folder.split, [fold.clips for fold in run.folds])


def require_same_clips(run: RunContext) -> None:
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


def save_aggregate(
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


def save_run(
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
    return robustness_of(classifier, mapping, predictions, waveforms, **more)


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
