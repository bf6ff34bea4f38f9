"""The metadata of a model card, in the Hub's own words."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from ..evaluation.metrics import NAMES
from ..evaluation.page.words import listed
from .licence import licence

# What the Hub calls the metrics that `model-index` has, and how they are averaged.
TYPES = {
    "uar": ("recall", {"average": "macro"}),
    "wa": ("accuracy", None),
    "macro_f1": ("f1", {"average": "macro"}),
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def hub_page(repo: str, kind: str = "") -> str:
    """The address of a repository; `kind` is ``datasets`` or ``spaces`` for what is no model."""
    return "/".join(filter(None, ["https://huggingface.co", kind, repo]))


def card_data(
    report: Mapping[str, Any],
    corpus: Mapping[str, Any],
    corpora: Sequence[Mapping[str, Any]],
    *,
    judged: Sequence[Mapping[str, Any]] = (),
    base_model: str | None = None,
    datasets: Sequence[str] = (),
    hub_id: str | None = None,
    report_repo: str | None = None,
) -> ModelCardData:
    """The front matter of a model's card.

    Args:
        report: of the run whose weights these are.
        corpus, corpora: what `ser_hf.corpora` says of the training data as a whole, and of each corpus.
        judged: of each corpus whose clips judged it; by default those that it learnt from.
        base_model: Hub id of the checkpoint that it was fine-tuned from. Adapters are merged into the weights, so
            that the relation is ``finetune`` with them too.
        datasets: Hub ids of what it learnt from.
        hub_id: the model's own.
        report_repo: the data set on the Hub that holds the report.
    """
    told: dict[str, Any] = licence(corpora, hub_id and hub_page(hub_id))
    if base_model:
        told |= {"base_model": base_model, "base_model_relation": "finetune"}
    emissions = _emissions(report)
    if emissions:
        told["co2_eq_emissions"] = emissions
    return ModelCardData(
        language=corpus["language"],
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "audio-classification", "ser_hf"],
        datasets=list(datasets) or None,
        metrics=list(dict.fromkeys(kind for kind, _ in TYPES.values())),
        model_name=report["name"],
        eval_results=index(report, judged or corpora, datasets, report_repo),
        **told,
    )


def index(
    report: Mapping[str, Any],
    judged: Sequence[Mapping[str, Any]],
    datasets: Sequence[str] = (),
    report_repo: str | None = None,
) -> list[EvalResult]:
    """`model-index`: UAR, WA and macro-F1, the Hub's words for their types, the field's for their names, on the
    corpora that judged, and under which protocol, which a leaky one says in every name."""
    protocol = report["protocol"]
    under = protocol["name"] + (", leaky" if protocol["leak"] else "")
    arguments = {"protocol": protocol["name"], "fold": protocol.get("fold"), "split_sha256": protocol["sha256"]}
    source = {"source_name": "Evaluation report", "source_url": hub_page(report_repo, "datasets")}
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech emotion recognition",
            dataset_type=_type(judged, datasets),
            dataset_name=f"{listed([one['title'] for one in judged])}, {under}",
            dataset_split=report["judged_on"],
            dataset_args={name: value for name, value in arguments.items() if value},
            metric_type=kind,
            metric_name=f"{NAMES[metric]} ({under})",
            metric_value=round(report["metrics"][metric], 4),
            metric_args=averaged,
            **(source if report_repo else {}),
        )
        for metric, (kind, averaged) in TYPES.items()
    ]


def _type(judged: Sequence[Mapping[str, Any]], datasets: Sequence[str]) -> str:
    """The Hub's id of what judged, where that is one data set that has one; our own name of it otherwise."""
    if len(judged) > 1:
        return "mixture"
    return datasets[0] if len(datasets) == 1 and judged[0]["name"] == "hub" else judged[0]["name"]


def is_hub_id(location: str) -> bool:
    """Whether it reads as USER/NAME does; a folder may."""
    return _HUB_ID.fullmatch(location) is not None


def _emissions(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Grams, as the Hub counts them; None where nobody said on which grid."""
    energy = report.get("energy") or {}
    if energy.get("emissions_kg") is None:
        return None
    machine = report["environment"]
    return {
        "emissions": float(f"{1000 * energy['emissions_kg']:.3g}"),
        "source": energy["measured_by"],
        "training_type": "fine-tuning" if report["model"].get("checkpoint") else "training from scratch",
        "geographical_location": energy["country"],
        "hardware_used": machine["accelerator"] or machine["processor"],
    }
