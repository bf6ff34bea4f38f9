"""The fingerprint: unchanged by level, cuts and sampling rate, different for other takes, inactive
in pauses.
"""

import itertools

import numpy as np
import pytest

from ser_hf.audio.fingerprint import HOP_SECONDS, fingerprint
from ser_hf.corpora.synthesis import utterance

RATE = 16000


@pytest.fixture(scope="module")
def voice():
    return utterance(0, "happy", 0, seed=0)


def test_the_bits_are_signs_of_differences_of_band_energies():
    samples = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    edges = np.rint(np.geomspace(300, 3200, 34) * 1024 / 8000).astype(int)

    def bands(begin):
        powers = np.abs(np.fft.rfft(samples[begin : begin + 1024] * np.hanning(1024))) ** 2
        return np.log([powers[low:high].sum() for low, high in itertools.pairwise(edges)])

    result = fingerprint(samples, 8000)
    assert result.active.all()
    for frame in range(0, len(result.bits), 7):
        rising = np.diff(bands(64 * (frame + 8))) > np.diff(bands(64 * frame))
        np.testing.assert_array_equal((int(result.bits[frame]) >> np.arange(32)) & 1, rising)


def test_pauses_are_not_active(voice):
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    active = fingerprint(np.concatenate([quiet, voice, quiet]), RATE).active
    assert not active[: round(0.7 / HOP_SECONDS)].any()
    assert not active[-round(0.8 / HOP_SECONDS) :].any()
    assert active.sum() > 50


@pytest.mark.parametrize("samples", [0, 1, 2047, 2048 + 7 * 128])
def test_a_too_short_clip_has_no_fingerprint(samples):
    result = fingerprint(np.ones(samples, np.float32), RATE)
    assert len(result.bits) == 0
    assert len(result.active) == 0
