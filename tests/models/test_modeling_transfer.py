"""Transferred networks: clip vectors, VGG stages against torch's layers, VGGish against the
published formulas.
"""

import numpy as np
import pytest
import torch
from built import batch_of, built
from signals import noise
from support.close import assert_near
from support.testing import tiny_config
from torch import nn
from torch.nn import functional

from ser_hf.models import ARCHITECTURES, TRANSFERRED
from ser_hf.models.modeling_transfer import ClipNorm, TransferClassifier
from ser_hf.models.modeling_vgg import VGGishFrontEnd


def test_transferred_networks_are_architectures_with_layers_from_the_bottom_to_the_top():
    for name, kind in TRANSFERRED.items():
        assert ARCHITECTURES[name] is kind
        model = kind(tiny_config(name))
        assert isinstance(model, TransferClassifier)
        outside = set(model.encoder.state_dict()) - {
            f"layers.{i}.{key}"
            for i, layer in enumerate(model.encoder.layers)
            for key in layer.state_dict()
        }
        assert not outside, f"{name} has weights in its encoder that belong to no layer"


def test_clip_norm_is_batch_normalization_without_weights():
    ours = ClipNorm(5)
    stock = nn.BatchNorm1d(5, affine=False)
    assert not list(ours.parameters())
    for seed in range(3):
        vectors = torch.randn(7, 5, generator=torch.Generator().manual_seed(seed)) * 3 + seed
        assert_near(ours(vectors), stock(vectors))
    for name, value in stock.state_dict().items():
        assert_near(ours.state_dict()[name], value)
    ours.eval()
    stock.eval()
    assert_near(ours(vectors), stock(vectors))
    # The last batch of an epoch may be a single clip.
    alone = ours(vectors[:1])
    ours.train()
    assert_near(ours(vectors[:1]), alone)


BOTH = pytest.mark.parametrize("name", ["vgg16", "vggish"])


def _with_biases(model):
    """Published networks have biases, fresh ones have zeros in their place."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(0, 0.3)
    return model


@BOTH
@torch.no_grad()
def test_padding_changes_nothing_with_biases(name):
    model = _with_biases(built(name))
    clips = [noise(samples, seed=i) for i, samples in enumerate((3210, 20000, 60000))]
    alone = torch.cat([model(clip).logits for clip in clips])
    assert alone.std(dim=0).min() > 1e-3
    torch.testing.assert_close(model(**batch_of(*clips)).logits, alone, rtol=1e-4, atol=1e-5)


def _mel(hertz):
    return 1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0)


def _published_log_mel(waveform):
    """(frames, 64) of a waveform (samples,), by the formulas of mel_features.py."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400))
    starts = range(0, len(waveform) - 400 + 1, 160)
    magnitudes = np.stack(
        [np.abs(np.fft.rfft(waveform[start : start + 400] * window, 512)) for start in starts]
    )
    edges = np.linspace(_mel(125.0), _mel(7500.0), 66)
    bins = _mel(np.linspace(0, 8000, 257))
    filters = np.zeros((257, 64))
    for band in range(64):
        lower, center, upper = edges[band : band + 3]
        rise = (bins - lower) / (center - lower)
        fall = (upper - bins) / (upper - center)
        filters[:, band] = np.maximum(0, np.minimum(rise, fall))
    filters[0] = 0
    return np.log(magnitudes @ filters + 0.01)


@pytest.mark.parametrize(("samples", "examples"), [(15600, 1), (30959, 1), (30960, 2), (50000, 3)])
def test_vggish_features_are_those_of_the_published_code(samples, examples):
    """An example has 96 frames, 15600 samples; the samples after the last example are dropped."""
    clip = noise(samples, seed=3) + 0.05 * torch.sin(torch.arange(samples) * 0.3)
    examples_found, mask = VGGishFrontEnd()(clip, torch.tensor([samples]))
    expected = _published_log_mel(clip[0].double().numpy())[: 96 * examples].reshape(
        examples, 96, 64
    )
    assert mask.sum() == examples
    assert expected.std() > 0.1
    assert_near(examples_found[mask].numpy().reshape(expected.shape), expected)


def _published_vggish(weights, examples, activation):
    """(n, 96, 64) -> (n, embedding): the layers of the PyTorch port, which puts channels last
    before it flattens.
    """
    picture = examples[:, None]
    for stage, depth in enumerate((1, 1, 2, 2)):
        for i in range(depth):
            name = f"layers.{stage}.convolutions.{i}"
            picture = functional.conv2d(
                picture, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1
            )
            picture = functional.relu(picture)
        picture = functional.max_pool2d(picture, 2, stride=2)
    vectors = picture.transpose(1, 3).transpose(1, 2).contiguous().view(len(picture), -1)
    for layer in (4, 5, 6):
        vectors = functional.linear(
            vectors, weights[f"layers.{layer}.weight"], weights[f"layers.{layer}.bias"]
        )
        vectors = functional.relu(vectors) if layer < 6 or activation == "relu" else vectors
    return vectors


@pytest.mark.parametrize("activation", ["relu", "none"])
@torch.no_grad()
def test_vggish_embeds_as_the_port_does_and_pools_real_examples(activation):
    model = _with_biases(built("vggish", activation=activation))
    clips = [noise(33000), noise(70000, seed=1)]
    features, mask = model.front_end(*_lengths(clips))
    embeddings, _ = model.encoder(features, mask)
    assert mask.sum(dim=1).tolist() == [2, 4]
    for i, count in enumerate((2, 4)):
        examples = features[i, :count].reshape(count, 96, 64)
        expected = _published_vggish(dict(model.encoder.named_parameters()), examples, activation)
        assert (expected < 0).any() == (activation == "none")
        torch.testing.assert_close(embeddings[i, :count], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            model.embed(features, mask)[i], expected.mean(dim=0), rtol=1e-4, atol=1e-5
        )


def _lengths(clips):
    batch = batch_of(*clips)
    return batch["input_values"], batch["attention_mask"].sum(dim=1)


def test_short_clips_are_one_example_with_silence_after_it_and_examples_may_overlap():
    clip = noise(5000)
    examples, mask = VGGishFrontEnd()(
        torch.nn.functional.pad(clip, (0, 40000)), torch.tensor([5000])
    )
    expected = _published_log_mel(np.pad(clip[0].double().numpy(), (0, 15600 - 5000)))
    assert mask.sum() == 1
    assert_near(examples[mask].numpy().reshape(96, 64), expected)
    assert not examples[~mask].any()
    longer = noise(40000)
    examples, mask = VGGishFrontEnd(example_hop=32)(longer, torch.tensor([40000]))
    expected = _published_log_mel(longer[0].double().numpy())
    assert mask.sum() == (248 - 96) // 32 + 1 == 5
    assert_near(examples[0, 2].reshape(96, 64).numpy(), expected[64:160])
