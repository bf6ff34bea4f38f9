"""Conditions: each changes a clip by the given amount, and does not change clean and silent clips."""

import itertools

import numpy as np
import pytest
from scipy.signal import welch

from ser_hf.audio.transforms import DIRECT_SECONDS, mean_power
from ser_hf.corpora.synthetic import utterance
from ser_hf.evaluation.robustness import (
    CONDITIONS,
    KINDS,
    Condition,
)

RATE = 16000


@pytest.fixture(scope="module")
def voice():
    return utterance(0, "happy", 0, seed=0)


@pytest.fixture(scope="module")
def hiss():
    return 0.1 * np.random.default_rng(0).standard_normal(4 * RATE, dtype=np.float32)


def under(kind, severity, waveform, rate=RATE, clip="a", seed=0):
    return Condition(kind, severity).apply(waveform, rate, clip, seed)


def decibels(ratio):
    return 10 * np.log10(ratio)


def level(samples, low, high, rate=RATE):
    """Power density in dB between two frequencies."""
    frequencies, powers = welch(samples, rate, nperseg=1024)
    return decibels(powers[(frequencies >= low) & (frequencies <= high)].mean())


@pytest.mark.parametrize("kind", KINDS)
def test_the_clean_severity_is_the_clean_clip(kind, voice):
    assert under(kind, KINDS[kind].clean, voice) is voice


def test_id_kind_and_seed_decide_the_random_numbers_of_a_clip(voice):
    for kind in ("noise", "reverberation"):
        severity = KINDS[kind].severities[0]
        once = under(kind, severity, voice)
        np.testing.assert_array_equal(once, under(kind, severity, voice))
        for other in ({"clip": "b"}, {"seed": 1}):
            assert not np.array_equal(once, under(kind, severity, voice, **other))


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_any_length_and_rate_and_silence(condition):
    rng = np.random.default_rng(0)
    for rate, samples in itertools.product((4000, 8000, 11025, 44100, 96000), (1, 2, 7, 700)):
        clip = 0.5 * rng.standard_normal(samples, dtype=np.float32)
        kept = clip.copy()
        made = condition.apply(clip, rate, "a")
        assert made.dtype == np.float32
        assert np.isfinite(made).all()
        factor = condition.severity if condition.kind == "speed" else 1
        most = condition.severity * rate if condition.kind == "duration" else np.inf
        assert len(made) == max(1, min(round(samples / factor), most))
        np.testing.assert_array_equal(clip, kept)
        for silence in (np.zeros(samples, dtype=np.float32), clip[:0]):
            assert condition.apply(silence, rate, "a") is silence


def test_noise_has_the_requested_level_below_the_speech():
    tone = 0.3 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    for before, after in ((0, 0), (RATE, 0), (2 * RATE, RATE // 2)):
        clip = np.pad(tone, (before, after))
        for severity in KINDS["noise"].severities:
            noise = under("noise", severity, clip) - clip
            assert decibels(0.3**2 / 2 / mean_power(noise)) == pytest.approx(severity, abs=0.02)


def test_noise_is_pink(hiss):
    octaves = [(125 * 2**i, 250 * 2**i) for i in range(6)]
    pink = under("noise", 0, hiss) - hiss
    for low, high in octaves:
        assert level(pink, low, high) - level(pink, 1000, 2000) == pytest.approx(decibels(1500 / (low * 1.5)), abs=1)


@pytest.mark.parametrize("decay", KINDS["reverberation"].severities)
def test_rooms_have_their_decay_time_and_distance(decay):
    impulse = np.zeros(round(1.2 * decay * RATE), dtype=np.float32)
    impulse[0] = 1
    start = round(DIRECT_SECONDS * RATE)
    times, ratios = [], []
    for clip in "abcdef":
        response = under("reverberation", decay, impulse, clip=clip).astype(np.float64)
        energy = np.cumsum(response[start:][::-1] ** 2)[::-1]  # Schroeder's integration
        fall = decibels(np.maximum(energy, 1e-30) / energy[0])
        part = np.flatnonzero((fall < -5) & (fall > -25))
        times.append(-60 / np.polyfit(part / RATE, fall[part], 1)[0])
        ratios.append(decibels((response[:start] ** 2).sum() / energy[0]))
    assert np.mean(times) == pytest.approx(decay, rel=0.05)
    # (0.057 sqrt(60 / decay))^2: 0.325 of 0.6 s, that is -4.9 dB.
    np.testing.assert_allclose(ratios, decibels(0.19494 / decay), atol=0.05)


@pytest.mark.parametrize(("line", "below"), [(64, 15), (13, 11)])
def test_a_telephone_passes_its_band(line, below, hiss):
    narrow = under("telephone", line, hiss)
    inside = level(narrow, 500, 3000)
    assert inside == pytest.approx(level(hiss, 500, 3000), abs=2.5)
    assert level(narrow, 4300, 8000) < inside - 50
    assert level(narrow, 0, 120) < inside - below
    # 6 dB less at the edges themselves.
    for low, high in ((250, 350), (3300, 3500)):
        assert -12 < level(narrow, low, high) - inside < -2


def test_a_shortened_clip_is_the_middle_of_the_speech():
    clip = np.arange(1, 4 * RATE + 1, dtype=np.float32) * 1e-9
    clip[RATE : 3 * RATE] += 0.1  # spoken from 1 s to 3 s, in 4 s
    for seconds in (1, 0.5):
        begin = round((2 - seconds / 2) * RATE)
        made = under("duration", seconds, clip)
        np.testing.assert_array_equal(made, clip[begin : begin + round(seconds * RATE)])
    # Spoken at the end: the piece ends with the clip.
    late = np.pad(np.full(RATE, 0.1, dtype=np.float32), (3 * RATE, 0))
    np.testing.assert_array_equal(under("duration", 2, late), late[-2 * RATE :])
    short = clip[: RATE // 4]
    assert under("duration", 0.5, short) is short


@pytest.mark.parametrize("factor", KINDS["speed"].severities)
def test_speed_moves_tempo_and_pitch(factor):
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    made = under("speed", factor, tone)
    assert len(made) == round(2 * RATE / factor)
    frequencies, powers = welch(made, RATE, nperseg=4096)
    assert frequencies[powers.argmax()] == pytest.approx(1000 * factor, abs=4)
