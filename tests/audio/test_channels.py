"""Cuts, bands, codecs and levels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate, welch

from ser_hf.audio.augmentation import CODECS
from ser_hf.audio.transforms import _SUBTYPES, band_limit, clip, crop, gain, telephone, time_shift
from ser_hf.corpora.synthetic import utterance

RATE = 16000


@pytest.fixture(scope="module")
def voice():
    return utterance(0, "happy", 0, seed=0)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).standard_normal(4 * RATE, dtype=np.float32)


def level(samples, low, high):
    """Power density in dB between two frequencies."""
    frequencies, powers = welch(samples, RATE, nperseg=1024)
    return 10 * np.log10(powers[(frequencies >= low) & (frequencies <= high)].mean())


def test_a_crop_is_a_piece_from_anywhere():
    clip, rng = np.arange(10, dtype=np.float32), np.random.default_rng(0)
    starts = set()
    for _ in range(100):
        part = crop(clip, 0.72, rng)
        np.testing.assert_array_equal(part, part[0] + np.arange(7))
        starts.add(int(part[0]))
    assert starts == {0, 1, 2, 3}
    np.testing.assert_array_equal(crop(clip, 1.0, rng), clip)
    assert crop(clip[:1], 0.1, rng).shape == (1,)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, [0, 0, 1, 2, 3, 4]),
        (-0.2, [3, 4, 5, 6, 0, 0]),
        (0.0, [1, 2, 3, 4, 5, 6]),
        (1.0, [0, 0, 0, 1, 2, 3]),
        (-1.0, [4, 5, 6, 0, 0, 0]),
    ],
)
def test_a_shift_lets_silence_in_and_keeps_half_of_the_clip(seconds, expected):
    clip = np.arange(1, 7, dtype=np.float32)
    np.testing.assert_array_equal(time_shift(clip, seconds, 10), np.array(expected, dtype=np.float32))
    np.testing.assert_array_equal(clip, np.arange(1, 7))
    np.testing.assert_array_equal(time_shift(clip[:1], seconds, 10), clip[:1])


def test_a_band_is_left_and_the_rest_is_gone(noise):
    assert band_limit(noise, 0.5, 8000, RATE) is noise
    limited = band_limit(noise, 300, 3000, RATE)
    assert limited.dtype == np.float32
    before = level(noise, 0, 8000)
    assert level(limited, 500, 2500) == pytest.approx(before, abs=0.5)
    assert level(limited, 0, 140) < before - 35
    assert level(limited, 6000, 8000) < before - 60
    # Both edges are where the power is a quarter.
    for edge in (300, 3000):
        tone = np.sin(2 * np.pi * edge * np.arange(RATE) / RATE).astype(np.float32)
        middle = slice(RATE // 4, -RATE // 4)
        ratio = np.std(band_limit(tone, 300, 3000, RATE)[middle]) / np.std(tone[middle])
        assert ratio == pytest.approx(0.5, abs=0.01)


def lag(later, earlier):
    """Samples by which one follows the other."""
    return correlate(later, earlier).argmax() - (len(earlier) - 1)


def test_every_codec_that_a_recipe_may_name_is_there():
    assert set(_SUBTYPES) == set(CODECS)


@pytest.mark.parametrize(("codec", "least"), [("mu_law", 28), ("a_law", 28), ("gsm", 5), ("adpcm", 12)])
@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_a_telephone_keeps_the_band_its_length_and_time(voice, codec, least, rate):
    clip = voice[: len(voice) // 160 * 160 + 1]
    heard = telephone(clip, codec, rate)
    assert heard.shape == clip.shape
    assert heard.dtype == np.float32
    ideal = band_limit(clip, 300, 3400, rate)
    assert abs(lag(heard, ideal)) <= rate / 1000
    fit = np.dot(heard, ideal) / np.sqrt(np.dot(heard, heard) * np.dot(ideal, ideal))
    distortion = 10 * np.log10(1 / (1 - fit**2))
    assert least < distortion < least + 20  # each codec distorts, some more


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length", [1, 2, 3, 161, 1000])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_telephone_takes_any_length(codec, length, rate):
    for level in (0, 1e-40, 1, 1e30):  # the second too small for its reciprocal to be a number
        heard = telephone(np.full(length, level, dtype=np.float32), codec, rate)
        assert heard.shape == (length,)
        assert heard.dtype == np.float32
        assert np.isfinite(heard).all()
    assert band_limit(np.ones(length, dtype=np.float32), 20, 3000, rate).shape == (length,)


@settings(max_examples=30)
@given(share=st.floats(0, 0.9))
def test_the_loudest_share_is_cut_at_one_level(noise, share):
    before = noise[:5000]
    cut = clip(before, share)
    assert cut.dtype == np.float32
    limit = np.abs(cut).max()
    # The quantile lies between two samples: one fewer than the share may be above it.
    assert (np.abs(before) > limit).sum() == pytest.approx(share * len(before), abs=1)
    untouched = np.abs(before) < limit
    np.testing.assert_array_equal(cut[untouched], before[untouched])
    np.testing.assert_array_equal(np.sign(cut), np.sign(before))


def test_a_clip_of_mostly_silence_is_not_cut_to_silence():
    padded = np.zeros(100, dtype=np.float32)
    padded[:10] = 0.5
    np.testing.assert_array_equal(clip(padded, 0.5), padded)


@settings(max_examples=30)
@given(decibels=st.floats(-60, 60))
def test_gain_is_in_decibels(voice, decibels):
    louder = gain(voice, decibels)
    assert louder.dtype == np.float32
    assert 20 * np.log10(np.std(louder) / np.std(voice)) == pytest.approx(decibels, abs=1e-3)
