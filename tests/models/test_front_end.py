"""What follows the features in the front end: derivatives, normalisation, fixed lengths, statistics, augmentation."""

import librosa
import numpy as np
import pytest
import scipy.stats
import torch
import torchaudio
from signals import mask_of, noise, ragged
from torch import nn

from ser_hf.models.configuration import AcousticConfig
from ser_hf.models.front_end import (
    STATISTICS,
    FeatureNorm,
    FrontEnd,
    dct_matrix,
    deltas,
    frame_statistics,
    mix_style,
    pad_or_trim,
    resize,
    spec_augment,
    stretch_time,
    warp_bands,
)

LENGTHS = (12, 5, 1)
PLAIN = {"time_masks": 0, "band_masks": 0}


def _features(size=6):
    """A batch of LENGTHS frames whose padding is loud, so that looking there would show."""
    features = torch.randn(3, 12, size) * 3 - 7
    mask = mask_of(*LENGTHS)
    features[~mask] = 1e4
    return features, mask


# Derivatives


def test_deltas_equal_torchaudio_and_librosa():
    features = torch.randn(1, 30, 4)
    ours = deltas(features, mask_of(30))[0].T
    torch.testing.assert_close(ours, torchaudio.functional.compute_deltas(features[0].T, win_length=9))
    theirs = librosa.feature.delta(features[0].T.numpy(), width=9, mode="nearest")
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-5)


def test_deltas_repeat_each_clips_own_edge():
    features, mask = _features()
    ours = deltas(features, mask)
    for i, length in enumerate(LENGTHS):
        alone = deltas(features[i : i + 1, :length], mask_of(length))
        torch.testing.assert_close(ours[i : i + 1, :length], alone)
    assert not ours[~mask].any()
    assert not ours[2].any(), "one frame has no slope"


def test_the_cosine_transform_is_orthonormal():
    basis = dct_matrix(40, 40)
    torch.testing.assert_close(basis.T @ basis, torch.eye(40), rtol=0, atol=1e-5)


# Normalisation


@pytest.mark.parametrize("planes", [1, 2])
def test_by_clip_one_mean_for_all_bands_of_a_plane(planes):
    features, mask = _features()
    normed = FeatureNorm("clip", 6, planes)(features, mask).unflatten(2, (planes, -1))
    for clip, real in zip(normed, mask, strict=True):
        torch.testing.assert_close(clip[real].mean(dim=(0, 2)), torch.zeros(planes), rtol=0, atol=1e-4)
        torch.testing.assert_close(clip[real].var(dim=(0, 2), correction=0), torch.ones(planes), rtol=0, atol=1e-3)
    assert not normed[~mask].any()


def test_by_clip_and_band():
    features, mask = _features()
    normed = FeatureNorm("clip_bands", 6)(features, mask)
    for clip, real in zip(normed[:2], mask[:2], strict=True):
        torch.testing.assert_close(clip[real].mean(dim=0), torch.zeros(6), rtol=0, atol=1e-4)
        torch.testing.assert_close(clip[real].var(dim=0, correction=0), torch.ones(6), rtol=0, atol=1e-3)
    assert not normed[2].any(), "a single frame is its own mean"
    assert not normed[~mask].any()


def test_by_the_corpus_only_what_was_observed_counts():
    norm = FeatureNorm("corpus", 6)
    features, mask = _features()
    assert torch.equal(norm(features, mask)[mask], features[mask])
    norm.observing = True
    for i in range(3):
        passed = norm(features[i : i + 1], mask[i : i + 1])
        assert torch.equal(passed[mask[i : i + 1]], features[i : i + 1][mask[i : i + 1]])
    norm.settle()
    real = features[mask]
    torch.testing.assert_close(norm.mean, real.mean(dim=0))
    torch.testing.assert_close(norm.deviation, real.std(dim=0, correction=0))
    other = torch.randn(1, 4, 6)
    torch.testing.assert_close(norm(other, mask_of(4)), (other - norm.mean) / norm.deviation)
    assert not norm(features, mask)[~mask].any()
    assert set(norm.state_dict()) == {"mean", "deviation"}


