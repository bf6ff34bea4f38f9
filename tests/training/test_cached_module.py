"""The frozen part of a model whose output `freeze.cache` can store."""

import pytest
import torch
from support.testing import tiny_config

from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.models import ARCHITECTURES
from ser_hf.training.cached_module import cached_module, compute_activations
from ser_hf.training.freezing import Freezing
from ser_hf.utils.errors import UserError

FROZEN = Freezing(encoder=True)


def network(name, **settings):
    """A tiny network of ser_hf with random weights."""
    torch.manual_seed(0)
    return ARCHITECTURES[name](tiny_config(name, **settings)).eval()


@pytest.fixture
def encoder(encoder_folder, labels):
    """A function from a kind of encoder and the settings of its head to a tiny classifier."""

    def build(kind, **settings):
        folder = str(encoder_folder(kind))
        return build_model(
            blueprint("encoder", labels, checkpoint=folder, random_init=True, **settings)
        )

    return build


def test_of_a_frozen_encoder_the_last_states_are_stored(encoder):
    cached = cached_module(encoder("wav2vec2"), FROZEN)
    assert cached.kind == "encoder"
    assert cached.module == "wav2vec2"
    assert cached.states == 1


def test_a_sum_of_layers_needs_all_states(encoder):
    model = encoder("wav2vec2", pooling="mean", weighted_layer_sum=True)
    cached = cached_module(model, FROZEN)
    assert cached.states == len(model.layer_sum.weight) == 3
    assert cached.contains(f"{cached.module}.encoder.layers.0")
    assert not cached.contains("classifier.weight")
    assert not cached.contains(f"{cached.module}.masked_spec_embed")


@pytest.mark.parametrize(("name", "module"), [("crnn", "front_end.features")])
def test_of_a_network_the_spectrograms_are_stored(name, module):
    model = network(name)
    cached = cached_module(model, Freezing())
    assert cached.kind == "features"
    assert cached.module == module
    assert cached.contains(f"{module}.window")
    assert not cached.contains("front_end")


def test_of_a_transferred_network_the_output_of_the_encoder_is_stored():
    cached = cached_module(network("byols"), FROZEN)
    assert cached.kind == "network"
    assert cached.contains("encoder")
    assert cached.contains("front_end.features")
    assert not cached.contains("classifier")


def test_activations_are_those_of_the_module_and_frames_those_of_the_mask():
    model = network("crnn")
    cached = cached_module(model, Freezing())
    waveforms = torch.randn(2, 8000, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 8000, dtype=torch.long)
    mask[1, 4000:] = 0
    outputs = []
    module = model.get_submodule(cached.module)
    handle = module.register_forward_hook(lambda *call: outputs.append(call[-1]))
    batch = {"input_values": waveforms, "attention_mask": mask, "labels": torch.zeros(2)}
    activations, frames = compute_activations(model, cached, batch)
    handle.remove()
    features, frame_mask = outputs[0]
    torch.testing.assert_close(activations[:, 0], features)
    assert frames.tolist() == frame_mask.sum(dim=1).tolist()
    assert frames[1] < frames[0]


STILL = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0}


def test_an_encoder_without_frozen_layers_is_refused_with_the_keys_that_freeze_it(encoder):
    for freezing in (Freezing(), Freezing(feature_encoder=True), Freezing(top_layers=2)):
        with pytest.raises(UserError) as error:
            cached_module(encoder("wav2vec2", options=STILL), freezing)
        assert str(error.value) == (
            "freeze.cache: no layer of the encoder is frozen; set freeze.layers, "
            "freeze.top_layers or freeze.encoder"
        )


@pytest.mark.parametrize("freezing", [Freezing(layers=1), Freezing(top_layers=1)])
def test_of_a_partly_frozen_encoder_the_states_below_the_first_trained_layer_are_stored(
    encoder, freezing
):
    cached = cached_module(encoder("wav2vec2", options=STILL), freezing)
    assert cached.kind == "layers"
    assert cached.states == 1
    assert cached.layers == ("wav2vec2.encoder.layers.0",)
    assert cached.dtype.name == "float32"
    assert cached.contains("wav2vec2.feature_extractor.conv_layers.0.conv.weight")
    assert cached.contains("wav2vec2.encoder.layers.0.attention.q_proj.weight")
    assert not cached.contains("wav2vec2.encoder.layers.1.attention.q_proj.weight")
    assert not cached.contains("classifier.weight")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"mask_time_prob": 0.1}, "mask_time_prob"),
        ({"mask_feature_prob": 0.1}, "mask_feature_prob"),
        ({"layerdrop": 0.1}, "layerdrop"),
    ],
)
def test_random_changes_below_the_trained_layers_are_refused(encoder, settings, key):
    model = encoder("wav2vec2", options=STILL | settings)
    with pytest.raises(UserError, match=rf"^freeze.cache: model\.{key} .*leave out freeze.cache"):
        cached_module(model, Freezing(layers=1))


@pytest.mark.parametrize("kind", ["whisper", "emotion2vec"])
def test_encoders_that_can_only_be_stored_as_a_whole_are_refused(encoder, kind):
    with pytest.raises(UserError, match=r"^freeze.cache: only the whole encoder"):
        cached_module(encoder(kind), Freezing(layers=1))


@pytest.mark.parametrize("kind", ["sew", "audio-spectrogram-transformer"])
def test_encoders_without_a_mask_of_frames_are_refused(encoder, kind):
    with pytest.raises(UserError, match=f"^freeze.cache: {kind} "):
        cached_module(encoder(kind), FROZEN)


@pytest.mark.parametrize(
    ("name", "settings", "freezing", "named"),
    [
        ("cnn14", {}, Freezing(layers=1), "freeze.encoder"),
        ("byols", {"time_masks": 1}, FROZEN, "model.time_masks"),
        ("crnn", {"band_warp": 0.1}, Freezing(), "model.band_warp"),
        ("cnn1d_descriptors", {}, Freezing(), "cnn1d_descriptors"),
        ("cnn1d", {}, Freezing(), "cnn1d"),
    ],
)
def test_networks_that_change_what_would_be_stored_are_refused(name, settings, freezing, named):
    with pytest.raises(UserError, match=f"^freeze.cache: .*{named}"):
        cached_module(network(name, **settings), freezing)
