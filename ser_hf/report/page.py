"""The report as one HTML page that needs no network. It works on phones, on paper, by keyboard and screen reader."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2

from ..utils.environment import __version__
from . import views
from .report import Report


@functools.cache
def template(package: str, name: str, **filters: Callable[..., Any]) -> jinja2.Template:
    """The template `name` of `package`. Included templates are searched there first, then here."""

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


# In the order of the page. Each is a template beside this module, left out without content.
SECTIONS = {
    "results": "Summary",
    "protocol": "Data and splits",
    "classes": "Class distribution",
    "training": "Training curves",
    "confusion": "Confusion matrix",
    "per_class": "Per-class results",
    "slices": "Results by group",
    "perceived": "Intended and perceived emotion",
    "corpora": "Results by corpus",
    "runs": "Folds and seeds",
    "foil": "Leaky protocol for comparison",
    "robustness": "Robustness",
    "calibration": "Calibration",
    "embeddings": "Embeddings",
    "hardest": "Hardest clips",
    "sources": "Corpus labels",
    "label_words": "Model labels",
    "cost": "Cost",
    "environment": "Environment",
    "recipe": "Recipe",
    "cite": "Citation",
    "files": "Files",
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture in the page: alternative text, data URI, size in CSS pixels, and its files beside the page."""

    alt: str
    source: str
    width: int
    height: int
    files: Sequence[str] = ()


def render(
    report: Report,
    *,
    pictures: Mapping[str, Sequence[Picture]] | None = None,
    recipe: str = "",
    corpus: Mapping[str, Any] | None = None,
    links: Mapping[str, Any] | None = None,
    players: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> str:
    """The page as HTML.

    Args:
        pictures: by section.
        recipe: the resolved recipe as YAML.
        corpus: facts of the data, see `ser_hf.corpora.corpus_facts`.
        links: addresses of other reports, relative to the page: {"above": address, "runs": {number: address},
            "foil": address}, each optional.
        players: addresses of the audio of clips, by id.
        files: files beside the page, {name: description}.
    """
    pictures = dict.fromkeys(SECTIONS, ()) | dict(pictures or {})
    shown = {
        "results": views.results(report),
        "protocol": views.protocol(report),
        "classes": views.classes(report),
        "training": views.training(report) or pictures["training"],
        "confusion": views.confusion(report.confusion, report.labels),
        "per_class": report.per_class,
        "slices": views.slices(report),
        "perceived": views.perceived(report),
        "corpora": views.corpora(report),
        "runs": views.runs(report),
        "foil": views.foil(report),
        "robustness": report.robustness,
        "calibration": views.calibration(report),
        "embeddings": report.embeddings if pictures["embeddings"] else None,
        "hardest": report.hardest,
        "sources": report.sources,
        "label_words": report.label_words,
        "cost": views.cost(report),
        "environment": views.environment(report),
        "recipe": recipe.strip(),
        "cite": views.cite(report, corpus),
        "files": files,
    }
    sections = {section: title for section, title in SECTIONS.items() if shown[section]}
    if report.runs:
        sections["runs"] = "Results by fold" if report.protocol.folds else "Results by seed"
    return template(__package__, "page.html", figure=figure, signed=signed).render(
        shown,
        report=report,
        sections=sections,
        pictures=pictures,
        links={"above": None, "runs": {}, "foil": None, **(links or {})},
        players=players or {},
        banners=views.banners(report),
        headline=views.headline(report),
        chance=views.chance_of(report),
        people=views.evaluated_speakers(report),
        several=_several(report),
        confidence=views.confidence(report),
        names=views.NAMES,
        definitions=views.DEFINITIONS,
        counted=views.counted,
        version=__version__,
    )


def figure(value: float | None, digits: int = 3) -> str:
    """A score with a fixed number of digits; a dash for an undefined one."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def _several(report: Report) -> str:
    """Which runs the counts are summed over."""
    if report.seeds:
        return f"Counts are summed over {len(report.seeds)} seeds."
    return "Counts are summed over all folds." if report.protocol.folds else ""
