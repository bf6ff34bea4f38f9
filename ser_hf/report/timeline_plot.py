"""A picture of emotions over time: the waveform, a lane for each speaker, and probabilities."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from ..corpora.schema import EMOTION_COLORS
from .plots import COLORS, save_figure

_UNKNOWN_COLOR = "#dddddd"
_LANE_HEIGHT = 0.42  # inches
_COLUMN_HEIGHT = 0.6  # inches of a lane with columns
_BAR_HEIGHT = 0.8  # of a lane
_LEAST_WIDTH = 0.002  # of the picture: shorter segments would not be visible
# More segments are too narrow to be drawn one by one: they are summed up in intervals of time.
_MOST_SEGMENTS = 200
_INTERVALS = 120  # about so many
# Seconds of an interval, or from one time on the axis to the next.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_LABELED_TIMES = 10  # at most about so many on the axis


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
    """Draw a timeline and save it as PNG or SVG, in a new folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(timeline_figure(timeline), path)


def timeline_figure(timeline: TimelineLike) -> Figure:
    """Draw a timeline: waveform above, lanes of speakers, and probabilities or values below.

    If there are many segments, a lane has columns in place of them: the seconds of each label in an
    interval of time. Probabilities are then means of the intervals.
    """
    lanes = [lane for lane in timeline.lanes if len(lane.starts)]
    has_labels = not timeline.ranges
    step = None
    if sum(len(lane.starts) for lane in lanes) > _MOST_SEGMENTS:
        step = _step(timeline.envelope.duration, _INTERVALS)
    lane_height = _LANE_HEIGHT if step is None else _COLUMN_HEIGHT
    heights = [1.0, lane_height * max(1, len(lanes)) if has_labels else 0.01, 1.6]
    figure = Figure(figsize=(11, 1.2 + sum(heights)), layout="constrained")
    wave, turns, curves = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    _draw_waveform(wave, timeline)
    if step is None:
        _draw_curves(curves, timeline, lanes)
    else:
        _draw_mean_curves(curves, timeline, lanes, step)
    if has_labels:
        if step is None:
            _draw_segments(turns, timeline, lanes)
        else:
            _draw_columns(turns, timeline, lanes, step)
        _name_lanes(turns, lanes)
        figure.legend(
            handles=_legend(timeline, lanes), loc="outside lower center", ncols=8, frameon=False
        )
    else:
        turns.set_axis_off()
    curves.set_xlim(0, timeline.envelope.duration)
    curves.xaxis.set_major_locator(
        MultipleLocator(_step(timeline.envelope.duration, _LABELED_TIMES))
    )
    curves.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _clock(seconds)))
    curves.set_xlabel("time (min:s)" if timeline.envelope.duration < 3600 else "time (h:min:s)")
    return figure


def color_of(label: str, names: Sequence[str]) -> str:
    """The color of a label: that of its emotion in reports, or one of `COLORS`.

    A set of labels, such as ``angry+sad``, has the color of its first one.
    """
    label = label.partition("+")[0]
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


def _step(duration: float, most: int) -> int:
    """The shortest of the usual steps, in seconds, of which the duration has at most `most`."""
    for step in _STEPS:
        if duration / step <= most:
            return step
    return _STEPS[-1]


def _draw_segments(axes: Axes, timeline: TimelineLike, lanes: Sequence[LaneLike]) -> None:
    """Draw a bar for each segment."""
    least = _LEAST_WIDTH * timeline.envelope.duration
    for number, lane in enumerate(lanes):
        widths = np.maximum(lane.ends - lane.starts, least)
        axes.barh(
            np.full(len(widths), number),
            widths,
            left=lane.starts,
            height=_BAR_HEIGHT,
            color=[color_of(label, timeline.names) for label in lane.labels],
            edgecolor="white",
            linewidth=0.3,
        )


