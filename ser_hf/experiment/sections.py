"""Makes the sections of the report about recipe, data, model and machine."""

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..corpora.schema import NO_LABEL
from ..corpora.targets import positives_of
from ..loading.encoders import encoder_config
from ..loading.files import weights_hash
from ..loading.plan import Blueprint
from ..loading.published import PUBLISHED
from ..models import TRANSFERRED
from ..models.preparation import Preparation
from ..protocols import PARTS, fingerprint, worst_audit
from ..protocols import Split as ProtocolSplit
from ..protocols.published import matching_protocol
from ..report.report import Report
from ..report.sections import (
    Environment,
    Foil,
    Header,
    Model,
    Origin,
    Protocol,
    Published,
    PublishedScore,
    Run,
    Split,
)
from ..report.views import counted
from ..utils.environment import git_revision, package_versions, processor_name, usable_cores
from .context import RunContext
from .data import Fold
from .parent import parent_section
from .recipe import Recipe

# The description of each step of the preparation in the report.
PREPARATION = {
    "trim_silence": "silence trimmed at {:g} dB below the loudest part",
    "level": "{} normalized",
    "target_level": "to {:g} {}",
    "fixed_duration": "cut or padded to {:g} s",
    "functionals": "{} functionals computed by openSMILE",
}


def report_header(run: RunContext) -> Header:
    """The part of the report that is known before the training.

    It describes the recipe, the labels, the splits, the network and the machine.
    """
    recipe = run.recipe
    data = run.data
    sources = None
    if any(source["emotion"] != NO_LABEL for source in data.sources):
        sources = data.sources
    return Header(
        name=recipe.name,
        task=recipe.task,
        ranges=data.ranges,
        evaluated_split=recipe.evaluation.part,
        output_dir=str(run.folder.path),
        labels=data.labels,
        protocol=_with_published(
            protocol_section(run.folds, recipe.evaluation.part, data.inherited, data.auxiliary), run
        ),
        audit=worst_audit([fold.audit for fold in run.folds]).to_dict(),
        sources=sources,
        model=model_section(recipe, data.plan),
        environment=environment_section(),
        class_distribution=class_distribution(run),
    )


def _with_published(section: Protocol, run: RunContext) -> Protocol:
    """Add the figures that others published under the protocol of a run, if there are any.

    They are those of as many classes, and of all folds: a single fold or the validation split has
    none.
    """
    if not run.task.one_label or run.recipe.evaluation.part != "test":
        return section
    protocol = matching_protocol([fold.split for fold in run.folds])
    if protocol is None:
        return section
    figures = [
        PublishedScore(
            system=figure.system,
            metrics=figure.metrics,
            parameters=figure.parameters,
            note=figure.note,
        )
        for figure in protocol.figures
        if figure.classes == len(run.data.labels)
    ]
    if not figures:
        return section
    published = Published(
        protocol=protocol.name,
        fingerprint=protocol.fingerprint,
        source=protocol.source,
        figures_source=protocol.figures_source,
        figures_of=protocol.figures_of,
        figures=figures,
    )
    return section.model_copy(update={"published": published})


def environment_section() -> Environment:
    """The report's `environment`: versions, and the machine and processes of this run."""
    return Environment(
        versions=package_versions(),
        git_revision=git_revision(),
        platform=platform.platform(),
        processor=processor_name(),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        processes=int(os.environ.get("WORLD_SIZE", "1")),
    )


def extended(report: Report, **sections: Any) -> Report:
    """Add sections to a report, or replace sections that it has already.

    Args:
        sections: fields of `Report`; they are validated.
    """
    return Report(**{**report.filled(), **sections})


def class_distribution(run: RunContext) -> dict[str, dict[str, int]] | None:
    """The number of clips by split and label: {split: {label: clips}}.

    For several folds, it is the number in the evaluated split of each fold: {fold: {label: clips}}.
    The result is None for dimensions.
    """
    if not run.task.has_classes:
        return None
    rows_by_name = run.fold.split.rows
    if len(run.folds) > 1:
        evaluated = run.recipe.evaluation.part
        rows_by_name = {f"fold {fold.number}": fold.split.rows[evaluated] for fold in run.folds}
    label_names = run.data.labels
    distribution = {}
    for name, rows in rows_by_name.items():
        counts = _clips_by_label(run, rows).tolist()
        distribution[name] = dict(zip(label_names, counts, strict=True))
    return distribution


def _clips_by_label(run: RunContext, rows: Sequence[int]) -> np.ndarray:
    """The number of clips with each label, (labels,)."""
    positives = positives_of(run.data.dataset, rows)
    if positives is not None:
        return positives.sum(axis=0)
    labels = np.asarray(run.data.dataset["label"][:])[rows]
    return np.bincount(labels[labels >= 0], minlength=len(run.data.labels))


def protocol_section(
    folds: Sequence[Fold],
    evaluated: str,
    inherited: Sequence[str] = (),
    auxiliary: Mapping[str, int] | None = None,
) -> Protocol:
    """The report's `protocol`.

    It has the fingerprint of the splits, a digest of the clips of each fold, the leak if there is
    one, notes, and the numbers of clips and speakers of each split.

    Args:
        evaluated: the evaluated split, test or validation.
        inherited: training speakers of the initial checkpoint.
        auxiliary: {auxiliary corpus: its clips}.
    """
    splits = [fold.split for fold in folds]
    section = Protocol(
        name=splits[0].name,
        sha256=fingerprint(splits),
        clips=[fold.clips for fold in folds],
        leak=next((split.leak for split in splits if split.leak), None),
        notes=merged_notes("fold", {fold.number: fold.split.notes for fold in folds}),
        fold=splits[0].fold if len(folds) == 1 else None,
        parts=_parts(splits[0]) if len(folds) == 1 else {evaluated: _union(splits, evaluated)},
    )
    changes = {}
    if len(folds) > 1:
        changes["folds"] = {str(fold.number): _fold_section(fold) for fold in folds}
    if inherited:
        changes["inherited"] = list(inherited)
    if auxiliary:
        changes["auxiliary"] = dict(auxiliary)
    return section.model_copy(update=changes)


