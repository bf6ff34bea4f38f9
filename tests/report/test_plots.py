"""Pictures: their contents, not their pixels."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ser_hf.report.plots import (
    EMBEDDING_COLORS,
    MOST_SLICES,
    confusion_figure,
    curves_figure,
    distribution_figure,
    embeddings_figure,
    folds_figure,
    per_class_figure,
    reliability_figure,
    save_figure,
    slices_figure,
)
from ser_hf.report.report import Calibration, ClassScores, Slice

HISTORY = [
    {"epoch": 1.0, "train_loss": 2.0, "validation": {"loss": 1.5, "uar": 0.25, "macro_f1": 0.2}},
    {"epoch": 2.0, "train_loss": 1.0, "validation": {"loss": 0.9, "uar": 0.75, "macro_f1": 0.6}, "kept": True},
    {"epoch": 3.0, "train_loss": 0.5, "validation": {"loss": 1.1, "uar": 0.5, "macro_f1": 0.8}},
]


def _legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_confusion_shows_shares_of_the_true_class_and_counts():
    axes = confusion_figure([[3, 1], [0, 0]], ["angry", "sad"], "A title").axes[0]
    assert [text.get_text() for text in axes.texts] == ["75%\n3", "25%\n1"], "sad has no clips"
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 0]]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("predicted", "true", "A title")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["angry", "sad"]


def test_curves_show_the_history_and_the_selected_epoch():
    losses, scores = curves_figure(HISTORY).axes
    assert _legend(losses) == ["train", "validation", "selected: epoch 2"]
    assert _legend(scores) == ["UAR", "macro-F1", "selected: epoch 2"]
    assert losses.lines[0].get_xydata().tolist() == [[1, 2], [2, 1], [3, 0.5]]


def test_distribution_shows_splits_side_by_side():
    figure = distribution_figure({"train": [4, 2], "test": [1, 0]}, ["angry", "sad"])
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [4, 2, 1, 0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train (6)", "test (1)"]
    first, second = axes.patches[0], axes.patches[2]
    assert first.get_x() + first.get_width() == pytest.approx(second.get_x())


def test_a_figure_gives_the_same_bytes_and_its_svg_is_transparent(tmp_path):
    for name in ("a.svg", "b.svg", "a.png", "b.png"):
        save_figure(folds_figure({"1": 0.25}, 0.25), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()
    assert re.search(r'<g id="patch_1">\s*<path [^>]*style="fill: none', drawn)
    assert "<text" not in drawn, "letters are drawn, whatever fonts there are"


def test_classes_have_three_bars_each_and_the_interval_of_the_recall():
    row = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 8}
    axes = per_class_figure(
        {"sad": ClassScores(**row, recall_interval=[0.1, 0.4]), "calm": ClassScores(**row)}, "A $ title"
    ).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.5, 0.5, 0.25, 0.25, 1 / 3, 1 / 3]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sad\n(8)", "calm\n(8)"]
    assert list(axes.lines[0].get_ydata()) == [0.1, 0.4]


def groups(rows):
    return {name: Slice(**row) for name, row in rows.items()}


def test_slices_show_the_lowest_and_highest_of_many_speakers():
    rows = {f"s{i:02d}": {"clips": 5, "uar": (i * 7 % 40) / 40, "interval": None} for i in range(40)}
    sexes = {"male": {"clips": 100, "uar": 0.9, "interval": [0.8, 1.0]}, "female": {"clips": 100, "uar": 0.1}}
    speakers, sex = slices_figure({"speaker": groups(rows), "sex": groups(sexes)}, 0.5).axes
    shown = [label.get_text().split()[0] for label in speakers.get_yticklabels()]
    scores = [rows[name]["uar"] for name in shown]
    assert len(shown) == MOST_SLICES
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (0.0, 39 / 40)
    assert speakers.get_title("left") == f"speaker (the {MOST_SLICES // 2} lowest and highest of 40)"
    assert [label.get_text() for label in sex.get_yticklabels()] == ["male (100)", "female (100)"]


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


def drawn(axes):
    """{name: (places, color)} of the groups that the legend of a panel names."""
    return {
        group.get_label(): (group.get_offsets(), to_hex(group.get_facecolor()[0]))
        for group in axes.collections
        if not group.get_label().startswith("_")
    }


def test_embeddings_are_colored_by_emotion_speaker_and_corpus():
    points = np.arange(12.0).reshape(6, 2)
    labels, speakers = ["sad", "calm"] * 3, ["a:1", "a:2", None] * 2
    one = embeddings_figure(points, labels, speakers, ["a"] * 6, "pca")
    assert [axes.get_title() for axes in one.axes] == ["by emotion", "by speaker"]
    two = embeddings_figure(points, labels, speakers, ["a", "b"] * 3, "tsne")
    assert [axes.get_title() for axes in two.axes] == ["by emotion", "by speaker", "by corpus"]
    assert "t-SNE of the embeddings of 6 clips" in two.get_suptitle()
    emotions = drawn(one.axes[0])
    assert {name: color for name, (_, color) in emotions.items()} == {
        "calm": EMBEDDING_COLORS[0].lower(),
        "sad": EMBEDDING_COLORS[1].lower(),
    }
    assert sorted(emotions["sad"][0].tolist()) == points[::2].tolist()
    unknown = one.axes[1].collections[0]
    assert sorted(unknown.get_offsets().tolist()) == points[2::3].tolist()


def test_curves_show_training_scores_and_every_group_s_learning_rate():
    rates = {"learning_rate": 1e-5, "learning_rate_encoder": 1e-5, "learning_rate_head": 1e-3}
    history = [entry | rates | {"train": {"uar": 0.1, "wa": 0.2, "macro_f1": 0.3}} for entry in HISTORY]
    _, scores, learning = curves_figure(history).axes
    assert _legend(scores) == ["UAR", "train UAR", "macro-F1", "train macro-F1", "selected: epoch 2"]
    assert scores.lines[1].get_ydata().tolist() == [0.1] * 3
    assert _legend(learning) == ["encoder", "head", "selected: epoch 2"]
    (_, _, alone) = curves_figure([entry | {"learning_rate": 1e-4} for entry in HISTORY]).axes
    assert _legend(alone) == ["model", "selected: epoch 2"]
