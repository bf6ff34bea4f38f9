"""What a run leaves behind: the publishable model folder with its card, and the report. Each appears whole."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from .corpora import CORPORA
from .environment import environment
from .evaluation.report import write_predictions, write_report
from .hub.card import model_card
from .material import Material
from .models import ARCHITECTURES
from .protocols import PARTS
from .recipe import Recipe
from .run_folder import RunFolder
from .training.run import Fit


def header(recipe: Recipe, material: Material, folder: RunFolder) -> dict[str, Any]:
    """What a report says whatever was measured: which run, which protocol, which machine."""
    split = material.split
    return {
        "name": recipe.name,
        "judged_on": recipe.evaluation.part,
        "output_dir": str(folder.path),
        "labels": material.labels,
        "protocol": {
            "name": split.name,
            "sha256": split.sha256,
            "parts": {part: {"clips": len(split.ids[part]), "speakers": split.speakers[part]} for part in PARTS},
        },
        "audit": material.audit,
        "model": {
            "architecture": recipe.model.architecture,
            "model_type": material.plan.config.model_type,
            "checkpoint": material.plan.checkpoint,
            "remote_code": recipe.model.architecture in ARCHITECTURES,
            "padding_safe": material.plan.padding_safe,
        },
        "environment": environment(),
    }


def save_model(recipe: Recipe, material: Material, fitted: Fit, report: dict[str, Any], folder: RunFolder) -> None:
    """The publishable folder: weights, configuration, code where it is ours, feature extractor, card."""
    model = fitted.trainer.accelerator.unwrap_model(fitted.trainer.model)
    with whole_folder(folder.model) as partial:
        model.save_pretrained(partial)
        material.plan.extractor.save_pretrained(partial)
        card(recipe, material, report, folder).save(partial / "README.md")


def card(recipe: Recipe, material: Material, report: dict[str, Any], folder: RunFolder) -> ModelCard:
    module = CORPORA[recipe.corpus.name]
    plan = material.plan
    if plan.checkpoint is None:
        sentence = ARCHITECTURES[recipe.model.architecture].__module__
        sentence = sys.modules[sentence].__doc__.partition("\n")[0]
    else:
        start = "configuration only, random start" if plan.random_init else "fine-tuned"
        sentence = f"{plan.config.model_type} from {_public_name(plan.checkpoint)} ({start})."
    return model_card(
        report,
        corpus={
            "name": recipe.corpus.name,
            "title": module.TITLE,
            "license": module.LICENSE,
            "language": module.LANGUAGE,
            "url": module.URL,
            "citation": module.CITATION,
            "acted": module.ACTED,
        },
        location=folder.model.as_posix(),
        architecture=sentence,
        remote_code=report["model"]["remote_code"],
        sampling_rate=plan.extractor.sampling_rate,
        recipe=recipe.to_yaml(),
        # A folder on this machine is nobody else's base model.
        base_model=None if plan.random_init or Path(plan.checkpoint).is_dir() else plan.checkpoint,
    )


def save_report(material: Material, report: dict[str, Any], predicted: dict[str, Any], folder: RunFolder) -> None:
    with whole_folder(folder.report) as partial:
        judged = {name: value for name, value in predicted.items() if name != "train"}
        write_predictions(partial / "predictions.parquet", material.dataset, judged)
        write_report(partial, report, material.dataset, material.split.rows)


def _public_name(checkpoint: str) -> str:
    """A Hub id as it is; of a folder on this machine only its own name."""
    return Path(checkpoint).name if Path(checkpoint).is_dir() else checkpoint


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears by a rename once it is filled; what stood in its place goes then, and not before."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
