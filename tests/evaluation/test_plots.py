"""Pictures, asked for what they show rather than compared by pixel."""

import re

import matplotlib.image
import pytest

from ser_hf.report.plots import (
    COLORS,
    MOST,
    confusion_figure,
    corpora_figure,
    curve_panels,
    curves_figure,
    distribution_figure,
    folds_figure,
    per_class_figure,
    save_figure,
    slices_figure,
)
from ser_hf.report.report import ClassScores, Slice

HISTORY = [
    {"epoch": 1.0, "train_loss": 2.0, "validation": {"loss": 1.5, "uar": 0.25, "macro_f1": 0.2}},
    {"epoch": 2.0, "train_loss": 1.0, "validation": {"loss": 0.9, "uar": 0.75, "macro_f1": 0.6}},
    {"epoch": 3.0, "train_loss": 0.5, "validation": {"loss": 1.1, "uar": 0.5, "macro_f1": 0.8}},
]


def _legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_confusion_shows_shares_of_the_true_class_and_counts():
    axes = confusion_figure([[3, 1], [0, 0]], ["angry", "sad"], "A title").axes[0]
    assert [text.get_text() for text in axes.texts] == ["75%\n3", "25%\n1", "0%\n0", "0%\n0"]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 0]]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("predicted", "true", "A title")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["angry", "sad"]


def test_corpora_stand_side_by_side_and_what_one_does_not_have_is_grey():
    confusions = {"a": [[3, 1], [0, 2]], "b": [[0, 0], [1, 1]], "c": [[1, 0], [0, 1]]}
    figure = corpora_figure(confusions, ["calm", "sad"])
    first, second, third, empty, bar = figure.axes
    titles = [axes.get_title() for axes in (first, second, third)]
    assert titles == ["a (6 predictions)", "b (2 predictions)", "c (2 predictions)"]
    assert [text.get_text() for text in second.texts] == ["50%\n1", "50%\n1"], "of calm b has no shares"
    assert (len(first.patches), len(second.patches)) == (0, 1)
    assert not empty.axison
    assert bar.get_ylabel() == "share of the true class"


@pytest.mark.parametrize(("metric", "kept"), [("uar", 2), ("macro_f1", 3), ("loss", 2)])
def test_curves_show_the_history_and_the_kept_epoch(metric, kept):
    losses, scores = curves_figure(HISTORY, metric).axes
    assert _legend(losses) == ["train", "validation", f"kept: epoch {kept}"]
    assert _legend(scores) == ["UAR", "macro-F1", f"kept: epoch {kept}"]
    assert losses.lines[0].get_xydata().tolist() == [[1, 2], [2, 1], [3, 0.5]]
    assert scores.lines[1].get_xydata().tolist() == [[1, 0.2], [2, 0.6], [3, 0.8]]


def test_curves_show_training_scores_and_every_group_s_learning_rate():
    rates = {"learning_rate": 1e-5, "learning_rate_encoder": 1e-5, "learning_rate_head": 1e-3}
    history = [entry | rates | {"train": {"uar": 0.1, "wa": 0.2, "macro_f1": 0.3}} for entry in HISTORY]
    _, scores, learning = curves_figure(history).axes
    assert _legend(scores) == ["UAR", "macro-F1", "train UAR", "train macro-F1", "kept: epoch 2"]
    assert scores.lines[2].get_ydata().tolist() == [0.1] * 3
    assert _legend(learning) == ["kept: epoch 2", "encoder", "head"]
    assert learning.lines[2].get_ydata().tolist() == [1e-3] * 3
    (_, _, alone) = curves_figure([entry | {"learning_rate": 1e-4} for entry in HISTORY]).axes
    assert _legend(alone) == ["kept: epoch 2", "model"]


def test_curves_take_steps_between_evaluations():
    losses, _ = curves_figure([{"epoch": 0.5, "train_loss": 3.0}, *HISTORY]).axes
    assert [len(line.get_xdata()) for line in losses.lines[:2]] == [4, 3]