def test_what_never_moves_in_training_does_not_drown_the_rest_once_it_does():
    norm = FeatureNorm("corpus", 2)
    norm.observing = True
    norm(torch.stack([torch.randn(1, 50), torch.full((1, 50), -23.0)], dim=2), mask_of(50))
    norm.settle()
    surprise = norm(torch.tensor([[[0.0, -20.0]]]), mask_of(1))
    assert surprise[0, 0, 1] == 3.0


def test_by_constants_and_not_at_all():
    features, mask = _features()
    fixed, none = FeatureNorm("fixed", 6)(features, mask), FeatureNorm("none", 6)(features, mask)
    torch.testing.assert_close(fixed[mask], (features[mask] + 12) / 5)
    assert torch.equal(none[mask], features[mask])
    assert not fixed[~mask].any()
    assert not none[~mask].any()


def test_silence_normalises_to_zero():
    assert not FeatureNorm("clip", 3)(torch.full((1, 4, 3), -23.0), mask_of(4)).any()


# Fixed length


@pytest.mark.parametrize("frames", [5, 12, 20])
def test_pad_or_trim(frames):
    features, mask = _features()
    fitted, fitted_mask = pad_or_trim(features, mask, frames)
    assert fitted.shape == (3, frames, 6)
    assert fitted_mask.sum(dim=1).tolist() == [min(length, frames) for length in LENGTHS]
    for i, length in enumerate(LENGTHS):
        kept = min(length, frames)
        assert torch.equal(fitted[i, :kept], features[i, :kept])


@pytest.mark.parametrize("frames", [1, 5, 12, 31])
def test_resizing_is_torchs_own_for_each_clip_alone(frames):
    features, mask = _features()
    resized, all_real = resize(features, mask, frames)
    assert all_real.all()
    for i, length in enumerate(LENGTHS):
        expected = nn.functional.interpolate(features[i : i + 1, :length].mT, size=frames, mode="linear").mT
        torch.testing.assert_close(resized[i : i + 1], expected, rtol=1e-4, atol=1e-4)


# Statistics


def test_statistics_are_scipys_over_the_real_frames():
    features, mask = _features()
    vector, whole = frame_statistics(features, mask, STATISTICS)
    assert vector.shape == (3, 1, 6 * len(STATISTICS))
    assert whole.tolist() == [[True]] * 3
    for i, length in enumerate(LENGTHS[:2]):
        clip = features[i, :length].double().numpy()
        expected = [
            clip.mean(axis=0), clip.std(axis=0), clip.min(axis=0), clip.max(axis=0),
            scipy.stats.skew(clip), scipy.stats.kurtosis(clip),
        ]  # fmt: skip
        np.testing.assert_allclose(vector[i, 0].numpy(), np.concatenate(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, -7.3, 1e4])
def test_what_does_not_move_has_no_higher_moments(level):
    vector, _ = frame_statistics(torch.full((1, 50, 2), level), mask_of(50), ["std", "skewness", "kurtosis"])
    assert not vector.any()


# Augmentation


def _hidden(mask, seed=0, **stripes):
    """Zeros that SpecAugment puts into ones, (batch, frames, bands)."""
    torch.manual_seed(seed)
    settings = {"time_masks": 0, "time_width": 0, "band_masks": 0, "band_width": 0} | stripes
    hidden = spec_augment(torch.ones(*mask.shape, 2, 16), mask, **settings) == 0
    assert torch.equal(hidden[:, :, 0], hidden[:, :, 1]), "derivatives are hidden with their features"
    return hidden[:, :, 0]


@pytest.mark.parametrize(("width", "most"), [(6, [6, 6, 4, 0]), (100, [20, 10, 4, 0])])
def test_a_time_stripe_is_no_wider_than_asked_nor_than_half_the_clip(width, most):
    mask = mask_of(*[40, 20, 8, 1] * 100)
    hidden = _hidden(mask, time_masks=1, time_width=width)
    assert torch.equal(hidden.all(dim=2), hidden.any(dim=2))
    assert hidden.all(dim=2).sum(dim=1).view(100, 4).amax(dim=0).tolist() == most


