"""The reliability diagram and the map of embeddings, asked for what they show."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ser_hf.report.plots import EMBEDDING_COLORS as COLORS
from ser_hf.report.plots import MOST_NAMED, embeddings_figure, reliability_figure
from ser_hf.report.report import Calibration, Temperature

BINS = [
    {"low": 0.0, "high": 0.5, "clips": 0, "confidence": None, "accuracy": None},
    {"low": 0.5, "high": 1.0, "clips": 8, "confidence": 0.75, "accuracy": 0.5},
]
TEMPERATURE = {"value": 1.625, "fitted_on": "validation", "stored": False}
TEMPERATURE |= {
    when: {"log_loss": 1.0, "brier": 0.5, "ece": ece} for when, ece in (("before", 0.25), ("after", 0.0625))
}


def test_reliability_shows_shares_gaps_and_clips():
    upper, lower = reliability_figure(Calibration(bins=BINS, ece=0.25)).axes
    share, gap = upper.patches
    assert (share.get_x(), share.get_width(), share.get_height()) == (0.5, 0.5, 0.5)
    assert (gap.get_y(), gap.get_height()) == (0.5, 0.25)
    assert upper.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert [bar.get_height() for bar in lower.patches] == [8]
    assert upper.get_title() == "Reliability: expected calibration error 0.250"


@pytest.mark.parametrize(("stored", "told"), [(False, "0.062 with a temperature of 1.62"), (True, "0.250 without")])
def test_reliability_tells_of_the_temperature(stored, told):
    figure = reliability_figure(Calibration(bins=BINS, ece=0.25), Temperature(**TEMPERATURE | {"stored": stored}))
    assert told in figure.axes[0].get_title()


def drawn(axes):
    """{name: (places, colour)} of the groups that the legend of a panel names."""
    return {
        group.get_label(): (group.get_offsets(), to_hex(group.get_facecolor()[0]))
        for group in axes.collections
        if not group.get_label().startswith("_")
    }


def test_embeddings_are_drawn_by_emotion_and_speaker_and_by_corpus_where_there_are_several():
    points = np.arange(12.0).reshape(6, 2)
    labels, speakers = ["sad", "calm"] * 3, ["a:1", "a:2", None] * 2
    one = embeddings_figure(points, labels, speakers, ["a"] * 6, "pca")
    assert [axes.get_title() for axes in one.axes] == ["by emotion", "by speaker"]
    two = embeddings_figure(points, labels, speakers, ["a", "b"] * 3, "tsne")
    assert [axes.get_title() for axes in two.axes] == ["by emotion", "by speaker", "by corpus"]
    assert "t-SNE of the embeddings of 6 clips" in two.get_suptitle()
    emotions = drawn(one.axes[0])
    assert {name: colour for name, (_, colour) in emotions.items()} == {
        "calm": COLORS[0].lower(),
        "sad": COLORS[1].lower(),
    }
    assert sorted(emotions["sad"][0].tolist()) == points[::2].tolist()
    unknown = one.axes[1].collections[0]
    assert sorted(unknown.get_offsets().tolist()) == points[2::3].tolist()


def test_groups_of_one_colour_differ_in_their_markers_and_many_have_no_legend():
    points = np.random.default_rng(0).normal(size=(100, 2))
    labels = [f"emotion {i % MOST_NAMED:02}" for i in range(100)]
    figure = embeddings_figure(points, labels, [f"s{i % 91}" for i in range(100)], ["a"] * 100, "umap")
    emotions, speakers = figure.axes
    looks = {
        (to_hex(group.get_facecolor()[0]), group.get_paths()[0].vertices.tobytes())
        for group in emotions.collections
        if not group.get_label().startswith("_")
    }
    assert len(looks) == MOST_NAMED
    assert len(emotions.get_legend().get_texts()) == MOST_NAMED
    assert speakers.get_legend() is None
    assert speakers.get_title() == "by speaker (91)"
