"""Masked layers against those of torch: batch normalization, convolution blocks and stacks, LSTM
and pooling.
"""

import math

import pytest
import torch
from signals import mask_of
from support.close import assert_near
from torch import nn

from ser_hf.models.layers import (
    BiLSTM,
    ConvBlock,
    ConvBlock1d,
    MaskedBatchNorm1d,
    MaskedBatchNorm2d,
    Pooling,
)

LENGTHS = (9, 4, 6)
KINDS = (
    "mean",
    "max",
    "mean_max",
    "mean_std",
    "attention",
    "attentive_stats",
    "attentive_frame_stats",
    "last",
)


@pytest.fixture(params=["fused kernel", "moments"])
def kernel(request, monkeypatch):
    """Batch normalization by the fused kernel on the real frames, and by moments as on a GPU."""
    if request.param == "moments":
        by_moments(monkeypatch)


def by_moments(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


def _pair(channels=5):
    """A masked normalization and the stock one with the same scale, shift and statistics."""
    ours = MaskedBatchNorm2d(channels)
    stock = nn.BatchNorm2d(channels)
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


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("channels_last", [False, True])
def test_batch_norm_without_padding_is_the_stock_one(channels_last):
    ours, stock = _pair()
    features = torch.randn(3, 5, 9, 4)
    features = features.contiguous(memory_format=torch.channels_last) if channels_last else features
    inputs = [features.clone().requires_grad_() for _ in range(2)]
    pull = torch.randn(3, 5, 9, 4)
    outputs = ours(inputs[0], mask_of(9, 9, 9)), stock(inputs[1])
    # The convolutions that follow are slow without.
    assert not channels_last or outputs[0].is_contiguous(memory_format=torch.channels_last)
    assert_near(*outputs)
    for output in outputs:
        (output * pull).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-5)
    _assert_same_state(ours, stock)


@pytest.mark.usefixtures("kernel")
def test_batch_norm_with_padding_is_the_stock_one_over_the_clips_end_to_end():
    ours, stock = _pair()
    mask = mask_of(*LENGTHS)
    # Padding that overflowed is padding still.
    padded = (
        torch.randn(3, 5, 9, 4).masked_fill(~mask[:, None, :, None], float("inf")).requires_grad_()
    )
    joined = (
        torch.cat([padded[i : i + 1, :, :n] for i, n in enumerate(LENGTHS)], dim=2)
        .detach()
        .requires_grad_()
    )
    pull = torch.randn(1, 5, sum(LENGTHS), 4)
    expected = stock(joined)
    output = ours(padded, mask)
    real = torch.cat([output[i : i + 1, :, :n] for i, n in enumerate(LENGTHS)], dim=2)
    assert_near(real, expected)
    assert not output.transpose(1, 2)[~mask].any()
    (real * pull).sum().backward()
    (expected * pull).sum().backward()
    gradient = torch.cat([padded.grad[i : i + 1, :, :n] for i, n in enumerate(LENGTHS)], dim=2)
    torch.testing.assert_close(gradient, joined.grad, rtol=1e-4, atol=1e-5)
    assert not padded.grad.transpose(1, 2)[~mask].any()
    _assert_same_state(ours, stock)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_over_time_is_that_of_a_picture_one_band_wide(training):
    flat = MaskedBatchNorm1d(5).train(training)
    picture = MaskedBatchNorm2d(5).train(training)
    mask = mask_of(*LENGTHS)
    features = torch.randn(3, 5, 9) + 100 * ~mask_of(*LENGTHS)[:, None]
    for whole in (mask, torch.ones_like(mask)):
        assert_near(flat(features, whole), picture(features[..., None], whole)[..., 0])
        assert_near(flat.running_var, picture.running_var)


@pytest.mark.usefixtures("kernel")
def test_a_single_value_is_normalized_by_the_running_statistics():
    norm = MaskedBatchNorm1d(2)
    norm(torch.randn(4, 2, 6), mask_of(6, 6, 6, 6))
    seen = {name: value.clone() for name, value in norm.named_buffers()}
    single = torch.randn(1, 2, 1, requires_grad=True)
    scale = (seen["running_var"][:, None] + norm.eps).rsqrt()
    output = norm(single, mask_of(1))
    assert_near(output, (single - seen["running_mean"][:, None]) * scale)
    output.sum().backward()
    assert_near(single.grad, scale[None])
    # Nor does it count as a batch, or a mean of all batches would be off.
    assert all(torch.equal(value, seen[name]) for name, value in norm.named_buffers())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_has_its_statistics_in_float32(dtype, monkeypatch):
    features = (5 + torch.randn(3, 5, 9, 4)).to(dtype)
    mask = mask_of(*LENGTHS)
    fused = MaskedBatchNorm2d(5)
    moments = MaskedBatchNorm2d(5)
    expected = fused(features, mask)
    by_moments(monkeypatch)
    output = moments(features, mask)
    assert output.dtype == dtype
    torch.testing.assert_close(output, expected, rtol=0.02, atol=1e-3)
    assert_near(moments.running_var, fused.running_var)


