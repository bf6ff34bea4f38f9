"""Signal processing of augmentation: telephone and level, noise, reverberation, speed and pitch."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soxr
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_toeplitz
from scipy.signal import butter, correlate, lfilter, sosfiltfilt, welch

from ser_hf.audio import transforms
from ser_hf.corpora.synthesis import utterance

RATE = 16000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def voice():
    return utterance(0, "neutral", 0, seed=0)


# Telephone and level


@pytest.mark.parametrize(
    ("codec", "least"), [("mu_law", 28), ("a_law", 28), ("gsm", 5), ("adpcm", 12)]
)
@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_a_telephone_keeps_the_band_its_length_and_time(voice, codec, least, rate):
    samples = voice[: len(voice) // 160 * 160 + 1]
    coded = transforms.telephone(samples, codec, rate)
    assert coded.shape == samples.shape
    assert coded.dtype == np.float32
    ideal = sosfiltfilt(butter(4, (300, 3400), "bandpass", fs=rate, output="sos"), samples)
    assert abs(correlate(coded, ideal).argmax() - (len(ideal) - 1)) <= rate / 1000
    fit = np.dot(coded, ideal) / np.sqrt(np.dot(coded, coded) * np.dot(ideal, ideal))
    distortion = 10 * np.log10(1 / (1 - fit**2))
    assert least < distortion < least + 20  # each codec distorts, some more


def test_the_mu_law_codec_is_as_near_to_the_clip_as_the_curve_of_torchaudio(voice):
    samples = (voice / np.abs(voice).max()).astype(np.float32)
    coded = transforms._coded(samples, "mu_law")
    curve = torchaudio.functional.mu_law_encoding(torch.tensor(samples) / 2, 256)
    rounded = 2 * torchaudio.functional.mu_law_decoding(curve, 256).numpy()
    errors = [transforms.mean_power(decoded - samples) for decoded in (coded, rounded)]
    assert 10 * np.log10(errors[0] / errors[1]) == pytest.approx(0, abs=1)


def test_few_code_words_of_the_mu_law_curve_are_those_of_the_codec(voice):
    """G.711 has straight lines where torchaudio has a curve; so torchaudio cannot replace it."""
    samples = (voice / np.abs(voice).max()).astype(np.float32)
    coded = transforms._coded(samples, "mu_law")
    curve = torchaudio.functional.mu_law_encoding(torch.tensor(samples) / 2, 256)
    rounded = 2 * torchaudio.functional.mu_law_decoding(curve, 256).numpy()
    step_of_16_bits = 1 / transforms._CODEC_PEAK
    assert np.mean(np.abs(coded - rounded) < step_of_16_bits / 2) < 0.2


def test_the_band_of_a_telephone_is_that_of_torchaudio_except_at_the_ends(voice):
    ours = sosfiltfilt(transforms._telephone_band(), voice)
    numerator, denominator = butter(4, (300, 3400), "bandpass", fs=transforms.TELEPHONE_RATE)
    theirs = torchaudio.functional.filtfilt(
        torch.tensor(voice).double(),
        torch.tensor(denominator),
        torch.tensor(numerator),
        clamp=False,
    )
    np.testing.assert_allclose(ours[400:-400], theirs.numpy()[400:-400], rtol=0, atol=1e-6)


@settings(max_examples=10)
@given(decibels=st.floats(-60, 60))
def test_gain_is_in_decibels(voice, decibels):
    louder = transforms.gain(voice, decibels)
    assert louder.dtype == np.float32
    assert 20 * np.log10(np.std(louder) / np.std(voice)) == pytest.approx(decibels, abs=1e-3)


# MP3, clipping and band limit


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("kilobits", [8, 16, 32, 64])
def test_mp3_keeps_length_place_and_level(kilobits, rate, voice):
    samples = soxr.resample(voice, RATE, rate)
    coded = transforms.mp3(samples, kilobits, rate)
    assert coded.shape == samples.shape
    assert coded.dtype == np.float32
    assert abs(correlate(coded, samples).argmax() - (len(samples) - 1)) <= 1
    assert transforms.mean_power(coded) == pytest.approx(
        transforms.mean_power(samples), rel=0.5 if kilobits == 8 else 0.15
    )
    loud = transforms.mp3(8 * samples, kilobits, rate)
    assert np.abs(loud).max() == pytest.approx(8 * np.abs(coded).max(), rel=0.5)


def test_mp3_has_the_requested_bit_rate(voice, monkeypatch):
    """The bit rate is in the third byte of a frame: MPEG-2 layer III has 8 kbit/s a step."""
    files = []
    write = transforms.soundfile.write

    def kept(file, *args, **settings):
        write(file, *args, **settings)
        files.append(file.getvalue())

    monkeypatch.setattr("soundfile.write", kept)
    for kilobits in (8, 16, 24, 32, 64):
        transforms.mp3(voice, kilobits, RATE)
        assert files[-1][:2] == b"\xff\xf3"
        assert 8 * (files[-1][2] >> 4) == kilobits


@settings(max_examples=30)
@given(share=st.floats(0, 0.9))
def test_the_loudest_share_of_the_samples_is_clipped_at_one_level(share):
    samples = np.random.default_rng(2).standard_normal(5000, dtype=np.float32)
    clipped = transforms.clip(samples, share)
    assert clipped.dtype == np.float32
    limit = np.abs(clipped).max()
    # The quantile lies between two samples, so the share is met to one sample.
    assert (np.abs(samples) > limit).sum() == pytest.approx(share * len(samples), abs=1)
    below = np.abs(samples) < limit
    np.testing.assert_array_equal(clipped[below], samples[below])
    np.testing.assert_array_equal(np.sign(clipped), np.sign(samples))


def test_a_clip_of_mostly_silence_is_not_clipped_to_silence():
    padded = np.zeros(100, dtype=np.float32)
    padded[:10] = 0.5
    np.testing.assert_array_equal(transforms.clip(padded, 0.5), padded)


def tone_gain(frequency, low, high, rate):
    """The change of a tone's power in dB by a band limit, after the filters have settled."""
    tone = np.sin(2 * np.pi * frequency * np.arange(2 * rate) / rate).astype(np.float32)
    limited = transforms.band_limit(tone, low, high, rate)
    return 20 * np.log10(np.std(limited[rate:]) / np.std(tone[rate:]))


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_a_band_limit_halves_the_power_at_its_edges_and_falls_by_24_db_an_octave(rate):
    low, high = 300.0, 2000.0
    assert tone_gain(800, low, high, rate) == pytest.approx(0, abs=0.2)
    for edge in (low, high):
        assert tone_gain(edge, low, high, rate) == pytest.approx(-3, abs=0.2)
    assert tone_gain(low / 2, low, high, rate) == pytest.approx(-24, abs=1)
    # The bilinear transform has its zero at half of the sampling rate, so it falls faster there.
    assert tone_gain(high * 1.9, low, high, rate) < -22


