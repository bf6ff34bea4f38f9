"""Parameter groups, each with the rate and decay of its part."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from support.testing import CHECKPOINTS, tiny_config, tiny_encoder_config
from transformers import AutoModelForAudioClassification

from ser_hf.models import ARCHITECTURES, TRANSFERRED
from ser_hf.training.optimizer import (
    decayed_names,
    parameter_groups,
)
from ser_hf.utils.errors import UserError

LAYERS = 3


def _encoder(kind="wav2vec2", **more):
    """A classifier of transformers on a tiny encoder of a kind of `CHECKPOINTS`."""
    layers = {
        "encoder_layers" if kind == "whisper" else "num_hidden_layers": LAYERS,
        "layerdrop": 0.0,
    }
    config = tiny_encoder_config(**CHECKPOINTS[kind] | layers | {"num_labels": 4} | more)
    return AutoModelForAudioClassification.from_config(config).eval()


def _by_name(model, groups):
    """Parameter name -> its one group."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [(names[id(parameter)], group) for group in groups for parameter in group["params"]]
    assert len(found) == len(dict(found))
    return dict(found)


def _trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def _models():
    for name in ("crnn", "vgg16", "mfcc_svm"):
        yield name, lambda name=name: ARCHITECTURES[name](tiny_config(name))
    yield from ((name, lambda name=name: _encoder(name)) for name in CHECKPOINTS)


@pytest.mark.parametrize(("name", "build"), [pytest.param(*case, id=case[0]) for case in _models()])
def test_every_trainable_parameter_is_in_one_group(name, build):
    model = build()
    # fitted by scikit-learn, they have buffers only
    if name in ("mfcc_svm", "mfcc_rbf_svm", "mfcc_forest"):
        assert not _trainable(model)
        return
    has_encoder = name not in ARCHITECTURES or name in TRANSFERRED
    ways = [(None, None), (1e-2, None), (None, 0.9), (1e-2, 0.9)] if has_encoder else [(None, None)]
    for head_rate, layer_decay in ways:
        seen = _by_name(model, parameter_groups(model, 1e-3, 0.1, head_rate, layer_decay))
        assert set(seen) == _trainable(model)
        for name, parameter in model.named_parameters():
            if name in seen:
                assert seen[name]["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0), name
                assert seen[name]["lr"] > 0


def test_layer_decay_does_not_change_the_rate_of_the_head_and_lists_parts_from_the_top():
    model = _encoder("wav2vec2-stable")
    groups = parameter_groups(model, 1e-4, 0.1, head_learning_rate=1e-3, layer_decay=0.5)
    layers = {"encoder.layer 2": 0.5e-4, "encoder.layer 1": 0.25e-4, "encoder.layer 0": 0.125e-4}
    expected = {"head": 1e-3, "encoder.output": 0.5e-4, **layers, "encoder.input": 0.0625e-4}
    assert list(dict.fromkeys((group["name"], group["lr"]) for group in groups)) == list(
        expected.items()
    )
    # With decay, then without, of each part that has both.
    assert [group["weight_decay"] for group in groups if group["name"] == "head"] == [0.1, 0.0]
    assert [group["weight_decay"] for group in groups if group["name"] == "encoder.output"] == [0.0]


def _rates_of_groups(groups):
    return {group["name"]: group["lr"] for group in groups}


def test_adapters_have_the_rate_of_their_layer():
    model = _encoder(use_weighted_layer_sum=True)
    config = LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["projector", "classifier"]
    )
    adapted = get_peft_model(model, config)
    model.layer_weights.requires_grad_(True)
    groups = parameter_groups(adapted, 1.0, 0.1, 3.0, 0.5)
    expected = {
        "head": 3.0,
        "encoder.layer 2": 0.5,
        "encoder.layer 1": 0.25,
        "encoder.layer 0": 0.125,
    }
    assert list(_rates_of_groups(groups).items()) == list(expected.items())
    seen = _by_name(adapted, groups)
    assert set(seen) == _trainable(adapted)
    layers = "base_model.model.wav2vec2.encoder.layers"
    assert seen[f"{layers}.1.attention.q_proj.lora_A.default.weight"]["lr"] == 0.25
    assert seen["base_model.model.layer_weights"]["name"] == "head"
    assert seen["base_model.model.classifier.modules_to_save.default.weight"]["weight_decay"] == 0.1
    assert list(_rates_of_groups(parameter_groups(adapted, 1.0, 0.1, 3.0)).items()) == [
        ("encoder", 1.0),
        ("head", 3.0),
    ]


