"""What a run leaves behind: the publishable model folder with its card, and the report. Each appears whole."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from huggingface_hub import ModelCard
from transformers import PreTrainedModel

from .corpora import corpus_facts
from .environment import environment
from .evaluation.metrics import DEFINITIONS
from .evaluation.report import write_report
from .hub.card import model_card, report_page
from .material import Fold, Material
from .models import ARCHITECTURES
from .models.waveform_preparation import Preparation
from .protocols import PARTS, Split, fingerprint, worst
from .run_folder import RunFolder
from .sections import Recipe
from .strict import dump_yaml
from .whole import whole_folder


def header(
    recipe: Recipe,
    material: Material,
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
        "protocol": protocol_facts(folds, recipe.evaluation.part),
        "audit": worst([fold.audit for fold in folds]),
        "foil": foil and _gap(metrics, foil),
        "model": {
            "architecture": recipe.model.architecture,
            "model_type": material.plan.config.model_type,
            "checkpoint": material.plan.checkpoint,
            "remote_code": recipe.model.architecture in ARCHITECTURES or material.plan.preparation.active,
            "padding_safe": material.plan.padding_safe,
            "preparation": _told(material.plan.preparation),
        },
        "environment": environment(),
    }


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
    gap = {name: foil["metrics"][name] - value for name, value in metrics.items()}
    return described | figures | {"against": dict(metrics), "gap": gap}


def save_model(
    recipe: Recipe, material: Material, model: PreTrainedModel, report: dict[str, Any], folder: RunFolder
) -> None:
    """The publishable folder: weights, configuration, code where it is ours, feature extractor, card, and what
    `ser-hf reproduce` needs."""
    with whole_folder(folder.model) as partial:
        model.save_pretrained(partial)
        material.plan.published_extractor.save_pretrained(partial)
        card(recipe, material, report, folder).save(partial / "README.md")
        keep_recipe_and_report(recipe, report, partial)


def keep_recipe_and_report(recipe: Recipe, report: Mapping[str, Any], folder: Path) -> None:
    """recipe.yaml and report.json beside the weights: who has the model alone can rerun it and compare (`ser-hf
    reproduce`). Neither holds a path of this machine; the recipe says which versions it was run with."""
    made_with = {key: report["environment"][key] for key in ("versions", "git_revision")}
    told = _public(dataclasses.replace(recipe, provenance=made_with).to_dict())
    (folder / "recipe.yaml").write_text(dump_yaml(told), encoding="utf-8")
    figures = json.dumps(_public(report) | {"definitions": DEFINITIONS}, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "report.json").write_text(figures + "\n", encoding="utf-8")


def card(recipe: Recipe, material: Material, report: dict[str, Any], folder: RunFolder) -> ModelCard:
    plan = material.plan
    if plan.checkpoint is None:
        sentence = ARCHITECTURES[recipe.model.architecture].__module__
        sentence = sys.modules[sentence].__doc__.partition("\n")[0]
    else:
        start = "configuration only, random start" if plan.random_init else "fine-tuned"
        sentence = f"{plan.config.model_type} from {_public_name(plan.checkpoint)} ({start})."
    return model_card(
        report,
        corpus=corpus_facts(recipe.corpus.name, recipe.corpus.options),
        location=folder.model.as_posix(),
        architecture=sentence,
        remote_code=report["model"]["remote_code"],
        sampling_rate=plan.extractor.sampling_rate,
        recipe=dump_yaml(_public(recipe.to_dict())),
        # A folder on this machine is nobody else's base model.
        base_model=None if plan.random_init or Path(plan.checkpoint).is_dir() else plan.checkpoint,
    )


def save_report(
    report: dict[str, Any],
    dataset: Dataset,
    rows: Mapping[str, Sequence[int]],
    predictions: pa.Table,
    folder: RunFolder,
) -> None:
    """report/: predictions, the page that people read, pictures, report.json. `rows` are those of each part."""
    with whole_folder(folder.report) as partial:
        pq.write_table(predictions, partial / "predictions.parquet")
        (partial / "README.md").write_text(report_page(report), encoding="utf-8")
        write_report(partial, report, dataset, rows)


def _public(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe or report as others may read it: no path of this machine, of which they learn nothing."""
    told = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            told[key] = _public(value)
        elif key not in ("output_dir", "cache_dir"):
            told[key] = Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
    return told


def _public_name(checkpoint: str) -> str:
    """A Hub id as it is; of a folder on this machine only its own name."""
    return Path(checkpoint).name if Path(checkpoint).is_dir() else checkpoint
