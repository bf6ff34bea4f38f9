"""Pictures of clips, and audio as part of a page."""

import numpy as np
import pytest

from ser_hf.report.clip_plots import clip_figure

RATE = 16000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [20, RATE // 4])
def test_silent_and_short_clips_are_drawn_and_a_label_is_no_formula(samples):
    figure = clip_figure(np.zeros(samples, np.float32), RATE, title="$1_$")
    title = figure.axes[0].title
    assert title.get_text() == "$1_$"
    assert not title.get_parse_math()
