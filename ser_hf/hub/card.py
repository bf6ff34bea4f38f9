"""Model cards and the report in Markdown: a report's facts, poured into the templates of hub_cards/."""

import functools
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import ModelCard

from ..evaluation.calibration import at_limit
from ..evaluation.metrics import DEFINITIONS, HEADLINE, NAMES
from ..evaluation.page import views, words
from ..evaluation.report import judged_people
from .card_metadata import card_data, hub_page
from .licence import in_words
from .works import linked

_LANGUAGES = {"en": "English", "de": "German", "zh": "Mandarin", "fr": "French", "it": "Italian", "es": "Spanish"}


@functools.cache
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
    environment.filters |= {
        "figure": _figure,
        "ends": _ends,
        "cell": cell,
        "licence": in_words,
        "counted": words.counted,
    }
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


def report_page(report: Mapping[str, Any], *, model: str | None = None, space: str | None = None) -> str:
    """The report in Markdown, as people read it on a Hub page or in a file browser; its pictures stand beside it.

    Args:
        model, space: Hub ids of the model that it is about, and of its demonstration.
    """
    pages = {"model_page": model and hub_page(model), "space": space and hub_page(space, "spaces")}
    return _tidy(templates().get_template("report.md").render(_filled(report), **pages))


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
    corpora: Sequence[Mapping[str, Any]] = (),
    judged: Sequence[Mapping[str, Any]] = (),
    about: str = "",
    works: Sequence[str] = (),
    datasets: Sequence[str] = (),
    hub_id: str | None = None,
    report_repo: str | None = None,
    space: str | None = None,
    pictures: Mapping[str, str] | None = None,
) -> ModelCard:
    """The card of a judged model; `ser_hf.hub.run_card` makes it of a run's files.

    Args:
        report: as `ser_hf.evaluation.report` writes it.
        corpus: what `ser_hf.corpora.corpus_facts` says of the training data.
        location: what `pipeline(model=...)` is to load: a folder or a Hub id.
        architecture: one sentence about the network.
        remote_code: whether loading needs `trust_remote_code`.
        sampling_rate: Hz.
        recipe: the resolved recipe as YAML.
        base_model: Hub id of the checkpoint it was fine-tuned from.
        corpora: what `ser_hf.corpora.corpora_facts` says of each corpus.
        judged: the same of each corpus whose clips judged it; by default those that it learnt from.
        about: more about the network, a paragraph or several.
        works: whom to cite for it.
        datasets: Hub ids of what it learnt from.
        hub_id: where it is published; None for a folder.
        report_repo, space: Hub ids of its report and of its demonstration.
        pictures: addresses of pictures, relative to the card, by the name that the report's folder gives them.
    """
    corpora = corpora or [corpus]
    settings = {"judged": judged, "base_model": base_model, "datasets": datasets}
    settings |= {"hub_id": hub_id, "report_repo": report_repo}
    text = (
        templates()
        .get_template("model_card.md")
        .render(
            _filled(report),
            card_data=card_data(report, corpus, corpora, **settings).to_yaml(),
            corpus=corpus,
            corpora_facts=corpora,
            told_languages=_languages(corpus["language"]),
            location=location,
            architecture=linked(architecture),
            about=linked(about),
            remote_code=remote_code,
            base_model=base_model,
            sampling_rate=sampling_rate,
            recipe=recipe.strip(),
            works=[linked(work) for work in works],
            report_repo=report_repo and hub_page(report_repo, "datasets"),
            space=space and hub_page(space, "spaces"),
            pictures=pictures or {},
            cost=_cost(report),
            cite=views.cite(report, corpus),
        )
    )
    return ModelCard(_tidy(text))


def _filled(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with what templates ask for and not every report has."""
    absent = {"over": None, "pooled": None, "seeds": None, "foil": None, "temperatures": None, "slices": {}}
    over = report.get("over") or {}
    kinds = list(dict.fromkeys(kind for counts in report["audit"]["shared"].values() for kind in counts))
    protocol = {"folds": None, "fold": None, **report["protocol"]}
    temperature = report.get("temperature")
    if temperature and at_limit(temperature["value"]):  # a warning tells of that
        temperature = None
    made = {
        "names": NAMES,
        "definitions": DEFINITIONS,
        "headline": HEADLINE,
        "judged_people": judged_people(report),
        "chance": words.chance_of(report),
        "kinds": kinds,
        "protocol": protocol,
        "model": {"depth": "", "adapter": False, "preparation": "", **report["model"]},
        "temperature": temperature,
        "temperatures": report.get("temperatures") or over.get("temperatures"),
        "folded": bool(protocol["folds"]) or over.get("kind") == "fold",
        "sliced": views.slices(report) or [],
        "robust": _robustness(report.get("robustness")),
        "robust_runs": _robustness(over.get("robustness")),
    }
    return {**absent, **report, **made}


def _robustness(own: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Means over all conditions and over those of each kind, and the worst of them."""
    if not own or not own["conditions"]:
        return None
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for condition in own["conditions"]:
        by_kind.setdefault(condition["kind"], []).append({"interval": None, **condition})
    told = {kind: _conditions(conditions) for kind, conditions in by_kind.items()}
    everything = _conditions([condition for conditions in by_kind.values() for condition in conditions])
    return {
        **everything,
        "clips": own["clips"],
        "clean": own["clean"]["uar"],
        "runs": own["settings"].get("runs", 1),
        "kinds": [{"kind": kind.replace("_", " "), **row} for kind, row in told.items()],
    }


def _conditions(conditions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mean = sum(condition["uar"] for condition in conditions) / len(conditions)
    worst = min(conditions, key=lambda condition: condition["uar"])
    return {"conditions": len(conditions), "mean": mean, "worst": worst, "change": round(-worst["drop"], 3) + 0.0}


def _cost(report: Mapping[str, Any]) -> dict[str, str]:
    """What the weights took, and all runs together where there were several."""
    told = dict(views.cost(report) or {})
    if told.get("Of them learnt") == told.get("Parameters"):
        told.pop("Of them learnt", None)
    over = report.get("over") or {}
    together = {
        "Training of all runs": views.duration(over.get("seconds")),
        "Energy of all runs": views.energy(over.get("energy")),
    }
    return told | {name: value for name, value in together.items() if value}


def _languages(codes: str | Sequence[str] | None) -> str:
    """ "English", "English and German", "4 languages"; nothing where nobody told."""
    own = [codes] if isinstance(codes, str) else list(codes or ())
    if len(own) > 3:
        return f"{len(own)} languages"
    return words.listed([_LANGUAGES.get(code, f"the language {code}") for code in own])


def _tidy(text: str) -> str:
    """Sections that were left out leave one empty line, not several."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
