"""Pictures: their contents, not their pixels."""

import contextlib
import re

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ser_hf.evaluation.sections import Calibration, ClassScores
from ser_hf.report import plots
from ser_hf.report.paper import column_legends, fit_fonts

HISTORY = [
    {"epoch": 1.0, "train_loss": 2.0, "validation": {"loss": 1.5, "uar": 0.25, "macro_f1": 0.2}},
    {
        "epoch": 2.0,
        "train_loss": 1.0,
        "validation": {"loss": 0.9, "uar": 0.75, "macro_f1": 0.6},
        "kept": True,
    },
    {"epoch": 3.0, "train_loss": 0.5, "validation": {"loss": 1.1, "uar": 0.5, "macro_f1": 0.8}},
]


def _legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_confusion_shows_shares_of_the_true_class_and_counts():
    axes = plots.confusion_figure({"A title": [[3, 1], [0, 0]]}, ["angry", "sad"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["75%\n3", "25%\n1"], "sad has no clips"
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 0]]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == (
        "predicted",
        "true",
        "A title",
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == ["angry", "sad"]


def test_curves_show_the_history_and_the_selected_epoch():
    losses, scores = plots.curves_figure(HISTORY).axes
    assert _legend(losses) == ["train", "validation", "selected: epoch 2"]
    assert _legend(scores) == ["UAR", "macro-F1", "selected: epoch 2"]
    assert losses.lines[0].get_xydata().tolist() == [[1, 2], [2, 1], [3, 0.5]]
    for figure in (plots.curves_figure(HISTORY), plots.curves_figure(HISTORY[:1])):
        assert all(tick == int(tick) for axes in figure.axes for tick in axes.get_xticks())


@pytest.mark.parametrize("paper", [False, True])
def test_legends_of_curves_cover_no_line(paper):
    figure = plots.curves_figure(HISTORY, paper=paper)
    if paper:
        fit_fonts(figure)
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent()
        assert legend.y1 < axes.bbox.y0
        assert legend.y0 >= 0
        assert not legend.overlaps(axes.xaxis.label.get_window_extent())


def test_a_figure_gives_the_same_bytes_and_its_svg_is_transparent(tmp_path):
    for name in ("a.svg", "b.svg", "a.png", "b.png"):
        plots.save_figure(plots.confusion_figure({"x": [[1]]}, ["a"]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()
    assert re.search(r'<g id="patch_1">\s*<path [^>]*style="fill: none', drawn)
    assert "<text" not in drawn, "letters are drawn, whatever fonts there are"


BINS = [
    {"low": 0.0, "high": 0.5, "clips": 0, "confidence": None, "accuracy": None},
    {"low": 0.5, "high": 1.0, "clips": 8, "confidence": 0.75, "accuracy": 0.5},
]


def test_reliability_shows_shares_gaps_and_clips():
    upper, lower = plots.reliability_figure(Calibration(bins=BINS, ece=0.25)).axes
    share, gap = upper.patches
    assert (share.get_x(), share.get_width(), share.get_height()) == (0.5, 0.5, 0.5)
    assert (gap.get_y(), gap.get_height()) == (0.5, 0.25)
    assert upper.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert [bar.get_height() for bar in lower.patches] == [8]
    assert upper.get_title() == "Reliability: expected calibration error 0.250"


def test_curves_show_training_scores():
    history = [entry | {"train": {"uar": 0.1, "wa": 0.2, "macro_f1": 0.3}} for entry in HISTORY]
    _, scores = plots.curves_figure(history).axes
    assert _legend(scores) == [
        "UAR",
        "train UAR",
        "macro-F1",
        "train macro-F1",
        "selected: epoch 2",
    ]
    assert scores.lines[1].get_ydata().tolist() == [0.1] * 3


@pytest.mark.parametrize("classes", [2, 3, 8])
@pytest.mark.parametrize("paper", [False, True])
def test_no_title_or_legend_is_cut(classes, paper):
    names = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "calm"][:classes]
    title = "cremad_cnn1d_descriptors: UAR 0.500 on test clips of training speakers"
    scores = ClassScores(precision=0.5, recall=1.0, f1=0.7, support=1234)
    counts = {"train": [12345] * classes, "validation": [1234] * classes, "test": [123] * classes}
    with column_legends() if paper else contextlib.nullcontext():
        figures = [
            plots.confusion_figure({title: [[5] * classes] * classes}, names, paper=paper),
            plots.per_class_figure(dict.fromkeys(names, scores), title, paper=paper),
            plots.distribution_figure(counts, names, paper=paper),
        ]
    for figure in figures:
        if paper:
            fit_fonts(figure)
        FigureCanvasAgg(figure).draw()
        width, _ = figure.canvas.get_width_height()
        boxes = [axes.title.get_window_extent() for axes in figure.axes]
        boxes += [legend.get_window_extent() for legend in figure.legends]
        for box in boxes:
            assert box.x0 >= 0
            assert box.x1 <= width
