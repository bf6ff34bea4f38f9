"""Weights that a launcher shards: which library does it, and settings that need whole weights."""

import pytest
import torch
from transformers import AutoModelForAudioClassification

from ser_hf.training.sharding import prepare_for_sharding, sharding_library, size
from ser_hf.utils.errors import UserError


@pytest.fixture
def encoder(checkpoint):
    return AutoModelForAudioClassification.from_pretrained(checkpoint("wav2vec2", "layer"))


@pytest.mark.parametrize(
    ("variable", "value", "library"),
    [
        ("ACCELERATE_USE_FSDP", "true", "fsdp"),
        ("ACCELERATE_USE_DEEPSPEED", "1", "deepspeed"),
        ("ACCELERATE_USE_FSDP", "false", None),
    ],
)
def test_the_launcher_s_environment_names_the_library(monkeypatch, variable, value, library):
    assert sharding_library() is None
    monkeypatch.setenv(variable, value)
    assert sharding_library() == library


def test_transformer_layers_are_the_units_of_fsdp(encoder, monkeypatch):
    encoder.config.layerdrop = 0.0
    before = encoder._no_split_modules
    prepare_for_sharding(encoder)
    assert encoder._no_split_modules == before, "nothing is sharded"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    prepare_for_sharding(encoder)
    assert encoder._no_split_modules
    assert all("EncoderLayer" in name for name in encoder._no_split_modules)


@pytest.mark.parametrize("library", ["fsdp", "deepspeed"])
def test_averages_need_whole_weights(encoder, monkeypatch, library):
    monkeypatch.setenv(f"ACCELERATE_USE_{library.upper()}", "true")
    with pytest.raises(UserError, match=rf"^training\.average: .*{library}"):
        prepare_for_sharding(encoder, average="ema")


def test_layerdrop_and_fsdp_exclude_each_other(encoder, monkeypatch):
    encoder.config.layerdrop = 0.1
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match=r"^model\.layerdrop:"):
        prepare_for_sharding(encoder)


def test_the_size_of_an_emptied_parameter_is_that_before():
    parameter = torch.nn.Parameter(torch.zeros(3, 2))
    assert size(parameter) == 6
    parameter.data = torch.zeros(0)
    parameter.ds_numel = 6
    assert size(parameter) == 6