def test_a_band_limit_has_any_level_and_no_effect_beyond_the_frequencies_of_a_clip(rng):
    noise = rng.standard_normal(RATE, dtype=np.float32)
    assert transforms.band_limit(noise, 0.5, 8000, RATE) is noise
    silence = np.zeros(100, dtype=np.float32)
    assert transforms.band_limit(silence, 300, 3000, RATE) is silence
    limited = transforms.band_limit(noise, 20, 3000, RATE)
    assert limited.dtype == np.float32
    for level in (1e-20, 1e-3, 1e6):
        scaled = transforms.band_limit(noise * np.float32(level), 20, 3000, RATE)
        np.testing.assert_allclose(scaled / np.float32(level), limited, rtol=1e-4, atol=1e-6)


# Noise


@settings(max_examples=30)
@given(
    snr=st.floats(-20, 60),
    level=st.sampled_from([1e-4, 0.1, 100.0]),
    loudness=st.sampled_from([1e-3, 1.0, 50.0]),
)
def test_noise_has_the_signal_to_noise_ratio(snr, level, loudness):
    rng = np.random.default_rng(1)
    samples = (level * np.sin(np.arange(8000) / 5)).astype(np.float32)
    noisy = transforms.add_noise(
        samples, np.float32(loudness) * transforms.gaussian(8000, rng), snr
    )
    assert noisy.dtype == np.float32
    added = noisy.astype(np.float64) - samples
    assert 10 * np.log10(
        transforms.mean_power(samples) / transforms.mean_power(added)
    ) == pytest.approx(snr, abs=0.1)


