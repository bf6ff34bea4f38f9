"""A picture of emotions over time is readable for seconds and for hours."""

import dataclasses

import numpy as np
import pytest

from ser_hf.corpora.schema import EMOTION_COLORS
from ser_hf.report.timeline_plot import color_of, save_timeline, timeline_figure


@dataclasses.dataclass
class Envelope:
    low: np.ndarray
    high: np.ndarray
    duration: float


@dataclasses.dataclass
class Lane:
    speaker: str | None
    starts: np.ndarray
    ends: np.ndarray
    labels: list[str]
    probabilities: np.ndarray


@dataclasses.dataclass
class Timeline:
    title: str
    envelope: Envelope
    lanes: list[Lane]
    names: list[str]
    ranges: dict


NAMES = ["angry", "happy", "satisfied"]


def timeline(duration, segments, ranges=None):
    generator = np.random.default_rng(0)
    high = generator.uniform(0, 0.5, 2000).astype(np.float32)
    lanes = []
    for speaker in ("anna", "ben"):
        starts = np.sort(generator.uniform(0, duration * 0.95, segments))
        probabilities = generator.dirichlet(np.ones(len(NAMES)), segments)
        labels = [] if ranges else [NAMES[i] for i in probabilities.argmax(axis=1)]
        lanes.append(Lane(speaker, starts, starts + duration / 100, labels, probabilities))
    return Timeline("calls/a.wav", Envelope(-high, high, duration), lanes, NAMES, ranges or {})


def test_lanes_have_the_colors_of_reports():
    drawn = timeline(20.0, 4)
    figure = timeline_figure(drawn)
    wave, turns, curves = figure.axes
    assert [label.get_text() for label in turns.get_yticklabels()] == ["anna", "ben"]
    assert len(turns.patches) == 8
    assert wave.get_xlim() == (0, 20)
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    predicted = {label for lane in drawn.lanes for label in lane.labels}
    assert names == predicted
    assert len(curves.lines) == len(predicted)


def test_many_segments_are_summed_up_in_intervals():
    drawn = timeline(7200.0, 900)
    _, turns, curves = timeline_figure(drawn).axes
    assert [label.get_text() for label in turns.get_yticklabels()] == ["anna", "ben"]
    assert len(turns.patches) == 2 * 120 * len(NAMES)
    assert curves.get_ylabel().endswith("mean of 1 min")

    def seconds(lane, label, minute):
        times = zip(lane.labels, lane.starts, lane.ends, strict=True)
        spans = [(start, end) for name, start, end in times if name == label]
        begin = 60 * minute
        return sum(max(0, min(end, begin + 60) - max(start, begin)) for start, end in spans)

    # The colors of a column have the proportions of the seconds of their labels.
    columns = turns.patches[: 120 * len(NAMES)]
    heights = np.abs([patch.get_height() for patch in columns]).reshape(len(NAMES), 120)
    expected = np.array(
        [[seconds(drawn.lanes[0], name, minute) for minute in range(120)] for name in NAMES]
    )
    np.testing.assert_allclose(heights / heights.sum(), expected / expected.sum(), atol=1e-9)

    lane = drawn.lanes[0]
    alone = dataclasses.replace(drawn, lanes=[lane])
    _, _, curves = timeline_figure(alone).axes
    weights = [
        max(0, min(end, 660) - max(start, 600))
        for start, end in zip(lane.starts, lane.ends, strict=True)
    ]
    mean = np.average(lane.probabilities[:, 0], weights=weights)
    assert curves.lines[0].get_ydata()[10] == pytest.approx(mean)


@pytest.mark.parametrize(
    ("duration", "step"), [(3.0, 1), (20.0, 2), (119.0, 15), (7200.0, 900), (36000.0, 3600)]
)
def test_times_on_the_axis_are_round(duration, step):
    _, _, curves = timeline_figure(timeline(duration, 4)).axes
    times = curves.xaxis.get_majorticklocs()
    assert set(np.diff(times)) == {step}
    shown = [time for time in times if 0 <= time <= duration]
    assert 3 <= len(shown) <= 11


def test_no_segment_is_too_narrow_to_see():
    drawn = timeline(7200.0, 3)
    drawn.lanes[0].ends = drawn.lanes[0].starts + 0.5
    _, turns, _ = timeline_figure(drawn).axes
    assert min(patch.get_width() for patch in turns.patches) >= 0.0019 * 7200


def test_dimensions_have_curves_without_lanes():
    figure = timeline_figure(timeline(20.0, 4, ranges={name: [1, 5] for name in NAMES}))
    _, turns, curves = figure.axes
    assert not turns.axison
    assert len(curves.lines) == len(NAMES)
    assert curves.get_ylabel() == "rating"


def test_labels_without_a_color_of_reports_have_one():
    assert color_of("angry", NAMES) == EMOTION_COLORS["angry"]
    assert color_of("satisfied", NAMES).startswith("#")
    assert color_of("unknown", NAMES) not in EMOTION_COLORS.values()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_timeline_gives_the_same_file(tmp_path, suffix):
    contents = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}{suffix}"
        save_timeline(timeline(20.0, 4), path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
