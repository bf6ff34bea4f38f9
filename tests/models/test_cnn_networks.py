"""The convolutional networks: their stacks against torch's own layers, the waveform's front end, the descriptors'."""

import pytest
import torch
from signals import mask_of, noise, ragged
from torch import nn
from torch.nn import functional

from ser_hf.models import (
    CNN1dConfig,
    CNN1dDescriptorsConfig,
    CNN1dDescriptorsForAudioClassification,
    CNN1dForAudioClassification,
    CNN2dConfig,
    CNN2dForAudioClassification,
    StackedCNNLSTMConfig,
)
from ser_hf.models.front_end import FrontEnd
from ser_hf.models.layers import ConvolutionStack1d, ConvolutionStack2d, MaxPooledFrames
from ser_hf.models.modeling_cnn import Waveform
from ser_hf.models.modeling_descriptors import FrameDescriptors

TINY_2D = {"n_mels": 32, "channels": [4, 6], "time_pooling": [2, 3], "band_pooling": [2, 4], "hidden": 5}
TINY_1D = {"channels": [4, 6], "pooling_factors": [2, 2], "hidden": 5}


def _cnn2d(**settings):
    return CNN2dForAudioClassification(CNN2dConfig(num_labels=4, **TINY_2D | settings)).eval()


def _descriptors(**settings):
    return CNN1dDescriptorsForAudioClassification(CNN1dDescriptorsConfig(num_labels=4, **TINY_1D | settings)).eval()


def _with_statistics(stack):
    for module in stack.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return stack.eval()


