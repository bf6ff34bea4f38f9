"""What a run leaves behind: the publishable model folder with its card, and the report. Each appears whole."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel

from ..audio.augmentation import Augmentation
from ..corpora import corpus_facts
from ..evaluation.metrics import DEFINITIONS
from ..models import TRANSFERRED
from ..models.preparation import Preparation
from ..protocols import PARTS, Split, fingerprint, worst_audit
from ..report.card import Runs, model_card, public, public_name, report_page
from ..report.report import Report
from ..report.write import write_report
from ..training.encoders import encoder_config
from ..training.factory import Blueprint, store_temperature
from ..training.lora import merged, save_adapter
from ..training.pretrained import PUBLISHED
from ..utils.environment import environment
from ..utils.files import atomic_folder
from ..utils.run_folder import RunFolder
from ..utils.yaml import dump_yaml
from .data import ExperimentData, Fold
from .recipe import Recipe


def header(
    recipe: Recipe,
    material: ExperimentData,
    folds: Sequence[Fold],
    folder: RunFolder,
    metrics: Mapping[str, float],
    foil: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What a report says whatever was measured: which run, which protocol, what its parts share, which machine."""
    return {
        "name": recipe.name,
        "judged_on": recipe.evaluation.part,
        "output_dir": str(folder.path),
        "labels": material.labels,
        "protocol": protocol_facts(folds, recipe.evaluation.part)
        | ({"inherited": material.inherited} if material.inherited else {}),
        "audit": worst_audit([fold.audit for fold in folds]),
        **({"recordings": material.recordings} if material.recordings else {}),
        "sources": material.sources,
        "foil": foil and _gap(metrics, foil),
        "model": {
            "architecture": recipe.model.architecture,
            "model_type": material.plan.config.model_type,
            "checkpoint": material.plan.checkpoint,
            **_origin(recipe, material),
            "remote_code": material.plan.remote_code,
            "padding_safe": material.plan.padding_safe,
            "sampling_rate": material.plan.extractor.sampling_rate,
            "preparation": _told(material.plan.preparation),
            "depth": " ".join(filter(None, [_depth(recipe), _cached(recipe)])),
            "augmentation": _augmented(recipe.augment),
            "adapter": recipe.lora.rank is not None,
        },
        "environment": environment(),
    }


def _origin(recipe: Recipe, material: ExperimentData) -> dict[str, Any]:
    """Which encoder it is, where that is none of ours; the checkpoint's id on the Hub, where it has one; and what is
    known of a file of published weights."""
    plan = material.plan
    known = plan.checkpoint is not None and not plan.random_init
    # A folder on this machine is nobody else's base model.
    told: dict[str, Any] = {"base_model": plan.checkpoint if known and not Path(plan.checkpoint).exists() else None}
    if recipe.model.architecture == "encoder":
        told["encoder"] = encoder_config(plan.config).model_type
    if known and recipe.model.architecture in TRANSFERRED:
        published = PUBLISHED[plan.config.model_type](plan.config)
        told["origin"] = {key: getattr(published, key) for key in ("file", "source", "licence")}
    return told


def _told(preparation: Preparation) -> str:
    """What is done to every clip, in words; nothing where nothing is."""
    steps = []
    if preparation.trim_silence:
        steps.append(f"silence {preparation.trim_silence:g} dB below its loudest part trimmed off both ends")
    if preparation.level:
        unit = {"peak": "dBFS", "loudness": "LUFS"}[preparation.level]
        steps.append(f"{preparation.level} brought to {preparation.target_level:g} {unit}")
    if preparation.fixed_duration:
        steps.append(f"cut or padded with silence to {preparation.fixed_duration:g} s")
    return ", ".join(steps)


