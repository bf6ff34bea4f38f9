"""Pictures of maps of embeddings."""

import numpy as np
import pyarrow as pa
import pytest

from ser_hf.corpora.schema import EMOTION_COLORS
from ser_hf.evaluation.sections import EmbeddingMap
from ser_hf.report.map_plots import (
    MOST_LISTED,
    dimension_map_figure,
    emotion_map_figure,
    speaker_map_figure,
)

LABELS = ["angry", "happy", "sad"]


def a_section(**values):
    return EmbeddingMap(**{"method": "pca", "clips": 12, "of_clips": 12, "seed": 0, **values})


def a_table(clips=12, speakers=3, **columns):
    labels = [LABELS[i % 2] for i in range(clips)]
    values = {
        "id": [str(i) for i in range(clips)],
        "speaker": [f"speaker ${i % speakers}" for i in range(clips)],
        "label": labels,
        "predicted": ["happy"] * clips,
        "x": np.arange(clips, dtype=np.float32),
        "y": np.arange(clips, dtype=np.float32) % 5,
    }
    return pa.table(values | columns)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_emotions_have_colors_and_wrong_predictions_crosses(rendered):
    section = a_section(emotions=0.25, explained=[0.5, 0.125])
    with rendered():
        figure = emotion_map_figure(a_table(), LABELS, section)
    (axes,) = figure.axes
    assert axes.get_title() == "By emotion: silhouette 0.250"
    assert axes.get_xlabel() == "principal component 1 (50% of the variance)"
    assert legend_of(figure) == ["angry", "happy", "correct", "wrong"]
    circles, crosses = axes.collections
    assert len(circles.get_offsets()) == len(crosses.get_offsets()) == 6
    colors = [handle.get_color() for handle in figure.legends[0].legend_handles[:2]]
    assert colors == [EMOTION_COLORS["angry"], EMOTION_COLORS["happy"]]


def test_labels_of_others_have_different_colors(rendered):
    names = ["angry", "bored to death", "laughing"]
    table = a_table(label=names * 4, predicted=names * 4)
    with rendered():
        figure = emotion_map_figure(table, names, a_section(method="tsne"))
    handles = figure.legends[0].legend_handles
    assert len({handle.get_color() for handle in handles[:3]}) == 3
    assert figure.axes[0].get_title() == "By emotion: silhouette –"
    assert figure.axes[0].get_xlabel() == "t-SNE, axis 1"


@pytest.mark.parametrize("speakers", [3, MOST_LISTED + 5])
def test_speakers_have_a_legend_if_they_are_few(speakers, rendered):
    table = a_table(clips=60, speakers=speakers)
    with rendered():
        figure = speaker_map_figure(table, a_section(speakers=-0.125))
    (axes,) = figure.axes
    assert axes.get_title() == "By speaker: silhouette −0.125"
    (points,) = axes.collections
    assert len(points.get_offsets()) == 60
    assert len({tuple(color) for color in points.get_facecolors()}) == speakers
    assert len(figure.legends) == (speakers <= MOST_LISTED)
    if figure.legends:
        assert legend_of(figure)[0] == "speaker $0"


def test_dimensions_have_a_panel_each(rendered):
    ratings = np.linspace(0, 1, 12, dtype=np.float32)
    table = a_table(true_arousal=ratings, true_valence=ratings)
    with rendered():
        figure = dimension_map_figure(table, ["arousal", "valence"], a_section(method="umap"))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["By arousal", "By valence"]
