"""The acoustic front end: equal to librosa and torchaudio, independent of padding, augmented in
training only.
"""

import librosa
import numpy as np
import pytest
import soxr
import torch
import torchaudio
from signals import mask_of, noise, ragged
from support.close import assert_near
from torch import nn

from ser_hf.corpora.synthesis import utterance
from ser_hf.models import CRNNConfig, CRNNForAudioClassification
from ser_hf.models.configuration import AcousticConfig
from ser_hf.models.feature_augmentation import mix_style, spec_augment, stretch_time, warp_bands
from ser_hf.models.front_end import (
    STATISTICS,
    FeatureNorm,
    FrontEnd,
    deltas,
    frame_statistics,
    resize,
)
from ser_hf.models.spectra import LogMel, Mfcc

# Mel bands and cepstra

# Rate, n_fft, win_length, hop_length, n_mels: of the notebooks, and of speech recognition.
SETTINGS = [(22050, 2048, 2048, 512, 128), (16000, 400, 400, 160, 64), (16000, 400, 400, 160, 80)]
CENTER = pytest.mark.parametrize("center", [False, True])
EACH = pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s[0]}-{s[1]}-{s[3]}-{s[4]}")


def _settings(settings, **more):
    more = {"normalization": "clip_bands"} | more
    names = ("sampling_rate", "n_fft", "win_length", "hop_length", "n_mels")
    return AcousticConfig(**dict(zip(names, settings, strict=True)), **{"f_min": 0.0} | more)


def _buzz(rate):
    """A second of a buzz with gliding pitch and a little noise, from near silence to loud."""
    time = torch.arange(rate) / rate
    buzz = sum(torch.sin(2 * torch.pi * k * (120 * time + 40 * time**2)) / k for k in range(1, 20))
    return (0.2 * time * buzz + 1e-3 * torch.randn(rate))[None]


def _mel(waveform, settings, center, **more):
    """librosa's own mel power, bands x frames; centered as librosa does by default, with zeros."""
    rate, n_fft, win_length, hop_length, n_mels = settings
    return librosa.feature.melspectrogram(
        y=waveform[0].numpy(),
        sr=rate,
        n_fft=n_fft,
        win_length=win_length,
        hop_length=hop_length,
        n_mels=n_mels,
        fmin=0.0,
        center=center,
        **more,
    )


@EACH
@CENTER
@pytest.mark.parametrize("top_db", [80.0, 30.0, None])
def test_decibels_equal_librosa(settings, center, top_db):
    waveform = _buzz(settings[0])
    config = _settings(settings, center=center, compression="db", top_db=top_db)
    ours, _ = LogMel(config)(waveform, torch.tensor([settings[0]]))
    theirs = librosa.power_to_db(_mel(waveform, settings, center), top_db=top_db)
    np.testing.assert_allclose(ours[0].T.numpy(), theirs, rtol=0, atol=5e-3)


@EACH
@CENTER
def test_mfcc_equals_librosa(settings, center):
    rate, n_fft, win_length, hop_length, n_mels = settings
    waveform = _buzz(rate)
    ours, _ = Mfcc(_settings(settings, center=center, compression="db"))(
        waveform, torch.tensor([rate])
    )
    theirs = librosa.feature.mfcc(
        S=librosa.power_to_db(_mel(waveform, settings, center)), n_mfcc=40
    )
    np.testing.assert_allclose(ours[0].T.numpy(), theirs, rtol=0, atol=2e-2)
    assert np.abs(theirs).max() > 100


@pytest.mark.parametrize(("speaker", "emotion"), [(0, "fear"), (1, "sad")])
@EACH
def test_decibels_and_mfcc_of_a_voice_equal_librosa(settings, speaker, emotion):
    waveform = torch.tensor(utterance(speaker, emotion, 0, 0, settings[0]))[None]
    lengths = torch.tensor([waveform.shape[1]])
    config = _settings(settings, center=True, compression="db")
    decibels = librosa.power_to_db(_mel(waveform, settings, True))
    ours, _ = LogMel(config)(waveform, lengths)
    np.testing.assert_allclose(ours[0].T.numpy(), decibels, rtol=0, atol=5e-3)
    cepstra, _ = Mfcc(config)(waveform, lengths)
    theirs = librosa.feature.mfcc(S=decibels, n_mfcc=40)
    np.testing.assert_allclose(cepstra[0].T.numpy(), theirs, rtol=0, atol=2e-2)


