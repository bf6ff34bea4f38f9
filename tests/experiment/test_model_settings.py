"""The section `model`: one class for each network, and one for encoders."""

import pytest

from ser_hf.experiment.model_settings import (
    ENCODER,
    EncoderSettings,
    TransferredSettings,
    architectures,
    known_keys,
    model_settings,
)
from ser_hf.experiment.reading import read_recipe
from ser_hf.models import ARCHITECTURES, TRANSFERRED
from ser_hf.models.options import options_of
from ser_hf.utils.errors import UserError

CORPUS = {"corpus": {"name": "synthetic"}}
ENCODER_RECIPE = CORPUS | {"model": {"architecture": "encoder", "checkpoint": "someone/encoder"}}
CRNN = CORPUS | {"model": {"architecture": "crnn"}}


def test_every_network_and_the_encoder_have_a_class():
    assert architectures() == [*ARCHITECTURES, ENCODER]
    classes = [model_settings(architecture) for architecture in architectures()]
    assert len(set(classes)) == len(classes)
    assert model_settings(ENCODER) is EncoderSettings


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_has_the_options_of_its_configuration(architecture):
    settings = model_settings(architecture)(architecture=architecture)
    options = options_of(ARCHITECTURES[architecture].config_class)
    assert settings.options.keys() == {option.name for option in options.values()} - {
        "sampling_rate"
    }
    transferred = isinstance(settings, TransferredSettings)
    assert transferred is (architecture in TRANSFERRED)
    assert "options" in settings.plan
    assert not settings.options.keys() & settings.plan.keys()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_keys_that_are_found_without_an_import_are_those_of_the_class(architecture):
    # For a transferred network only some keys of encoders are fields.
    fields = set(model_settings(architecture).model_fields) - {"architecture"}
    assert set(known_keys(architecture)) == fields | {*TransferredSettings.model_fields}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_types_that_are_found_without_an_import_allow_the_defaults(architecture):
    settings = model_settings(architecture)(architecture=architecture)
    kinds_of_key = known_keys(architecture)
    for key, value in settings.options.items():
        kinds = kinds_of_key[key]
        if kinds is not None and value is not None:
            assert type(value) in kinds, key


def test_a_name_that_is_no_network_has_no_known_keys():
    assert known_keys("crn") is None


def test_a_pooling_of_a_network_of_ser_hf_is_an_option_of_the_network():
    recipe = read_recipe(CRNN, ["model.pooling=mean_std"])
    assert recipe.model.options["pooling"] == "mean_std"
    assert recipe.model.plan["options"]["pooling"] == "mean_std"
    assert "pooling" not in recipe.model.plan
    assert read_recipe(recipe.to_dict()) == recipe


def test_other_keys_of_an_encoder_belong_to_its_configuration():
    recipe = read_recipe(ENCODER_RECIPE, ["model.pooling=max", "model.layerdrop=0.1"])
    assert recipe.model.options == {"layerdrop": 0.1}
    assert recipe.model.plan["pooling"] == "max"
    assert recipe.model.plan["options"] == {"layerdrop": 0.1}
    assert read_recipe(recipe.to_dict()) == recipe


def test_the_head_of_ser_hf_on_an_encoder_reads_back_equal():
    overrides = [
        "model.pooling=attention",
        "model.head_layers=[16, 8]",
        "model.head_dropout=0.2",
        "lora={rank: 4}",
    ]
    recipe = read_recipe(ENCODER_RECIPE, overrides)
    assert recipe.model.head_layers == [16, 8]
    assert recipe.lora.rank == 4
    assert recipe.lora.alpha == 16.0
    assert read_recipe(recipe.to_dict()) == recipe


def test_names_of_outputs_are_read_and_handed_on():
    recipe = read_recipe(ENCODER_RECIPE, ["model.label_names=[angry, sad]"])
    assert recipe.model.label_names == ["angry", "sad"]
    assert recipe.model.plan["label_names"] == ["angry", "sad"]
    assert read_recipe(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.label_names=[angry, sad, angry]"], "'angry' occurs twice"),
        (["model.label_names=[angry, ' ']"], "a name is empty"),
        (["model.label_names=[]"], "expected"),
        (["model.label_names=[angry]", "model.random_init=true"], "random_init keeps no row"),
    ],
)
def test_names_of_outputs_that_cannot_be_used_are_refused(overrides, message):
    with pytest.raises(UserError, match=rf"^model\.label_names: .*{message}"):
        read_recipe(ENCODER_RECIPE, overrides)


def test_keys_of_encoders_are_refused_for_networks():
    with pytest.raises(UserError) as error:
        read_recipe(CRNN, ["model.head_layers=[4]"])
    assert str(error.value) == ("model.head_layers: belongs to architecture encoder, not to crnn")
    for key, value in {"random_init": "true", "window": "3"}.items():
        with pytest.raises(UserError, match=rf"^model\.{key}: "):
            read_recipe(CRNN, [f"model.{key}={value}"])


def test_a_whole_number_becomes_the_type_of_its_option():
    model = read_recipe(CRNN, ["model.dropout=0", "model.lstm_hidden=4.0"]).model
    assert type(model.options["dropout"]) is float
    assert type(model.options["lstm_hidden"]) is int
