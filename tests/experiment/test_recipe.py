"""Recipes: the shipped ones, mistakes named by their full key, and resolved recipes that read back
equal.
"""

from pathlib import Path

import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.recipe import Recipe
from ser_hf.protocols import PROTOCOLS, ProtocolSettings
from ser_hf.training.arguments import training_arguments
from ser_hf.training.settings import TrainerSettings
from ser_hf.utils.errors import UserError

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SHIPPED = sorted(
    {*RECIPES.rglob("*.yaml")} - {*RECIPES.glob("accelerate/*")} - {*RECIPES.glob("sweeps/*")}
)
MINIMAL = {"corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}}

shipped = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)


def refusal(*overrides, source=MINIMAL):
    with pytest.raises(UserError) as error:
        read_recipe(source, overrides)
    return str(error.value)


@shipped
def test_a_shipped_recipe_is_named_after_its_file(path):
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe.output_dir == f"runs/{path.stem}"


@shipped
@pytest.mark.parametrize(
    "overrides", [[], ['provenance={git: "12e45", at: "2024-01-31", seed: 3}']]
)
def test_a_resolved_recipe_reads_back_equal(path, overrides, tmp_path):
    recipe = read_recipe(path, overrides)
    assert read_recipe(recipe.to_dict()) == recipe
    file = tmp_path / "resolved.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    again = read_recipe(file)
    assert again == recipe
    assert again.to_yaml() == recipe.to_yaml()


@pytest.mark.parametrize(
    "word",
    ["1e5", "3e-5", "no", "true", "null", "~", "12", "012", "2024-01-31", "a: b", "# c", "ü"],
)
def test_any_text_is_read_back_equal(word, tmp_path):
    recipe = read_recipe({**MINIMAL, "name": word, "corpus": {"name": "synthetic", "root": word}})
    file = tmp_path / "resolved.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert read_recipe(file) == recipe


def test_a_mapping_is_read_with_defaults_and_not_changed():
    source = {"corpus": {"name": "synthetic", "takes": 2}, "model": {"architecture": "crnn"}}
    recipe = read_recipe(source, ["corpus.takes=3", "training.seeds=[5]"])
    assert isinstance(recipe, Recipe)
    assert recipe.name == "run"
    assert recipe.output_dir == "runs/run"
    assert recipe.corpus.options == {"speakers": 24, "takes": 3, "seed": 0, "shuffle_labels": False}
    assert recipe.training.arguments["learning_rate"] == DEFAULTS["learning_rate"]
    assert source == {
        "corpus": {"name": "synthetic", "takes": 2},
        "model": {"architecture": "crnn"},
    }


def test_overrides_reach_sections_nested_sections_and_new_sections():
    overrides = ["name=twin", "training.learning_rate=3e-5", "training.early_stopping.patience=4"]
    overrides += ["audio={max_duration: 2}", "audio.normalize=yes"]
    recipe = read_recipe(
        MINIMAL, [*overrides, "corpus.root=some/where=else", "protocol.test=[1, 3-5]"]
    )
    assert recipe.output_dir == "runs/twin"
    assert recipe.training.arguments["learning_rate"] == 3e-5
    assert recipe.training.early_stopping.patience == 4
    assert (recipe.audio.max_duration, recipe.audio.normalize) == (2.0, True)
    assert recipe.corpus.root == "some/where=else"
    assert recipe.protocol.options["test"] == [1, "3-5"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("corpus.root", "corpus.root: expected an override of the form section.key=value"),
        ("=3", "=3: expected an override of the form section.key=value"),
        ("corpus.name.x=3", "corpus.name.x: name holds a value, not keys"),
        ("corpus.root=[1", "the override corpus.root=[1, line 1: not valid YAML"),
        ("corpus.root={a: 1, a: 2}", "the key 'a' is there twice"),
        (
            "audio.max_durations=2",
            "audio.max_durations: unknown key; the nearest known key is audio.max_duration",
        ),
        ("corpus=null", "corpus: expected a mapping, got nothing (null)"),
        (
            "model.lstm_hiden=3",
            "model.lstm_hiden: unknown key; the nearest known key is model.lstm_hidden",
        ),
        (
            "model.channels=[8, wide]",
            "model.channels: expected a list of 1 to 64 values",
        ),
        (
            "model.pooling=median",
            "model.pooling: expected one of mean, max, ",
        ),
        (
            "model.checkpoint=some/model",
            "model.checkpoint: belongs to architecture encoder, not to crnn",
        ),
        ("model.architecture=encoder", "model.checkpoint: missing; encoder needs a Hub id"),
        (
            "protocol.test=true",
            "protocol.test: expected a number of more than 0 and less than 1 or a list",
        ),
        (
            "training.early_stopping.metric=accuracy",
            "training.early_stopping.metric: unknown metric 'accuracy' of emotions; choose",
        ),
        (
            "training.loss.class_weights=inverse",
            "training.loss.class_weights: expected one of balanced, a mapping or null",
        ),
        (
            "training.lr_scheduler_type=cosin",
            "training.lr_scheduler_type: expected one of linear, cosine, ",
        ),
        (
            "protocol={name: emobox/ravdess, fold: 2}",
            "protocol.fold: unknown key; the nearest known key is ",
        ),
        (
            "protocol.folds=[1, 2, 1]",
            "protocol.folds: expected each number once",
        ),
        ("corpus.exclude=synthetic/s00_angry_000", "corpus.exclude: expected a list"),
        ("training.seeds=[]", "training.seeds: expected a list of 1 to 1,000"),
        ("training.seeds=[-1]", "training.seeds[0]: "),
        ("protocol.seed=-1", "protocol.seed: "),
        (
            "audio.max_duration=-1",
            "audio.max_duration: expected a number from 0.1 to 86,400",
        ),
        (
            "evaluation.confidence=1",
            "evaluation.confidence: expected a number of more than 0 and less than 1",
        ),
        (
            "training.layer_decay=1.5",
            "training.layer_decay: expected a number of more than 0 and at most 1",
        ),
        ("training.lr_scheduler_kwargs={gama: 0.5}", "training.lr_scheduler_kwargs: "),
        ("training.report_to=mlflow", "training.report_to: unknown tracker 'mlflow'"),
        ("training.gradient_checkpointing=true", "training.gradient_checkpointing: for encoders"),
        (
            "audio.trim_silence=-3",
            "audio.trim_silence: expected a positive number of dB, at most 200, got -3.0",
        ),
    ],
)
def test_a_mistake_is_named_by_its_full_key(override, expected):
    assert expected in refusal(override)


