"""The front end: equal to librosa and torchaudio, blind to padding, whole after loading; SpecAugment's limits."""

import numpy as np
import pytest
import torch

from ser_hf.models import CRNNConfig, CRNNForAudioClassification
from ser_hf.models.log_mel import LogMel, mel_ceiling, normalize_per_clip, spec_augment

SETTINGS = [(16000, 512, 400, 160, 64), (22050, 2048, 2048, 512, 128)]
F_MIN = 50.0


def _front_end(rate, n_fft, win_length, hop_length, n_mels, **kwargs):
    return LogMel(rate, n_fft, win_length, hop_length, n_mels, F_MIN, rate / 2, **kwargs)


def _noise(samples, seed=0):
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def _mask(*lengths):
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize(("rate", "n_fft", "win_length", "hop_length", "n_mels"), SETTINGS)
def test_equals_librosa(rate, n_fft, win_length, hop_length, n_mels):
    librosa = pytest.importorskip("librosa")
    waveform = _noise(rate)
    ours, mask = _front_end(rate, n_fft, win_length, hop_length, n_mels)(waveform, torch.tensor([rate]))
    theirs = librosa.feature.melspectrogram(
        y=waveform[0].numpy(), sr=rate, n_fft=n_fft, win_length=win_length, hop_length=hop_length, n_mels=n_mels,
        fmin=F_MIN, fmax=rate / 2, center=False, power=2, htk=False, norm="slaney",
    )  # fmt: skip
    assert mask.all()
    np.testing.assert_allclose(ours[0].numpy(), np.log(theirs.T + 1e-10), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("rate", "n_fft", "win_length", "hop_length", "n_mels"), SETTINGS)
def test_equals_torchaudio(rate, n_fft, win_length, hop_length, n_mels):
    transforms = pytest.importorskip("torchaudio.transforms")
    waveform = _noise(rate)
    ours, _ = _front_end(rate, n_fft, win_length, hop_length, n_mels)(waveform, torch.tensor([rate]))
    theirs = transforms.MelSpectrogram(
        rate, n_fft, win_length, hop_length, F_MIN, rate / 2, n_mels=n_mels,
        center=False, power=2, norm="slaney", mel_scale="slaney",
    )(waveform)  # fmt: skip
    torch.testing.assert_close(ours, torch.log(theirs.mT + 1e-10), rtol=0, atol=1e-4)


def test_frame_counts_are_the_frames_that_lie_wholly_inside():
    counts = _front_end(*SETTINGS[0]).frame_counts(torch.tensor([1, 512, 671, 672, 16000]))
    assert counts.tolist() == [1, 1, 1, 2, 97]


@pytest.mark.parametrize("samples", [1, 160, 511, 512, 513])
def test_shortest_clips_are_padded_to_the_least_frames(samples):
    features, mask = _front_end(*SETTINGS[0], min_frames=8)(_noise(samples), torch.tensor([samples]))
    assert features.shape == (1, 8, 64)
    assert mask.all()
    assert features.isfinite().all()


def test_real_frames_do_not_see_the_padding():
    front_end, clip = _front_end(*SETTINGS[0]), _noise(2000)
    alone, _ = front_end(clip, torch.tensor([2000]))
    padded, mask = front_end(torch.nn.functional.pad(clip, (0, 5000)), torch.tensor([2000]))
    assert mask.sum() == alone.shape[1] == 10
    torch.testing.assert_close(padded[mask], alone[0], rtol=0, atol=1e-6)


def test_window_and_filters_are_right_again_after_loading(tmp_path):
    model = CRNNForAudioClassification(CRNNConfig(channels=[4], time_pooling=[2], band_pooling=[2], lstm_hidden=4))
    model.save_pretrained(tmp_path)
    loaded = CRNNForAudioClassification.from_pretrained(tmp_path)
    fresh = _front_end(*SETTINGS[0])
    assert torch.equal(loaded.front_end.window, fresh.window)
    assert torch.equal(loaded.front_end.filters, fresh.filters)
    assert fresh.filters.sum(dim=0).min() > 0


def test_normalisation_is_over_each_clips_real_frames():
    mask = _mask(12, 5)
    features = torch.randn(2, 12, 6, generator=torch.Generator().manual_seed(0)) * 3 - 7
    features[1, 5:] = 1e4
    normed = normalize_per_clip(features, mask)
    for clip, real in zip(normed, mask, strict=True):
        assert clip[real].mean().item() == pytest.approx(0, abs=1e-5)
        assert clip[real].std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert not normed[~mask].any()


def test_silence_normalises_to_zero():
    assert not normalize_per_clip(torch.full((1, 4, 3), -23.0), _mask(4)).any()


def _hidden(mask, seed=0, **stripes):
    """Zeros that SpecAugment puts into ones, (batch, frames, bands)."""
    torch.manual_seed(seed)
    settings = {"time_masks": 0, "time_width": 0, "band_masks": 0, "band_width": 0} | stripes
    return spec_augment(torch.ones(*mask.shape, 16), mask, **settings) == 0


@pytest.mark.parametrize(("width", "most"), [(6, [6, 6, 4, 0]), (100, [20, 10, 4, 0])])
def test_a_time_stripe_is_no_wider_than_asked_nor_than_half_the_clip(width, most):
    mask = _mask(*[40, 20, 8, 1] * 100)
    hidden = _hidden(mask, time_masks=1, time_width=width)
    assert torch.equal(hidden.all(dim=2), hidden.any(dim=2))
    assert hidden.all(dim=2).sum(dim=1).view(100, 4).amax(dim=0).tolist() == most


@pytest.mark.parametrize(("width", "most"), [(3, 3), (100, 8)])
def test_a_band_stripe_is_no_wider_than_asked_nor_than_half_the_bands(width, most):
    hidden = _hidden(torch.ones(200, 10, dtype=torch.bool), band_masks=1, band_width=width)
    assert torch.equal(hidden.all(dim=1), hidden.any(dim=1))
    assert hidden.all(dim=1).sum(dim=1).max() == most


def test_stripes_leave_padding_alone_and_follow_the_seed():
    mask = _mask(*[40, 10] * 50)
    stripes = {"time_masks": 2, "time_width": 40}
    first = _hidden(mask, **stripes)
    assert not first[~mask].any()
    assert torch.equal(first, _hidden(mask, **stripes))
    assert not torch.equal(first, _hidden(mask, seed=1, **stripes))
    assert len({clip.numpy().tobytes() for clip in first[::2]}) > 40, "every clip draws its own stripes"


def test_the_filter_bank_ends_at_half_the_rate_at_most():
    assert mel_ceiling(16000, None) == 8000
    assert mel_ceiling(16000, 6000) == 6000
    with pytest.raises(ValueError, match="f_max 8001 lies outside 0 to 8000 Hz"):
        mel_ceiling(16000, 8001)
