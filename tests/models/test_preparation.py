"""Trimming, levels and fixed durations against librosa, scipy's filters, torchaudio and what the
standards state.
"""

import warnings

import librosa
import numpy as np
import pytest
from scipy.signal import lfilter

from ser_hf.models import preparation
from ser_hf.models.preparation import (
    Preparation,
    fix_length,
    gated_loudness,
    prepare_waveform,
    trim_silence,
)

RATES = [8000, 16000, 22050, 44100, 48000]
EACH_RATE = pytest.mark.parametrize("rate", RATES)


def voice(rate, seconds=2.0, silence=(0.5, 0.7), seed=0, level=0.1):
    """Return noise with a varying level between two intervals of much quieter noise."""
    generator = np.random.default_rng(seed)
    samples = level * generator.standard_normal(round(seconds * rate))
    samples *= 1.3 + np.sin(np.arange(len(samples)) / 999)
    before, after = (1e-5 * generator.standard_normal(round(part * rate)) for part in silence)
    return np.concatenate([before, samples, after]).astype(np.float32)


def span(samples, trimmed):
    """Return the first and last index of a view in its base array."""
    begin = (
        trimmed.__array_interface__["data"][0] - samples.__array_interface__["data"][0]
    ) // samples.itemsize
    return begin, begin + len(trimmed)


def frames_of(rate):
    hop = round(0.016 * rate)
    return {"frame_length": 4 * hop, "hop_length": hop}


# Trimming


@EACH_RATE
@pytest.mark.parametrize("below", [10, 30, 60])
def test_trimming_agrees_with_librosa_to_the_sample(rate, below):
    for seed in range(8):
        generator = np.random.default_rng(seed)
        samples = voice(rate, generator.uniform(0.2, 2), generator.uniform(0, 1, 2), seed)
        levels = np.cumsum(generator.normal(0, 0.3, 40))
        samples *= np.exp(
            np.interp(np.arange(len(samples)), np.linspace(0, len(samples), 40), levels)
        )
        trimmed = trim_silence(samples, rate, below)
        assert span(samples, trimmed) == tuple(
            librosa.effects.trim(samples, top_db=below, **frames_of(rate))[1]
        )
        assert len(trimmed) < len(samples)


@pytest.mark.parametrize("length", [0, 1, 100, 1023, 1024, 16001])
def test_a_clip_of_zeros_is_not_trimmed(length):
    assert len(trim_silence(np.zeros(length, np.float32), 16000, 30)) == length


# Levels


def recursive_loudness(samples, rate):
    """ITU-R BS.1770-5 with recursive filters."""
    k = np.tan(np.pi * 1681.974450955533 / rate)
    quality = 0.7071752369554196
    gain = 10 ** (3.999843853973347 / 20)
    band = gain**0.4996667741545416
    norm = 1 + k / quality + k * k
    shelf = [
        gain + band * k / quality + k * k,
        2 * (k * k - gain),
        gain - band * k / quality + k * k,
    ]
    weighted = lfilter(
        shelf, [norm, 2 * (k * k - 1), 1 - k / quality + k * k], samples.astype(np.float64)
    )
    k = np.tan(np.pi * 38.13547087602444 / rate)
    quality = 0.5003270373238773
    norm = 1 + k / quality + k * k
    weighted = lfilter(
        [1, -2, 1], [1, 2 * (k * k - 1) / norm, (1 - k / quality + k * k) / norm], weighted
    )
    block = min(len(samples), round(0.4 * rate))
    hop = round(0.1 * rate)
    powers = np.array(
        [np.mean(weighted[i : i + block] ** 2) for i in range(0, len(samples) - block + 1, hop)]
    )
    powers = powers[powers > 10 ** ((-70 + 0.691) / 10)]
    return -0.691 + 10 * np.log10(powers[powers > powers.mean() / 10].mean())


@EACH_RATE
@pytest.mark.parametrize("seconds", [0.05, 0.399, 0.4, 0.41, 0.55, 1.0, 3.7])
def test_loudness_is_that_of_the_recursive_filters(rate, seconds):
    """Filtering in the frequency domain differs by rounding only."""
    time = np.arange(round(seconds * rate)) / rate
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(len(time))
    signals = {
        "noise": 0.1 * noise,
        "hum": np.sin(2 * np.pi * 50 * time) + 1e-3 * noise,
        "offset": 0.4 + 0.01 * noise,
        "wandering": np.cumsum(noise) * 3e-3,
        "gated": noise * np.exp(-8 * (time % 1)),
        "clicks": 0.5 * (np.arange(len(time)) % 997 == 0),
    }
    for name, samples in signals.items():
        samples = samples.astype(np.float32)
        assert gated_loudness(samples, rate) == pytest.approx(
            recursive_loudness(samples, rate), abs=1e-6
        ), name


