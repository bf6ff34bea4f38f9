"""Frame descriptors: equal to librosa, independent of padding; pitch of known tones and real
speech; the 1-D CNN.
"""

import numpy as np
import pytest
import torch
from support.close import assert_near
from support.testing import tiny_config

from ser_hf.audio.decode import decode
from ser_hf.corpora.synthesis import utterance
from ser_hf.models import CNN1dDescriptorsConfig, CNN1dDescriptorsForAudioClassification
from ser_hf.models.front_end import FrontEnd
from ser_hf.models.modeling_descriptors import (
    DESCRIPTORS,
    PITCH_REFERENCE,
    VOICED_FROM,
    FrameDescriptors,
)

SETTINGS = [(22050, 2048, 2048, 512), (16000, 512, 400, 160)]


def _descriptors(rate, n_fft, win_length, hop_length, names=None, min_frames=1, **settings):
    """All descriptors, or those of `names`; the least pitch is what a frame can hold."""
    settings = {
        "pitch_min": max(60.0, 2 * rate / n_fft),
        "descriptors": list(names or DESCRIPTORS),
    } | settings
    settings |= {
        "sampling_rate": rate,
        "n_fft": n_fft,
        "win_length": win_length,
        "hop_length": hop_length,
    }
    return FrameDescriptors(CNN1dDescriptorsConfig(**settings), min_frames)


