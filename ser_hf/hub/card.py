"""Model cards: the report's facts, poured into a template of hub_cards/."""

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..evaluation.calibration import at_limit
from ..evaluation.metrics import DEFINITIONS, HEADLINE, NAMES
from ..evaluation.report import judged_people


def templates() -> jinja2.Environment:
    """The templates of hub_cards/: installed with the package, or beside it in a checkout."""
    try:
        folder = resources.files("ser_hf.hub_cards")
    except ModuleNotFoundError:
        folder = Path(__file__).parents[2] / "hub_cards"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
    environment.filters |= {"figure": _figure, "ends": _ends, "cell": cell}
    return environment


def cell(text: object) -> str:
    """What tables of others call something, as one cell of a Markdown table: nothing in it ends the cell, begins code
    or HTML, or breaks the line."""
    return re.sub(r"([\\|`<])", r"\\\1", " ".join(str(text).split()))


def _figure(value: float | None) -> str:
    """Three digits; a dash for what the clips leave undefined."""
    return "–" if value is None else f"{value:.3f}"


def _ends(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else "{:.3f} to {:.3f}".format(*interval)


def report_page(report: Mapping[str, Any]) -> str:
    """The report in Markdown, as people read it on a Hub page or in a file browser; its pictures stand beside it."""
    return _tidy(templates().get_template("report.md").render(_filled(report)))


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
        corpus: what `ser_hf.corpora.corpus_facts` says of the training data.
        location: what `pipeline(model=...)` is to load: a folder or a Hub id.
        architecture: one sentence about the network.
        remote_code: whether loading needs `trust_remote_code`.
        recipe: the resolved recipe as YAML.
        base_model: Hub id of the checkpoint it was fine-tuned from.
    """
    data = ModelCardData(
        language=corpus["language"],
        # The Hub takes one licence; those of a mixture's corpora stand in the text.
        license="other" if isinstance(corpus["license"], list) else corpus["license"],
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "audio-classification", "ser_hf"],
        metrics=["recall", "accuracy", "f1"],
        base_model=base_model,
        model_name=report["name"],
        eval_results=_eval_results(report, corpus),
    )
    text = (
        templates()
        .get_template("model_card.md")
        .render(
            _filled(report),
            card_data=data.to_yaml(),
            corpus=corpus,
            location=location,
            architecture=architecture,
            remote_code=remote_code,
            base_model=base_model,
            sampling_rate=sampling_rate,
            recipe=recipe.strip(),
        )
    )
    return ModelCard(_tidy(text))


def _filled(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with what templates ask for and not every report has."""
    absent = {"over": None, "pooled": None, "seeds": None, "foil": None}
    words = {"names": NAMES, "definitions": DEFINITIONS, "headline": HEADLINE, "judged_people": judged_people(report)}
    kinds = list(dict.fromkeys(kind for counts in report["audit"]["shared"].values() for kind in counts))
    protocol = {"folds": None, "fold": None, **report["protocol"]}
    model = {"depth": "", "adapter": False, **report["model"]}
    temperature = report.get("temperature")
    if temperature and at_limit(temperature["value"]):  # a warning tells of that
        temperature = None
    words["temperature"] = temperature
    return {**absent, **report, **words, "kinds": kinds, "protocol": protocol, "model": model}


def _tidy(text: str) -> str:
    """Sections that were left out leave one empty line, not several."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


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
