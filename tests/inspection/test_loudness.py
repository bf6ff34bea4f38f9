"""Loudness against what the recommendation itself states."""

import numpy as np
import pytest

from ser_hf.inspection.loudness import integrated_loudness, k_weighting


def sine(seconds, rate, hertz=997.0):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_a_full_scale_sine_of_997_hertz_measures_minus_3(rate):
    """BS.1770, annex 1: -3.01 LKFS for 0 dB FS, 997 Hz in one channel; here at every rate, as the prototypes are."""
    assert integrated_loudness(sine(3, rate), rate) == pytest.approx(-3.01, abs=0.05)


def test_the_filters_at_48_khz_are_the_tables_of_the_recommendation():
    shelf, high_pass = k_weighting(48000)
    assert shelf == pytest.approx(
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585], abs=1e-9
    )
    assert high_pass == pytest.approx([1, -2, 1, 1, -1.99004745483398, 0.99007225036621], abs=1e-9)


def test_silence_and_quiet_stretches_are_gated_out():
    rate = 16000
    loud, quiet = sine(4, rate), 0.01 * sine(8, rate)
    alone = integrated_loudness(loud, rate)
    assert integrated_loudness(np.concatenate([loud, np.zeros(8 * rate, np.float32)]), rate) == pytest.approx(
        alone, abs=0.4
    )
    assert integrated_loudness(np.concatenate([loud, quiet]), rate) == pytest.approx(alone, abs=0.4)
    assert integrated_loudness(0.5 * loud, rate) == pytest.approx(alone - 6.02, abs=0.01)


def test_short_clips_are_one_block_and_silence_has_no_loudness():
    assert integrated_loudness(sine(0.2, 16000), 16000) == pytest.approx(-3.01, abs=0.3)
    assert integrated_loudness(np.zeros(16000, np.float32), 16000) is None
    assert integrated_loudness(sine(1, 4000), 4000) is None