def _draw_columns(axes: Axes, timeline: TimelineLike, lanes: Sequence[LaneLike], step: int) -> None:
    """Draw a column for each interval: the seconds of each label of a speaker in this time."""
    borders = _borders(timeline, step)
    labels = [patch.get_label() for patch in _legend(timeline, lanes)]
    seconds_of_lane = [_common_seconds(lane, borders) for lane in lanes]
    most = max(seconds.sum(axis=0).max() for seconds in seconds_of_lane)
    scale = _BAR_HEIGHT / most
    for number, (lane, seconds) in enumerate(zip(lanes, seconds_of_lane, strict=True)):
        base = np.full(len(borders) - 1, number + _BAR_HEIGHT / 2)  # the axis points down
        for label in labels:
            is_label = np.array([name == label for name in lane.labels])
            heights = seconds[is_label].sum(axis=0) * scale
            axes.bar(
                borders[:-1],
                -heights,
                bottom=base,
                width=step,
                align="edge",
                color=color_of(label, timeline.names),
                linewidth=0,
            )
            base = base - heights
        axes.axhline(number + _BAR_HEIGHT / 2, color="#bbbbbb", linewidth=0.5)


def _name_lanes(axes: Axes, lanes: Sequence[LaneLike]) -> None:
    axes.set_yticks(range(len(lanes)), [lane.speaker or "speech" for lane in lanes], fontsize=9)
    axes.set_ylim(max(len(lanes), 1) - 0.5, -0.5)  # the first one is above
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)


def _borders(timeline: TimelineLike, step: int) -> np.ndarray:
    """The borders of the intervals of a recording in seconds."""
    count = max(1, math.ceil(timeline.envelope.duration / step))
    return step * np.arange(count + 1, dtype=np.float64)


def _common_seconds(lane: LaneLike, borders: np.ndarray) -> np.ndarray:
    """The seconds that each segment has in each interval, (segments, intervals)."""
    starts = np.maximum(lane.starts[:, None], borders[:-1])
    ends = np.minimum(lane.ends[:, None], borders[1:])
    return np.maximum(ends - starts, 0.0)


def _draw_mean_curves(
    axes: Axes, timeline: TimelineLike, lanes: Sequence[LaneLike], step: int
) -> None:
    """Draw the means of all segments in each interval, weighted by their seconds."""
    borders = _borders(timeline, step)
    seconds = np.concatenate([_common_seconds(lane, borders) for lane in lanes])
    values = np.concatenate([lane.probabilities for lane in lanes])
    total = seconds.sum(axis=0)[:, None]
    means = np.full((len(borders) - 1, len(timeline.names)), np.nan)
    np.divide(seconds.T @ values, total, out=means, where=total > 0)
    middles = (borders[:-1] + borders[1:]) / 2
    for column in _drawn_columns(timeline, lanes):
        name = timeline.names[column]
        color = color_of(name, timeline.names)
        axes.plot(middles, means[:, column], color=color, linewidth=1.5, label=name)
    interval = f"{step // 60} min" if step >= 60 else f"{step} s"
    _label_curves(axes, timeline, f",\nmean of {interval}")


def _drawn_columns(timeline: TimelineLike, lanes: Sequence[LaneLike]) -> list[int]:
    """The columns of labels that are predicted; those of all dimensions."""
    predicted = {label for lane in lanes for labels in lane.labels for label in labels.split("+")}
    columns = range(len(timeline.names))
    if timeline.ranges:
        return list(columns)
    return [column for column in columns if timeline.names[column] in predicted]


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
    for column in _drawn_columns(timeline, lanes):
        name = timeline.names[column]
        times = np.column_stack([starts[order], ends[order], ends[order]]).ravel()
        heights = np.column_stack(
            [values[order, column], values[order, column], np.full(len(order), np.nan)]
        ).ravel()
        color = color_of(name, timeline.names)
        axes.plot(times, heights, color=color, linewidth=2, solid_capstyle="butt", label=name)
    _label_curves(axes, timeline)


def _label_curves(axes: Axes, timeline: TimelineLike, note: str = "") -> None:
    """Label the axis of probabilities or values; `note` is added to what they are."""
    if timeline.ranges:
        axes.legend(frameon=False, fontsize=9)
        axes.set_ylabel(f"rating{note}")
    else:
        axes.set_ylim(0, 1)
        axes.set_ylabel(f"probability{note}")
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
