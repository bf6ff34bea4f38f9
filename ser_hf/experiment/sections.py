"""The report's sections about recipe, data, model and machine."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora.tables import NO_LABEL
from ..loading.encoders import encoder_config
from ..loading.files import weights_hash
from ..loading.plan import Blueprint
from ..loading.published import PUBLISHED
from ..models import TRANSFERRED
from ..protocols import PARTS, Split, fingerprint, worst_audit
from ..report.report import Report
from ..report.views import counted
from ..utils.environment import environment
from .context import RunContext
from .data import Fold
from .recipe import Recipe

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
        "audit": worst_audit([fold.audit for fold in run.folds]).to_dict(),
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
        "notes": merged_notes("fold", {fold.number: fold.split.notes for fold in folds}),
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


def merged_notes(kind: str, notes: Mapping[int, Sequence[str]]) -> list[str]:
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