@EACH
@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("window", ["hann", "hamming"])
def test_equals_torchaudio(settings, mel_scale, window):
    rate, n_fft, win_length, hop_length, n_mels = settings
    waveform = _buzz(rate)
    ours, _ = LogMel(_settings(settings, center=True, mel_scale=mel_scale, window=window))(
        waveform, torch.tensor([rate])
    )
    theirs = torchaudio.transforms.MelSpectrogram(
        rate, n_fft, win_length, hop_length, n_mels=n_mels, center=True, pad_mode="constant",
        window_fn={"hann": torch.hann_window, "hamming": torch.hamming_window}[window],
        norm="slaney" if mel_scale == "slaney" else None, mel_scale=mel_scale,
    )(waveform)  # fmt: skip
    # Where the bands are narrower than the spectrum's bins, both have bands of nothing but
    # rounding.
    valid = theirs.mT > 1e-7
    assert valid.float().mean() > 0.9
    torch.testing.assert_close(
        ours[valid], torch.log(theirs.mT + AcousticConfig().floor)[valid], rtol=0, atol=2e-3
    )


@pytest.mark.parametrize("at_once", [7, 40, 1000])
def test_the_mel_bands_of_parts_of_a_batch_and_their_gradients(at_once, monkeypatch):
    monkeypatch.setattr("ser_hf.models.spectra.FRAMES_AT_ONCE", at_once)
    front_end = LogMel(_settings((16000, 512, 400, 160, 80)))
    own, other = (
        torch.cat([noise(5000, seed=seed) for seed in range(3)]).requires_grad_() for _ in range(2)
    )
    ours = front_end._mel(front_end.short_time.cut(own))
    spectrum = torch.fft.rfft(front_end.short_time.cut(other) * front_end.short_time.window)
    theirs = (spectrum.real.square() + spectrum.imag.square()) @ front_end.filters
    assert_near(ours / theirs.max(), theirs / theirs.max())
    ours.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_window_and_filters_are_right_again_after_loading(tmp_path):
    settings = {"lstm_hidden": 4, "features": "mfcc", "normalization": "corpus"}
    model = CRNNForAudioClassification(
        CRNNConfig(channels=[4], time_pooling=[2], band_pooling=[2], **settings)
    )
    model.save_pretrained(tmp_path)
    loaded = CRNNForAudioClassification.from_pretrained(tmp_path)
    fresh = Mfcc(model.config)
    for name, buffer in fresh.named_buffers():
        assert torch.equal(loaded.front_end.features.get_buffer(name), buffer), name
    assert len(list(fresh.buffers())) == 4
    assert fresh.mel.filters.sum(dim=0).min() > 0
    saved = {key for key in model.state_dict() if key.startswith("front_end")}
    assert saved == {"front_end.normalize.mean", "front_end.normalize.deviation"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_windows_and_filters_stay_whole_in_half_precision(dtype, tmp_path):
    config = CRNNConfig(
        channels=[4], time_pooling=[2], band_pooling=[2], lstm_hidden=4, normalization="fixed"
    )
    model = CRNNForAudioClassification(config).eval()
    model.save_pretrained(tmp_path)
    waveform = _buzz(16000)
    lengths = torch.tensor([16000])
    exact, _ = model.front_end(waveform, lengths)
    for rounded in (
        CRNNForAudioClassification.from_pretrained(tmp_path, dtype=dtype),
        model.to(dtype),
    ):
        assert rounded.classifier.weight.dtype == dtype
        assert_near(rounded.front_end(waveform, lengths)[0], exact)
        assert rounded(waveform).logits.isfinite().all()


@pytest.mark.parametrize(
    ("center", "expected"), [(False, [1, 1, 1, 2, 97]), (True, [1, 4, 5, 5, 101])]
)
def test_frame_counts(center, expected):
    front_end = LogMel(_settings((16000, 512, 400, 160, 64), center=center))
    counts = front_end.short_time.frame_counts(torch.tensor([1, 512, 671, 672, 16000]))
    assert counts.tolist() == expected
    features, mask = LogMel(front_end.config, min_frames=8)(noise(100), torch.tensor([100]))
    assert mask.sum() == 8
    assert features.isfinite().all()


def test_reflected_log_mels_equal_librosa():
    clips = [noise(samples, seed=samples) for samples in (4000, 16001, 9000)]
    frames = {"n_fft": 512, "win_length": 512, "hop_length": 160, "center": True}
    settings = frames | {"compression": "db", "top_db": None}
    config = AcousticConfig(**settings, edges="reflect")
    ours, mask = LogMel(config)(*ragged(*clips))
    zeros, _ = LogMel(AcousticConfig(**settings, edges="zeros"))(*ragged(*clips))
    for i, clip in enumerate(clips):
        power = librosa.feature.melspectrogram(
            y=clip[0].numpy(),
            sr=16000,
            n_fft=512,
            hop_length=160,
            n_mels=64,
            fmin=50.0,
            pad_mode="reflect",
        )
        expected = librosa.power_to_db(power, amin=1e-10, top_db=None).T
        np.testing.assert_allclose(ours[i][mask[i]].numpy(), expected, rtol=0, atol=5e-3)
        assert (zeros[i][mask[i]] - torch.tensor(expected)).abs().max() > 1, "edges must matter"


LENGTHS = (12, 5, 1)
PLAIN = {"time_masks": 0, "band_masks": 0}


def _features(size=6):
    """A batch of LENGTHS frames with padding so loud that reading it changes the result."""
    features = torch.randn(3, 12, size) * 3 - 7
    mask = mask_of(*LENGTHS)
    features[~mask] = 1e4
    return features, mask


# Derivatives


def test_deltas_equal_torchaudio_and_librosa():
    features = torch.randn(1, 30, 4)
    ours = deltas(features, mask_of(30))[0].T
    assert_near(ours, torchaudio.functional.compute_deltas(features[0].T, win_length=9))
    theirs = librosa.feature.delta(features[0].T.numpy(), width=9, mode="nearest")
    assert_near(ours.numpy(), theirs)


# Normalization


@pytest.mark.parametrize("planes", [1, 2])
def test_normalization_by_clip_has_one_mean_per_plane(planes):
    features, mask = _features()
    normed = FeatureNorm("clip", 6, planes)(features, mask).unflatten(2, (planes, -1))
    for clip, real in zip(normed, mask, strict=True):
        torch.testing.assert_close(
            clip[real].mean(dim=(0, 2)), torch.zeros(planes), rtol=0, atol=1e-4
        )
        torch.testing.assert_close(
            clip[real].var(dim=(0, 2), correction=0), torch.ones(planes), rtol=0, atol=1e-3
        )
    assert not normed[~mask].any()


def test_normalization_by_corpus_uses_observed_frames_only():
    norm = FeatureNorm("corpus", 6)
    features, mask = _features()
    assert torch.equal(norm(features, mask)[mask], features[mask])
    norm.observing = True
    for i in range(3):
        passed = norm(features[i : i + 1], mask[i : i + 1])
        assert torch.equal(passed[mask[i : i + 1]], features[i : i + 1][mask[i : i + 1]])
    norm.settle()
    real = features[mask]
    assert_near(norm.mean, real.mean(dim=0))
    assert_near(norm.deviation, real.std(dim=0, correction=0))
    other = torch.randn(1, 4, 6)
    assert_near(norm(other, mask_of(4)), (other - norm.mean) / norm.deviation)
    assert not norm(features, mask)[~mask].any()
    assert set(norm.state_dict()) == {"mean", "deviation"}


# Fixed length


@pytest.mark.parametrize("frames", [1, 5, 12, 31])
def test_resizing_is_torchs_own_for_each_clip_alone(frames):
    features, mask = _features()
    resized, all_real = resize(features, mask, frames)
    assert all_real.all()
    for i, length in enumerate(LENGTHS):
        expected = nn.functional.interpolate(
            features[i : i + 1, :length].mT, size=frames, mode="linear"
        ).mT
        torch.testing.assert_close(resized[i : i + 1], expected, rtol=1e-4, atol=1e-4)


# Statistics


def test_statistics_are_over_the_real_frames():
    features, mask = _features()
    vector, whole = frame_statistics(features, mask, STATISTICS)
    assert vector.shape == (3, 1, 6 * len(STATISTICS))
    assert whole.tolist() == [[True]] * 3
    for i, length in enumerate(LENGTHS[:2]):
        clip = features[i, :length].double().numpy()
        expected = [clip.mean(axis=0), clip.std(axis=0), clip.min(axis=0), clip.max(axis=0)]
        np.testing.assert_allclose(
            vector[i, 0].numpy(), np.concatenate(expected), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("level", [0.0, -7.3, 1e4])
def test_a_constant_has_no_deviation(level):
    vector, _ = frame_statistics(torch.full((1, 50, 2), level), mask_of(50), ["std"])
    assert not vector.any()


# Augmentation


def _hidden(mask, seed=0, **stripes):
    """Zeros that SpecAugment puts into ones, (batch, frames, bands)."""
    torch.manual_seed(seed)
    settings = {"time_masks": 0, "time_width": 0, "band_masks": 0, "band_width": 0} | stripes
    hidden = spec_augment(torch.ones(*mask.shape, 2, 16), mask, **settings) == 0
    assert torch.equal(hidden[:, :, 0], hidden[:, :, 1]), (
        "derivatives are hidden with their features"
    )
    return hidden[:, :, 0]


@pytest.mark.parametrize(("width", "most"), [(6, [6, 6, 4, 0]), (100, [20, 10, 4, 0])])
def test_a_time_stripe_is_no_wider_than_its_maximum_nor_than_half_the_clip(width, most):
    mask = mask_of(*[40, 20, 8, 1] * 100)
    hidden = _hidden(mask, time_masks=1, time_width=width)
    assert torch.equal(hidden.all(dim=2), hidden.any(dim=2))
    assert hidden.all(dim=2).sum(dim=1).view(100, 4).amax(dim=0).tolist() == most


def test_stripes_do_not_change_padding_and_depend_on_the_seed():
    mask = mask_of(*[40, 10] * 50)
    stripes = {"time_masks": 2, "time_width": 40}
    first = _hidden(mask, **stripes)
    assert not first[~mask].any()
    assert torch.equal(first, _hidden(mask, **stripes))
    assert not torch.equal(first, _hidden(mask, seed=1, **stripes))
    assert len({clip.numpy().tobytes() for clip in first[::2]}) > 40, (
        "every clip draws its own stripes"
    )


def test_a_warped_tone_moves_as_its_frequency_does():
    centers = torch.linspace(100, 7900, 40)
    peak = torch.exp(-(((centers - 2000) / 400) ** 2)).expand(200, 3, 40)
    warped = warp_bands(peak, centers, 0.2)
    peaks = centers[warped.argmax(dim=2)]
    assert torch.equal(peaks[:, 0], peaks[:, 2]), "one factor a clip"
    assert 1500 < peaks.min() < 1800
    assert 2300 < peaks.max() < 2600
    assert_near(warp_bands(peak, centers, 0.0), peak)


def test_stretching_changes_tempo_and_nothing_else():
    lengths = [40] * 100 + [10] * 100
    mask = mask_of(*lengths)
    ramp = (torch.arange(40) / torch.tensor(lengths)[:, None])[:, :, None] * mask[:, :, None]
    stretched, new_mask = stretch_time(ramp, mask, 0.25, min_frames=9)
    counts = new_mask.sum(dim=1)
    assert 30 <= counts[:100].min() < 33
    assert 47 < counts[:100].max() <= 50
    assert counts[100:].min() == 9
    assert stretched.shape[1] == counts.max()
    for clip, count in zip(stretched[::20, :, 0], counts[::20], strict=True):
        assert (clip[:count].diff() >= 0).all()
        assert clip[count - 1] <= 1


def test_mixed_style_moves_means_and_keeps_the_movement():
    mask = mask_of(*[30, 20] * 40)
    features = (torch.randn(80, 30, 4) * torch.rand(80, 1, 4) + 5 * torch.randn(80, 1, 4)) * mask[
        :, :, None
    ]
    assert torch.allclose(mix_style(features, mask, 0.0), features, atol=1e-4)
    mixed = mix_style(features, mask, 0.5)
    assert not mixed[~mask].any()
    moved = (mixed - features).abs().amax(dim=(1, 2)) > 1e-2
    assert 20 < moved.sum() < 60
    for before, after, real in zip(features, mixed, mask, strict=True):
        assert torch.corrcoef(torch.stack([before[real, 0], after[real, 0]]))[0, 1] > 0.999


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_features_at_a_speed_are_those_of_the_resampled_clip(speed):
    front_end = _front_end(
        n_fft=1024, win_length=1024, hop_length=160, f_min=60.0, test_speeds=[speed]
    ).eval()
    clip = _buzz(16000)
    faster = torch.from_numpy(soxr.resample(clip[0].numpy(), 16000 * speed, 16000))[None]
    own, _ = front_end(clip, torch.tensor([clip.shape[1]]), 0)
    expected, _ = front_end(faster, torch.tensor([faster.shape[1]]))
    assert abs(own.shape[1] - expected.shape[1]) <= 1
    frames = min(own.shape[1], expected.shape[1])
    # Not the highest bands: a slower clip has nothing there.
    assert (own[:, :frames, :58] - expected[:, :frames, :58]).abs().mean() < 0.05


# The whole


def _front_end(statistics=(), **settings):
    return FrontEnd(AcousticConfig(**PLAIN | settings), statistics)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"deltas": 2, "normalization": "clip_bands"},
        {"features": "mfcc", "deltas": 1, "normalization": "none"},
        {"frames": 40},
        {"frames": 40, "frame_fit": "resize"},
        {"features": "mfcc", "normalization": "none", "statistics": STATISTICS},
        {"compression": "db", "top_db": 30.0, "center": True, "normalization": "corpus"},
    ],
    ids=str,
)
def test_padding_changes_nothing(settings):
    front_end = _front_end(**settings).eval()
    clips = [noise(length, seed=i) for i, length in enumerate((1, 700, 9000, 20000))]
    batched, mask = front_end(*ragged(*clips))
    for clip, features, real in zip(clips, batched, mask, strict=True):
        alone, own = front_end(clip, torch.tensor([clip.shape[1]]))
        assert own.sum() == real.sum()
        torch.testing.assert_close(features[real], alone[own], rtol=1e-4, atol=1e-4)
        assert not features[~real].any()
        assert features.shape[1] == front_end.size