def _depth(recipe: Recipe) -> str:
    """What learnt of a network that did not start from random numbers, in sentences; nothing where all of it did."""
    freeze, lora = recipe.freeze, recipe.lora
    if lora.rank is not None:
        kind = " and ".join(word for word, used in (("DoRA", lora.dora), ("rank-stabilised", lora.rslora)) if used)
        kind = f", {kind}" if kind else ""
        return (
            f"The encoder's own weights are frozen; adapters of rank {lora.rank} (LoRA, alpha {lora.alpha:g}{kind}) "
            "and the head learnt. They are merged into the weights, and kept by themselves in adapter/."
        )
    pretrained = recipe.model.architecture == "encoder" or recipe.model.architecture in TRANSFERRED
    if pretrained and recipe.training.solver == "sklearn":
        return "The encoder is frozen; scikit-learn fitted the classifier on its embeddings of the clips."
    if freeze.encoder:
        return "The encoder is frozen; the head alone learnt."
    sentences = []
    lower = freeze.layers or freeze.top_layers is not None  # the stem lies below
    frozen = ["the convolutional stem"] * (freeze.feature_encoder and not lower)
    frozen += [f"the lowest {_counted(freeze.layers, 'layer')} and all below"] * bool(freeze.layers)
    if freeze.top_layers is not None:
        frozen.append(f"all but the top {_counted(freeze.top_layers, 'layer')} and the head")
    if frozen:
        sentences.append(f"Frozen: {', '.join(frozen)}.")
    if freeze.gradual.every is not None:
        often = "each epoch" if freeze.gradual.every == 1 else f"every {freeze.gradual.every} epochs"
        more = _counted(freeze.gradual.layers, "layer")
        sentences.append(f"The head learnt alone at first, {more} more from the top after {often}.")
    return " ".join(sentences)


def _augmented(augment: Augmentation) -> str:
    """What was done to training clips, in words; nothing where nothing was."""
    steps = augment.steps | ({"mixup": augment.mixup} if augment.mixup.probability else {})
    words = [f"{name.replace('_', ' ')} (in {100 * step.probability:g} % of them)" for name, step in steps.items()]
    if augment.oversample:
        words.append("over-sampling of rare classes")
    return ", ".join(words)


def _cached(recipe: Recipe) -> str:
    """How what is frozen was heard; nothing where every epoch computed it."""
    if not recipe.freeze.cache:
        return ""
    return "What does not learn was computed once for each training clip (long ones cropped at one place)."


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def protocol_facts(folds: Sequence[Fold], judged_on: str) -> dict[str, Any]:
    """What a report says of its protocol: fingerprint, digest of the clips of each fold, leak, notes, parts."""
    splits = [fold.split for fold in folds]
    leaks = [split.leak for split in splits if split.leak]
    described: dict[str, Any] = {
        "name": splits[0].name,
        "sha256": fingerprint(splits),
        "clips": [fold.clips for fold in folds],
        "leak": leaks[0] if leaks else None,
        "notes": _notes(folds),
    }
    if len(folds) == 1:
        return described | {"fold": splits[0].fold, "parts": _parts(splits[0])}
    judged = {
        "clips": sum(len(split.ids[judged_on]) for split in splits),
        "speakers": sorted({speaker for split in splits for speaker in split.speakers[judged_on]}),
    }
    own = {
        str(fold.number): {"tested": fold.split.fold, "sha256": fold.split.sha256, "parts": _parts(fold.split)}
        for fold in folds
    }
    return described | {"fold": None, "parts": {judged_on: judged}, "folds": own}


def _notes(folds: Sequence[Fold]) -> list[str]:
    """Each note once, with the folds it is about where that is not all of them."""
    about: dict[str, list[int]] = {}
    for fold in folds:
        for note in fold.split.notes:
            about.setdefault(note, []).append(fold.number)
    return [
        note if len(numbers) == len(folds) else f"Fold {', '.join(map(str, numbers))}: {note}"
        for note, numbers in about.items()
    ]


def _parts(split: Split) -> dict[str, Any]:
    return {part: {"clips": len(split.ids[part]), "speakers": split.speakers[part]} for part in PARTS}