@pytest.mark.parametrize(("width", "most"), [(3, 3), (100, 8)])
def test_a_band_stripe_is_no_wider_than_asked_nor_than_half_the_bands(width, most):
    hidden = _hidden(torch.ones(200, 10, dtype=torch.bool), band_masks=1, band_width=width)
    assert torch.equal(hidden.all(dim=1), hidden.any(dim=1))
    assert hidden.all(dim=1).sum(dim=1).max() == most


def test_stripes_leave_padding_alone_and_follow_the_seed():
    mask = mask_of(*[40, 10] * 50)
    stripes = {"time_masks": 2, "time_width": 40}
    first = _hidden(mask, **stripes)
    assert not first[~mask].any()
    assert torch.equal(first, _hidden(mask, **stripes))
    assert not torch.equal(first, _hidden(mask, seed=1, **stripes))
    assert len({clip.numpy().tobytes() for clip in first[::2]}) > 40, "every clip draws its own stripes"


def test_a_warped_tone_moves_as_its_frequency_does():
    centres = torch.linspace(100, 7900, 40)
    peak = torch.exp(-(((centres - 2000) / 400) ** 2)).expand(200, 3, 40)
    warped = warp_bands(peak, centres, 0.2)
    heard = centres[warped.argmax(dim=2)]
    assert torch.equal(heard[:, 0], heard[:, 2]), "one factor a clip"
    assert 1500 < heard.min() < 1800
    assert 2300 < heard.max() < 2600
    torch.testing.assert_close(warp_bands(peak, centres, 0.0), peak, rtol=0, atol=1e-5)


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
    features = (torch.randn(80, 30, 4) * torch.rand(80, 1, 4) + 5 * torch.randn(80, 1, 4)) * mask[:, :, None]
    assert torch.allclose(mix_style(features, mask, 0.0), features, atol=1e-4)
    mixed = mix_style(features, mask, 0.5)
    assert not mixed[~mask].any()
    moved = (mixed - features).abs().amax(dim=(1, 2)) > 1e-2
    assert 20 < moved.sum() < 60
    for before, after, real in zip(features, mixed, mask, strict=True):
        assert torch.corrcoef(torch.stack([before[real, 0], after[real, 0]]))[0, 1] > 0.999


# The whole


def _front_end(min_frames=1, statistics=(), **settings):
    return FrontEnd(AcousticConfig(**PLAIN | settings), min_frames, statistics)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"deltas": 2, "normalization": "clip_bands"},
        {"features": "mfcc", "deltas": 1, "normalization": "none"},
        {"frames": 40},
        {"frames": 40, "frame_fit": "resize"},
        {"frames": 9, "min_frames": 8},
        {"features": "mfcc", "normalization": "none", "statistics": STATISTICS},
        {"compression": "pcen", "normalization": "corpus"},
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
        # Higher moments of decibels are up to thousands.
        torch.testing.assert_close(features[real], alone[own], rtol=1e-4, atol=1e-4)
        assert not features[~real].any()
        assert features.shape[1] == front_end.size


def test_sizes():
    assert (_front_end(deltas=2).planes, _front_end(deltas=2).size) == (3, 192)
    assert _front_end(features="mfcc", deltas=1, normalization="none", statistics=("mean", "std")).size == 160


def test_augmentation_is_for_training_only():
    settings = {"time_masks": 1, "band_masks": 1, "band_warp": 0.1, "time_stretch": 0.1, "mix_style": 0.5}
    front_end, (waveform, lengths) = _front_end(**settings), ragged(noise(16000), noise(9000, seed=1))
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


@pytest.mark.parametrize("name", ["time_masks", "band_masks", "band_warp", "time_stretch", "mix_style"])
def test_each_augmentation_does_something(name):
    front_end = _front_end(**{name: 1 if "masks" in name else 0.5}).train()
    clips = ragged(noise(16000), noise(9000, seed=1))
    drawn = [front_end(*clips) for _ in range(3)]
    assert len({features.numpy().tobytes() for features, _ in drawn}) > 1


def test_too_few_frames_for_the_network_are_refused():
    with pytest.raises(ValueError, match="frames 4 is fewer than the 8 that this network needs"):
        _front_end(min_frames=8, frames=4)
