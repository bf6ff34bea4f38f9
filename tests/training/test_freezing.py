"""Freezing by depth, the parts of an encoder, and the table of trainable parameters."""

from collections import Counter

import pytest
import transformers
from support.testing import CHECKPOINTS, tiny_config
from test_optimizer import LAYERS, _encoder, _within

from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.models import ARCHITECTURES
from ser_hf.models.modeling_pooled_encoder import (
    PooledEncoderConfig,
    PooledEncoderForAudioClassification,
)
from ser_hf.training.freezing import Freezing, bare, freeze, frozen_modules, structure
from ser_hf.utils.errors import UserError

STEM = Freezing(feature_encoder=True)
TOP = [f"layer {i}" for i in range(LAYERS)]
ALL = ["stem", "input", *TOP, "output", "head"]


def pooled(kind, **settings):
    config = PooledEncoderConfig(encoder=_encoder(kind).config, num_labels=4, **settings)
    return PooledEncoderForAudioClassification(config)


def places(model):
    """Place -> numbers in the parameters there."""
    where = structure(model)
    found = Counter()
    for name, parameter in model.named_parameters():
        place, index = where.position(bare(name))
        found[f"{place} {index}" if place == "layer" else place] += parameter.numel()
    return dict(found)


@pytest.fixture
def encoder(checkpoint, labels):
    transformers.set_seed(0)
    return build_model(blueprint("encoder", labels, checkpoint=checkpoint()))


@pytest.fixture
def crnn(labels):
    return build_model(
        blueprint(
            "crnn", labels, options={"channels": [4], "time_pooling": [2], "band_pooling": [2]}
        )
    )


def _trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def trainable_places(model):
    """The trainable places, from bottom to top; each place is completely trainable or completely
    frozen.
    """
    where = structure(model)
    found = {}
    for name, parameter in model.named_parameters():
        place, index = where.position(bare(name))
        found.setdefault(f"{place} {index}" if place == "layer" else place, set()).add(
            parameter.requires_grad
        )
    assert all(len(flags) == 1 for flags in found.values()), found
    return [place for place in ALL if found.get(place) == {True}]


@pytest.mark.parametrize(
    ("freezing", "expected"),
    [
        (Freezing(), ALL),
        (STEM, ALL[1:]),
        (Freezing(layers=1), ["layer 1", "layer 2", "output", "head"]),
        (Freezing(layers=3), ["output", "head"]),
        (Freezing(top_layers=3), [*TOP, "output", "head"]),
        (Freezing(top_layers=1), ["layer 2", "output", "head"]),
        (Freezing(top_layers=0), ["output", "head"]),
        (Freezing(encoder=True), ["head"]),
        (Freezing(encoder=True, feature_encoder=True), ["head"]),
    ],
)
def test_trainable_parts(freezing, expected):
    model = _encoder("wav2vec2-stable")
    freeze(model, freezing)
    assert trainable_places(model) == expected


@pytest.mark.parametrize("build", [_encoder, pooled], ids=["stock", "ours"])
@pytest.mark.parametrize(
    "kind", ["wav2vec2", "sew-d", "wav2vec2-bert", "whisper", "audio-spectrogram-transformer"]
)
def test_every_encoder_is_frozen_by_its_own_structure(kind, build):
    model = build(kind)
    stem = [model.get_submodule(name) for name in structure(model).stem]
    if kind == "wav2vec2-bert":
        with pytest.raises(UserError, match=r"^freeze\.feature_encoder: .*use freeze\.layers"):
            freeze(model, STEM)
    else:
        freeze(model, STEM)
        assert trainable_places(model)[-1] == "head"
        assert not any(p.requires_grad for module in stem for p in module.parameters())
    before = {
        place: size for place, size in places(model).items() if place not in ("stem", "input")
    }
    freeze(model, Freezing(layers=1))
    assert (
        sum(p.numel() for p in model.parameters() if p.requires_grad)
        == sum(before.values()) - before["layer 0"]
    )
    freeze(model, Freezing(encoder=True))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == before["head"]


