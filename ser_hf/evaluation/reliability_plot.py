"""The reliability diagram: how often answers of each probability are right, and how many of them there are."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import COLOURS

_ANSWERED, _MISSING = COLOURS[:2]


def reliability_figure(calibration: Mapping[str, Any], temperature: Mapping[str, Any] | None = None) -> Figure:
    """Share of right answers in each bin of their probability, on the diagonal where a model is calibrated, above the
    clips of each bin (DeGroot and Fienberg 1983, The Statistician 32; Guo et al. 2017, arXiv:1706.04599).

    Args:
        calibration: {bins: [{low, high, clips, confidence, accuracy}], ece}, as a report has it.
        temperature: the report's, of which the title tells; None where none was fitted.
    """
    figure = Figure(figsize=(5, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    filled = [own for own in calibration["bins"] if own["clips"]]
    _draw_shares(upper, filled)
    upper.set(ylabel="share of right answers", ylim=(0, 1), title=_title(calibration["ece"], temperature))
    upper.legend(loc="upper left")
    lower.bar([own["low"] for own in filled], [own["clips"] for own in filled], _widths(filled), **_BAR)
    lower.set(xlabel="probability of the answer", ylabel="clips", xlim=(0, 1))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return figure


_BAR = {"align": "edge", "color": _ANSWERED, "edgecolor": "white"}


def _draw_shares(axes: Axes, filled: Sequence[Mapping[str, Any]]) -> None:
    places, widths = [own["low"] for own in filled], _widths(filled)
    shares = [own["accuracy"] for own in filled]
    gaps = [own["confidence"] - own["accuracy"] for own in filled]
    axes.bar(places, shares, widths, **_BAR, label="right")
    common = {"align": "edge", "color": "none", "edgecolor": _MISSING, "hatch": "//"}
    axes.bar(places, gaps, widths, bottom=shares, **common, label="up to their mean probability")
    axes.plot([0, 1], [0, 1], color="0.3", linestyle="--", linewidth=1, label="calibrated")


def _widths(filled: Sequence[Mapping[str, Any]]) -> list[float]:
    return [own["high"] - own["low"] for own in filled]


def _title(ece: float, temperature: Mapping[str, Any] | None) -> str:
    told = f"Reliability: expected calibration error {ece:.3f}"
    if temperature is None:
        return told
    before, after = (temperature[when]["ece"] for when in ("before", "after"))
    value = f"{temperature['value']:.3g}"
    if temperature["stored"]:
        return f"{told}\n(temperature {value}; {before:.3f} without)"
    return f"{told}\n({after:.3f} with a temperature of {value})"