def test_distribution_shows_every_part_beside_the_others():
    axes = distribution_figure({"train": [4, 2], "test": [1, 0]}, ["angry", "sad"]).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [4, 2, 1, 0]
    assert _legend(axes) == ["train (6)", "test (1)"]
    first, second = axes.patches[0], axes.patches[2]
    assert first.get_x() + first.get_width() == pytest.approx(second.get_x())


def test_more_parts_than_colours_are_a_table():
    counts = {f"fold {i}": [i, 2] for i in range(len(COLORS) + 2)}
    axes = distribution_figure(counts, ["angry", "sad"]).axes[0]
    assert [text.get_text() for text in axes.texts] == [word for i in range(len(counts)) for word in (str(i), "2")]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"fold {i} ({i + 2})" for i in range(len(counts))
    ]
    assert axes.images[0].get_array().shape == (len(counts), 2)


def test_folds_show_each_fold_and_the_mean_and_compare_from_zero_to_one():
    axes = folds_figure({"1": 0.25, "2": 0.5, "10": 0.75}, 0.5).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.25, 0.5, 0.75]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "10"]
    assert [text.get_text() for text in axes.texts] == ["0.25", "0.50", "0.75"]
    assert set(axes.lines[0].get_ydata()) == {0.5}
    assert _legend(axes) == ["mean 0.500"]
    assert axes.get_ylim() == (0, 1)


def test_a_saved_figure_is_a_picture(tmp_path):
    save_figure(curves_figure(HISTORY), tmp_path / "curves.png")
    pixels = matplotlib.image.imread(tmp_path / "curves.png")
    assert pixels.shape[:2] == (4 * 144, 10 * 144)
    assert pixels[..., :3].std() > 0.02


def test_a_figure_gives_the_same_bytes_and_its_svg_has_a_clear_ground(tmp_path):
    for name in ("a.svg", "b.svg", "a.png", "b.png"):
        save_figure(folds_figure({"1": 0.25}, 0.25), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()
    assert re.search(r'<g id="patch_1">\s*<path [^>]*style="fill: none', drawn)
    assert "<text" not in drawn, "letters are drawn, whatever fonts there are"


def test_panels_are_the_curves_one_by_one():
    whole = curves_figure([entry | {"learning_rate": 1e-4} for entry in HISTORY]).axes
    panels = curve_panels([entry | {"learning_rate": 1e-4} for entry in HISTORY])
    assert list(panels) == [axes.get_title() for axes in whole]
    for figure, axes in zip(panels.values(), whole, strict=True):
        assert _legend(figure.axes[0]) == _legend(axes)


def test_classes_have_three_bars_each_and_the_interval_of_the_recall():
    row = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 8}
    axes = per_class_figure(
        {"sad": ClassScores(**row, recall_interval=[0.1, 0.4]), "calm": ClassScores(**row)}, "A $ title"
    ).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.5, 0.5, 0.25, 0.25, 1 / 3, 1 / 3]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sad\n(8)", "calm\n(8)"]
    upright, _ = axes.collections
    assert upright.get_segments()[0][:, 1].tolist() == [0.1, 0.4]


def groups(rows):
    return {name: Slice(**row) for name, row in rows.items()}


def test_slices_show_speakers_from_the_worst_to_the_best_and_of_many_both_ends():
    rows = {f"s{i:02d}": {"clips": 5, "uar": (i * 7 % 40) / 40, "interval": None} for i in range(40)}
    sexes = {"male": {"clips": 100, "uar": 0.9, "interval": [0.8, 1.0]}, "female": {"clips": 100, "uar": 0.1}}
    speakers, sex = slices_figure({"speaker": groups(rows), "sex": groups(sexes)}, 0.5).axes
    shown = [label.get_text().split()[0] for label in speakers.get_yticklabels()]
    scores = [rows[name]["uar"] for name in shown]
    assert len(shown) == MOST
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (0.0, 39 / 40)
    assert speakers.get_title("left") == f"speaker (the {MOST // 2} lowest and highest of 40)"
    assert [label.get_text() for label in sex.get_yticklabels()] == ["male (100)", "female (100)"]
