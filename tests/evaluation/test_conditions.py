"""Conditions: each changes a clip by the given amount, and keeps clean and silent clips."""

import itertools

import numpy as np
import pytest

from ser_hf.audio import transforms
from ser_hf.audio.transforms import mean_power
from ser_hf.corpora.synthesis import utterance
from ser_hf.evaluation.conditions import CONDITIONS, KINDS, Condition, all_conditions

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
    for kind in ("noise", "white_noise", "reverberation", "clipping"):
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


def level_below(noisy, clip):
    """The power of what was added, in dB below the whole clip."""
    return decibels(mean_power(clip) / mean_power(noisy.astype(np.float64) - clip))


def test_white_noise_has_the_requested_level_below_the_whole_clip(voice):
    for pauses in (0, RATE):
        clip = np.pad(voice, (pauses, 0))
        for severity in KINDS["white_noise"].severities:
            noisy = under("white_noise", severity, clip)
            assert level_below(noisy, clip) == pytest.approx(severity, abs=0.02)
    added = under("white_noise", 0, voice) - voice
    spectrum = np.square(np.abs(np.fft.rfft(added)))
    halves = np.array_split(spectrum, 2)
    assert decibels(halves[0].mean() / halves[1].mean()) == pytest.approx(0, abs=0.5)


def test_recorded_noise_is_the_same_segment_at_each_requested_level(voice):
    rng = np.random.default_rng(0)
    noises = [rng.standard_normal(3 * RATE, dtype=np.float32) for _ in range(3)]
    conditions = [one for one in all_conditions(noises) if one.kind == "recorded_noise"]
    assert [one.severity for one in conditions] == [20, 10, 5, 0]
    segments = []
    for condition in conditions:
        noisy = condition.apply(voice, RATE, "a")
        assert level_below(noisy, voice) == pytest.approx(condition.severity, abs=0.02)
        segment = noisy.astype(np.float64) - voice
        segments.append(segment / np.sqrt(mean_power(segment)))
    for segment in segments[1:]:
        np.testing.assert_allclose(segment, segments[0], atol=0.01)
    assert not np.array_equal(conditions[0].apply(voice, RATE, "b"), noisy)


def test_recorded_rooms_are_grouped_by_their_reverberation_time(voice):
    rng = np.random.default_rng(0)
    decays = [0.05, 0.3, 0.4, 0.8, 2.5]
    rooms = [transforms.generated_response(decay, 0.0, RATE, rng) for decay in decays]
    conditions = [one for one in all_conditions(rooms=rooms) if one.kind == "recorded_room"]
    assert [(one.severity, len(one.recordings)) for one in conditions] == [(0.5, 2), (1.0, 1)]
    expected = transforms.reverberate(voice, rooms[3])
    np.testing.assert_array_equal(conditions[1].apply(voice, RATE, "a"), expected)
    drawn = {conditions[0].apply(voice, RATE, f"{i}").tobytes() for i in range(20)}
    assert drawn == {transforms.reverberate(voice, rooms[i]).tobytes() for i in (1, 2)}


def test_conditions_with_recordings_need_recordings():
    assert {condition.kind for condition in CONDITIONS} == {
        name for name, kind in KINDS.items() if not kind.needs_folder
    }
    assert all_conditions() == CONDITIONS


def test_clipping_changes_a_share_of_the_samples_that_is_drawn_up_to_the_severity():
    clip = np.random.default_rng(0).standard_normal(RATE, dtype=np.float32)
    shares = {}
    for severity in KINDS["clipping"].severities:
        clipped = [under("clipping", severity, clip, clip=f"{i}") for i in range(50)]
        shares[severity] = np.array([100 * (one != clip).mean() for one in clipped])
        assert 0.9 * severity < shares[severity].max() <= severity
        assert shares[severity].mean() == pytest.approx(severity / 2, rel=0.15)
    np.testing.assert_allclose(shares[60], 3 * shares[20], atol=0.1)


def test_a_lower_bit_rate_distorts_more(voice):
    distortions = [
        mean_power(under("codec", kilobits, voice).astype(np.float64) - voice)
        for kilobits in KINDS["codec"].severities
    ]
    assert distortions == sorted(distortions)
    assert 5 < level_below(under("codec", 32, voice), voice) < 40


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
