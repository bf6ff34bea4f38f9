"""Noises: their spectra, and the ratio at which they are mixed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from ser_hf.audio.transforms import (
    VOICES,
    add_noise,
    babble,
    coloured,
    gaussian,
    mean_power,
    random_crop,
    speech_shaped,
)
from ser_hf.corpora.synthetic import utterance

RATE = 16000
ALL = range(3)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def voices():
    return [utterance(speaker, "neutral", 0, seed=0) for speaker in range(3)]


@settings(max_examples=30)
@given(snr=st.floats(-20, 60), level=st.sampled_from([1e-4, 0.1, 100.0]), loudness=st.sampled_from([1e-3, 1.0, 50.0]))
def test_the_noise_is_as_far_below_the_clip_as_asked(snr, level, loudness):
    rng = np.random.default_rng(1)
    clip = (level * np.sin(np.arange(8000) / 5)).astype(np.float32)
    noisy = add_noise(clip, np.float32(loudness) * gaussian(8000, rng), snr)
    assert noisy.dtype == np.float32
    added = noisy.astype(np.float64) - clip
    assert 10 * np.log10(mean_power(clip) / mean_power(added)) == pytest.approx(snr, abs=0.1)


def test_silence_gets_no_noise_and_silent_noise_adds_none(rng):
    silence, noise = np.zeros(100, dtype=np.float32), gaussian(100, rng)
    np.testing.assert_array_equal(add_noise(silence, noise, 10), silence)
    np.testing.assert_array_equal(add_noise(noise, silence, 10), noise)


def test_gaussian_noise_is_white_normal_and_of_unit_power(rng):
    noise = gaussian(100000, rng)
    assert noise.dtype == np.float32
    assert mean_power(noise) == pytest.approx(1, rel=0.02)
    assert np.mean(noise**4) == pytest.approx(3, rel=0.05)
    assert abs(slope(noise)) < 0.05


def slope(noise):
    """Of the power density over frequency, both in logarithms."""
    frequencies, powers = welch(noise, RATE, nperseg=4096)
    band = (frequencies > 50) & (frequencies < 7000)
    return np.polyfit(np.log(frequencies[band]), np.log(powers[band]), 1)[0]


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 1.5, 2.0])
def test_coloured_noise_falls_with_frequency_as_asked(exponent, rng):
    noise = coloured(20 * RATE, exponent, RATE, rng)
    assert noise.dtype == np.float32
    assert noise.shape == (20 * RATE,)
    assert slope(noise) == pytest.approx(-exponent, abs=0.07)


@pytest.mark.parametrize("length", [1, 2, 100, 48001])
def test_noises_of_any_length(length, rng, voices):
    clip = voices[0][:length]
    for noise in (coloured(length, 2.0, RATE, rng), speech_shaped(np.resize(clip, length), rng)):
        assert noise.shape == (length,)
        assert noise.dtype == np.float32
        assert mean_power(noise) > 0


def test_speech_shaped_noise_has_the_clips_spectrum_and_is_steady(rng, voices):
    clip = voices[0]
    noise = speech_shaped(clip, rng)
    assert noise.shape == clip.shape
    spectra = [10 * np.log10(welch(samples, RATE, nperseg=1024)[1]) for samples in (clip, noise)]
    assert np.median(np.abs(spectra[0] - spectra[1])) < 0.8
    assert abs(np.corrcoef(clip, noise)[0, 1]) < 0.15

    def unsteadiness(samples):
        return np.std([np.std(part) for part in np.array_split(samples, 20)]) / np.std(samples)

    assert unsteadiness(noise) < 0.5 * unsteadiness(clip)


def test_a_piece_comes_from_anywhere_of_any_recording(rng):
    recordings = [np.arange(0, 100, dtype=np.float32), np.arange(1000, 1050, dtype=np.float32)]
    starts = set()
    for _ in range(400):
        part = random_crop(recordings, [0, 1], 40, rng)
        np.testing.assert_array_equal(np.diff(part), np.ones(39))
        starts.add(int(part[0]))
    assert {0, 60, 1000, 1010} <= starts <= {*range(61), *range(1000, 1011)}
    assert all(random_crop(recordings, [1], 5, rng)[0] >= 1000 for _ in range(20))


def test_a_short_recording_begins_anew(rng):
    starts = set()
    for _ in range(50):
        part = random_crop([np.arange(5, dtype=np.float32)], [0], 13, rng)
        assert part.shape == (13,)
        np.testing.assert_array_equal(part, (part[0] + np.arange(13)) % 5)
        starts.add(int(part[0]))
    assert starts == set(range(5))


def test_babble_is_several_voices_of_equal_power():
    """Of constant clips each voice adds 1, however loud its clip is: the sum counts them."""
    clips = [np.full(50 + row, 10.0**-row, dtype=np.float32) for row in ALL]
    counts = set()
    for seed in range(60):
        noise = babble(clips, ALL, 30, np.random.default_rng(seed))
        assert noise.shape == (30,)
        assert noise.dtype == np.float32
        np.testing.assert_allclose(noise, noise[0], rtol=1e-5)
        counts.add(round(float(noise[0])))
    assert counts == set(range(VOICES[0], VOICES[1] + 1))
