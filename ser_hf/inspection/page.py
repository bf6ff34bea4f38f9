"""Pages: facts, charts and examples poured into the templates beside this module, every string escaped."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from .. import __version__, pages
from ..corpora.schema import EMOTIONS
from .tables import MEASURES

# How many files a finding lists, and how many speakers the table has, before the page points at inspect.json.
LISTED = 20
SPEAKERS_LISTED = 200
_SHARES = ("silent_share", "clipped_share", "dc_offset")


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture beside the page, its size in CSS pixels."""

    name: str
    source: str
    alt: str
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class Example:
    """A clip to look at and listen to; `audio` is the path beside the page."""

    id: str
    emotion: str
    details: dict[str, Any]
    audio: str
    picture: Picture


def render(facts: Mapping[str, Any], charts: Sequence[Picture], examples: Sequence[Example]) -> str:
    """The page as HTML.

    Args:
        facts: `Inspection.to_dict()`.
    """
    return template("page.html").render(
        **facts,
        version=__version__,
        official_labels=[emotion for emotion in EMOTIONS if emotion in (facts["official"] or {}).get("per_label", ())],
        charts={chart.name: chart for chart in charts},
        shown=examples,
        listed=LISTED,
        speakers_listed=SPEAKERS_LISTED,
    )


def template(name: str) -> jinja2.Template:
    """A template beside this module, with the filter `quantity`."""
    return pages.template(__package__, name, quantity=quantity)


def quantity(value: float | None, measure: str) -> str:
    """A measure's value as people read it, without its unit: shares and offsets in percent of full scale."""
    if value is None:
        return "–"
    if measure in _SHARES:
        text = f"{100 * value:.2f}"
    else:
        text = f"{value:.2f}" if MEASURES[measure][0] == "s" else f"{value:.1f}"
    # No negative zero, and the minus sign that lines up with digits.
    return text.removeprefix("-") if not text.strip("-0.") else text.replace("-", "−")
