"""Speed, tempo, pitch and vocal tract: what each moves, and what each leaves as it was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from ser_hf.audio.transforms import (
    _samples,
    _spectra,
    mean_power,
    pitch,
    speed,
    tempo,
    vocal_tract,
    warped_back,
)

RATE = 16000
PITCH = 130.0
FORMANTS = (700.0, 1500.0, 2600.0)


def resonant(glide):
    """A second of a voice through three resonances of 90 Hz, its pitch going up and down by a share of itself."""
    pitches = PITCH * (1 + glide * np.sin(2 * np.pi * 3 * np.arange(RATE + 1) / RATE))
    samples = np.diff(np.floor(np.cumsum(pitches) / RATE))
    for formant in FORMANTS:
        radius = np.exp(-np.pi * 90 / RATE)
        samples = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], samples)
    return (0.1 * samples / np.std(samples)).astype(np.float32)


@pytest.fixture(scope="module")
def vowel():
    return resonant(0.0)


def correlation(samples):
    """The autocorrelation of a clip's middle."""
    middle = samples[len(samples) // 5 : -len(samples) // 5].astype(np.float64)
    return np.fft.irfft(np.abs(np.fft.rfft(middle, 2 * len(middle))) ** 2)


def fundamental(samples, rate=RATE):
    """Hz, by the first of the highest peaks of the autocorrelation, refined by a parabola."""
    found = correlation(samples)
    lags = np.arange(rate // 400, rate // 60)
    at = lags[np.flatnonzero(found[lags] > 0.9 * found[lags].max())[0]]
    while found[at + 1] > found[at]:
        at += 1
    left, peak, right = found[at - 1 : at + 2]
    return rate / (at + 0.5 * (left - right) / (left - 2 * peak + right))


def formants(samples):
    """Hz: angles of the sharp poles of a linear prediction."""
    found = correlation(samples)
    roots = np.roots([1, *-solve_toeplitz(found[:12], found[1:13])])
    sharp = roots[(roots.imag > 0) & (np.abs(roots) > 0.9)]
    return np.sort(np.angle(sharp)) * RATE / (2 * np.pi)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 1.5])
def test_speed_moves_length_and_pitch_together(vowel, factor):
    faster = speed(vowel, factor)
    assert faster.dtype == np.float32
    assert len(faster) == round(RATE / factor)
    assert fundamental(faster) == pytest.approx(PITCH * factor, rel=0.005)
    assert mean_power(faster[1000:-1000]) == pytest.approx(mean_power(vowel[1000:-1000]), rel=0.05)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 1.5])
def test_tempo_moves_length_alone(vowel, factor):
    faster = tempo(vowel, factor, RATE)
    assert faster.dtype == np.float32
    assert len(faster) == round(RATE / factor)
    assert fundamental(faster) == pytest.approx(PITCH, rel=0.01)
    np.testing.assert_allclose(formants(faster)[:3], formants(vowel)[:3], rtol=0.03)
    # Where phases are not locked, half of the power is lost.
    assert 10 * np.log10(mean_power(faster) / mean_power(vowel)) == pytest.approx(0, abs=0.7)


@pytest.mark.parametrize("semitones", [-12.0, -2.0, 1.5, 7.0])
def test_pitch_moves_by_semitones_and_tempo_stays(vowel, semitones):
    higher = pitch(vowel, semitones, RATE)
    assert higher.dtype == np.float32
    assert higher.shape == vowel.shape
    ratio = 2 ** (semitones / 12)
    assert fundamental(higher) == pytest.approx(PITCH * ratio, rel=0.01)
    if abs(semitones) < 5:
        np.testing.assert_allclose(formants(higher)[:3], ratio * formants(vowel)[:3], rtol=0.03)


@pytest.mark.parametrize("factor", [0.85, 0.9, 1.1, 1.15])
def test_vocal_tract_moves_formants_alone(vowel, factor):
    other = vocal_tract(vowel, factor, RATE)
    assert other.dtype == np.float32
    assert other.shape == vowel.shape
    assert fundamental(other) == pytest.approx(PITCH, rel=0.002)
    # The first formant moves a little less than asked: the smooth envelope that is warped is blunter than a resonance.
    gliding = resonant(0.2)  # whose harmonics show every place of the envelope
    moved = formants(vocal_tract(gliding, factor, RATE))[:3] / formants(gliding)[:3]
    np.testing.assert_allclose(moved[0], factor, rtol=0.05)
    np.testing.assert_allclose(moved[1:], factor, rtol=0.02)
    assert 10 * np.log10(mean_power(other) / mean_power(vowel)) == pytest.approx(0, abs=3)


def test_a_vocal_tract_as_it_was_changes_nothing(vowel):
    np.testing.assert_allclose(vocal_tract(vowel, 1.0, RATE), vowel, atol=1e-6)
    np.testing.assert_allclose(tempo(vowel, 1.0, RATE), vowel, atol=1e-5)
    np.testing.assert_allclose(pitch(vowel, 0.0, RATE), vowel, atol=1e-5)


def test_the_warp_is_the_papers():
    """At 16 kHz, with F_hi 4800 Hz, the formula as it is printed: from f to its image."""
    frequencies = np.linspace(0, 8000, 41)
    for factor in (0.8, 1.0, 1.2):
        corner = 4800 * min(factor, 1)
        beyond = 8000 - (8000 - corner) / (8000 - corner / factor) * (8000 - frequencies)
        image = np.where(frequencies <= corner / factor, frequencies * factor, beyond)
        np.testing.assert_allclose(warped_back(image / 8000, factor) * 8000, frequencies, atol=1e-6)


@settings(max_examples=40)
@given(length=st.integers(1, 3000), size=st.sampled_from([16, 128, 512]))
def test_spectra_give_the_samples_back(length, size):
    samples = np.random.default_rng(length).standard_normal(length, dtype=np.float32)
    spectra = _spectra(samples, size)
    assert spectra.dtype == np.complex64
    np.testing.assert_allclose(_samples(spectra, size, length), samples, atol=1e-5)


def test_silence_within_a_clip_does_not_silence_the_rest(vowel):
    gapped = vowel.copy()
    gapped[4000:9000] = 0
    for changed in (tempo(gapped, 0.9, RATE), pitch(gapped, 2.0, RATE), vocal_tract(gapped, 1.1, RATE)):
        late = changed[round(0.65 * len(changed)) :]
        assert mean_power(late) == pytest.approx(mean_power(vowel), rel=0.4)
        assert np.abs(changed[round(0.35 * len(changed)) : round(0.5 * len(changed))]).max() < 1e-3
