"""UAR against the severity of noise, reverberation and the like, a panel for each kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .conditions import KINDS
from .plots import COLOURS

_MOST_COLUMNS = 5
_MEASURED, _CLEAN = COLOURS[0], COLOURS[2]


def robustness_figure(robustness: Mapping[str, Any]) -> Figure:
    """Small multiples with one scale of UAR, from what `ser_hf.evaluation.robustness.robustness` returns (of one
    condition or more): points and intervals by severity, the clean clips' level with its interval, and chance.

    Severities are evenly spaced, in the order of their numbers, clean clips among them: left of the mildest severity,
    or in the middle where a quantity goes both ways.
    """
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for condition in robustness["conditions"]:
        kinds.setdefault(condition["kind"], []).append(condition)
    rows = -(-len(kinds) // _MOST_COLUMNS)
    columns = -(-len(kinds) // rows)
    figure = Figure(figsize=(0.6 + 2.6 * columns, 1 + 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (kind, conditions) in zip(panels.ravel(), kinds.items(), strict=False):
        _draw_kind(axes, kind, conditions, robustness)
    for axes in panels.ravel()[len(kinds) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set(ylabel="UAR", ylim=(0, 1))
    lines, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=3, frameon=False)
    clean, confidence = robustness["clean"]["uar"], robustness["settings"]["confidence"]
    clips = f"{robustness['clips']} of {robustness['settings']['of_clips']} clips"
    runs = robustness["settings"].get("runs")
    told = f"mean of {runs} runs" if runs else f"intervals of {confidence:.0%}"
    figure.suptitle(f"Robustness: UAR {clean:.3f} on {clips} as they are; {told}")
    return figure


def _draw_kind(axes: Axes, kind: str, conditions: Sequence[Mapping[str, Any]], robustness: Mapping[str, Any]) -> None:
    of, clean = KINDS[kind], robustness["clean"]
    points = {of.clean: clean} | {condition["severity"]: condition for condition in conditions}
    # Where a smaller number is the harder one, as of SNR, it stands further right.
    severities = sorted(points, reverse=of.clean > max(condition["severity"] for condition in conditions))
    places = range(len(severities))
    scores = [points[severity]["uar"] for severity in severities]
    # The mean over several runs has no interval.
    intervals = [points[severity].get("interval") for severity in severities]
    if all(intervals):
        low, high = zip(*intervals, strict=True)
        axes.axhspan(*clean["interval"], color=_CLEAN, alpha=0.12, linewidth=0)
        axes.fill_between(places, low, high, color=_MEASURED, alpha=0.2, linewidth=0)
    axes.axhline(clean["uar"], color=_CLEAN, linestyle="--", linewidth=1, label="clean")
    axes.axhline(robustness["chance"], color="0.4", linestyle=":", linewidth=1, label="chance")
    axes.plot(places, scores, color=_MEASURED, marker="o", markersize=4, label="under the condition")
    axes.set_xticks(places, ["clean" if severity == of.clean else f"{severity:g}" for severity in severities])
    axes.set(xlabel=f"{of.axis} ({of.unit})", title=of.title, xlim=(-0.3, len(severities) - 0.7))
    axes.grid(alpha=0.3)
