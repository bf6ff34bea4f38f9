"""The picture of a learning curve."""

import pytest
from support.reports import typed, whole_report

from ser_hf.report.learning_plots import learning_curve_figure
from ser_hf.report.paper import COLUMN


@pytest.mark.parametrize("paper", [False, True])
def test_both_lines_and_the_numbers_of_speakers_are_drawn(paper):
    curve = typed(whole_report()).learning_curve
    figure = learning_curve_figure(curve, paper=paper)
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert lines == {
        "fewer speakers": [0.45, 0.6],
        "fewer clips of all speakers": [0.57, 0.6],
    }
    assert [text.get_text() for text in axes.texts] == ["8 speakers", "16 speakers"]
    assert bool(figure.get_figwidth() == pytest.approx(COLUMN)) is paper
