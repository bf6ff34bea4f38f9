"""Recipes: the shipped ones, and resolved recipes that read back equal."""

from pathlib import Path

import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.protocols import PROTOCOLS, ProtocolSettings

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SHIPPED = sorted(
    {*RECIPES.rglob("*.yaml")} - {*RECIPES.glob("accelerate/*")} - {*RECIPES.glob("sweeps/*")}
)
MINIMAL = {"corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}}

shipped = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)


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


# One value of each option that a protocol takes, none of them its default.
DRAWN = {"validation": 0.25, "seed": 4}
OPTIONS = {
    "speaker_independent": {"train": [1, "3-5"], "validation": [6], "test": 0.3, "seed": 4},
    "kfold": DRAWN | {"k": 3},
    **{f"leave_one_{unit}_out": DRAWN for unit in ("speaker", "session", "corpus")},
    "file": DRAWN | {"path": "parts.json", "shared_speakers": True},
    "ravdess/actors-1-16-17-20-21-24": {},
    "audb/cremad": {},
    "emosuperb/cremad": {},
    "luna-jimenez/ravdess": DRAWN,
    "emobox/iemocap": DRAWN,
    "speechbrain/iemocap": {},
    "mteb/cameo": DRAWN | {"test": 0.3},
    "sentence_disjoint": DRAWN | {"test": ["sentence 1"]},
    "speaker_and_sentence_disjoint": {
        "validation": [6],
        "test": ["3-5"],
        "test_sentences": 0.5,
        "seed": 4,
    },
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
    defaults = {"foil": None, "parent_speakers": "error"}
    assert recipe.to_dict()["protocol"] == section | defaults | OPTIONS[name]
    file = tmp_path / "resolved.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert read_recipe(file) == recipe