def test_noise_of_no_power_in_float32_is_silent():
    samples = np.float32([0.1, -0.1, 0.2])
    faint = np.float32([1e-25, 1e-25, 0])
    assert transforms.add_noise(samples, faint, 0.0) is samples
    assert transforms.add_noise(faint, samples, 0.0) is faint


def slope(noise):
    """Of the power density over frequency, both in logarithms."""
    frequencies, powers = welch(noise, RATE, nperseg=4096)
    band = (frequencies > 50) & (frequencies < 7000)
    return np.polyfit(np.log(frequencies[band]), np.log(powers[band]), 1)[0]


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 2.0])
def test_the_power_of_colored_noise_falls_with_its_exponent(exponent, rng):
    noise = transforms.colored(20 * RATE, exponent, RATE, rng)
    assert noise.dtype == np.float32
    assert noise.shape == (20 * RATE,)
    assert slope(noise) == pytest.approx(-exponent, abs=0.07)
    for length in (1, 2, 100):
        short = transforms.colored(length, exponent, RATE, rng)
        assert short.shape == (length,)
        assert transforms.mean_power(short) > 0


def test_random_crops_cover_all_places_of_all_recordings(rng):
    recordings = [np.arange(0, 100, dtype=np.float32), np.arange(1000, 1050, dtype=np.float32)]
    starts = set()
    for _ in range(400):
        part = transforms.random_crop(recordings, 40, rng)
        np.testing.assert_array_equal(np.diff(part), np.ones(39))
        starts.add(int(part[0]))
    assert {0, 60, 1000, 1010} <= starts <= {*range(61), *range(1000, 1011)}
    repeated = transforms.random_crop([np.arange(5, dtype=np.float32)], 13, rng)
    np.testing.assert_array_equal(repeated, (repeated[0] + np.arange(13)) % 5)


def test_babble_has_as_many_different_clips_of_equal_power_as_requested(rng):
    """Constant clips tell the voices apart: each adds 1 in its own direction, however loud."""
    clips = [np.full(50, 10.0**-i, dtype=np.float32) for i in range(4)]
    for count, voices in ((1, 1), (3, 3), (9, 4)):
        noise = transforms.babble(clips, count, 120, rng)
        assert noise.dtype == np.float32
        np.testing.assert_allclose(noise, np.full(120, voices), rtol=1e-5)
    # Clips of one sample each, at different places of a long clip: none is used twice.
    pulses = np.eye(8, dtype=np.float32)
    drawn = [transforms.babble(list(pulses), 5, 8, rng) for _ in range(20)]
    assert all((noise > 0).sum() == 5 for noise in drawn)
    assert {tuple(noise > 0) for noise in drawn} != {tuple(drawn[0] > 0)}


def test_silent_voices_add_nothing(rng):
    silent = [np.zeros(30, dtype=np.float32)]
    assert not transforms.babble(silent, 3, 50, rng).any()


# Reverberation


