"""The report as a single HTML page, which loads nothing from the network.

The page works on phones, on paper, with a keyboard and with a screen reader.
"""

import base64
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from ..evaluation.metrics import METRICS, NAMES, definitions
from ..utils.environment import __version__
from . import selective, views
from .published import published_rows
from .report import Report

# {section: title}, in the order of the page. Each section has a template of that name beside this
# module. A section whose template renders nothing is left out.
SECTIONS = {
    "results": "Summary",
    "confusion": "Confusion matrix",
    "per_class": "Per-class results",
    "dimensions": "Results by dimension",
    "slices": "Results by group",
    "corpora": "Results by corpus",
    "runs": "Results by fold or seed",
    "published": "Published under this protocol",
    "new_speaker": "What to expect from a new speaker",
    "foil": "Leaky protocol for comparison",
    "perceived": "Intended and perceived emotion",
    "adaptation": "Adaptation without labels",
    "calibration": "Calibration",
    "abstention": "Unknown predictions",
    "robustness": "Robustness",
    "embeddings": "Map of embeddings",
    "protocol": "Data and splits",
    "classes": "Class distribution",
    "sources": "Corpus labels",
    "label_words": "Model labels",
    "training": "Training curves",
    "hardest": "Hardest clips",
    "cost": "Cost",
    "environment": "Environment",
    "recipe": "Recipe",
    "cite": "Citation",
    "files": "Files",
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture in a page.

    Args:
        alt: alternative text.
        source: the picture as a data URI.
        width, height: size in CSS pixels.
        files: files of the same picture in the folder of the page.
    """

    alt: str
    source: str
    width: int
    height: int
    files: Sequence[str] = ()


def picture(
    alt: str, data: bytes, inches: tuple[float, float], files: Sequence[str] = ()
) -> Picture:
    """Embed a PNG or SVG (`data`) in a page; one inch is 96 CSS pixels."""
    kind = "png" if data.startswith(b"\x89PNG") else "svg+xml"
    width, height = inches
    return Picture(
        alt=alt,
        source=f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
        width=round(96 * width),
        height=round(96 * height),
        files=files,
    )


@functools.cache
def template(package: str, name: str, **filters: Callable[..., Any]) -> jinja2.Template:
    """Load the template `name` of a package.

    Templates that it includes are searched in that package first, then in this one.
    """

    def load(name: str) -> str | None:
        for folder in (package, __package__):
            file = resources.files(folder).joinpath(name)
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
    environment.filters |= views.FORMATS | filters
    environment.globals["version"] = __version__
    return environment.get_template(name)


@dataclasses.dataclass(frozen=True)
class Links:
    """Addresses of the reports that belong to a report.

    Args:
        above: the report of the run that this run is a fold or seed of.
        runs: the reports of the folds or seeds, by number.
        foil: the report of the run under the leaky protocol.
    """

    above: str | None = None
    runs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    foil: str | None = None


_NO_LINKS = Links()


def render(
    report: Report,
    *,
    pictures: Mapping[str, Sequence[Picture]] | None = None,
    recipe: str = "",
    corpus: Mapping[str, Any] | None = None,
    links: Links = _NO_LINKS,
    clip_pictures: Mapping[str, Picture] | None = None,
    players: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> str:
    """Render the page of a report as HTML.

    Args:
        pictures: {section: pictures}.
        recipe: the resolved recipe as YAML.
        corpus: facts about the data, see `ser_hf.corpora.corpus_facts`.
        links: addresses of other reports.
        clip_pictures: {id of one of the hardest clips: its picture}.
        players: {id of a clip: address of its audio}.
        files: files in the folder of the page, {name: description}.
    """
    page = template(__package__, "page.html")
    shown = {
        "report": report,
        "pictures": dict.fromkeys(SECTIONS, ()) | dict(pictures or {}),
        "recipe": recipe.strip(),
        "corpus": corpus,
        "links": links,
        "clip_pictures": clip_pictures or {},
        "players": players or {},
        "files": files or {},
        "views": views,
        "selective": selective,
        "published_rows": published_rows,
        "names": NAMES,
        "units": {key: metric.unit for key, metric in METRICS.items()},
        "definitions": definitions(report.measured),
        "main": report.main,
        "main_metrics": report.measured.headline,
        "chance": views.chance_of(report),
    }
    shown["draw"] = page.environment.get_template("macros.html").make_module(shown)
    sections = {}
    for section, title in SECTIONS.items():
        content = page.environment.get_template(f"{section}.html").render(shown)
        if content.strip():
            sections[section] = (title, Markup(content))
    return page.render(shown, sections=sections)
