"""Recipes of pretrained networks: frozen parts, heads, keys that contradict each other."""

import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.recipe_checks import FIXED_POOLINGS
from ser_hf.utils.errors import UserError

CORPUS = {"corpus": {"name": "synthetic"}}
ENCODER = CORPUS | {"model": {"architecture": "encoder", "checkpoint": "someone/encoder"}}
BYOLS = CORPUS | {"model": {"architecture": "byols", "checkpoint": "weights.pth"}}
CRNN = CORPUS | {"model": {"architecture": "crnn"}}
FITTED = ["training.solver=sklearn"]


@pytest.mark.parametrize(
    ("source", "overrides", "expected"),
    [
        (ENCODER, ["lora.alpha=8"], "lora.rank: missing"),
        (ENCODER, ["lora.rank=0"], "lora.rank: expected a whole number from 1 to 65,536"),
        (
            ENCODER,
            ["lora.rank=8", "lora.dropout=1"],
            "lora.dropout: expected a number",
        ),
        (ENCODER, ["lora.rank=8", "lora.targets=[]"], "lora.targets: expected names"),
        (ENCODER, ["lora.rank=8", "freeze.layers=1"], "freeze: lora freezes the whole encoder"),
        (BYOLS, ["lora.rank=8"], "lora: supported by speech encoders only, not by byols"),
        (
            ENCODER,
            ["freeze.layers=1", "freeze.top_layers=1"],
            "freeze.top_layers: contradicts freeze.layers",
        ),
        (
            ENCODER,
            ["freeze.encoder=true", "freeze.layers=1"],
            "freeze.layers: contradicts freeze.encoder",
        ),
        (
            CRNN,
            ["model.head_layers=[4]"],
            "model.head_layers: belongs to architecture encoder, not to crnn",
        ),
        (
            BYOLS,
            ["model.weighted_layer_sum=true"],
            "model.weighted_layer_sum: belongs to architecture encoder",
        ),
        (BYOLS, ["model.checkpoint=null"], "model.checkpoint: missing; byols needs the file"),
        (BYOLS, ["model.head=svm"], "model.head: support vector machines have no gradient"),
        (BYOLS, [*FITTED, "freeze.layers=1"], "freeze.layers: has no effect with scikit-learn"),
        (ENCODER, FITTED, "training.solver: scikit-learn fits only the classifier"),
        (
            ENCODER,
            [*FITTED, "model.pooling=mean", "lora.rank=2"],
            "lora.rank: has no effect with scikit-learn",
        ),
        (
            ENCODER,
            ["evaluation.window=0.01"],
            "evaluation.window: expected a number from 0.1 to 86,400",
        ),
    ],
)
def test_a_contradiction_is_named_by_its_key(source, overrides, expected):
    with pytest.raises(UserError) as error:
        read_recipe(source, overrides)
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize("pooling", FIXED_POOLINGS)
def test_an_encoder_with_fixed_pooling_may_be_fitted_by_scikit_learn(pooling):
    recipe = read_recipe(ENCODER, [f"model.pooling={pooling}", "training.solver=sklearn"])
    assert recipe.training.solver == "sklearn"
    assert read_recipe(recipe.to_dict()) == recipe


def test_a_pooling_of_a_network_of_ser_hf_is_an_option_of_the_network():
    recipe = read_recipe(CRNN, ["model.pooling=mean_std"])
    assert recipe.model.options["pooling"] == "mean_std"
    assert recipe.model.plan["options"]["pooling"] == "mean_std"
    assert "pooling" not in recipe.model.plan
    assert read_recipe(recipe.to_dict()) == recipe


def test_the_head_of_ser_hf_on_an_encoder_reads_back_equal():
    overrides = [
        "model.pooling=attention",
        "model.head_layers=[16, 8]",
        "model.head_dropout=0.2",
        "lora={rank: 4}",
    ]
    recipe = read_recipe(ENCODER, overrides)
    assert (recipe.model.head_layers, recipe.lora.rank, recipe.lora.alpha) == ([16, 8], 4, 16.0)
    assert read_recipe(recipe.to_dict()) == recipe
