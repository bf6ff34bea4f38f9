"""Places of parameters in encoders of transformers, in our networks, and in wrapped models."""

from collections import Counter

import pytest
from support.testing import CHECKPOINTS, tiny_config
from test_optimizer import LAYERS, _encoder, _within

from ser_hf.models import ARCHITECTURES
from ser_hf.models.modeling_pooled_encoder import (
    PooledEncoderConfig,
    PooledEncoderForAudioClassification,
)
from ser_hf.training.freezing import bare, structure
from ser_hf.utils.errors import UserError


def places(model):
    """Place -> numbers in the parameters there."""
    where = structure(model)
    found = Counter()
    for name, parameter in model.named_parameters():
        place, index = where.place(bare(name))
        found[f"{place} {index}" if place == "layer" else place] += parameter.numel()
    return dict(found)


def pooled(kind, **settings):
    config = PooledEncoderConfig(encoder=_encoder(kind).config, num_labels=4, **settings)
    return PooledEncoderForAudioClassification(config)


# Three layers of 16, attention of four projections, a feed-forward of 32, two norms.


@pytest.mark.parametrize("build", [_encoder, pooled], ids=["stock", "ours"])
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_every_parameter_has_one_place(kind, build):
    model = build(kind)
    where = structure(model)
    found = places(model)
    assert sum(found.values()) == _size(model)
    assert found.pop("head") == _size(model) - _size(model.get_submodule(where.encoder))
    for place, modules in (("stem", where.stem), ("output", where.above)):
        assert found.pop(place, 0) == sum(_size(model.get_submodule(name)) for name in modules)
    assert len(where.layers) == LAYERS
    for i, name in enumerate(where.layers):
        assert found.pop(f"layer {i}") == _size(model.get_submodule(name)) > 0
    assert found.pop("input") > 0
    assert not found


def _size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", ["crnn", "mfcc_svm"])
def test_networks_from_scratch_have_no_encoder(name):
    model = _within(ARCHITECTURES[name](tiny_config(name)), "module")
    with pytest.raises(
        UserError, match=rf"^freeze\.layers: {type(model.module).__name__} has no encoder;"
    ):
        structure(model, "freeze.layers")


def test_a_name_that_begins_like_another_is_not_within_it():
    where = structure(_encoder("wav2vec2", num_hidden_layers=11))
    assert where.place("wav2vec2.encoder.layers.10.layer_norm.weight") == ("layer", 10)
    assert where.place("wav2vec2.encoder.layer_norm.weight") == ("input", 0)
    assert where.place("wav2vec2_head.weight") == ("head", 0)
    assert len(where.layers) == 11