def _fold_section(fold: Fold) -> Run:
    """The section of a fold, without its results, which are added after the training."""
    return Run(
        tested=fold.split.fold,
        sha256=fold.split.sha256,
        parts=_parts(fold.split),
        metrics={},
    )


def _parts(split: ProtocolSplit) -> dict[str, Split]:
    """The number of clips and the speakers of the train, validation and test split."""
    return {
        name: Split(clips=len(split.ids[name]), speakers=split.speakers[name]) for name in PARTS
    }


def _union(splits: Sequence[ProtocolSplit], name: str) -> Split:
    """The clips and speakers of one split in all folds together.

    A clip that is in this split of several folds counts once for each of these folds.
    """
    speakers = set()
    for split in splits:
        speakers.update(split.speakers[name])
    clips = sum(len(split.ids[name]) for split in splits)
    return Split(clips=clips, speakers=sorted(speakers))


def merged_notes(kind: str, notes: Mapping[int, Sequence[str]]) -> list[str]:
    """Merge the notes of folds or seeds, so that each note appears once.

    A note starts with the numbers of its folds or seeds, unless all of them have this note.

    Args:
        kind: "fold" or "seed".
        notes: the notes of each fold or seed, by number.
    """
    numbers_of_note: dict[str, list[int]] = {}
    for number, notes_of_run in notes.items():
        for note in dict.fromkeys(notes_of_run):
            numbers_of_note.setdefault(note, []).append(number)
    sentences = []
    for note, numbers in numbers_of_note.items():
        if len(numbers) < len(notes):
            note = f"{kind.capitalize()} {', '.join(map(str, numbers))}: {note}"
        sentences.append(note)
    return sentences


def foil_section(metrics: Mapping[str, float | None], foil: Report | None) -> Foil | None:
    """The report's `foil`: the results of the leaky run, and their difference from `metrics`."""
    if foil is None:
        return None
    gap = {}
    for name, value in metrics.items():
        leaky_value = foil.metrics.get(name)
        if leaky_value is not None and value is not None:
            gap[name] = leaky_value - value
    return Foil(
        protocol=foil.protocol.name,
        sha256=foil.protocol.sha256,
        metrics=foil.metrics,
        intervals=foil.intervals,
        audit=foil.audit,
        against=dict(metrics),
        gap=gap,
    )


def model_section(recipe: Recipe, plan: Blueprint) -> Model:
    """The report's `model`, without the fields that are known only after the training."""
    architecture = recipe.model.architecture
    has_published_weights = plan.checkpoint is not None and not plan.random_init
    revision = None
    base_model = None
    if has_published_weights:
        revision = plan.revision or weights_hash(plan.checkpoint)
        is_local = Path(plan.checkpoint).exists()
        base_model = None if is_local else plan.checkpoint
    section = Model(
        architecture=architecture,
        model_type=plan.config.model_type,
        checkpoint=plan.checkpoint,
        revision=revision,
        base_model=base_model,
        remote_code=plan.remote_code,
        parent=parent_section(plan),
        padding_safe=plan.padding_safe,
        sampling_rate=plan.extractor.sampling_rate,
        preparation=_preparation(plan.preparation),
        depth=_depth(recipe),
        augmentation=_augmentation(recipe),
        adapter=recipe.lora.rank is not None,
    )
    changes: dict[str, Any] = {}
    if architecture == "encoder":
        changes["encoder"] = encoder_config(plan.config).model_type
    if has_published_weights and architecture in TRANSFERRED and plan.labels is None:
        weights = PUBLISHED[plan.config.model_type]
        changes["origin"] = Origin(
            file=weights.file, source=weights.source, licence=weights.licence
        )
    return section.model_copy(update=changes)


def _preparation(preparation: Preparation) -> str:
    """A description of the preparation of every clip."""
    unit = "LUFS" if preparation.level == "loudness" else "dBFS"
    steps = dataclasses.asdict(preparation)
    return ", ".join(
        PREPARATION[name].format(value, unit) for name, value in steps.items() if value
    )


def _augmentation(recipe: Recipe) -> str:
    """A description of the steps of augmentation, with the share of clips that each changes."""
    return ", ".join(
        f"{name.replace('_', ' ')} (in {100 * step.probability:g} % of them)"
        for name, step in recipe.augment.active_steps.items()
    )


def _depth(recipe: Recipe) -> str:
    """A sentence about the trained and frozen parts; empty if the whole network is trained."""
    freeze = recipe.freeze
    if recipe.lora.rank is not None:
        return (
            f"The head and LoRA adapters of rank {recipe.lora.rank} were trained; "
            "the other weights are frozen."
        )
    is_pretrained = recipe.model.architecture in ("encoder", *TRANSFERRED)
    if freeze.encoder or (is_pretrained and recipe.training.solver == "sklearn"):
        return "Only the head was trained; the encoder is frozen."
    if freeze.top_layers is not None:
        return f"Only the top {counted(freeze.top_layers, 'layer')} and the head were trained."
    if freeze.layers:
        return f"The lowest {counted(freeze.layers, 'layer')} and all below are frozen."
    if freeze.feature_encoder:
        return "The convolutional stem is frozen."
    return ""
