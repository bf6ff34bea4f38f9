"""The reports of runs, single and aggregated, and the files that a run saves."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from peft import PeftModel
from transformers import PreTrainedModel

from ..corpora import corpus_facts
from ..corpora.tables import NO_LABEL
from ..evaluation.bootstrap import fold_intervals
from ..evaluation.metrics import definitions, mean_metrics, transductive_note
from ..evaluation.predictions import from_table
from ..evaluation.summary import (
    evaluate_predictions,
    few_clips,
    few_speakers,
    known_intervals,
    without_details,
)
from ..loading.data_only import save_code
from ..loading.encoders import encoder_config
from ..loading.files import weights_hash
from ..loading.plan import Blueprint
from ..loading.published import PUBLISHED
from ..models import TRANSFERRED
from ..protocols import PARTS, Split, fingerprint, worst_audit
from ..report.card import Runs, model_card, public, public_name
from ..report.report import Report
from ..report.views import counted
from ..report.write import write_report
from ..training.lora import merged, save_adapter
from ..training.temperature import store_temperature
from ..utils.environment import environment
from ..utils.files import atomic_folder, write_json
from ..utils.run_folder import RunFolder
from ..utils.yaml import dump_yaml
from .context import RunContext
from .data import Fold
from .recipe import Recipe

Reports = Mapping[int, Report]

# The report's words for each step of the preparation.
PREPARATION = {
    "trim_silence": "silence trimmed at {:g} dB below the loudest part",
    "level": "{} normalized",
    "target_level": "to {:g} dB",
    "fixed_duration": "cut or padded to {:g} s",
    "functionals": "{} functionals computed by openSMILE",
}


def report_header(run: RunContext, metrics: Mapping[str, float | None]) -> dict[str, Any]:
    """The fields of a report about recipe, data and machine; `metrics` are compared with the
    foil's.
    """
    recipe = run.recipe
    data = run.data
    evaluated = recipe.evaluation.part
    rows = run.fold.split.rows
    if len(run.folds) > 1:
        rows = {f"fold {fold.number}": fold.split.rows[evaluated] for fold in run.folds}
    classes = np.asarray(data.dataset["label"][:])
    counts = {
        name: np.bincount(classes[own], minlength=len(data.labels)).tolist()
        for name, own in rows.items()
    }
    distribution = {
        name: dict(zip(data.labels, own, strict=True))
        for name, own in counts.items()
        if not data.ranges
    }
    protocol = protocol_facts(run.folds, evaluated)
    return {
        "name": recipe.name,
        "task": recipe.task,
        "ranges": data.ranges,
        "judged_on": evaluated,
        "output_dir": str(run.folder.path),
        "labels": data.labels,
        "protocol": protocol | ({"inherited": data.inherited} if data.inherited else {}),
        "audit": worst_audit([fold.audit for fold in run.folds]),
        "sources": data.sources
        if any(source["emotion"] != NO_LABEL for source in data.sources)
        else None,
        "foil": run.foil and _foil(metrics, run.foil),
        "model": _model_facts(recipe, data.plan),
        "environment": environment(),
        "class_distribution": distribution or None,
    }


def protocol_facts(folds: Sequence[Fold], evaluated: str) -> dict[str, Any]:
    """The report's `protocol`: fingerprint, digest of the clips of each fold, leak, notes, splits."""
    splits = [fold.split for fold in folds]
    described: dict[str, Any] = {
        "name": splits[0].name,
        "sha256": fingerprint(splits),
        "clips": [fold.clips for fold in folds],
        "leak": next((split.leak for split in splits if split.leak), None),
        "notes": _merged_notes("fold", {fold.number: fold.split.notes for fold in folds}),
    }
    if len(folds) == 1:
        return described | {"fold": splits[0].fold, "parts": _parts(splits[0])}
    total = {
        "clips": sum(len(split.ids[evaluated]) for split in splits),
        "speakers": sorted({speaker for split in splits for speaker in split.speakers[evaluated]}),
    }
    runs = {  # the metrics are those of the trained fold
        str(fold.number): {
            "tested": fold.split.fold,
            "sha256": fold.split.sha256,
            "parts": _parts(fold.split),
            "metrics": {},
        }
        for fold in folds
    }
    return described | {"fold": None, "parts": {evaluated: total}, "folds": runs}


