"""Conditions: each changes a clip by the given amount, and keeps clean and silent clips."""

import itertools

import numpy as np
import pytest

from ser_hf.audio.transforms import mean_power
from ser_hf.corpora.synthesis import utterance
from ser_hf.evaluation.conditions import CONDITIONS, KINDS, Condition

RATE = 16000


@pytest.fixture(scope="module")
def voice():
    return utterance(0, "happy", 0, seed=0)


def under(kind, severity, waveform, rate=RATE, clip="a", seed=0):
    return Condition(kind, severity).apply(waveform, rate, clip, seed)


def decibels(ratio):
    return 10 * np.log10(ratio)


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
