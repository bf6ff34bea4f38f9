"""Words that the shell completes, through the completion of Typer as the shells call it."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ser_hf.cli import app
from ser_hf.cli.shell_completion import complete_corpus, recipe_keys
from ser_hf.corpora import CORPORA
from ser_hf.experiment.recipe_source import built_in_recipes


def completed(words, last=""):
    """The completions of bash for a command line whose last word is `last`."""
    words = ["ser-hf", *words, last]
    environment = {
        "_SER_HF_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner().invoke(app, [], prog_name="ser-hf", env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout.split()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with recipes, runs and models."""
    files = [
        "mine.yaml",
        "notes.txt",
        "recipes/quick.yml",
        "runs/a/recipe.yaml",
        "runs/b/recipe.yaml",
        "runs/.hidden/recipe.yaml",
        "runs/two words/recipe.yaml",
        "runs/empty/readme",
        "models/small/config.json",
        "models/small.onnx",
    ]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("corpus: {name: ravdess}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("verb", ["train", "doctor", "sweep"])
def test_built_in_recipes_and_files(folder, verb):
    assert set(completed([verb])) == {*built_in_recipes(), "mine.yaml"}
    assert completed([verb], "quick") == ["quickstart"]


def test_files_in_a_folder(folder):
    assert completed(["train"], "recipes/") == ["recipes/quick.yml"]
    assert completed(["train"], f"{folder}/m") == [f"{folder}/mine.yaml"]
    assert completed(["train"], "missing/") == []


def test_the_verb_recipes_has_no_files(folder):
    assert completed(["recipes"]) == list(built_in_recipes())


def test_corpora():
    assert {name for name, _ in complete_corpus("")} == set(CORPORA)
    assert completed(["inspect"], "rav") == ["ravdess"]
    assert completed(["download"], "") == ["cremad", "emodb", "ravdess", "savee", "tess", "weights"]


@pytest.mark.parametrize("verb", ["compare", "rank", "reproduce", "publish"])
def test_runs(folder, verb):
    assert completed([verb]) == ["runs/a", "runs/b"]
    assert completed([verb], "runs/") == ["runs/a", "runs/b"]
    assert completed([verb], "runs/b") == ["runs/b"]


def test_several_runs(folder):
    assert completed(["compare", "runs/a"], "runs/b") == ["runs/b"]


@pytest.mark.parametrize("verb", ["predict", "evaluate", "export", "demo", "verify"])
def test_models(folder, verb):
    assert set(completed([verb])) == {"runs/a", "runs/b", "models/small"}
    assert completed([verb], "models/") == ["models/small", "models/small.onnx"]


def test_keys_of_a_recipe(folder):
    assert "training.learning_rate=" in completed(["train", "quickstart"], "training.lea")
    assert "augment.pitch.semitones=" in completed(["train", "quickstart"], "augment.pitch")


def test_keys_follow_the_classes_of_the_recipe(folder):
    assert completed(["train", "quickstart"], "corpus.speakers") == ["corpus.speakers="]
    assert completed(["train", "mine.yaml"], "corpus.speakers") == []
    assert completed(["train", "mine.yaml"], "corpus.so") == ["corpus.song="]
    assert completed(["train", "quickstart"], "model.lstm") != []
    assert completed(["train", "quickstart", "model.architecture=cnn14"], "model.lstm") == []
    assert "protocol.k=" in completed(["train", "quickstart", "protocol.name=kfold"], "protocol.")


def test_a_recipe_that_cannot_be_read_has_the_keys_of_all(folder):
    (folder / "mine.yaml").write_text("corpus: [")
    assert "training.seeds=" in completed(["train", "mine.yaml"], "training.s")


@pytest.mark.parametrize(
    ("words", "last", "values"),
    [
        # Bash separates words at the equals sign.
        (["training.logging_nan_inf_filter", "="], "t", ["true"]),
        (["training.logging_nan_inf_filter"], "=", ["true", "false"]),
        (["evaluation.part", "="], "v", ["validation"]),
        (["protocol.name", "="], "k", ["kfold"]),
        (["protocol.name", "=", "kfold", "protocol.foil", "="], "r", ["random"]),
        # Other shells keep it.
        ([], "evaluation.part=v", ["evaluation.part=validation"]),
        ([], "training.learning_rate=1", []),
        ([], "unknown=", []),
    ],
)
def test_values_of_a_key(folder, words, last, values):
    completions = completed(["train", "quickstart", *words], last)
    assert completions[: len(values)] == values
    assert bool(completions) == bool(values)


def test_options_of_an_inspected_corpus(folder):
    assert completed(["inspect", "ravdess", "data"], "so") == ["song="]
    assert completed(["inspect", "ravdess", "data", "song", "="], "t") == ["true"]
    assert "protocol.name=" in completed(["inspect", "ravdess", "data"], "protocol.")
    assert completed(["inspect", "ravdess", "data"], "corpus.") == []


def test_every_key_has_a_description():
    recipe = {
        "corpus": {"name": "ravdess"},
        "model": {"architecture": "crnn"},
        "protocol": {"name": "kfold"},
    }
    keys = recipe_keys(recipe)
    assert len(keys) > 150
    assert [path for path, key in keys.items() if not key.description] == []


def test_completion_loads_no_large_library(folder):
    code = """
import sys
from ser_hf.cli.shell_completion import complete_download, complete_recipe, recipe_keys
complete_recipe("")
complete_download("")
recipe_keys({})
large = {"torch", "transformers", "datasets", "pandas", "numpy", "sklearn"} & set(sys.modules)
sys.exit(", ".join(sorted(large)) or None)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