def _layer(block, inputs, convolve, pool):
    """Convolution, normalisation, ReLU and pooling of a block in torch's words."""
    norm = block.norm
    outputs = convolve(inputs, block.conv.weight, padding=block.conv.kernel_size[0] // 2)
    outputs = functional.batch_norm(outputs, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    return pool(functional.relu(outputs))


@torch.no_grad()
def test_the_2d_stack_is_convolution_normalisation_relu_and_pooling_block_by_block():
    stack = _with_statistics(ConvolutionStack2d(2, 12, [4, 6], [2, 3], [2, 4], 0.1, kernel_size=5, depth=2))
    features = torch.randn(2, 13, 24)
    picture = features.unflatten(2, (2, 12)).transpose(1, 2)
    for block, pool in zip(stack.blocks, [(1, 1), (2, 2), (1, 1), (3, 4)], strict=True):
        picture = _layer(block, picture, functional.conv2d, lambda x, pool=pool: functional.max_pool2d(x, pool))
    frames, mask = stack(features, torch.ones(2, 13, dtype=torch.bool))
    assert (stack.channels, stack.bands, stack.size) == (6, 1, 6)
    assert mask.all()
    torch.testing.assert_close(frames, picture.transpose(1, 2).flatten(2), rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_1d_stack_is_convolution_normalisation_relu_and_pooling_block_by_block():
    stack = _with_statistics(ConvolutionStack1d(3, [4, 6], [2, 3], 5, 0.1))
    features = torch.randn(2, 13, 3)
    sequence = features.transpose(1, 2)
    for block, pool in zip(stack.blocks, [2, 3], strict=True):
        sequence = _layer(block, sequence, functional.conv1d, lambda x, pool=pool: functional.max_pool1d(x, pool))
    frames, mask = stack(features, torch.ones(2, 13, dtype=torch.bool))
    assert mask.shape == (2, 2)
    torch.testing.assert_close(frames, sequence.transpose(1, 2), rtol=0, atol=1e-5)


def test_max_pooled_frames_by_hand():
    frames = MaxPooledFrames(planes=2, bands=3, pool=[2, 2])
    assert frames.size == 2
    features = torch.tensor([[[1.0, 5, 9, -1, -2, 0], [2, 3, 9, -7, -3, 9], [4, 0, 0, 8, 8, 8], [0, 0, 0, 0, 0, 0]]])
    # Windows of two frames and two bands of a plane; the third band fills none, the last window is not all real.
    pooled, mask = frames(features, mask_of(3, 4)[:1])
    assert mask.tolist() == [[True, False]]
    assert pooled.tolist() == [[[5, -1], [0, 0]]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": [4]}, "channels, time_pooling and band_pooling need one entry per block"),
        ({"channels": [], "time_pooling": [], "band_pooling": []}, "channels is empty: expected one entry or more"),
        ({"band_pooling": [2, 0]}, r"band_pooling \[2, 0\]: expected 1 or more"),
        ({"band_pooling": [8, 8]}, r"band_pooling \[8, 8\] leaves nothing of 32 bands"),
        ({"channels": [4, 0]}, r"channels \[4, 0\]: expected 1 or more"),
        ({"kernel_size": 4}, "kernel size 4 is not odd"),
        ({"frames": 5}, "frames 5 is fewer than the 6"),
        ({"pooling": "attention"}, "pooling 'attention' is none of mean, max"),
    ],
)
def test_mistakes_in_a_2d_cnn_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        _cnn2d(**settings)


def test_a_block_without_convolutions_is_told():
    with pytest.raises(ValueError, match="depth 0: expected 1 or more"):
        StackedCNNLSTMConfig(depth=0)


@pytest.mark.parametrize("over", ["frames_and_bands", "frames"])
@pytest.mark.parametrize("pooling", ["mean", "max", "mean_max"])
@torch.no_grad()
def test_the_2d_cnn_pools_as_torchs_adaptive_pooling_does(pooling, over):
    model, seen = _cnn2d(pooling=pooling, pooling_over=over, band_pooling=[2, 2]), []
    model.dense.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    clip, longer = noise(9000), noise(12000)
    waveforms, lengths = ragged(clip, longer)
    model(waveforms, attention_mask=mask_of(*lengths))
    frames, _ = model.stack(*model.front_end(clip, torch.tensor([9000])))
    picture = frames.unflatten(2, (6, 8)).permute(0, 2, 1, 3)
    size = 1 if over == "frames_and_bands" else (1, 8)
    both = {
        "mean": functional.adaptive_avg_pool2d(picture, size),
        "max": functional.adaptive_max_pool2d(picture, size),
    }
    expected = both[pooling] if pooling in both else both["mean"] + both["max"]
    torch.testing.assert_close(seen[0][:1], expected.flatten(1), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_waveform_is_brought_to_unit_level_by_its_real_samples():
    front_end = Waveform("clip", min_frames=50)
    waveforms, lengths = ragged(noise(40, level=0.5), noise(300, level=0.01))
    frames, mask = front_end(waveforms, lengths)
    assert frames.shape == (2, 350, 1)
    assert mask.sum(dim=1).tolist() == [50, 300]
    for i, length in enumerate(lengths):
        assert frames[i, :length].square().mean().sqrt().item() == pytest.approx(1, abs=1e-5)
        assert not frames[i, length:].any()
    assert torch.equal(front_end(torch.zeros(1, 9), torch.tensor([9]))[0], torch.zeros(1, 59, 1))


@torch.no_grad()
def test_without_normalisation_the_level_is_heard():
    clip = noise(4000)
    heard = {
        kind: CNN1dForAudioClassification(
            CNN1dConfig(num_labels=4, normalization=kind, channels=[4, 8], depths=[1, 1])
        ).eval()
        for kind in ("clip", "none")
    }
    frames, _ = heard["none"].front_end(clip, torch.tensor([4000]))
    assert torch.equal(frames[0, :4000, 0], clip[0])
    loud = {kind: (model(clip).logits - model(3 * clip).logits).abs().max() for kind, model in heard.items()}
    assert loud["clip"] < 1e-5
    assert loud["none"] > 1e-3


@pytest.mark.parametrize(
    ("channels", "depths", "layers", "millions"),
    [((128, 128, 256, 512), (1, 1, 1, 1), 4, 0.5), ((64, 64, 128, 256, 512), (1, 2, 2, 3, 2), 10, 1.8)],
    ids=["M5", "M11"],
)
def test_the_1d_cnn_is_that_of_the_paper(channels, depths, layers, millions):
    # Dai et al. 2017, table 1: 8 kHz, filters of 80 samples every 4; the last of M5's and M11's layers classifies. The
    # paper pools before each wider block, which is four times in M11 too.
    config = CNN1dConfig(
        sampling_rate=8000, num_labels=10, first_kernel=80, first_stride=4, channels=channels, depths=depths
    )
    model = CNN1dForAudioClassification(config)
    convolutions = [block.conv for block in model.blocks]
    assert len(convolutions) == layers
    assert convolutions[0].kernel_size + convolutions[0].stride == (80, 4)
    assert all(conv.kernel_size + conv.stride == (3, 1) for conv in convolutions[1:])
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depths": [1]}, "channels and depths need one entry per block"),
        ({"channels": [4, 0], "depths": [1, 1]}, "expected 1 or more"),
        ({"kernel_size": 2}, "kernel_size 2 is not odd"),
    ],
)
def test_mistakes_in_a_1d_cnn_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        CNN1dConfig(**settings)


@torch.no_grad()
def test_the_front_end_computes_the_descriptors_asked_for():
    names = ["pitch", "rms", "spectral_rolloff"]
    config = CNN1dDescriptorsConfig(
        descriptors=names, roll_off=0.6, pitch_min=80.0, pitch_max=300.0, hop_length=160, normalization="corpus"
    )
    waveforms, lengths = ragged(noise(5000), noise(8000, seed=1))
    features, mask = FrontEnd(config).eval()(waveforms, lengths)
    by_itself = FrameDescriptors(16000, 1024, 1024, 160, roll_off=0.6, pitch_min=80.0, pitch_max=300.0, names=names)
    expected, expected_mask = by_itself(waveforms, lengths)
    assert torch.equal(mask, expected_mask)
    torch.testing.assert_close(features, expected)  # nothing was counted yet: mean 0, deviation 1


@torch.no_grad()
def test_over_frames_the_descriptors_are_the_channels():
    model, clip = _descriptors(descriptors=["rms", "voicing"]), noise(9000)
    features, mask = model.front_end(clip, torch.tensor([9000]))
    assert features.shape[2] == model.stack.blocks[0].conv.in_channels == 2
    swapped = model.embed(features.flip(1), mask)
    assert (swapped - model.embed(features, mask)).abs().max() > 1e-4, "the order of frames tells"


@torch.no_grad()
def test_aggregated_the_statistics_of_a_clip_are_one_sequence_of_one_channel():
    model, clip = (
        _descriptors(aggregate=True, descriptors=["rms", "pitch"], statistics=["mean", "max", "std"]),
        noise(9000),
    )
    features, mask = model.front_end(clip, torch.tensor([9000]))
    assert features.shape == (1, 1, 6)
    frames, _ = FrontEnd(model.config).eval()(clip, torch.tensor([9000]))
    expected = torch.cat([frames.mean(dim=1), frames.amax(dim=1), frames.std(dim=1, correction=0)], dim=1)
    torch.testing.assert_close(features[0], expected, rtol=1e-5, atol=1e-6)
    assert model.stack.blocks[0].conv.in_channels == 1
    steps, _ = model.stack(features[0, 0, None, :, None], torch.ones(1, 6, dtype=torch.bool))
    pooled = torch.cat([steps.mean(dim=1), (steps.var(dim=1, correction=0) + 1e-7).sqrt()], dim=1)
    torch.testing.assert_close(model.embed(features, mask), torch.relu(model.dense(pooled)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"descriptors": ["rms", "loudness"]}, r"descriptors \['rms', 'loudness'\]: choose from zero_crossing_rate, "),
        ({"descriptors": []}, "descriptors is empty"),
        ({"statistics": ["mean", "mean"]}, "statistics .*each once at most"),
        ({"pitch_min": 20.0}, "pitch_min 20.0"),
        ({"aggregate": True, "normalization": "clip_bands"}, "aggregate needs corpus"),
        ({"normalization": "clip"}, "normalization 'clip' is none of corpus, clip_bands"),
        ({"aggregate": True, "descriptors": ["rms"], "statistics": ["mean"]}, "need 4 statistics, there are 1"),
    ],
)
def test_mistakes_in_a_descriptor_cnn_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        _descriptors(**settings)


@pytest.mark.parametrize("network", [_cnn2d, _descriptors])
def test_a_fresh_classifier_makes_an_even_guess(network):
    model = network()
    bound = 0.3 * (6 / sum(model.classifier.weight.shape)) ** 0.5
    assert 0.8 * bound < model.classifier.weight.abs().max() <= bound
