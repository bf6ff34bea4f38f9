"""The page of a comparison: one file, its picture inside."""

import base64
from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..evaluation.metrics import DEFINITIONS, NAMES
from ..pages import template
from . import text


def page(comparison: Mapping[str, Any], picture: bytes) -> str:
    """The page as HTML, every string escaped.

    Args:
        comparison: what `compare_runs` returns.
        picture: the bar chart as SVG.
    """
    return template(__package__, "page.html", span=text.span, chance=text.chance, minus=_minus).render(
        **comparison,
        version=__version__,
        names=NAMES,
        measures=DEFINITIONS,
        headings=text.headings(comparison["metric"]),
        cells={row["name"]: text.cells(row, comparison["metric"]) for row in comparison["runs"]},
        chances=text.chances,
        verdict=_verdict(comparison),
        not_paired=text.not_paired,
        picture=as_source(picture),
        alt=_described(comparison),
    )


def as_source(picture: bytes) -> str:
    """An SVG as an address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode('ascii')}"


def _described(comparison: Mapping[str, Any]) -> str:
    metric = comparison["metric"]
    rows = ", ".join(f"{row['name']} {row['metrics'][metric]:.3f}" for row in comparison["runs"])
    return f"Bar chart of {NAMES[metric]} with intervals, the best first: {rows}."


def _verdict(comparison: Mapping[str, Any]) -> dict[str, str]:
    """What the whole comparison comes to, and how good news that is."""
    rows, metric = comparison["runs"], comparison["metric"]
    best, title = rows[0], NAMES[metric]
    others = len(rows) - 1
    lead = f"{best['name']} has the highest {title}, {best['metrics'][metric]:.3f}"
    if best["protocol"]["leak"] or best["protocol"]["heard_before"]:
        return {"level": "error", "text": f"{lead}, of speakers that it heard in training."}
    if best["protocol"]["heard_before"] is None:
        return {"level": "warning", "text": f"{lead}, of speakers that it may have heard in training."}
    if comparison["unpaired"]:
        return {
            "level": "note",
            "text": "Not all runs answered the same clips, and figures on different ones rank nothing.",
        }
    beaten = sum(pair["a"] == best["name"] and pair["verdict"] == "a is better" for pair in comparison["pairs"])
    if beaten == others:
        return {
            "level": "ok",
            "text": f"{lead}; its lead over {'every other' if others > 1 else 'the other'} is shown.",
        }
    shown = f"its lead over {beaten} of {others} is shown" if beaten else "no lead over another is shown"
    return {"level": "note", "text": f"{lead}; {shown}."}


def _minus(text: str) -> str:
    """With the minus sign that lines up with digits."""
    return text.replace("-", "−")