def test_constant_parameters_stay_frozen():
    """Whisper's positions are a table of sines."""
    model = _encoder("whisper")
    before = _trainable(model)
    assert "encoder.embed_positions.weight" not in before
    freeze(model, Freezing(encoder=True))
    assert _trainable(model) < before


@pytest.mark.parametrize("key", ["layers", "top_layers"])
def test_more_layers_than_there_are_is_refused(key):
    model = _encoder()
    with pytest.raises(UserError, match=rf"^freeze\.{key}: 4 layers, but Wav2Vec2ForS.* has 3"):
        freeze(model, Freezing(**{key: 4}))
    assert trainable_places(model) == [place for place in ALL if place != "output"], (
        "nothing was touched"
    )


# Evaluation mode


def _frozen(model):
    names = {id(module): name for name, module in model.named_modules()}
    return [names[id(module)] for module in frozen_modules(model)]


BELOW = "pos_conv_embed layer_norm layers.0 layers.1"


@pytest.mark.parametrize(
    ("freezing", "expected"),
    [
        (Freezing(), []),
        (STEM, ["feature_extractor"]),
        (
            Freezing(layers=2),
            [
                "feature_extractor",
                "feature_projection",
                *(f"encoder.{name}" for name in BELOW.split()),
                "encoder.dropout",  # before the layers
            ],
        ),
        (Freezing(encoder=True), [""]),
    ],
)
def test_the_largest_frozen_modules(freezing, expected):
    model = _encoder()
    freeze(model, freezing)
    assert _frozen(model) == [f"wav2vec2.{name}".rstrip(".") for name in expected]


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


@pytest.mark.parametrize("name", ["mfcc_linear", "mfcc_svm"])
def test_networks_of_one_layer_have_no_encoder(name):
    model = _within(ARCHITECTURES[name](tiny_config(name)), "module")
    with pytest.raises(
        UserError, match=rf"^freeze\.layers: {type(model.module).__name__} has no encoder;"
    ):
        structure(model, "freeze.layers")


@pytest.mark.parametrize(
    ("name", "stem", "above"),
    [
        ("crnn", (), ("dropout", "lstm", "pooling")),
        ("se_resnet", ("stem", "stem_norm"), ("dropout", "join", "join_norm", "pooling")),
    ],
)
def test_everything_but_the_classifier_is_the_encoder_of_a_network(name, stem, above):
    network = ARCHITECTURES[name](tiny_config(name))
    parts = structure(_within(network, "module"))
    assert parts.stem == stem
    assert parts.above == above
    positions = {}
    for parameter_name, _ in network.named_parameters():
        positions.setdefault(parts.position(parameter_name)[0], []).append(parameter_name)
    assert {part.partition(".")[0] for part in positions["head"]} == {"classifier"}
    assert len(parts.layers) == len(network.config.channels)
    assert "input" not in positions

    freeze(network, Freezing(layers=1))
    frozen = [name for name, part in network.named_parameters() if not part.requires_grad]
    prefixes = (*(f"{module}." for module in stem), f"{parts.layers[0]}.")
    assert frozen
    assert all(part.startswith(prefixes) for part in frozen)


@pytest.mark.parametrize("name", ["parallel_cnn_transformer", "mfcc_mlp", "cnn1d", "cnn2d"])
def test_the_encoder_of_any_network_can_be_frozen(name):
    network = ARCHITECTURES[name](tiny_config(name))
    freeze(network, Freezing(encoder=True))
    trained = [name for name, part in network.named_parameters() if part.requires_grad]
    assert trained
    assert all(part.startswith("classifier.") for part in trained)


def test_a_name_that_begins_like_another_is_not_within_it():
    where = structure(_encoder("wav2vec2", num_hidden_layers=11))
    assert where.position("wav2vec2.encoder.layers.10.layer_norm.weight") == ("layer", 10)
    assert where.position("wav2vec2.encoder.layer_norm.weight") == ("input", 0)
    assert where.position("wav2vec2_head.weight") == ("head", 0)
    assert len(where.layers) == 11