def decay_time(response):
    """Seconds to -60 dB, from -5 to -25 dB of Schroeder's backward integration."""
    tail = response[round(transforms.DIRECT_SECONDS * RATE) :].astype(np.float64)
    energy = np.cumsum(tail[::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    part = np.flatnonzero((level < -5) & (level > -25))
    return -60 / np.polyfit(part / RATE, level[part], 1)[0]


@pytest.mark.parametrize("decay", [0.2, 1.5])
def test_a_generated_room_decays_in_the_given_time(decay):
    rngs = map(np.random.default_rng, range(5))
    times = [decay_time(transforms.generated_response(decay, 0, RATE, rng)) for rng in rngs]
    assert np.mean(times) == pytest.approx(decay, rel=0.05)


@settings(max_examples=30)
@given(
    decay=st.floats(0.02, 2.0), ratio=st.floats(-20, 60), rate=st.sampled_from([8000, 16000, 44100])
)
def test_a_generated_room_has_the_direct_to_reverberant_ratio(decay, ratio, rate):
    response = transforms.generated_response(decay, ratio, rate, np.random.default_rng(0))
    assert response.dtype == np.float32
    assert response[0] == 1
    count = round(transforms.DIRECT_SECONDS * rate)
    direct = np.square(response[:count], dtype=np.float64)
    late = np.square(response[count:], dtype=np.float64)
    assert 10 * np.log10(direct.sum() / late.sum()) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("decay", [0.15, 0.5, 1.4])
@pytest.mark.parametrize("ratio", [-5.0, 10.0])
def test_the_reverberation_time_of_a_recorded_room_is_measured(decay, ratio, rng):
    response = transforms.generated_response(decay, ratio, RATE, rng)
    later = np.concatenate([np.zeros(300, dtype=np.float32), 0.2 * response])
    assert transforms.decay_time(later, RATE) == pytest.approx(decay, rel=0.15)


@pytest.mark.parametrize("response", [[0.0, 0.0], [1.0], [0.0, 1.0, 0.0, 0.0], [1.0, 1e-9, 0.0]])
def test_without_reverberation_its_time_is_zero(response):
    assert transforms.decay_time(np.array(response, dtype=np.float32), RATE) == 0


def test_reverberation_keeps_the_place_of_the_direct_path_and_the_level(voice):
    response = np.zeros(500, dtype=np.float32)
    response[[100, 120, 200]] = [0.3, -2.0, 0.5]
    wet = transforms.reverberate(voice, response)
    expected = voice.copy()
    expected[:-20] += -0.15 * voice[20:]
    expected[80:] += -0.25 * voice[:-80]
    expected *= np.sqrt(transforms.mean_power(voice) / transforms.mean_power(expected))
    assert wet.dtype == np.float32
    np.testing.assert_allclose(wet, expected, atol=1e-5)
    assert transforms.reverberate(voice, np.zeros(500, dtype=np.float32)) is voice


def test_convolution_is_that_of_torchaudio(voice, rng):
    response = transforms.generated_response(0.4, 5, RATE, rng)
    wet = transforms.reverberate(voice, response)
    theirs = torchaudio.functional.fftconvolve(torch.tensor(voice), torch.tensor(response)).numpy()
    theirs = theirs[: len(voice)]
    theirs *= np.sqrt(transforms.mean_power(voice) / transforms.mean_power(theirs))
    np.testing.assert_allclose(wet, theirs, rtol=0, atol=1e-6)


# Speed and pitch

PITCH = 130.0
FORMANTS = (700.0, 1500.0, 2600.0)


@pytest.fixture(scope="module")
def vowel():
    """A second of a voice through three resonances of 90 Hz."""
    samples = np.diff(np.floor(np.arange(RATE + 1) * PITCH / RATE))
    for formant in FORMANTS:
        radius = np.exp(-np.pi * 90 / RATE)
        samples = lfilter(
            [1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], samples
        )
    return (0.1 * samples / np.std(samples)).astype(np.float32)


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
def test_speed_changes_length_and_pitch_and_tempo_length_alone(vowel, factor):
    speed = transforms.speed(vowel, factor)
    tempo = transforms.tempo(vowel, factor, RATE)
    for faster, expected in ((speed, PITCH * factor), (tempo, PITCH)):
        assert faster.dtype == np.float32
        assert len(faster) == round(RATE / factor)
        assert fundamental(faster) == pytest.approx(expected, rel=0.01)
        # Where phases are not locked, half of the power is lost.
        assert 10 * np.log10(
            transforms.mean_power(faster) / transforms.mean_power(vowel)
        ) == pytest.approx(0, abs=0.7)
    np.testing.assert_allclose(
        formants(transforms.tempo(vowel, factor, RATE))[:3], formants(vowel)[:3], rtol=0.03
    )


@pytest.mark.parametrize("factor", [0.5, 0.93, 1.25])
def test_speed_is_near_to_a_steeper_filter(factor):
    # Noise up to half of the band, so that all filters pass it.
    white = np.random.default_rng(0).standard_normal(20000).astype(np.float32)
    samples = sosfiltfilt(butter(8, 0.4, output="sos"), white).astype(np.float32)
    reference = soxr.resample(samples, factor, 1.0, quality="VHQ")[500:-500]
    error = transforms.speed(samples, factor)[500:-500] - reference
    assert 10 * np.log10(transforms.mean_power(error) / transforms.mean_power(reference)) < -60


def test_speed_is_rounded_to_hundredths():
    samples = np.sin(np.arange(5000) / 9).astype(np.float32)
    np.testing.assert_array_equal(
        transforms.speed(samples, 1.1042), transforms.speed(samples, 1.10)
    )


@pytest.mark.parametrize("semitones", [-12.0, -2.0, 1.5, 7.0])
def test_pitch_changes_by_semitones_at_the_same_tempo(vowel, semitones):
    higher = transforms.pitch(vowel, semitones, RATE)
    assert higher.dtype == np.float32
    assert higher.shape == vowel.shape
    ratio = 2 ** (semitones / 12)
    assert fundamental(higher) == pytest.approx(PITCH * ratio, rel=0.01)
    if abs(semitones) < 5:
        np.testing.assert_allclose(formants(higher)[:3], ratio * formants(vowel)[:3], rtol=0.03)


def test_silence_within_a_clip_does_not_silence_the_rest(vowel):
    gapped = vowel.copy()
    gapped[4000:9000] = 0
    for changed in (transforms.tempo(gapped, 0.9, RATE), transforms.pitch(gapped, 2.0, RATE)):
        late = changed[round(0.65 * len(changed)) :]
        assert transforms.mean_power(late) == pytest.approx(transforms.mean_power(vowel), rel=0.4)
        assert np.abs(changed[round(0.35 * len(changed)) : round(0.5 * len(changed))]).max() < 1e-3


CHANGES = {
    "telephone": lambda clip: transforms.telephone(clip, "mu_law", RATE),
    "mp3": lambda clip: transforms.mp3(clip, 16, RATE),
    "clipping": lambda clip: transforms.clip(clip, 0.1),
    "band_limit": lambda clip: transforms.band_limit(clip, 300.0, 3000.0, RATE),
    "gain": lambda clip: transforms.gain(clip, 3.0),
    "noise": lambda clip: transforms.add_noise(clip, clip[::-1].copy(), 10.0),
    "reverberation": lambda clip: transforms.reverberate(clip, clip[:3000]),
    "speed": lambda clip: transforms.speed(clip, 1.07),
    "pitch": lambda clip: transforms.pitch(clip, 1.0, RATE),
    "time_shift": lambda clip: transforms.time_shift(clip, 0.1, RATE),
}


@pytest.fixture
def threads():
    """Sets the number of torch's threads, and resets it afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", CHANGES)
def test_changes_do_not_depend_on_threads_and_leave_the_clip_as_it_is(name, voice, threads):
    clip = np.tile(voice, 4)
    clip.flags.writeable = False
    before = clip.copy()
    threads(1)
    expected = CHANGES[name](clip)
    threads(4)
    np.testing.assert_array_equal(CHANGES[name](clip), expected)
    with ThreadPoolExecutor(3) as pool:
        for changed in pool.map(CHANGES[name], [clip] * 6):
            np.testing.assert_array_equal(changed, expected)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(clip, before)


# Time shift


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
def test_a_time_shift_fills_up_with_silence_and_keeps_half_of_the_clip(seconds, expected):
    samples = np.arange(1, 7, dtype=np.float32)
    shifted = transforms.time_shift(samples, seconds, 10)
    np.testing.assert_array_equal(shifted, np.array(expected, dtype=np.float32))
    np.testing.assert_array_equal(samples, np.arange(1, 7))
    np.testing.assert_array_equal(transforms.time_shift(samples[:1], seconds, 10), samples[:1])