def _within(module, name):
    """`module` as compilation or distributed training holds it, which takes compilers or processes
    to make.
    """
    wrapper = torch.nn.Module()
    wrapper.add_module(name, module)
    return wrapper


def test_names_are_those_of_the_bare_model_under_compilation_and_several_processes():
    model = _encoder("wav2vec2-stable")
    expected = parameter_groups(model, 1, 0.1, 2, 0.5)
    wrapped = copy.copy(model)
    layers = [
        _within(layer, "_checkpoint_wrapped_module") for layer in model.wav2vec2.encoder.layers
    ]
    decayed = decayed_names(model)
    model.wav2vec2.encoder.layers = torch.nn.ModuleList(layers)
    wrapped._modules = dict(model._modules) | {
        "wav2vec2": _within(model.wav2vec2, "_fsdp_wrapped_module")
    }
    wrapped = _within(_within(wrapped, "module"), "_orig_mod")
    found = parameter_groups(wrapped, 1, 0.1, 2, 0.5)
    assert len(found) == len(expected)
    for group, other in zip(found, expected, strict=True):
        assert {id(p) for p in group.pop("params")} == {id(p) for p in other.pop("params")}
        assert group == other
    assert decayed_names(wrapped) == decayed
    wrapped = _within(ARCHITECTURES["mfcc_linear"](tiny_config("mfcc_linear")), "module")
    with pytest.raises(UserError, match="MfccLinearForAudioClassification"):
        parameter_groups(wrapped, 1, 0.1, 2)


def test_weight_decay_depends_on_shapes_before_sharding():
    model = _encoder()
    decayed = decayed_names(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.flatten()
    assert not any(group["weight_decay"] for group in parameter_groups(model, 1e-3, 0.1))
    seen = _by_name(model, parameter_groups(model, 1e-3, 0.1, decayed=decayed))
    assert {name for name, group in seen.items() if group["weight_decay"]} == decayed
    assert "classifier.weight" in decayed
    assert "classifier.bias" not in decayed


def test_a_network_of_one_layer_has_one_rate():
    model = ARCHITECTURES["mfcc_linear"](tiny_config("mfcc_linear"))
    with pytest.raises(UserError, match=r"^training\.head_learning_rate: MfccLinear"):
        parameter_groups(model, 1e-3, 0.1, head_learning_rate=1e-2)
    with pytest.raises(UserError, match=r"^training\.layer_decay: MfccLinear"):
        parameter_groups(model, 1e-3, 0.1, layer_decay=0.9)


def test_layers_of_a_network_have_their_rates():
    model = ARCHITECTURES["crnn"](tiny_config("crnn"))
    groups = parameter_groups(model, 1e-3, 0.1, head_learning_rate=1e-2, layer_decay=0.5)
    rates = {group["name"]: group["lr"] for group in groups}
    layers = len(model.stack.blocks)
    assert rates["head"] == 1e-2
    assert rates["encoder.output"] == 1e-3 * 0.5
    assert rates["encoder.layer 0"] == pytest.approx(1e-3 * 0.5**layers)


def test_a_frozen_model_is_refused():
    model = _encoder()
    model.requires_grad_(False)
    with pytest.raises(UserError, match=r"^freeze: every parameter"):
        parameter_groups(model, 1e-3, 0.1)
