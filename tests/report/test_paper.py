"""Pictures for papers: their width, their fonts, and texts that neither overlap nor are cut."""

import itertools
import re

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from support.reports import typed, whole_report

from ser_hf.report.paper import COLUMN, column_legends, fit_fonts, save_pdf
from ser_hf.report.plots import confusion_figure, distribution_figure
from ser_hf.report.write import figures, write_pdfs

EMOTIONS = ["neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise"]


@pytest.fixture(autouse=True)
def drawn(rendered):
    """Pictures are drawn in these tests."""
    with rendered():
        yield


def eight_classes():
    """A report with the eight emotions of RAVDESS, and a long name."""
    report = typed(whole_report())
    scores = next(iter(report.per_class.values()))
    return report.model_copy(
        update={
            "name": "ravdess_se_resnet_speaker_independent",
            "labels": EMOTIONS,
            "confusion": [[100 if i == j else 10 for j in range(8)] for i in range(8)],
            "class_distribution": {
                part: dict.fromkeys(EMOTIONS, 192) for part in ("train", "validation", "test")
            },
            "per_class": dict.fromkeys(EMOTIONS, scores),
            "corpora": {},
        }
    )


def drawn_in_column():
    with column_legends():
        drawings = {figure.name: figure.drawing for figure in figures(eight_classes(), paper=True)}
    for drawing in drawings.values():
        fit_fonts(drawing)
        FigureCanvasAgg(drawing).draw()
    return drawings


def visible_texts(figure):
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def test_pictures_fit_a_column_and_their_texts_can_be_read():
    drawings = drawn_in_column()
    assert {"class_distribution", "confusion_matrix", "per_class", "training_curves"} <= set(
        drawings
    )
    for name, drawing in drawings.items():
        assert drawing.get_figwidth() == pytest.approx(COLUMN), name
        for text in visible_texts(drawing):
            assert text.get_fontsize() >= 6, (name, text)
        for text in (*(axes.title for axes in drawing.axes), *drawing.texts):
            box = text.get_window_extent()
            assert box.x0 >= -1, (name, text)
            assert box.x1 <= drawing.bbox.x1 + 1, (name, text)


def test_labels_of_eight_classes_do_not_overlap():
    for name, drawing in drawn_in_column().items():
        for axes in drawing.axes:
            labels = [label for label in axes.get_xticklabels() if label.get_text()]
            for left, right in itertools.pairwise(labels):
                if left.get_rotation() == 0:
                    ends = left.get_window_extent().x1 + drawing.dpi / 72 * 2
                    assert ends <= right.get_window_extent().x0, (name, left.get_text())
                else:  # turned labels are a line apart
                    assert left.get_rotation() == 45
                    distance = right.get_window_extent().x1 - left.get_window_extent().x1
                    assert distance > left.get_fontsize() * drawing.dpi / 72, name


def test_numbers_in_cells_stay_in_their_cells():
    for classes in (8, 12):
        counts = [[1000] * classes] * classes
        figure = confusion_figure(
            {"title": counts}, EMOTIONS + list("abcd"[: classes - 8]), paper=True
        )
        fit_fonts(figure)
        FigureCanvasAgg(figure).draw()
        (axes,) = figure.axes
        cell = axes.bbox.width / classes
        for text in axes.texts:
            assert text.get_window_extent().width < cell


@pytest.mark.slow
def test_a_pdf_has_its_fonts_and_is_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_pdfs(tmp_path / name, eight_classes())
    pictures = sorted((tmp_path / "a").iterdir())
    assert len(pictures) >= 6
    for picture in pictures:
        content = picture.read_bytes()
        width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", content)[1])
        assert width == pytest.approx(8.5 / 2.54 * 72)
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
        assert content == (tmp_path / "b" / picture.name).read_bytes()


def test_a_dollar_sign_in_a_name_is_no_formula(tmp_path):
    figure = distribution_figure({"train": [1, 2]}, ["a$b", "c$d"], paper=True)
    save_pdf(figure, tmp_path / "picture.pdf")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["a$b", "c$d"]
