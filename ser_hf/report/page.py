"""The report as a page: one file that opens without a network, on a phone as on paper, by keyboard and by ear."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2

from ..utils.environment import __version__
from . import text, views
from .report import judged_people


@functools.cache
def template(package: str, name: str, **filters: Callable[..., Any]) -> jinja2.Template:
    """The template `name` beside the modules of `package`; what it includes stands there, or here."""

    def load(name: str) -> str | None:
        for place in (package, __package__):
            file = resources.files(place).joinpath(name)
            if file.is_file():
                return file.read_text(encoding="utf-8")
        return None

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters
    return environment.get_template(name)


# In the order of the page; each is a template beside this module, left out where there is nothing to show.
SECTIONS = {
    "results": "Results",
    "protocol": "Who taught, who chose, who judged",
    "classes": "Clips of each emotion",
    "training": "Training",
    "confusion": "What is taken for what",
    "per_class": "Each emotion",
    "slices": "Where it is good, and where not",
    "perceived": "Meant and perceived",
    "corpora": "Each corpus by itself",
    "runs": "Folds and seeds",
    "foil": "What a leaky protocol would claim",
    "robustness": "Noise, rooms and telephones",
    "calibration": "Can its probabilities be believed?",
    "embeddings": "How it places the clips",
    "hardest": "The hardest clips",
    "sources": "Labels of the files",
    "label_words": "Words of the model",
    "cost": "What it took",
    "environment": "Made with",
    "recipe": "The recipe",
    "cite": "How to cite",
    "files": "Beside this page",
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture in the page: what it shows, its data URI, its size in CSS pixels, and the files beside the page that
    hold it too."""

    alt: str
    source: str
    width: int
    height: int
    files: Sequence[str] = ()


def render(
    report: Mapping[str, Any],
    *,
    pictures: Mapping[str, Sequence[Picture]] | None = None,
    recipe: str = "",
    corpus: Mapping[str, Any] | None = None,
    links: Mapping[str, Any] | None = None,
    players: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> str:
    """The page as HTML. Reports of older versions, which know less, give shorter pages.

    Args:
        report: as report.json holds it.
        pictures: by section.
        recipe: the resolved recipe as YAML.
        corpus: what `ser_hf.corpora.corpus_facts` says of the data.
        links: addresses of other reports, relative to this page's folder: {"above": address, "runs": {number:
            address}, "foil": address}, each left out where there is none.
        players: where the audio of clips can be played from, by id.
        files: what stands beside the page, {name: what it holds}.
    """
    report = _filled(report)
    pictures = dict.fromkeys(SECTIONS, ()) | dict(pictures or {})
    links = {"above": None, "runs": {}, "foil": None, **(links or {})}
    shown = {
        "results": views.results(report),
        "protocol": views.protocol(report),
        "classes": views.classes(report),
        "training": views.training(report) or pictures.get("training"),
        "confusion": views.confusion(report["confusion"], report["labels"]),
        "per_class": report.get("per_class"),
        "slices": views.slices(report),
        "perceived": views.perceived(report),
        "corpora": views.corpora(report),
        "runs": views.runs(report),
        "foil": views.foil(report),
        "robustness": views.robustness(report),
        "calibration": views.calibration(report),
        "embeddings": report.get("embeddings") if pictures.get("embeddings") else None,
        "hardest": report.get("hardest"),
        "sources": report.get("sources"),
        "label_words": report.get("label_words"),
        "cost": views.cost(report),
        "environment": views.environment(report),
        "recipe": recipe.strip(),
        "cite": views.cite(report, corpus),
        "files": files,
    }
    sections = {section: title for section, title in SECTIONS.items() if shown[section]}
    if report["protocol"].get("folds"):
        sections["runs"] = "Fold by fold"
    elif "runs" in sections:
        sections["runs"] = "Seed by seed"
    return template(__package__, "page.html", figure=figure, signed=signed).render(
        shown,
        report=report,
        sections=sections,
        pictures=pictures,
        links=links,
        players=players or {},
        banners=text.banners(report),
        headline=text.headline(report),
        chance=text.chance_of(report),
        people=judged_people(report),
        several=_several(report),
        confidence=f"{100 * report.get('confidence', 0.95):g} %",
        short=views.SHORT,
        names=views.NAMES,
        definitions=views.DEFINITIONS,
        counted=text.counted,
        duration=views.duration,
        version=__version__,
    )


def _filled(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with what the templates ask for and not every report has."""
    protocol = {"name": None, "fold": None, "folds": None, "leak": None, **report["protocol"]}
    model = {"architecture": None, "checkpoint": None, **report.get("model", {})}
    return {"warnings": [], "seeds": None, **report, "protocol": protocol, "model": model}


def figure(value: float | None, digits: int = 3) -> str:
    """A score as people read it."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def _several(report: Mapping[str, Any]) -> str:
    """Over what the counts are summed, where that is more than one run on the same clips."""
    if report.get("seeds"):
        return f"Counts are summed over {len(report['seeds'])} seeds."
    if report["protocol"].get("folds"):
        return "Counts are those of all folds together."
    return ""
