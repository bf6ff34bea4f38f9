"""Convolutions with an LSTM or a transformer: the layers compared to torch, the branches and their
concatenation.
"""

import pytest
import torch
from signals import mask_of, noise, ragged
from support.close import assert_near
from support.testing import tiny_config
from torch import nn

from ser_hf.models import CNNLSTMForAudioClassification, StackedCNNLSTMForAudioClassification
from ser_hf.models.modeling_parallel import TransformerBlock


def test_a_transformer_block_is_torchs_encoder_layer():
    ours = TransformerBlock(8, 2, 12, 0.3).eval()
    stock = nn.TransformerEncoderLayer(8, 2, 12, 0.3, batch_first=True, norm_first=True).eval()
    twins = {
        "self_attn.in_proj_": "attention.project.",
        "self_attn.out_proj.": "attention.join.",
        "linear1.": "widen.",
        "linear2.": "narrow.",
        "norm1.": "attention_norm.",
        "norm2.": "feed_norm.",
    }
    for theirs, mine in twins.items():
        for kind in ("weight", "bias"):
            nn.init.normal_(stock.get_parameter(theirs + kind), std=0.4)
            ours.get_parameter(mine + kind).data.copy_(stock.get_parameter(theirs + kind))
    sequence = torch.randn(3, 9, 8)
    mask = mask_of(9, 4, 6)
    # With gradients enabled torch takes its plain path rather than the fused one.
    outputs = ours(sequence, mask), stock(sequence, src_key_padding_mask=~mask)
    assert_near(outputs[0][mask], outputs[1][mask])


@pytest.mark.parametrize(
    "kind", [CNNLSTMForAudioClassification, StackedCNNLSTMForAudioClassification]
)
@torch.no_grad()
def test_the_last_state_equals_that_of_torch(kind):
    model = kind(tiny_config(kind.config_class.model_type.removeprefix("ser_"))).eval()
    waveforms, lengths = ragged(noise(9000), noise(16000, seed=1))
    embedded = model.embed(*model.front_end(waveforms, lengths))
    for i, length in enumerate(lengths):
        frames, mask = model.stack(
            *model.front_end(waveforms[i : i + 1, :length], lengths[i : i + 1])
        )
        _, (state, _) = model.lstm.lstm(frames[:, : mask.sum()])
        assert_near(embedded[i], state[:, 0].flatten())
