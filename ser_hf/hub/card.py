"""Model cards: the report's facts, poured into a template of hub_cards/."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..evaluation.metrics import DEFINITIONS, NAMES
from ..evaluation.report import judged_people


def template(name: str) -> str:
    """Text of a card template: installed with the package, or beside it in a checkout."""
    try:
        folder = resources.files("ser_hf.hub_cards")
    except ModuleNotFoundError:
        folder = Path(__file__).parents[2] / "hub_cards"
    return (folder / name).read_text(encoding="utf-8")


def model_card(
    report: Mapping[str, Any],
    *,
    corpus: Mapping[str, Any],
    location: str,
    architecture: str,
    remote_code: bool,
    sampling_rate: int,
    recipe: str,
    base_model: str | None = None,
) -> ModelCard:
    """The card of a judged model.

    Args:
        report: as `ser_hf.evaluation.report` writes it.
        corpus: name, title, license, language, url, citation and acted of the training data.
        location: what `pipeline(model=...)` is to load: a folder or a Hub id.
        architecture: one sentence about the network.
        remote_code: whether loading needs `trust_remote_code`.
        recipe: the resolved recipe as YAML.
        base_model: Hub id of the checkpoint it was fine-tuned from.
    """
    data = ModelCardData(
        language=corpus["language"],
        license=corpus["license"],
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "audio-classification", "ser_hf"],
        metrics=["recall", "accuracy", "f1"],
        base_model=base_model,
        model_name=report["name"],
        eval_results=_eval_results(report, corpus),
    )
    return ModelCard.from_template(
        data,
        template_str=template("model_card.md"),
        **{key: report[key] for key in report if key not in ("history", "definitions")},
        names=NAMES,
        kinds=list(next(iter(report["audit"]["shared"].values()))),
        judged_people=judged_people(report),
        definitions=DEFINITIONS,
        corpus=corpus,
        acted=corpus["acted"],
        non_commercial="-nc" in (corpus["license"] or ""),
        location=location,
        architecture=architecture,
        remote_code=remote_code,
        sampling_rate=sampling_rate,
        recipe=recipe.strip(),
    )


def _eval_results(report: Mapping[str, Any], corpus: Mapping[str, Any]) -> list[EvalResult]:
    """`model-index` entries; the Hub's names for the metric types, the field's for their titles."""
    types = {"uar": "recall", "wa": "accuracy", "macro_f1": "f1"}
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech emotion recognition",
            dataset_type=corpus["name"],
            dataset_name=f"{corpus['title']}, {report['protocol']['name']}",
            dataset_split=report["judged_on"],
            metric_type=kind,
            metric_name=f"{NAMES[metric]} ({report['protocol']['name']})",
            metric_value=round(report["metrics"][metric], 4),
        )
        for metric, kind in types.items()
    ]
