"""Reading recipes: defaults, overrides, and mistakes that are named by their full key."""

import subprocess
import sys

import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.recipe import Recipe
from ser_hf.training.arguments import training_arguments
from ser_hf.training.settings import TrainerSettings
from ser_hf.utils.errors import UserError

MINIMAL = {"corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}}


def test_a_mapping_is_read_with_defaults_and_not_changed():
    source = {"corpus": {"name": "synthetic", "takes": 2}, "model": {"architecture": "crnn"}}
    recipe = read_recipe(source, ["corpus.takes=3", "training.seeds=[5]"])
    assert isinstance(recipe, Recipe)
    assert recipe.name == "run"
    assert recipe.output_dir == "runs/run"
    assert recipe.corpus.options == {"speakers": 24, "takes": 3, "seed": 0, "shuffle_labels": False}
    assert recipe.training.seeds == [5]
    assert recipe.training.learning_rate == TrainerSettings().learning_rate
    assert source == {
        "corpus": {"name": "synthetic", "takes": 2},
        "model": {"architecture": "crnn"},
    }


_WITHOUT_TORCH = """
import sys
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.errors import UserError
try:
    read_recipe(sys.argv[1], sys.argv[2:])
except UserError as error:
    print(error)
assert "torch" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("quickstart", "model.dropout=a", "model.dropout: expected a number, got the word 'a'"),
        ("quickstart", "model.channels=5", "model.channels: expected a list, got the number 5"),
        ("cremad_full", "model.head_dropout=a", "model.head_dropout: expected a number"),
    ],
)
def test_a_wrong_type_in_a_network_is_named_before_torch_is_loaded(recipe, override, message):
    command = [sys.executable, "-c", _WITHOUT_TORCH, recipe, override]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(message)


def test_overrides_reach_sections_nested_sections_and_new_sections():
    overrides = [
        "name=twin",
        "training.learning_rate=3e-5",
        "training.early_stopping.patience=4",
        "audio={max_duration: 2}",
        "audio.normalize=yes",
        "corpus.root=some/where=else",
        "protocol.test=[1, 3-5]",
    ]
    recipe = read_recipe(MINIMAL, overrides)
    assert recipe.output_dir == "runs/twin"
    assert recipe.training.learning_rate == 3e-5
    assert recipe.training.early_stopping.patience == 4
    assert recipe.audio.max_duration == 2.0
    assert recipe.audio.normalize is True
    assert recipe.corpus.root == "some/where=else"
    assert recipe.protocol.options["test"] == [1, "3-5"]


def test_the_word_no_reaches_training_arguments_as_text(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "corpus: {name: synthetic}\nmodel: {architecture: crnn}\n"
        "training: {logging_strategy: no, include_num_input_tokens_seen: no}\n"
    )
    arguments = read_recipe(file).training.arguments
    assert arguments["logging_strategy"] == arguments["include_num_input_tokens_seen"] == "no"
    assert training_arguments(arguments, tmp_path, seed=1).logging_strategy.value == "no"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("corpus=null", "corpus"),
        ("corpus.exclude=synthetic/s00_angry_000", "corpus.exclude"),
        ("audio.max_durations=2", "audio.max_durations"),
        ("audio.max_duration=-1", "audio.max_duration"),
        ("audio.trim_silence=-3", "audio.trim_silence"),
        ("model.lstm_hiden=3", "model.lstm_hiden"),
        ("model.channels=[8, wide]", "model.channels"),
        ("model.pooling=median", "model.pooling"),
        ("model.random_init=true", "model.random_init"),
        ("model.architecture=encoder", "model.checkpoint"),
        ("model.architecture=crn", "model.architecture"),
        ("protocol.test=true", "protocol.test"),
        ("protocol.seed=-1", "protocol.seed"),
        ("protocol.folds=[1, 2, 1]", "protocol.folds"),
        ("protocol={name: emobox/ravdess, fold: 2}", "protocol.fold"),
        ("training.seeds=[]", "training.seeds"),
        ("training.seeds=[-1]", "training.seeds[0]"),
        ("training.layer_decay=1.5", "training.layer_decay"),
        ("training.early_stopping.metric=accuracy", "training.early_stopping.metric"),
        ("training.loss.class_weights=inverse", "training.loss.class_weights"),
        ("training.lr_scheduler_type=cosin", "training.lr_scheduler_type"),
        ("training.lr_scheduler_kwargs={gama: 0.5}", "training.lr_scheduler_kwargs"),
        ("training.report_to=mlflow", "training.report_to"),
        ("training.activation_checkpointing=true", "training.activation_checkpointing"),
        ("evaluation.confidence=1", "evaluation.confidence"),
    ],
)
def test_a_mistake_is_named_by_its_full_key(override, key):
    with pytest.raises(UserError) as error:
        read_recipe(MINIMAL, [override])
    assert str(error.value).startswith(f"{key}: ")