def _describe(descriptors, samples):
    """The descriptors of one clip, (frames, size)."""
    features, mask = descriptors(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    assert mask.all()
    assert features.dtype == torch.float32
    return features[0].numpy()


PITCH = DESCRIPTORS.index("pitch")
VOICING = DESCRIPTORS.index("voicing")


def _noise(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def _signals(rate):
    return {
        "man": utterance(1, "angry", 0, 0, rate),
        "woman": utterance(2, "sad", 3, 0, rate),
        "noise": _noise(rate),
        "silence": np.zeros(rate, np.float32),
        "silence, then noise with an offset": np.append(
            np.zeros(rate // 2, np.float32), _noise(rate // 2) + 0.05
        ),
    }


def _tone(f0, rate, noise_db=-100.0, seconds=0.5, seed=0):
    """Twenty harmonics that fall by 6 dB an octave, at random phases; noise relative to them; level
    -20 dB.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    harmonics = [k for k in range(1, 21) if k * f0 < rate / 2]
    tone = sum(np.sin(2 * np.pi * (k * f0 * time + rng.uniform())) / k for k in harmonics)
    noise = rng.standard_normal(len(time)) * np.sqrt(np.mean(tone**2)) * 10 ** (noise_db / 20)
    return (0.1 * (tone + noise)).astype(np.float32)


def _cents(pitch, f0):
    return 100 * (pitch - 12 * np.log2(f0 / PITCH_REFERENCE))


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("rate", "n_fft", "win_length", "hop_length"), SETTINGS)
def test_equals_librosa(rate, n_fft, win_length, hop_length, center):
    _compare_to_librosa(_signals(rate), (rate, n_fft, win_length, hop_length), center)


def _compare_to_librosa(signals, settings, center):
    """Compare the first seven descriptors of {name: samples} to librosa's."""
    librosa = pytest.importorskip("librosa")
    rate, n_fft, win_length, hop_length = settings
    descriptors = _descriptors(*settings, center=center, names=DESCRIPTORS[:7])
    for kind, samples in signals.items():
        time = {"y": samples, "frame_length": n_fft, "hop_length": hop_length, "center": center}
        spectral = {
            "y": samples,
            "sr": rate,
            "n_fft": n_fft,
            "win_length": win_length,
            "hop_length": hop_length,
            "center": center,
        }
        padded = np.pad(samples, n_fft // 2 if center else 0).astype(float)
        frames = librosa.util.frame(padded, frame_length=n_fft, hop_length=hop_length)
        theirs = [
            (librosa.feature.zero_crossing_rate(**time)[0], 1e-7),
            (librosa.feature.rms(**time)[0], 1e-6),
            (np.abs(frames).mean(axis=0), 1e-6),
            (frames.std(axis=0), 1e-6),
            (librosa.feature.spectral_centroid(**spectral)[0], 0.01),
            (librosa.feature.spectral_bandwidth(**spectral)[0], 0.01),
            # One bin, if the sum of magnitudes equals the share in float32.
            (
                librosa.feature.spectral_rolloff(**spectral, roll_percent=0.85)[0],
                1.01 * rate / n_fft,
            ),
        ]
        ours = _describe(descriptors, samples)
        for name, values, (expected, tolerance) in zip(DESCRIPTORS, ours.T, theirs, strict=False):
            np.testing.assert_allclose(
                values, expected, rtol=0, atol=tolerance, err_msg=f"{name} of {kind}"
            )
        assert np.mean(ours[:, 6] == theirs[6][0].astype(np.float32)) > 0.98, f"roll-off of {kind}"


@pytest.mark.parametrize("level", [1e-30, 1e-15, 1e-4, 100.0])
def test_descriptors_other_than_amplitudes_do_not_depend_on_the_level(level):
    descriptors = _descriptors(
        *SETTINGS[0], names=["spectral_centroid", "spectral_bandwidth", "pitch", "voicing"]
    )
    samples = _tone(150, 22050, -20)
    quiet = _describe(descriptors, (level * samples).astype(np.float32))
    assert np.isfinite(quiet).all()
    if level > 1e-10:
        np.testing.assert_allclose(quiet, _describe(descriptors, samples), rtol=1e-4)


def test_the_listed_descriptors_are_returned_in_their_order():
    samples = _signals(22050)["man"]
    everything = _describe(_descriptors(*SETTINGS[0]), samples)
    assert everything.shape[1] == len(DESCRIPTORS)
    for names in (*([name] for name in DESCRIPTORS), ["voicing", "rms"], DESCRIPTORS[::-1]):
        descriptors = _descriptors(*SETTINGS[0], names=names)
        assert descriptors.size == len(names)
        expected = everything[:, [DESCRIPTORS.index(name) for name in names]]
        np.testing.assert_array_equal(_describe(descriptors, samples), expected)


@pytest.mark.parametrize(
    ("noise_db", "middle", "worst"), [(-60, 0.5, 5), (-20, 1, 10), (-10, 5, 50)]
)
@pytest.mark.parametrize(("rate", "n_fft"), [(22050, 2048), (16000, 1024)])
def test_pitch_of_known_tones(rate, n_fft, noise_db, middle, worst):
    descriptors = _descriptors(rate, n_fft, n_fft, n_fft // 4, names=["pitch", "voicing"])
    errors = []
    for i, f0 in enumerate(np.geomspace(80, 400, 12)):
        pitch, voicing = _describe(descriptors, _tone(f0, rate, noise_db, seed=i)).T
        assert (pitch > 0).all(), f"{f0:.0f} Hz at {noise_db} dB of noise counts as unvoiced"
        assert voicing.max() <= 1
        errors.append(np.abs(_cents(pitch, f0)))
    errors = np.concatenate(errors)
    assert np.median(errors) < middle, f"cents: {np.median(errors):.2f}"
    # The share of frames with an octave error or a noisy peak.
    assert np.mean(errors > worst) < 0.03, (
        f"{np.mean(errors > worst):.3f} of frames, up to {errors.max():.1f} cents"
    )


def _compare_to_pyin(clips):
    """The errors in cents of the frames that are voiced in both, and the agreement in voicing.

    At 16 kHz; the frames are those of librosa without centering.
    """
    librosa = pytest.importorskip("librosa")
    descriptors = _descriptors(16000, 1024, 1024, 256, names=["pitch"])
    errors = []
    agreements = []
    for samples in clips:
        pitch = _describe(descriptors, samples)[:, 0]
        pyin, voiced, _ = librosa.pyin(
            samples,
            fmin=60.0,
            fmax=500.0,
            sr=16000,
            frame_length=1024,
            hop_length=256,
            center=False,
        )
        frames = min(len(pitch), len(pyin))
        pitch = pitch[:frames]
        voiced = voiced[:frames]
        voiced_in_both = voiced & (pitch > 0)
        assert voiced_in_both.sum() > 15
        errors.append(np.abs(_cents(pitch[voiced_in_both], pyin[:frames][voiced_in_both])))
        agreements.append((pitch > 0) == voiced)
    return np.concatenate(errors), np.concatenate(agreements)


def test_the_pitch_of_voices_agrees_with_pyin_of_librosa():
    voices = [(0, "sad"), (1, "angry"), (2, "fear"), (3, "neutral")]
    clips = [utterance(speaker, emotion, 0, 0) for speaker, emotion in voices]
    errors, agreements = _compare_to_pyin(clips)
    assert np.median(errors) < 5
    assert np.mean(errors < 50) > 0.95
    assert agreements.mean() > 0.85


@pytest.fixture
def real_clips(real_corpora):
    """{name: samples} of clips of EMO-DB, at 16 kHz."""
    paths = sorted(real_corpora("EMO-DB").glob("wav/*.flac"))[::60]
    return {path.name: decode(str(path), sampling_rate=16000).samples for path in paths}


@pytest.mark.slow
def test_descriptors_of_real_speech_equal_librosa(real_clips):
    assert len(real_clips) >= 5
    _compare_to_librosa(real_clips, (16000, 1024, 1024, 256), center=True)


@pytest.mark.slow
def test_the_pitch_of_real_speech_agrees_with_pyin_of_librosa(real_clips):
    errors, agreements = _compare_to_pyin(real_clips.values())
    assert np.median(errors) < 10
    assert np.mean(errors < 50) > 0.9
    assert agreements.mean() > 0.8


def test_noise_is_unvoiced_and_a_voice_is_voiced():
    descriptors = _descriptors(16000, 1024, 400, 160)
    noise = _describe(descriptors, _noise(32000))
    assert not noise[:, PITCH].any()
    assert noise[:, VOICING].max() < VOICED_FROM / 2
    voice = _describe(descriptors, _signals(16000)["man"])
    voiced = voice[:, PITCH] > 0
    assert 0.5 < voiced.mean() < 0.9
    assert (voice[voiced, VOICING] >= VOICED_FROM).all()
    assert np.corrcoef(voice[:, 0], voiced)[0, 1] < -0.5, (
        "hisses cross zero often and have no pitch"
    )


@torch.no_grad()
def test_aggregated_the_statistics_of_a_clip_are_one_sequence_of_one_channel():
    settings = {
        "aggregate": True,
        "descriptors": ["rms", "pitch"],
        "statistics": ["mean", "max", "std"],
    }
    model = CNN1dDescriptorsForAudioClassification(
        tiny_config("cnn1d_descriptors", **settings)
    ).eval()
    clip = torch.from_numpy(_noise(9000))[None]
    features, mask = model.front_end(clip, torch.tensor([9000]))
    assert features.shape == (1, 1, 6)
    frames, _ = FrontEnd(model.config, features=FrameDescriptors).eval()(clip, torch.tensor([9000]))
    expected = torch.cat(
        [frames.mean(dim=1), frames.amax(dim=1), frames.std(dim=1, correction=0)], dim=1
    )
    assert_near(features[0], expected)
    assert model.stack.blocks[0].conv.in_channels == 1
    steps, _ = model.stack(features[0, 0, None, :, None], torch.ones(1, 6, dtype=torch.bool))
    pooled = torch.cat([steps.mean(dim=1), (steps.var(dim=1, correction=0) + 1e-7).sqrt()], dim=1)
    assert_near(model.embed(features, mask), torch.relu(model.dense(pooled)))
