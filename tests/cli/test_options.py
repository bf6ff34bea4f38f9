"""What several verbs share: the words of a corpus, and options that contradict each other."""

import pytest

from ser_hf.cli.options import (
    as_json,
    corpus_recipe,
    recipe_path,
    require_one_of,
    root_or_word,
)
from ser_hf.utils.errors import UserError


def test_words_are_options_of_the_corpus_or_of_the_protocol():
    recipe = corpus_recipe(
        "synthetic",
        None,
        ["speakers=4", "corpus.takes=1", "protocol.k=3"],
        protocol="kfold",
    )
    assert recipe.corpus.name == "synthetic"
    corpus = recipe.to_dict()["corpus"]
    assert corpus["speakers"] == 4
    assert corpus["takes"] == 1
    protocol = recipe.to_dict()["protocol"]
    assert protocol["name"] == "kfold"
    assert protocol["k"] == 3


def test_targets_make_the_task_dimensions():
    words = ["label=null", "targets=[arousal]", "ranges={arousal: [1, 5]}"]
    assert corpus_recipe("csv", "clips.csv", words).task == "dimensions"
    assert corpus_recipe("csv", "clips.csv", []).task == "emotions"


@pytest.mark.parametrize(
    ("corpus", "words", "key"),
    [
        (None, [], "--corpus"),
        ("synthetic", ["speakers"], "speakers"),
        ("synthetic", ["speekers=4"], r"corpus\.speekers"),
    ],
)
def test_a_mistake_names_its_word(corpus, words, key):
    with pytest.raises(UserError, match=f"^{key}: "):
        corpus_recipe(corpus, None, words)


def test_the_first_word_is_the_folder_unless_it_is_an_option(tmp_path):
    assert root_or_word("data", ["song=true"]) == ("data", ["song=true"])
    assert root_or_word("song=true", ["a=b"]) == (None, ["song=true", "a=b"])
    assert root_or_word(None, None) == (None, [])
    folder = tmp_path / "take=1"
    folder.mkdir()
    assert root_or_word(str(folder), None) == (str(folder), [])


def test_options_that_contradict_each_other_are_named():
    require_one_of(dry_run=True, json=False)
    with pytest.raises(UserError, match="^--dry-run: contradicts --json"):
        require_one_of(dry_run=True, json=True)


def test_a_run_folder_has_its_recipe(tmp_path):
    assert recipe_path(str(tmp_path)) == str(tmp_path / "recipe.yaml")
    assert recipe_path("quickstart") == "quickstart"


def test_paths_and_letters_are_json_as_they_are(tmp_path):
    assert as_json({"ä": tmp_path}) == f'{{\n "ä": "{tmp_path}"\n}}'