def _parts(split: Split) -> dict[str, Any]:
    return {
        name: {"clips": len(split.ids[name]), "speakers": split.speakers[name]} for name in PARTS
    }


def _merged_notes(kind: str, notes: Mapping[int, Sequence[str]]) -> list[str]:
    """Each note once, preceded by the numbers of its folds or seeds unless all have it."""
    about: dict[str, list[int]] = {}
    for number, own in notes.items():
        for note in dict.fromkeys(own):
            about.setdefault(note, []).append(number)
    return [
        note
        if len(numbers) == len(notes)
        else f"{kind.capitalize()} {', '.join(map(str, numbers))}: {note}"
        for note, numbers in about.items()
    ]


def _foil(metrics: Mapping[str, float | None], foil: Report) -> dict[str, Any]:
    """The foil's results, and their difference from these."""
    pairs = {name: (foil.metrics.get(name), value) for name, value in metrics.items()}
    return {
        "protocol": foil.protocol.name,
        "sha256": foil.protocol.sha256,
        "metrics": foil.metrics,
        "intervals": foil.intervals,
        "audit": foil.audit,
        "against": dict(metrics),
        "gap": {
            name: leaky - value
            for name, (leaky, value) in pairs.items()
            if None not in (leaky, value)
        },
    }


def _model_facts(recipe: Recipe, plan: Blueprint) -> dict[str, Any]:
    architecture = recipe.model.architecture
    published = plan.checkpoint is not None and not plan.random_init
    steps = recipe.augment.steps | {"mixup": recipe.augment.mixup}
    prepared = dataclasses.asdict(plan.preparation)
    facts: dict[str, Any] = {
        "architecture": architecture,
        "model_type": plan.config.model_type,
        "checkpoint": plan.checkpoint,
        "revision": plan.revision or weights_hash(plan.checkpoint) if published else None,
        "base_model": plan.checkpoint if published and not Path(plan.checkpoint).exists() else None,
        "remote_code": plan.remote_code,
        "padding_safe": plan.padding_safe,
        "sampling_rate": plan.extractor.sampling_rate,
        "preparation": ", ".join(
            PREPARATION[key].format(value) for key, value in prepared.items() if value
        ),
        "depth": _depth(recipe),
        "augmentation": ", ".join(
            f"{name.replace('_', ' ')} (in {100 * step.probability:g} % of them)"
            for name, step in steps.items()
            if step.probability
        ),
        "adapter": recipe.lora.rank is not None,
    }
    if architecture == "encoder":
        facts["encoder"] = encoder_config(plan.config).model_type
    if published and architecture in TRANSFERRED:
        weights = PUBLISHED[plan.config.model_type]
        facts["origin"] = {key: getattr(weights, key) for key in ("file", "source", "licence")}
    return facts


def _depth(recipe: Recipe) -> str:
    """The trained and frozen parts in one sentence; empty if the whole network is trained."""
    freeze = recipe.freeze
    lora = recipe.lora
    if lora.rank is not None:
        return f"The head and LoRA adapters of rank {lora.rank} were trained; the other weights are frozen."
    pretrained = recipe.model.architecture in ("encoder", *TRANSFERRED)
    if freeze.encoder or (pretrained and recipe.training.solver == "sklearn"):
        return "Only the head was trained; the encoder is frozen."
    if freeze.top_layers is not None:
        return f"Only the top {counted(freeze.top_layers, 'layer')} and the head were trained."
    if freeze.layers:
        return f"The lowest {counted(freeze.layers, 'layer')} and all below are frozen."
    return "The convolutional stem is frozen." if freeze.feature_encoder else ""


