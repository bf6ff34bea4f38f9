"""Layers that know their padding: batch normalisation, convolution block, LSTM and pooling."""

import math

import pytest
import torch
from torch import nn

from ser_hf.models.masked_layers import BiLSTM, ConvBlock, MaskedBatchNorm2d, Pooling

LENGTHS = (9, 4, 6)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def _mask(*lengths):
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def _pair(channels=5):
    """A masked normalisation and the stock one with the same scale, shift and statistics."""
    ours, stock = MaskedBatchNorm2d(channels), nn.BatchNorm2d(channels)
    nn.init.uniform_(ours.weight, 0.5, 2)
    nn.init.normal_(ours.bias)
    ours.running_mean.normal_()
    ours.running_var.uniform_(0.5, 2)
    stock.load_state_dict(ours.state_dict())
    return ours, stock


def _assert_same_state(ours, stock):
    for name, value in stock.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)
    torch.testing.assert_close(ours.weight.grad, stock.weight.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.bias.grad, stock.bias.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels_last", [False, True])
def test_batch_norm_without_padding_is_the_stock_one(channels_last):
    ours, stock = _pair()
    features = torch.randn(3, 5, 9, 4)
    features = features.contiguous(memory_format=torch.channels_last) if channels_last else features
    inputs = [features.clone().requires_grad_() for _ in range(2)]
    pull = torch.randn(3, 5, 9, 4)
    outputs = ours(inputs[0], _mask(9, 9, 9)), stock(inputs[1])
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    for output in outputs:
        (output * pull).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-5)
    _assert_same_state(ours, stock)


def test_batch_norm_with_padding_is_the_stock_one_over_the_clips_end_to_end():
    ours, stock = _pair()
    mask = _mask(*LENGTHS)
    padded = (torch.randn(3, 5, 9, 4) + 100 * ~mask[:, None, :, None]).requires_grad_()
    joined = torch.cat([padded[i : i + 1, :, :n] for i, n in enumerate(LENGTHS)], dim=2).detach().requires_grad_()
    pull = torch.randn(1, 5, sum(LENGTHS), 4)
    expected = stock(joined)
    output = ours(padded, mask)
    real = torch.cat([output[i : i + 1, :, :n] for i, n in enumerate(LENGTHS)], dim=2)
    torch.testing.assert_close(real, expected, rtol=1e-5, atol=1e-5)
    assert not output.transpose(1, 2)[~mask].any()
    (real * pull).sum().backward()
    (expected * pull).sum().backward()
    gradient = torch.cat([padded.grad[i : i + 1, :, :n] for i, n in enumerate(LENGTHS)], dim=2)
    torch.testing.assert_close(gradient, joined.grad, rtol=1e-4, atol=1e-5)
    assert not padded.grad.transpose(1, 2)[~mask].any()
    _assert_same_state(ours, stock)


def test_batch_norm_in_eval_mode_uses_and_keeps_the_running_statistics():
    ours, stock = (norm.eval() for norm in _pair())
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    mask, features = _mask(*LENGTHS), torch.randn(3, 5, 9, 4)
    output = ours(features, mask)
    torch.testing.assert_close(output, stock(features) * mask[:, None, :, None])
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("training", [False, True])
def test_conv_block_floors_lengths_and_leaves_padding_zero(training):
    block = ConvBlock(1, 3, (2, 2), dropout=0.0).train(training)
    output, mask = block(torch.randn(3, 1, 9, 8) * _mask(*LENGTHS)[:, None, :, None], _mask(*LENGTHS))
    assert output.shape == (3, 3, 4, 4)
    assert mask.sum(dim=1).tolist() == [4, 2, 3]
    assert not output.transpose(1, 2)[~mask].any()
    assert output.transpose(1, 2)[mask].any()


def test_conv_block_answers_as_for_the_clip_alone():
    block = ConvBlock(1, 3, (2, 2), dropout=0.0).eval()
    clips = torch.randn(3, 1, 9, 8) * _mask(*LENGTHS)[:, None, :, None]
    output, _ = block(clips, _mask(*LENGTHS))
    for i, length in enumerate(LENGTHS):
        alone, _ = block(clips[i : i + 1, :, :length], _mask(length))
        torch.testing.assert_close(output[i : i + 1, :, : length // 2], alone)


def test_lstm_begins_its_backward_direction_at_each_clips_own_end():
    layer, sequence = BiLSTM(3, 4, layers=2, dropout=0.0), torch.randn(3, 9, 3)
    output = layer(sequence, _mask(*LENGTHS))
    assert output.shape == (3, 9, 8)
    assert not output[~_mask(*LENGTHS)].any()
    for i, length in enumerate(LENGTHS):
        alone, _ = layer.lstm(sequence[i : i + 1, :length])
        torch.testing.assert_close(output[i : i + 1, :length], alone)


SEQUENCE = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, -100.0]]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mean", [2.0, 4.0]),
        ("max", [3.0, 6.0]),
        ("mean_std", [2.0, 4.0, 1.0, 2.0]),
        # Scores ln 3 apart weigh the two real frames 1 : 3.
        ("attention", [2.5, 5.0]),
    ],
)
def test_pooling_by_hand(kind, expected):
    pooling = Pooling(kind, 2)
    if kind == "attention":
        with torch.no_grad():
            pooling.score.weight.copy_(torch.tensor([[math.log(3) / 2, 0.0]]))
    pooled = pooling(SEQUENCE, torch.tensor([[True, True, False]]))
    assert pooling.output_size == len(expected)
    torch.testing.assert_close(pooled, torch.tensor([expected]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", Pooling.KINDS)
def test_pooling_of_a_padded_clip_is_that_of_the_clip_alone(kind):
    pooling, sequence = Pooling(kind, 5), torch.randn(3, 9, 5)
    pooled = pooling(sequence, _mask(*LENGTHS))
    for i, length in enumerate(LENGTHS):
        torch.testing.assert_close(pooled[i : i + 1], pooling(sequence[i : i + 1, :length], _mask(length)))


@pytest.mark.parametrize("kind", Pooling.KINDS)
def test_pooling_a_single_frame_has_a_finite_gradient(kind):
    sequence = torch.randn(2, 3, 5, requires_grad=True)
    Pooling(kind, 5)(sequence, _mask(3, 1)).sum().backward()
    assert sequence.grad.isfinite().all()


def test_unknown_pooling_is_named():
    with pytest.raises(ValueError, match="pooling 'median' is none of mean, max, mean_std, attention"):
        Pooling("median", 2)
