"""The augmenter: each step, its probability, and what its random numbers depend on."""

import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf.audio import AudioError
from ser_hf.audio.augmentation import (
    Ambience,
    Augmentation,
    Babble,
    BackgroundNoise,
    BandLimit,
    Clipping,
    Gain,
    GaussianNoise,
    Music,
    Reverberation,
    Speed,
    TimeShift,
    WaveformStep,
)
from ser_hf.audio.augmenter import Augmenter
from ser_hf.audio.transforms import mean_power
from ser_hf.audio.voices import TrainingVoices
from ser_hf.utils.errors import UserError

RATE = 16000
OF_FOLDERS = {"background_noise": BackgroundNoise, "ambience": Ambience, "music": Music}
# The steps on waveforms that need nothing but the clip.
NAMES = [name for name in Augmentation.model_fields if name not in {*OF_FOLDERS, "babble", "mixup"}]
ALWAYS = Augmentation(
    **{name: getattr(Augmentation(), name).replace(probability=1.0) for name in NAMES}
)


def seeded(*seed):
    return np.random.default_rng(seed)


def tone(length=8000, level=0.1):
    return (level * np.sin(np.arange(length) / 7)).astype(np.float32)


def read_only(samples):
    samples.flags.writeable = False
    return samples


def test_without_steps_the_clip_is_unchanged():
    clip = tone()
    assert Augmenter(Augmentation(), RATE)(clip, seeded(0)) is clip


@pytest.mark.parametrize("name", NAMES)
def test_each_step_changes_the_clip_and_not_its_input(name):
    clip = read_only(tone())
    before = clip.copy()
    alone = Augmentation(**{name: getattr(ALWAYS, name)})
    changed = Augmenter(alone, RATE)(clip, seeded(2))
    assert changed.dtype == np.float32
    assert changed.shape != clip.shape or not np.array_equal(changed, clip)
    np.testing.assert_array_equal(clip, before)


@settings(max_examples=15)
@given(
    st.sampled_from([1, 2, 3, 100, 1601]),
    st.sampled_from([0.0, 1e-12, 1e-3, 1.0, 1e6]),
    st.integers(0, 1000),
)
def test_any_clip_survives_all_steps(length, level, seed):
    augmenter = Augmenter(ALWAYS, RATE)
    out = augmenter(read_only(tone(length) * np.float32(10 * level)), seeded(seed))
    assert out.dtype == np.float32
    assert out.ndim == 1
    assert len(out) >= 1
    assert np.isfinite(out).all()
    if level == 0:
        assert not out.any()


def test_equal_random_numbers_give_equal_clips():
    augmenter = Augmenter(ALWAYS, RATE)
    clip = tone()
    random.seed(1)
    np.random.seed(1)
    first = augmenter(clip, seeded(3, 1))
    augmenter(tone(500), seeded(8))
    random.seed(2)
    np.random.seed(2)
    np.testing.assert_array_equal(augmenter(clip, seeded(3, 1)), first)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(augmenter))(clip, seeded(3, 1)), first)
    other = augmenter(clip, seeded(3, 2))
    assert other.shape != first.shape or not np.array_equal(other, first)


def test_a_step_draws_the_same_numbers_with_other_steps():
    clip = tone()
    gain = Augmentation(gain=Gain(probability=1.0))
    others = Augmentation(
        speed=Speed(probability=1.0), gaussian_noise=GaussianNoise(probability=0.5)
    )
    both = others.replace(gain=gain.gain)
    for seed in range(5):
        louder = Augmenter(gain, RATE)(clip, seeded(seed))
        factor = np.abs(louder).max() / np.abs(clip).max()
        without_gain = Augmenter(others, RATE)(clip, seeded(seed))
        np.testing.assert_allclose(
            Augmenter(both, RATE)(clip, seeded(seed)), without_gain * factor, rtol=1e-5
        )


def test_a_step_changes_its_share_of_clips():
    steps = Augmentation(
        gain=Gain(probability=0.3), speed=Speed(probability=0.6, factor=[1.1, 1.1])
    )
    augmenter = Augmenter(steps, RATE)
    clip = np.ones(110, dtype=np.float32)
    outs = [augmenter(clip, seeded(seed)) for seed in range(500)]
    faster = np.array([len(out) == 100 for out in outs])
    louder = np.array([not 0.97 < out[50] < 1.03 for out in outs])
    assert faster.mean() == pytest.approx(0.6, abs=0.07)
    assert louder.mean() == pytest.approx(0.3, abs=0.07)
    assert (faster & louder).mean() == pytest.approx(0.18, abs=0.05)  # independent of each other


class Reversal(WaveformStep):
    """A step of a contributor."""

    def apply(self, waveform, rng, sampling_rate, recordings):
        return waveform[::-1]


class WithReversal(Augmentation):
    reversal: Reversal = Reversal()


def test_a_new_step_is_a_class_and_a_field():
    clip = tone()
    augmenter = Augmenter(WithReversal(reversal=Reversal(probability=1.0)), RATE)
    np.testing.assert_array_equal(augmenter(clip, seeded(0)), clip[::-1])