def aggregate(run: RunContext, reports: Reports, table: pa.Table) -> Report:
    """The report over folds or seeds: metrics are their mean, with the intervals of that mean.

    Over folds, `pooled`, per_class, confusion and slices are those of the predictions of all folds
    together; a clip that several folds evaluate counts once per fold.

    Args:
        reports: of each fold or seed, by number.
        table: predictions of all of them (`read_predictions`).
    """
    kind = "fold" if len(run.folds) > 1 else "seed"
    recipe = run.recipe
    children = list(reports.values())
    predictions = from_table(table, recipe.evaluation.part, run.data.labels)
    scores = evaluate_predictions(predictions, **recipe.evaluation.bootstrapping)
    if kind == "fold":
        scores |= _over_folds(run, reports, table, scores)
    fields = report_header(run, scores["metrics"]) | scores
    runs = {
        str(n): {"metrics": own.metrics, "validation": own.parts["validation"]}
        for n, own in reports.items()
    }
    if kind == "fold":
        folds = fields["protocol"]["folds"]
        fields["protocol"]["folds"] = {number: folds[number] | own for number, own in runs.items()}
    else:
        fields["seeds"] = runs
    common = scores["warnings"] + run.data.notes
    if recipe.evaluation.per_speaker:
        fields["transductive"] = mean_metrics([own.transductive for own in children])
        common.append(transductive_note(fields["transductive"]))
    if all(own.temperature for own in children):
        fields["temperatures"] = {
            str(number): own.temperature.value for number, own in reports.items()
        }
    if all(own.robustness for own in children):
        fields["robustness"] = _mean([own.robustness.to_dict() for own in children]) | {
            "clips": scores["clips"]
        }
    # A run that was resumed after its last epoch has no time per epoch.
    epochs = [own.seconds.per_epoch for own in children if own.seconds.per_epoch]
    chosen = max(reports, key=lambda number: reports[number].validated)
    fields |= {
        "model": children[0].model,
        "training": children[0].training,
        "warnings": merged_warnings(kind, reports, common),
        "deviations": {
            name: float(np.std([own.metrics[name] for own in children], ddof=1))
            for name, mean in scores["metrics"].items()
            if mean is not None
        },
        "parts": {
            name: mean_metrics([own.parts[name] for own in children]) for name in children[0].parts
        },
        "selected_by": recipe.training.early_stopping.metric,
        "validated": reports[chosen].validated,
        f"chosen_{kind}": chosen,
        "history": [],
        "seconds": run.data.seconds
        | {
            "training": sum(own.seconds.training for own in children),
            "per_epoch": float(np.mean(epochs)) if epochs else None,
        },
    }
    return Report(**fields)


def _mean(values: Sequence[Any]) -> Any:
    """The mean of nested values: numbers are averaged, others are the first; intervals of single
    runs are left out.
    """
    first = values[0]
    if isinstance(first, dict):
        left_out = ("interval", "drop_interval", "changed")
        return {key: _mean([own[key] for own in values]) for key in first if key not in left_out}
    if isinstance(first, list):
        return [_mean(each) for each in zip(*values, strict=True)]
    return float(np.mean(values)) if isinstance(first, float) and len(set(values)) > 1 else first


def read_predictions(folder: RunFolder, kind: str, numbers: Sequence[int]) -> pa.Table:
    """The predictions of every `kind`-N below `folder` in one table, with N in a column `kind`."""
    tables = [
        pq.read_table(folder.child(f"{kind}-{number}").report / "predictions.parquet")
        for number in numbers
    ]
    return pa.concat_tables(
        table.append_column(kind, pa.array([number] * len(table)))
        for table, number in zip(tables, numbers, strict=True)
    )


def _over_folds(
    run: RunContext, reports: Reports, table: pa.Table, pooled: Mapping[str, Any]
) -> dict[str, Any]:
    settings = run.recipe.evaluation
    own = [table.filter(pa.compute.equal(table["fold"], number)) for number in reports]
    predictions = [from_table(one, settings.part, run.data.labels) for one in own]
    metrics = mean_metrics([own.metrics for own in reports.values()])
    drawn = {"resamples": settings.bootstrap, "confidence": settings.confidence}
    over_clips = fold_intervals(predictions, draw_folds=False, by_speaker=False, **drawn)
    return {
        "metrics": metrics,
        "intervals": known_intervals(
            fold_intervals(predictions, draw_folds=True, **drawn), metrics
        ),
        "clip_intervals": known_intervals(over_clips, metrics),
        "pooled": {key: pooled[key] for key in ("metrics", "intervals", "clip_intervals")},
    }


def merged_warnings(kind: str, reports: Reports, common: Sequence[str]) -> list[str]:
    """The warnings that all runs share, then others with the numbers of their runs. Warnings about
    few speakers or clips are left out."""
    about = {}
    for number, own in reports.items():
        supports = {name: one.support for name, one in own.per_class.items()}
        left_out = [*common, *few_clips(supports), *few_speakers(own.speakers or 0)]
        left_out += [transductive_note(own.transductive)] if own.transductive else []
        about[number] = [
            without_details(warning) for warning in own.warnings if warning not in left_out
        ]
    return [*common, *_merged_notes(kind, about)]


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