def test_augmentation_is_for_training_only():
    settings = {
        "time_masks": 1,
        "band_masks": 1,
        "band_warp": 0.1,
        "time_stretch": 0.1,
        "mix_style": 0.5,
    }
    front_end, (waveform, lengths) = (
        _front_end(**settings),
        ragged(noise(16000), noise(9000, seed=1)),
    )
    quiet = _front_end().eval()(waveform, lengths)[0]
    assert torch.equal(front_end.eval()(waveform, lengths)[0], quiet)
    front_end.train()
    torch.manual_seed(1)
    first, mask = front_end(waveform, lengths)
    torch.manual_seed(1)
    again, _ = front_end(waveform, lengths)
    assert torch.equal(first, again)
    assert not torch.equal(first, front_end(waveform, lengths)[0])
    assert not first[~mask].any()


def test_corpus_level_is_one_mean_and_deviation_a_plane():
    norm = FeatureNorm("corpus_level", 8, planes=2)
    mask = mask_of(5, 3)
    features = torch.randn(2, 5, 8) * torch.arange(1.0, 9) + torch.arange(8.0)
    norm.observing = True
    norm(features, mask)
    norm.settle()
    real = features[mask]
    for plane in (slice(0, 4), slice(4, 8)):
        assert_near(norm.mean[plane], real[:, plane].mean().expand(4))
        assert_near(norm.deviation[plane], real[:, plane].std(correction=0).expand(4))
    assert norm.deviation[0] != norm.deviation[4]
    normed = norm(features, mask)[mask][:, :4]
    assert_near(normed, (real[:, :4] - real[:, :4].mean()) / real[:, :4].std(correction=0))
