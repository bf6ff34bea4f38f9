"""Occlusion: the parts of a clip on which a prediction depends."""

import numpy as np
import pytest

from ser_hf.evaluation.occlusion import (
    band_edges,
    occlude,
    window_seconds,
    window_starts,
    without_band,
    without_window,
)

RATE = 16000


def tone(frequency, seconds=2.0, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def energy(samples):
    return float(np.square(samples, dtype=np.float64).sum())


def by_energy(selected):
    """A classifier with two classes; the first one's probability is the energy that is left."""

    def classify(clips):
        left = np.array([energy(selected(clip)) for clip in clips])
        share = 0.5 + 0.5 * left / energy(selected(CLIP))
        return np.stack([share, 1 - share], axis=1)

    return classify


CLIP = tone(1000)


def test_the_window_on_which_the_prediction_depends_has_the_largest_drop():
    begin = round(1.0 * RATE)
    end = round(1.2 * RATE)
    found = occlude(by_energy(lambda clip: clip[begin:end]), CLIP, RATE)
    strongest = int(np.argmax(found.drop_by_window))
    assert found.starts[strongest] == pytest.approx(1.0, abs=0.06)
    assert found.drop_by_window[strongest] == pytest.approx(0.5, abs=0.05)
    for start, drop in zip(found.starts, found.drop_by_window, strict=True):
        if start + found.seconds < 0.99 or start > 1.21:
            assert drop == pytest.approx(0, abs=1e-3)


def test_the_band_on_which_the_prediction_depends_has_the_largest_drop():
    found = occlude(by_energy(lambda clip: clip), CLIP, RATE)
    strongest = int(np.argmax(found.drop_by_band))
    assert found.edges[strongest] < 1000 < found.edges[strongest + 1]
    assert found.drop_by_band[strongest] > 0.4
    others = [drop for i, drop in enumerate(found.drop_by_band) if abs(i - strongest) > 1]
    assert max(others) < 0.01


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.31, 1.0, 3.0, 7.7, 30.0])
def test_windows_cover_the_clip_and_are_few(seconds):
    length = window_seconds(seconds)
    starts = window_starts(seconds, length)
    assert 1 <= len(starts) <= 31
    assert starts[0] == 0
    assert starts[-1] + length == pytest.approx(seconds)
    for left, right in zip(starts, starts[1:], strict=False):
        assert right - left <= length / 2 + 1e-9


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_bands_reach_from_zero_to_the_highest_frequency(rate):
    edges = band_edges(rate)
    assert edges[0] == 0
    assert edges[-1] == pytest.approx(min(8000, rate / 2))
    assert edges == sorted(edges)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_removed_band_lacks_its_tone_and_keeps_the_others(rate):
    edges = band_edges(rate)
    middles = [(low + high) / 2 for low, high in zip(edges, edges[1:], strict=False)]
    for i, middle in enumerate(middles):
        clip = tone(middle, rate=rate)
        assert energy(without_band(clip, rate, edges[i], edges[i + 1])) < 0.03 * energy(clip)
        other = (i + 4) % len(middles)
        rest = without_band(clip, rate, edges[other], edges[other + 1])
        assert energy(rest) == pytest.approx(energy(clip), rel=0.02)


def test_a_window_is_silent_and_the_rest_is_as_before():
    clip = tone(440, seconds=1.0)
    occluded = without_window(clip, RATE, 0.4, 0.2)
    assert not occluded[round(0.4 * RATE) : round(0.6 * RATE)].any()
    assert np.array_equal(occluded[: round(0.39 * RATE)], clip[: round(0.39 * RATE)])
    assert np.array_equal(occluded[round(0.61 * RATE) :], clip[round(0.61 * RATE) :])


@pytest.mark.filterwarnings("error")
def test_short_and_silent_clips_have_no_drop():
    for samples in (2, 20, 2000):
        found = occlude(lambda clips: np.full((len(clips), 3), 1 / 3), np.zeros(samples), RATE)
        assert set(found.drop_by_window) == {0.0}
        assert set(found.drop_by_band) == {0.0}
