"""What is special to the CRNN; what every network promises is in test_networks.py."""

import math
import typing

import pytest
import torch
from signals import noise, ragged

from ser_hf.models import CRNNConfig, CRNNForAudioClassification
from ser_hf.testing import tiny_config


@pytest.mark.parametrize("pooling", typing.get_args(CRNNConfig.__annotations__["pooling"]))
@torch.no_grad()
def test_no_pooling_hears_the_padding(pooling):
    model = CRNNForAudioClassification(tiny_config("crnn", pooling=pooling)).eval()
    clips = [noise(samples, seed=i) for i, samples in enumerate((3210, 8000, 24000))]
    waveforms, lengths = ragged(*clips)
    batched = model(waveforms, (torch.arange(24000) < lengths[:, None]).long()).logits
    alone = torch.cat([model(clip).logits for clip in clips])
    assert batched.std(dim=0).min() > 1e-3, "the clips must get different answers for this to mean anything"
    assert (batched - alone).abs().max() < 1e-5


def test_initial_weights_are_each_layers_own():
    model = CRNNForAudioClassification(tiny_config("crnn", channels=[32, 64]))
    for block in model.stack.blocks:
        weight = block.conv.weight
        assert weight.std().item() == pytest.approx(math.sqrt(2 / weight[0].numel()), rel=0.15)
    recurrent = model.lstm.lstm.weight_hh_l0
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(recurrent.shape[1]), rtol=0, atol=1e-5)
    bound = math.sqrt(6 / sum(model.classifier.weight.shape))
    assert 0.9 * bound < model.classifier.weight.abs().max() <= bound
    assert not model.classifier.bias.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"channels": [4, 8, 8]}, "one entry per block"), ({"pooling": "median"}, "pooling 'median' is none of")],
)
def test_mistakes_in_the_configuration_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        CRNNForAudioClassification(tiny_config("crnn", **settings))