def test_a_full_scale_sine_of_997_hertz_measures_minus_3():
    """BS.1770, annex 1."""
    sine = np.sin(2 * np.pi * 997 * np.arange(3 * 48000) / 48000).astype(np.float32)
    assert gated_loudness(sine, 48000) == pytest.approx(-3.01, abs=0.01)


def test_silent_and_empty_clips_and_low_rates_have_no_loudness():
    assert gated_loudness(np.zeros(0, np.float32), 16000) is None
    assert gated_loudness(np.zeros(16000, np.float32), 16000) is None
    assert gated_loudness(1e-5 * voice(16000), 16000) is None
    assert gated_loudness(voice(6000), 6000) is None


@EACH_RATE
@pytest.mark.parametrize("target", [-40.0, -23.0, -5.0])
def test_loudness_reaches_its_target(rate, target):
    for seconds in (0.1, 0.5, 2.0):
        samples = preparation.set_level(
            voice(rate, seconds, silence=(0, 0)), rate, "loudness", target
        )
        assert samples.dtype == np.float32
        assert recursive_loudness(samples, rate) == pytest.approx(target, abs=0.01)


@pytest.mark.parametrize("target", [-20.0, -1.0, 0.0])
@pytest.mark.parametrize("scale", [3.0, -0.01, 1e-30])
def test_a_peak_reaches_its_target(target, scale):
    samples = voice(16000) * np.float32(scale)
    levelled = preparation.set_level(samples, 16000, "peak", target)
    assert levelled.dtype == np.float32
    assert np.abs(levelled).max() == pytest.approx(10 ** (target / 20), rel=1e-6)
    np.testing.assert_allclose(
        levelled / np.abs(levelled).max(), samples / np.abs(samples).max(), rtol=1e-5
    )


# Durations, and all of it


def test_a_fixed_length_keeps_the_start_and_pads_the_end():
    samples = voice(16000)
    np.testing.assert_array_equal(fix_length(samples, 1000), samples[:1000])
    padded = fix_length(samples, 60000)
    assert padded.dtype == np.float32
    np.testing.assert_array_equal(padded[: len(samples)], samples)
    assert not padded[len(samples) :].any()
    assert len(padded) == 60000


def test_the_steps_are_taken_in_their_order():
    samples = voice(22050)
    whole = Preparation(trim_silence=35, level="loudness", target_level=-20, fixed_duration=3)
    by_hand = fix_length(
        preparation.set_level(trim_silence(samples, 22050, 35), 22050, "loudness", -20), 3 * 22050
    )
    np.testing.assert_array_equal(prepare_waveform(samples, 22050, whole), by_hand)
    assert len(trim_silence(samples, 22050, 35)) < len(samples) < 3.5 * 22050


@pytest.mark.parametrize("length", [0, 1, 2, 399])
def test_clips_of_any_length_are_prepared(length):
    samples = np.full(length, 0.1, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for level in ("peak", "loudness"):
            prepared = prepare_waveform(samples, 16000, Preparation(30, level))
            assert len(prepared) == length
            assert np.isfinite(prepared).all()
            assert len(prepare_waveform(samples, 16000, Preparation(30, level, None, 1e-6))) == 1


# Settings


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"trim_silence": 0},
            "^trim_silence: expected a positive number of dB, at most 200, got 0",
        ),
        ({"trim_silence": -30.0}, "^trim_silence: "),
        ({"level": "rms"}, "^level: 'rms' is not one of peak, loudness or null"),
        ({"target_level": -3}, "^target_level: belongs to a level"),
        (
            {"level": "peak", "target_level": 0.1},
            r"^target_level: expected -100 to 0 \(full scale\), got 0.1",
        ),
        ({"level": "loudness", "target_level": 23}, "^target_level: "),
        (
            {"fixed_duration": 0.0},
            "^fixed_duration: expected a positive number of seconds, at most 3,600, got 0.0",
        ),
    ],
)
def test_invalid_settings_are_refused_by_name(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        Preparation(**settings)
