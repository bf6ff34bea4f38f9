"""A picture of emotions over time: the waveform, a lane for each speaker, and probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from ..corpora.schema import EMOTION_COLORS
from .plots import COLORS, save_figure

_UNKNOWN_COLOR = "#dddddd"
_LANE_HEIGHT = 0.42  # inches
_LEAST_WIDTH = 0.002  # of the picture: shorter segments would not be visible


class EnvelopeLike(Protocol):
    """See `ser_hf.audio.envelope.Envelope`."""

    low: np.ndarray
    high: np.ndarray
    duration: float


class LaneLike(Protocol):
    """See `ser_hf.inference.timeline_data.Lane`."""

    speaker: str | None
    starts: np.ndarray
    ends: np.ndarray
    labels: list[str]
    probabilities: np.ndarray


class TimelineLike(Protocol):
    """See `ser_hf.inference.timeline_data.Timeline`."""

    title: str
    envelope: EnvelopeLike
    lanes: Sequence[LaneLike]
    names: list[str]
    ranges: dict[str, list[float]]


def save_timeline(timeline: TimelineLike, path: Path) -> None:
    """Draw a timeline and save it as PNG or SVG."""
    save_figure(timeline_figure(timeline), path)


def timeline_figure(timeline: TimelineLike) -> Figure:
    """Draw a timeline: waveform above, lanes of speakers, and probabilities or values below."""
    lanes = [lane for lane in timeline.lanes if len(lane.starts)]
    has_labels = not timeline.ranges
    heights = [1.0, _LANE_HEIGHT * max(1, len(lanes)) if has_labels else 0.01, 1.6]
    figure = Figure(figsize=(11, 1.2 + sum(heights)), layout="constrained")
    wave, turns, curves = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    _draw_waveform(wave, timeline)
    _draw_curves(curves, timeline, lanes)
    if has_labels:
        _draw_lanes(turns, timeline, lanes)
        figure.legend(
            handles=_legend(timeline, lanes), loc="outside lower center", ncols=8, frameon=False
        )
    else:
        turns.set_axis_off()
    curves.set_xlim(0, timeline.envelope.duration)
    curves.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _clock(seconds)))
    curves.set_xlabel("time (min:s)" if timeline.envelope.duration < 3600 else "time (h:min:s)")
    return figure


def color_of(label: str, names: Sequence[str]) -> str:
    """The color of a label: that of its emotion in reports, or one of `COLORS`."""
    if label in EMOTION_COLORS:
        return EMOTION_COLORS[label]
    if label in names:
        return COLORS[list(names).index(label) % len(COLORS)]
    return _UNKNOWN_COLOR


def _draw_waveform(axes: Axes, timeline: TimelineLike) -> None:
    envelope = timeline.envelope
    times = (np.arange(len(envelope.low)) + 0.5) * envelope.duration / len(envelope.low)
    axes.fill_between(times, envelope.low, envelope.high, color="#777777", linewidth=0)
    loudest = max(float(np.abs(envelope.low).max()), float(envelope.high.max()), 1e-3)
    axes.set_ylim(-1.05 * loudest, 1.05 * loudest)
    axes.set_yticks([])
    axes.set_title(Path(timeline.title).name, loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_lanes(axes: Axes, timeline: TimelineLike, lanes: Sequence[LaneLike]) -> None:
    least = _LEAST_WIDTH * timeline.envelope.duration
    for number, lane in enumerate(lanes):
        widths = np.maximum(lane.ends - lane.starts, least)
        axes.barh(
            np.full(len(widths), number),
            widths,
            left=lane.starts,
            height=0.8,
            color=[color_of(label, timeline.names) for label in lane.labels],
            edgecolor="white",
            linewidth=0.3,
        )
    axes.set_yticks(range(len(lanes)), [lane.speaker or "speech" for lane in lanes], fontsize=9)
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)


def _draw_curves(axes: Axes, timeline: TimelineLike, lanes: Sequence[LaneLike]) -> None:
    """Draw the probabilities of the labels that are predicted, or the values of dimensions.

    Several speakers have one curve: where they overlap, that of the segment which begins later.
    """
    if not lanes:
        return
    starts = np.concatenate([lane.starts for lane in lanes])
    ends = np.concatenate([lane.ends for lane in lanes])
    values = np.concatenate([lane.probabilities for lane in lanes])
    order = np.argsort(starts, kind="stable")
    predicted = {label for lane in lanes for label in lane.labels}
    for column, name in enumerate(timeline.names):
        if predicted and name not in predicted:
            continue
        times = np.column_stack([starts[order], ends[order], ends[order]]).ravel()
        heights = np.column_stack(
            [values[order, column], values[order, column], np.full(len(order), np.nan)]
        ).ravel()
        color = color_of(name, timeline.names)
        axes.plot(times, heights, color=color, linewidth=2, solid_capstyle="butt", label=name)
    if timeline.ranges:
        axes.legend(frameon=False, fontsize=9)
        axes.set_ylabel("rating")
    else:
        axes.set_ylim(0, 1)
        axes.set_ylabel("probability")
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(timeline: TimelineLike, lanes: Sequence[LaneLike]) -> list[Patch]:
    """A patch for each predicted label, in the order of the model; unknown is the last."""
    predicted = {label for lane in lanes for label in lane.labels}
    shown = [name for name in timeline.names if name in predicted]
    shown += sorted(predicted.difference(timeline.names))
    return [Patch(color=color_of(name, timeline.names), label=name) for name in shown]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