@pytest.mark.parametrize("name", OF_FOLDERS)
def test_background_comes_from_its_folder(name, tmp_path):
    soundfile.write(tmp_path / "steady.flac", np.full(300, 0.25), RATE)
    soundfile.write(tmp_path / "a.WAV", np.full(8000, 0.5), 8000)
    step = OF_FOLDERS[name](probability=1.0, snr=[0.0, 0.0], folder=str(tmp_path))
    augmentation = Augmentation(**{name: step})
    augmenter = Augmenter(augmentation, RATE, cache_dir=tmp_path / "cache")
    clip = tone(1000)
    for augment in (augmenter, pickle.loads(pickle.dumps(augmenter))):
        added = augment(clip, seeded(0)) - clip
        assert added.mean() == pytest.approx(np.sqrt(mean_power(clip)), rel=0.05)


def voices_of(levels, speakers):
    """Training clips in the rows 10, 11, ...: sines of different frequencies and levels."""
    waveforms = {
        10 + i: (level * np.sin(np.arange(400 + i) * (1 + i) / 9)).astype(np.float32)
        for i, level in enumerate(levels)
    }
    return TrainingVoices(waveforms, list(waveforms), speakers)


def test_babble_has_the_signal_to_noise_ratio_and_no_voice_of_the_speaker():
    voices = voices_of([0.1, 0.5, 0.3], ["anna", "bert", "anna"])
    augmentation = Augmentation(babble=Babble(probability=1.0, snr=[15.0, 15.0], voices=[2, 2]))
    augmenter = Augmenter(augmentation, RATE, voices=voices)
    clip = tone(4000)
    for augment in (augmenter, pickle.loads(pickle.dumps(augmenter))):
        for seed in range(5):
            added = augment(clip, seeded(seed), 10).astype(np.float64) - clip
            ratio = mean_power(clip) / mean_power(added)
            assert 10 * np.log10(ratio) == pytest.approx(15, abs=0.01)
            # The only other speaker has one clip, a sine of 2 / 9 radians a sample.
            spectrum = np.abs(np.fft.rfft(added))
            assert spectrum.argmax() * 2 * np.pi / len(clip) == pytest.approx(2 / 9, abs=0.01)


def test_babble_without_other_speakers_is_refused():
    with pytest.raises(UserError, match=r"^augment\.babble: needs .* at least two speakers"):
        voices_of([0.1, 0.5], ["anna", "anna"])
    with pytest.raises(ValueError, match=r"^augment\.babble: needs the training clips"):
        Augmenter(Augmentation(babble=Babble(probability=0.1)), RATE)


def test_a_band_above_the_frequencies_of_the_audio_is_refused():
    band = BandLimit(probability=0.5, low=[100.0, 2500.0])
    Augmenter(Augmentation(band_limit=band), 8000)
    Augmenter(Augmentation(band_limit=band.replace(probability=0.0)), 4000)
    with pytest.raises(UserError, match=r"^augment\.band_limit\.low: .* below 2000 Hz"):
        Augmenter(Augmentation(band_limit=band), 4000)


def test_clipping_and_time_shift_have_the_values_of_the_recipe():
    clip = tone(16000)
    clipped = Augmenter(Augmentation(clipping=Clipping(probability=1.0, share=[0.3, 0.3])), RATE)(
        clip, seeded(0)
    )
    assert (clipped != clip).mean() == pytest.approx(0.3, abs=0.01)
    shift = TimeShift(probability=1.0, seconds=[0.25, 0.25])
    shifted = Augmenter(Augmentation(time_shift=shift), RATE)(clip, seeded(0))
    np.testing.assert_array_equal(shifted, np.concatenate([np.zeros(4000), clip[:-4000]]))


def test_rooms_come_from_their_folder(tmp_path):
    response = np.zeros(400)
    response[[100, 150]] = [0.5, 0.25]
    soundfile.write(tmp_path / "room.wav", response, RATE)
    augmentation = Augmentation(reverberation=Reverberation(probability=1.0, folder=str(tmp_path)))
    clip = tone(1000)
    expected = clip + 0.5 * np.concatenate([np.zeros(50, dtype=np.float32), clip[:-50]])
    expected *= np.sqrt(mean_power(clip) / mean_power(expected))
    wet = Augmenter(augmentation, RATE, cache_dir=tmp_path / "cache")(clip, seeded(0))
    np.testing.assert_allclose(wet, expected, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), [*OF_FOLDERS.items(), ("reverberation", Reverberation)])
def test_a_bad_folder_is_refused_where_its_step_is_active(name, kind, tmp_path):
    with pytest.raises(UserError, match=rf"augment\.{name}\.folder: .*no audio file there"):
        Augmenter(Augmentation(**{name: kind(probability=0.5, folder=str(tmp_path))}), RATE)
    Augmenter(Augmentation(**{name: kind(probability=0.0, folder="missing")}), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match="broken.wav"):
        Augmenter(Augmentation(**{name: kind(probability=0.5, folder=str(tmp_path))}), RATE)


@pytest.mark.slow  # starts an interpreter
def test_importing_the_augmenter_loads_no_torch():
    code = (
        "import sys; from ser_hf.audio.augmenter import Augmenter; "
        "print({'torch', 'librosa'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