@pytest.mark.parametrize("norm", [MaskedBatchNorm1d, MaskedBatchNorm2d])
def test_no_layer_waits_for_an_accelerator(norm):
    """Tensors on the meta device have no values: reading one raises."""
    features = (
        torch.randn(2, 3, 5, 4)[..., 0] if norm is MaskedBatchNorm1d else torch.randn(2, 3, 5, 4)
    )
    features = features.to("meta").requires_grad_()
    output = norm(3).to("meta")(features, mask_of(5, 3).to("meta"))
    output.sum().backward()
    assert output.shape == features.grad.shape == features.shape


@pytest.mark.slow
def test_a_compiled_graph_does_not_break_at_the_mask():
    eager = ConvBlock(1, 3, (2, 2), dropout=0.0)
    compiled = ConvBlock(1, 3, (2, 2), dropout=0.0)
    compiled.load_state_dict(eager.state_dict())
    # Traced and differentiated, and not made into machine code, which takes a minute.
    graph = torch.compile(compiled, fullgraph=True, dynamic=True, backend="aot_eager")
    for lengths in (LENGTHS, (9, 9, 9), (12, 5, 7, 8)):
        features = torch.randn(len(lengths), 1, max(lengths), 8)
        mask = mask_of(*lengths)
        for block in (eager, graph):
            block.zero_grad()
            block(features, mask)[0].square().mean().backward()
        for name, parameter in eager.named_parameters():
            torch.testing.assert_close(
                compiled.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-6
            )
    assert_near(compiled.norm.running_var, eager.norm.running_var)


@pytest.mark.parametrize(
    ("kernel_size", "stride", "pool"), [(3, 1, 1), (5, 1, 2), (8, 4, 2), (80, 4, 1), (7, 3, 3)]
)
@pytest.mark.parametrize("training", [False, True])
def test_convolution_over_time_equals_the_stock_layers(training, kernel_size, stride, pool):
    block = ConvBlock1d(2, 3, kernel_size, pool, stride=stride).train(training)
    stock = torch.nn.BatchNorm1d(3).train(training)
    clips = torch.randn(3, 2, 97, requires_grad=True)
    output, _ = block(clips, mask_of(97, 97, 97))
    frames = block.conv(clips)[:, :, : math.ceil(97 / stride)]
    expected = torch.nn.functional.max_pool1d(torch.relu(stock(frames)), pool)
    assert_near(output, expected)
    wrt = (clips, block.conv.weight)
    for own, theirs in zip(
        torch.autograd.grad(output.square().sum(), wrt),
        torch.autograd.grad(expected.square().sum(), wrt),
        strict=True,
    ):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_lstm_is_that_of_each_clip_alone_with_and_without_packed_sequences(layers):
    layer = BiLSTM(3, 4, layers, dropout=0.0)
    sequence = torch.randn(3, 9, 3, requires_grad=True)
    output = layer(sequence, mask_of(*LENGTHS))
    for i, length in enumerate(LENGTHS):
        assert_near(output[i : i + 1, :length], layer.lstm(sequence[i : i + 1, :length])[0])
    inputs = [sequence, *layer.parameters()]
    outputs = [way(sequence, mask_of(*LENGTHS)) for way in (layer._reversed, layer._packed)]
    assert_near(*outputs)
    gradients = [torch.autograd.grad(output.square().sum(), inputs) for output in outputs]
    for turned, packed in zip(*gradients, strict=True):
        torch.testing.assert_close(turned, packed, rtol=1e-4, atol=1e-6)
    assert not gradients[0][0][~mask_of(*LENGTHS)].any()


SEQUENCE = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, -100.0]]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mean", [2.0, 4.0]),
        ("max", [3.0, 6.0]),
        ("mean_max", [5.0, 10.0]),
        ("mean_std", [2.0, 4.0, 1.0, 2.0]),
        # Scores ln 3 apart weigh the two real frames 1 : 3.
        ("attention", [2.5, 5.0]),
        # The second channel has equal scores: its plain mean and deviation.
        ("attentive_stats", [2.5, 4.0, math.sqrt(0.75), 2.0]),
    ],
)
def test_pooling_by_hand(kind, expected):
    pooling = Pooling(kind, 2)
    if kind == "attention":
        with torch.no_grad():
            pooling.score.weight.copy_(torch.tensor([[math.log(3) / 2, 0.0]]))
    elif kind == "attentive_stats":
        first, _, last = pooling.score
        with torch.no_grad():
            first.weight.zero_()[0, 0] = 0.1
            first.bias.zero_()
            last.weight.zero_()[0, 0] = math.log(3) / (math.tanh(0.3) - math.tanh(0.1))
    pooled = pooling(SEQUENCE, torch.tensor([[True, True, False]]))
    assert pooling.output_size == len(expected)
    assert_near(pooled, torch.tensor([expected]))


@pytest.mark.parametrize("kind", KINDS)
def test_pooling_of_a_padded_clip_is_that_of_the_clip_alone(kind):
    pooling = Pooling(kind, 6)
    sequence = torch.randn(3, 9, 6)
    pooled = pooling(sequence, mask_of(*LENGTHS))
    for i, length in enumerate(LENGTHS):
        assert_near(pooled[i : i + 1], pooling(sequence[i : i + 1, :length], mask_of(length)))


@pytest.mark.parametrize("kind", KINDS)
def test_pooling_a_single_frame_has_a_finite_gradient(kind):
    sequence = torch.randn(2, 3, 6, requires_grad=True)
    Pooling(kind, 6)(sequence, mask_of(3, 1)).sum().backward()
    assert sequence.grad.isfinite().all()
