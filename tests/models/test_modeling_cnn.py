"""The 2-D CNN's pooling against torch's, and the 1-D CNN's front end and layers."""

import pytest
import torch
from signals import mask_of, noise, ragged
from support.close import assert_near
from support.testing import tiny_config
from torch.nn import functional

from ser_hf.models import CNN1dConfig, CNN1dForAudioClassification, CNN2dForAudioClassification
from ser_hf.models.modeling_cnn import Waveform


@pytest.mark.parametrize("over", ["frames_and_bands", "frames"])
@pytest.mark.parametrize("pooling", ["mean", "max", "mean_max"])
@torch.no_grad()
def test_the_2d_cnn_pools_as_torchs_adaptive_pooling_does(pooling, over):
    model = CNN2dForAudioClassification(
        tiny_config("cnn2d", pooling=pooling, pooling_over=over)
    ).eval()
    seen = []
    model.dense.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    clip = noise(9000)
    longer = noise(12000)
    waveforms, lengths = ragged(clip, longer)
    model(waveforms, attention_mask=mask_of(*lengths))
    frames, _ = model.stack(*model.front_end(clip, torch.tensor([9000])))
    picture = frames.unflatten(2, (8, 8)).permute(0, 2, 1, 3)
    size = 1 if over == "frames_and_bands" else (1, 8)
    mean = functional.adaptive_avg_pool2d(picture, size)
    most = functional.adaptive_max_pool2d(picture, size)
    expected = {"mean": mean, "max": most}.get(pooling, mean + most)
    assert_near(seen[0][:1], expected.flatten(1))


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


@pytest.mark.parametrize(
    ("channels", "depths", "layers", "millions"),
    [
        ((128, 128, 256, 512), (1, 1, 1, 1), 4, 0.5),
        ((64, 64, 128, 256, 512), (1, 2, 2, 3, 2), 10, 1.8),
    ],
    ids=["M5", "M11"],
)
def test_the_1d_cnn_is_that_of_the_paper(channels, depths, layers, millions):
    # Dai et al. 2017, table 1: 8 kHz, filters of 80 samples every 4; the last of M5's and M11's
    # layers classifies. The paper pools before each wider block, which is four times in M11 too.
    first = {"sampling_rate": 8000, "first_kernel": 80, "first_stride": 4}
    config = CNN1dConfig(num_labels=10, channels=channels, depths=depths, **first)
    model = CNN1dForAudioClassification(config)
    convolutions = [block.conv for block in model.blocks]
    assert len(convolutions) == layers
    assert convolutions[0].kernel_size + convolutions[0].stride == (80, 4)
    assert all(conv.kernel_size + conv.stride == (3, 1) for conv in convolutions[1:])
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(
        millions, abs=0.06
    )