def _gap(metrics: Mapping[str, float], foil: Mapping[str, Any]) -> dict[str, Any]:
    """The foil's figures, and by how much they flatter."""
    described = {"protocol": foil["protocol"]["name"], "sha256": foil["protocol"]["sha256"]}
    figures = {key: foil[key] for key in ("metrics", "intervals", "audit")}
    told = {name: (foil["metrics"].get(name), value) for name, value in metrics.items()}
    gap = {name: flattered - value for name, (flattered, value) in told.items() if None not in (flattered, value)}
    return described | figures | {"against": dict(metrics), "gap": gap}


def save_weights(
    model: PreTrainedModel | PeftModel, plan: Blueprint, temperature: Mapping[str, Any] | None, folder: Path
) -> None:
    """Weights, configuration, code where it is ours, and feature extractor. Adapters are merged into the weights, and
    saved in adapter/ too.

    Args:
        temperature: the report's.
    """
    store_temperature(model, temperature["value"] if temperature and temperature["stored"] else None)
    merged(model).save_pretrained(folder)
    if isinstance(model, PeftModel):
        save_adapter(model, folder / "adapter", public_name(plan.checkpoint))
    plan.published_extractor.save_pretrained(folder)


def save_card(
    recipe: Recipe,
    report: Mapping[str, Any],
    run: RunFolder,
    folder: Path,
    runs: Runs | None = None,
) -> None:
    """The card beside the weights in `folder`, and what `ser-hf reproduce` needs.

    Args:
        report: over all runs, if there are several.
        runs: all folds or seeds with the one whose weights these are.
    """
    card = model_card(runs or Report.from_dict(report), recipe.to_dict(), run.model.as_posix())
    card.save(folder / "README.md")
    keep_recipe_and_report(recipe, report, folder)


def keep_recipe_and_report(recipe: Recipe, report: Mapping[str, Any], folder: Path) -> None:
    """recipe.yaml and report.json beside the weights: who has the model alone can rerun it and compare (`ser-hf
    reproduce`). Neither holds a path of this machine; the recipe says which versions it was run with."""
    made_with = {key: report["environment"][key] for key in ("versions", "git_revision")}
    told = public(dataclasses.replace(recipe, provenance=made_with).to_dict())
    (folder / "recipe.yaml").write_text(dump_yaml(told), encoding="utf-8")
    report = public(report) | {"definitions": DEFINITIONS}
    if "hardest" in report:
        report["hardest"] = [{**clip, "path": None} for clip in report["hardest"]]  # who has the corpus knows the id
    figures = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "report.json").write_text(figures + "\n", encoding="utf-8")


def save_report(
    recipe: Recipe,
    report: dict[str, Any],
    dataset: Dataset,
    rows: Mapping[str, Sequence[int]],
    tables: Mapping[str, pa.Table | None],
    folder: RunFolder,
) -> None:
    """Writes report/: the page, pictures, report.json, README.md and the `tables`, such as predictions, as parquet.

    Args:
        rows: of each split, or of the evaluated split of each fold, to count the clips of each class.
    """
    names, labels = dataset.features["label"].names, np.asarray(dataset["label"][:])
    counts = {part: np.bincount(labels[own], minlength=len(names)).tolist() for part, own in rows.items()}
    distribution = {part: dict(zip(names, own, strict=True)) for part, own in counts.items()}
    written = Report.from_dict({**report, "labels": names, "class_distribution": distribution}, folder.report)
    with atomic_folder(folder.report) as partial:
        for name, table in tables.items():
            if table is not None:
                pq.write_table(table, partial / f"{name}.parquet")
        (partial / "README.md").write_text(report_page(written), encoding="utf-8")
        write_report(
            partial,
            written,
            recipe=dump_yaml(public(recipe.to_dict())),
            corpus=corpus_facts(recipe.corpus.name, recipe.corpus.options),
            links=report_links(written, folder),
        )


def report_links(report: Report, folder: RunFolder) -> dict[str, Any]:
    """Addresses of the reports above and below one, from its own folder."""
    kind = "fold" if report.protocol.folds else "seed"
    return {
        "above": "../../report/index.html" if folder.place else None,
        "runs": {number: f"../{kind}-{number}/report/index.html" for number in report.runs},
        "foil": "../foil/report/index.html" if report.foil else None,
    }
