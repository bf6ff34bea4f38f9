"""The JSON schema of recipes: it takes the shipped ones as they are, and refuses wrong ones."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.recipe_source import recipe_values
from ser_hf.experiment.schema import recipe_schema
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import read_yaml

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SHIPPED = sorted(RECIPES.glob("*.yaml"))
CRNN = {"corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}}
ENCODER = {
    "corpus": {"name": "ravdess", "root": "data/RAVDESS"},
    "model": {"architecture": "encoder", "checkpoint": "facebook/wav2vec2-base"},
}


@pytest.fixture(scope="module")
def validator():
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_valid_as_it_is(path, validator):
    assert [error.message for error in validator.iter_errors(read_yaml(path))] == []


# Overrides that make a recipe wrong: misspelt keys, wrong types, values out of range, and keys of
# another corpus, network or protocol.
WRONG = {
    "trainig={seeds: [1]}": CRNN,
    "corpus.speekers=4": CRNN,
    "corpus.name=ravdes": CRNN,
    "corpus.speakers=many": CRNN,
    "corpus.song=true": CRNN,
    "corpus.labels=happy": CRNN,
    "corpus.on_unknown=ignore": CRNN,
    "corpus.speakers=0": CRNN,
    "corpus={name: csv, root: clips.csv, no_speaker: two}": CRNN,
    "protocol.name=spaker_independent": CRNN,
    "protocol.k=3": CRNN,
    "protocol={name: kfold, k: 1}": CRNN,
    "protocol={name: kfold, test: 0.2}": CRNN,
    "protocol.folds=[0]": CRNN,
    "protocol.foil=kfold": CRNN,
    "protocol.validation=1.5": CRNN,
    "model.architecture=crn": CRNN,
    "model.lstm_hiden=3": CRNN,
    "model.lstm_hidden=0": CRNN,
    "model.lstm_hidden=[3]": CRNN,
    "model.n_mels=wide": CRNN,
    "model.weighted_layer_sum=true": CRNN,
    "model.pooling=median": ENCODER,
    "model.head_dropout=1": ENCODER,
    "audio.max_durations=2": CRNN,
    "audio.level=auto-matic": CRNN,
    "augment.speed.factors=[1, 2]": CRNN,
    "augment.speed.probability=2": CRNN,
    "freeze.layers=-1": ENCODER,
    "lora.rank=0": ENCODER,
    "training.lerning_rate=1": CRNN,
    "training.learning_rate=0": CRNN,
    "training.learning_rate=fast": CRNN,
    "training.seeds=1": CRNN,
    "training.bf16=true": CRNN,
    "training.loss.dimensions=mae": CRNN,
    "training.early_stopping.patience=0": CRNN,
    "evaluation.confidence=1": CRNN,
    "hub.privat=true": CRNN,
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_recipe_is_refused_by_schema_and_reader(override, validator):
    recipe = WRONG[override]
    assert list(validator.iter_errors(recipe)) == []
    values = recipe_values(recipe, [override])
    assert list(validator.iter_errors(values)) != []
    with pytest.raises(UserError, match=rf"^{override.partition('=')[0].partition('.')[0]}"):
        read_recipe(copy.deepcopy(recipe), [override])


def test_a_misspelt_key_of_an_encoder_is_refused(validator):
    """The reader knows its keys from the checkpoint only."""
    values = recipe_values(ENCODER, ["model.poling=mean"])
    assert list(validator.iter_errors(values)) != []
    values = recipe_values(ENCODER, ["model.attention_dropout=0.2"])
    assert list(validator.iter_errors(values)) == []


def objects(value):
    """Every object with keys of its own in a schema."""
    if isinstance(value, dict):
        if isinstance(value.get("properties"), dict):
            yield value
        for item in value.values():
            yield from objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects(item)


def test_each_key_has_a_description(validator):
    for section in objects(validator.schema):
        for key, value in section["properties"].items():
            assert value.get("description"), f"{section.get('title')}.{key}"


def test_the_schema_is_strict_and_has_ranges(validator):
    for section in objects(validator.schema):
        assert section["additionalProperties"] is False, section.get("title")
    sections = validator.schema["$defs"]
    confidence = sections["EvaluationSettings"]["properties"]["confidence"]
    assert (confidence["exclusiveMinimum"], confidence["exclusiveMaximum"]) == (0, 1)
    assert sections["TrainingSettings"]["properties"]["learning_rate"]["maximum"] == 100


def test_the_saved_schema_is_that_of_this_version(validator):
    """Otherwise run `python docs/reference.py`.

    Keys of encoders come from transformers, and may differ by its version.
    """
    saved = json.loads((RECIPES / "recipe.schema.json").read_text(encoding="utf-8"))

    def keys(schema):
        return [
            (section["title"], sorted(section["properties"]))
            for section in objects(schema)
            if section["title"] != "EncoderSettings"
        ]

    assert keys(saved) == keys(validator.schema)
    for path in SHIPPED:
        assert "# yaml-language-server: $schema=recipe.schema.json\n" in path.read_text(), path
