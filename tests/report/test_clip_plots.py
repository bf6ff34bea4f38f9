"""Pictures of clips, and audio as part of a page."""

import base64
import io

import numpy as np
import pytest
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ser_hf.evaluation.occlusion import LONGEST_SECONDS
from ser_hf.evaluation.sections import HardClip, Occlusion
from ser_hf.report import write
from ser_hf.report.clip_plots import audio_address, clip_figure, hard_clip_figure
from ser_hf.report.plots import svg

RATE = 16000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [20, RATE // 4])
def test_silent_and_short_clips_are_drawn_and_a_label_is_no_formula(samples):
    figure = clip_figure(np.zeros(samples, np.float32), RATE, title="$1_$")
    title = figure.axes[0].title
    assert title.get_text() == "$1_$"
    assert not title.get_parse_math()


def test_audio_is_mp3_in_the_address():
    time = np.arange(RATE) / RATE
    address = audio_address(0.5 * np.sin(2 * np.pi * 440 * time), RATE)
    kind, content = address.split(";base64,")
    assert kind == "data:audio/mpeg"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert rate == RATE
    assert np.abs(np.fft.rfft(samples[:RATE])).argmax() == pytest.approx(440, abs=2)


def hard_clip(occlusion=None):
    return HardClip(id="a", label="sad", predicted="calm", probability=0.1, occlusion=occlusion)


OCCLUSION = Occlusion(
    probability=0.8,
    seconds=0.2,
    starts=[0.0, 0.1, 0.2],
    drop_by_window=[0.1, 0.5, -0.1],
    edges=[0, 1000, 4000, 8000],
    drop_by_band=[0.0, 0.3, 0.6],
)


@pytest.mark.filterwarnings("error")
def test_bars_of_drops_stand_below_their_windows_and_beside_their_bands():
    noise = np.random.default_rng(0).normal(0, 0.1, round(0.4 * RATE)).astype(np.float32)
    figure = hard_clip_figure(hard_clip(OCCLUSION), noise, RATE)
    FigureCanvasAgg(figure).draw()
    waveform, _, by_time, _, spectrogram, by_band = figure.axes
    assert by_time.get_xlim() == waveform.get_xlim() == spectrogram.get_xlim()
    assert by_band.get_ylim() == spectrogram.get_ylim()
    bars = {
        round(bar.get_x() + bar.get_width() / 2, 2): bar.get_height() for bar in by_time.patches
    }
    assert bars == {0.1: 0.1, 0.2: 0.5, 0.3: -0.1}
    widths = {bar.get_y(): bar.get_width() for bar in by_band.patches}
    assert widths == {0: 0.0, 1000: 0.3, 4000: 0.6}
    assert figure.get_suptitle() == "sad, predicted as calm"


def test_a_clip_without_occlusion_has_two_panels():
    figure = hard_clip_figure(hard_clip(), np.zeros(RATE, np.float32), RATE)
    assert len(figure.axes) == 2


def test_six_clips_of_the_longest_duration_leave_half_of_the_page():
    noise = np.random.default_rng(0).uniform(-1, 1, round(LONGEST_SECONDS * RATE))
    samples = noise.astype(np.float32)
    drawn = len(svg(hard_clip_figure(hard_clip(OCCLUSION), samples, RATE)))
    encoded = 4 * drawn / 3 + len(audio_address(samples, RATE))
    assert 6 * encoded < write.MOST_PAGE_BYTES / 2
