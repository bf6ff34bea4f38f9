"""A network that was trained on crops scores a clip of twice their length as it scores the crop."""

import statistics

import pytest
import torch
from built import trainable
from support.testing import tiny_config
from support.testing.models import tiny_encoder_config
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ser_hf.models import ARCHITECTURES, PooledEncoderConfig, PooledEncoderForAudioClassification
from ser_hf.models.front_end import FeatureNorm

# 1.4 s: pooled frames of crop and whole clip end at different distances from the clip's end
CROP = 22400
CLASSES = 4
CLIPS = 8
BATCHES = 8
LABELS = torch.arange(CLIPS) % CLASSES
# So many features that some are dead on all crops, as in a large network.
WIDE = {"vgg16": {"channels": [8, 8, 16, 16, 32], "n_mels": 64}}


def voice(kind, seed):
    """(CROP,) stationary speech: harmonics of a pitch that rises with `kind`, four syllables a
    second, noise.
    """
    random = torch.Generator().manual_seed(seed)
    time = torch.arange(CROP) / 16000
    phase = 2 * torch.pi * torch.rand(11, 1, generator=random)
    order = torch.arange(1, 11)[:, None]
    pitch = (100 + 60 * kind) * (1 + 0.1 * torch.rand(1, generator=random))
    sound = (
        torch.sin(2 * torch.pi * pitch * order * time + phase[:10]) / order ** (1 + 0.3 * kind)
    ).sum(dim=0)
    syllables = 0.6 + 0.4 * torch.sin(8 * torch.pi * time + phase[10])
    return 0.05 * sound * syllables + 0.003 * torch.randn(CROP, generator=random)


@pytest.fixture(scope="module")
def crops():
    """Batches of crops; the last one is not for training."""
    return [
        torch.stack([voice(i % CLASSES, 100 * batch + i) for i in range(CLIPS)])
        for batch in range(BATCHES + 1)
    ]


def fitted(model, batches):
    """The network after training on crops, with the statistics of these crops, as a long training
    has them.
    """
    model.eval()
    for norm in model.modules():
        if isinstance(norm, FeatureNorm) and norm.counts:
            norm.observing = True
            for batch in batches:
                model.front_end(batch, torch.full((CLIPS,), CROP))
            norm.settle()
    if not trainable(model):
        return model
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for module in model.train().modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
    for batch in batches:
        model(batch, labels=LABELS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        for i, batch in enumerate(batches):
            for norm in norms:
                norm.momentum = 1 / (i + 1)
            model(batch)
    return model.eval()


def make(name, seed):
    torch.manual_seed(seed)
    if name != "encoder":
        return ARCHITECTURES[name](tiny_config(name, CLASSES, **WIDE.get(name, {})))
    config = PooledEncoderConfig(encoder=tiny_encoder_config("wav2vec2"), num_labels=CLASSES)
    return PooledEncoderForAudioClassification(config)


# Functionals describe a clip whole, whatever its length.
@pytest.mark.parametrize(
    "name", [*(name for name in ARCHITECTURES if "functionals" not in name), "encoder"]
)
def test_a_clip_of_twice_the_length_of_the_crops_is_scored_as_its_crop(name, crops):
    """The median over three seeds: one training of a network without batch normalization depends on
    the kernels.
    """
    apart, gained = zip(
        *(difference(fitted(make(name, seed), crops[:-1]), crops[-1]) for seed in (1, 2, 3)),
        strict=True,
    )
    assert statistics.median(apart) < 0.35, apart
    assert statistics.median(gained) < 0.5, gained


def difference(model, clips):
    """The mean total variation between the probabilities of clips and of the clips twice in a row,
    and how much higher the loss of the latter is."""
    with torch.no_grad():
        short = model(clips).logits
        long = model(torch.cat([clips, clips], dim=1)).logits
    if not trainable(model):  # random logits, which are nearly equal
        short, long = (logits * 4 / torch.pdist(short).median() for logits in (short, long))
    apart = (short.softmax(dim=1) - long.softmax(dim=1)).abs().sum(dim=1) / 2
    losses = [torch.nn.functional.cross_entropy(logits, LABELS) for logits in (short, long)]
    return float(apart.mean()), float(losses[1] - losses[0])
