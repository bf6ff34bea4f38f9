"""Reverberation: rooms decay as they are asked to, and what is said in them stays in its place at its level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf.audio.transforms import DIRECT_SECONDS, generated_response, mean_power, reverberate
from ser_hf.corpora.synthetic import utterance

RATE = 16000


@pytest.fixture(scope="module")
def voice():
    return utterance(0, "neutral", 0, seed=0)


def decay_time(response):
    """Seconds to -60 dB, from -5 to -25 dB of Schroeder's backward integration."""
    tail = response[round(DIRECT_SECONDS * RATE) :].astype(np.float64)
    energy = np.cumsum(tail[::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    part = np.flatnonzero((level < -5) & (level > -25))
    return -60 / np.polyfit(part / RATE, level[part], 1)[0]


@pytest.mark.parametrize("decay", [0.2, 0.5, 1.5])
def test_a_generated_room_decays_in_the_given_time(decay):
    times = [decay_time(generated_response(decay, 0, RATE, np.random.default_rng(seed))) for seed in range(5)]
    assert np.mean(times) == pytest.approx(decay, rel=0.05)
    np.testing.assert_allclose(times, decay, rtol=0.1)


@settings(max_examples=30)
@given(decay=st.floats(0.02, 2.0), ratio=st.floats(-20, 60), rate=st.sampled_from([8000, 16000, 44100]))
def test_direct_sound_stands_out_as_far_as_asked(decay, ratio, rate):
    response = generated_response(decay, ratio, rate, np.random.default_rng(0))
    assert response.dtype == np.float32
    assert response[0] == 1
    count = round(DIRECT_SECONDS * rate)
    direct, late = np.square(response[:count], dtype=np.float64), np.square(response[count:], dtype=np.float64)
    assert 10 * np.log10(direct.sum() / late.sum()) == pytest.approx(ratio, abs=0.01)


def test_level_length_and_place_stay(voice):
    rng = np.random.default_rng(0)
    wet = reverberate(voice, generated_response(0.5, 5.0, RATE, rng))
    assert wet.shape == voice.shape
    assert wet.dtype == np.float32
    assert mean_power(wet) == pytest.approx(mean_power(voice), rel=1e-4)
    assert 0.5 < np.corrcoef(wet, voice)[0, 1] < 0.95
    assert np.correlate(np.pad(wet, 20), voice, "valid").argmax() == 20


def test_the_direct_path_keeps_its_place_whatever_comes_before(voice):
    response = np.zeros(500, dtype=np.float32)
    response[[100, 120, 200]] = [0.3, -2.0, 0.5]
    wet = reverberate(voice, response)
    expected = voice.copy()
    expected[:-20] += -0.15 * voice[20:]
    expected[80:] += -0.25 * voice[:-80]
    expected *= np.sqrt(mean_power(voice) / mean_power(expected))
    np.testing.assert_allclose(wet, expected, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 100])
def test_short_clips_and_silence(length):
    response = generated_response(0.02, 0.0, RATE, np.random.default_rng(0))
    assert reverberate(np.ones(length, dtype=np.float32), response).shape == (length,)
    silence = np.zeros(length, dtype=np.float32)
    np.testing.assert_array_equal(reverberate(silence, response), silence)
    np.testing.assert_array_equal(reverberate(response, silence), response)
