"""What transferred networks are made of: reflected edges, one level for all bands, mean plus maximum, clip vectors."""

import librosa
import numpy as np
import pytest
import torch
from signals import mask_of, noise, ragged
from torch import nn

from ser_hf.models import ARCHITECTURES, TRANSFERRED, BYOLSConfig, CNN14Config
from ser_hf.models.configuration import AcousticConfig
from ser_hf.models.front_end import FeatureNorm, LogMel, reflected
from ser_hf.models.layers import Pooling
from ser_hf.models.modeling_transfer import ClipNorm, TransferClassifier
from ser_hf.testing import tiny_config


def test_transferred_networks_are_architectures_with_layers_from_the_bottom_to_the_top():
    for name, kind in TRANSFERRED.items():
        assert ARCHITECTURES[name] is kind
        model = kind(tiny_config(name))
        assert isinstance(model, TransferClassifier)
        outside = set(model.encoder.state_dict()) - {
            f"layers.{i}.{key}" for i, layer in enumerate(model.encoder.layers) for key in layer.state_dict()
        }
        assert not outside, f"{name} has weights in its encoder that belong to no layer"


def test_reflection_is_that_of_numpy_at_each_clips_own_end():
    clips, reach = [noise(length, seed=length) for length in (1, 2, 5, 40, 90)], 16
    batch, lengths = ragged(*clips)
    batch = nn.functional.pad(batch + 7.0 * (batch == 0), (reach, reach), value=7.0)
    ours = reflected(batch, lengths, reach)
    for i, clip in enumerate(clips):
        expected = np.pad(clip[0].numpy(), reach, mode="reflect")
        np.testing.assert_array_equal(ours[i, : len(expected)].numpy(), expected)
        assert not ours[i, len(expected) :].any()


def test_reflected_log_mels_equal_librosa():
    clips = [noise(samples, seed=samples) for samples in (4000, 16001, 9000)]
    config = AcousticConfig(
        n_fft=512, win_length=512, hop_length=160, center=True, edges="reflect", compression="db", top_db=None
    )
    ours, mask = LogMel(config)(*ragged(*clips))
    zeros, _ = LogMel(AcousticConfig(**config.to_dict() | {"edges": "zeros"}))(*ragged(*clips))
    for i, clip in enumerate(clips):
        power = librosa.feature.melspectrogram(
            y=clip[0].numpy(), sr=16000, n_fft=512, hop_length=160, n_mels=64, fmin=50.0, pad_mode="reflect"
        )
        expected = librosa.power_to_db(power, amin=1e-10, top_db=None).T
        np.testing.assert_allclose(ours[i][mask[i]].numpy(), expected, rtol=0, atol=5e-3)
        assert (zeros[i][mask[i]] - torch.tensor(expected)).abs().max() > 1, "edges must matter"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"edges": "reflect"}, "edges reflect: frames that are not centred lie inside the clip"),
        ({"floor": 0.0}, "floor 0.0: expected more than zero"),
        ({"floor": 1.0}, "floor 1.0: expected more than zero and less than 1"),
    ],
)
def test_front_end_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        AcousticConfig(**settings)


def test_the_floor_is_the_level_of_silence():
    silence, lengths = torch.zeros(1, 4000), torch.tensor([4000])
    for floor in (1e-10, 2.0**-23):
        log, _ = LogMel(AcousticConfig(floor=floor))(silence, lengths)
        torch.testing.assert_close(log, torch.full_like(log, np.log(floor)))
        decibels, _ = LogMel(AcousticConfig(floor=floor, compression="db"))(silence, lengths)
        torch.testing.assert_close(decibels, torch.full_like(decibels, 10 * np.log10(floor)))


def test_corpus_level_is_one_mean_and_deviation_a_plane():
    norm, mask = FeatureNorm("corpus_level", 8, planes=2), mask_of(5, 3)
    features = torch.randn(2, 5, 8) * torch.arange(1.0, 9) + torch.arange(8.0)
    norm.observing = True
    norm(features, mask)
    norm.settle()
    real = features[mask]
    for plane in (slice(0, 4), slice(4, 8)):
        torch.testing.assert_close(norm.mean[plane], real[:, plane].mean().expand(4))
        torch.testing.assert_close(norm.deviation[plane], real[:, plane].std(correction=0).expand(4))
    assert norm.deviation[0] != norm.deviation[4]
    normed = norm(features, mask)[mask][:, :4]
    torch.testing.assert_close(normed, (real[:, :4] - real[:, :4].mean()) / real[:, :4].std(correction=0))


def test_mean_max_is_the_mean_plus_the_maximum_over_real_frames():
    sequence, mask = torch.randn(2, 6, 3), mask_of(6, 2)
    pooled = Pooling("mean_max", 3)(sequence, mask)
    for i, length in enumerate((6, 2)):
        torch.testing.assert_close(pooled[i], sequence[i, :length].mean(dim=0) + sequence[i, :length].amax(dim=0))


@pytest.mark.parametrize("synchronised", [False, True])
def test_clip_norm_is_batch_normalisation_without_weights(synchronised):
    ours, stock = ClipNorm(5), nn.BatchNorm1d(5, affine=False)
    ours.synchronised = synchronised
    assert not list(ours.parameters())
    for seed in range(3):
        vectors = torch.randn(7, 5, generator=torch.Generator().manual_seed(seed)) * 3 + seed
        torch.testing.assert_close(ours(vectors), stock(vectors))
    for name, value in stock.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    ours.eval()
    stock.eval()
    torch.testing.assert_close(ours(vectors), stock(vectors))
    # The last batch of an epoch may be a single clip.
    alone = ours(vectors[:1])
    ours.train()
    torch.testing.assert_close(ours(vectors[:1]), alone)


def test_standardising_may_be_left_out():
    for name in ("byols", "cnn14"):
        model = TRANSFERRED[name](tiny_config(name, standardize=False))
        assert not any(isinstance(module, ClipNorm) for module in model.modules())
        assert model.eval()(noise(8000)).logits.shape == (1, 4)


@pytest.mark.parametrize("pooling", ["mean", "max", "mean_max", "mean_std", "attention", "attentive_stats"])
def test_byols_can_pool_in_other_ways(pooling):
    model = TRANSFERRED["byols"](tiny_config("byols", pooling=pooling)).eval()
    assert model(noise(8000)).logits.shape == (1, 4)


def test_bands_that_do_not_suffice():
    with pytest.raises(ValueError, match="n_mels 7: three blocks halve the bands"):
        BYOLSConfig(n_mels=7)
    with pytest.raises(ValueError, match="each block but the last halves the 31 bands"):
        CNN14Config(n_mels=31)