# One value of each option that a protocol takes, none of them its default.
DRAWN = {"validation": 0.25, "seed": 4}
OPTIONS = {
    "speaker_independent": {"train": [1, "3-5"], "validation": [6], "test": 0.3, "seed": 4},
    "kfold": DRAWN | {"k": 3},
    **{f"leave_one_{unit}_out": DRAWN for unit in ("speaker", "session", "corpus")},
    "file": DRAWN | {"path": "parts.json", "shared_speakers": True},
    "ravdess/actors-1-16-17-20-21-24": {},
    "audb/cremad": {},
    "column": DRAWN
    | {"column": ["fold_1", "fold_2"], "parts": {"learn": "train"}, "shared_speakers": True},
    **{
        f"emobox/{corpus}": DRAWN
        for corpus in ("lists", "cremad", "emodb", "ravdess", "savee", "tess")
    },
    **dict.fromkeys(("random", "random_stratified"), DRAWN | {"test": 0.3}),
}


def test_the_options_below_are_those_of_every_protocol():
    taken = {
        name: set(protocol.settings.model_fields) - set(ProtocolSettings.model_fields)
        for name, protocol in PROTOCOLS.items()
    }
    assert {name: set(options) for name, options in OPTIONS.items()} == taken


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_has_its_options_and_those_of_the_section(name, tmp_path):
    section = {"name": name, "folds": [2, 1], "near_duplicates": "tell"}
    recipe = read_recipe({**MINIMAL, "protocol": section | OPTIONS[name]})
    assert recipe.protocol.name == name
    assert recipe.protocol.folds == [2, 1]
    assert recipe.protocol.near_duplicates == "tell"
    assert recipe.protocol.options == OPTIONS[name]
    assert recipe.to_dict()["protocol"] == section | {"foil": None} | OPTIONS[name]
    file = tmp_path / "resolved.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert read_recipe(file) == recipe


def test_the_word_no_reaches_training_arguments_as_text(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "corpus: {name: synthetic}\nmodel: {architecture: crnn}\n"
        "training: {logging_strategy: no, include_num_input_tokens_seen: no}\n"
    )
    arguments = read_recipe(file).training.arguments
    assert arguments["logging_strategy"] == arguments["include_num_input_tokens_seen"] == "no"
    assert training_arguments(arguments, tmp_path, seed=1).logging_strategy.value == "no"


@pytest.mark.parametrize("word", ["constant", "reduce_lr_on_plateau", "one_cycle"])
def test_a_schedule_without_warm_up_has_none_by_default_and_refuses_one(word):
    schedule = f"training.lr_scheduler_type={word}"
    assert read_recipe(MINIMAL, [schedule]).training.arguments["warmup_steps"] == 0
    assert refusal(schedule, "training.warmup_steps=0.1").startswith(
        f"training.warmup_steps: {word} has no warm-up"
    )
