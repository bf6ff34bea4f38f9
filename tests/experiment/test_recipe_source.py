"""Sources of a recipe: files, built-in recipes and mappings, and overrides of their keys."""

from pathlib import Path

import pytest

from ser_hf.experiment.recipe_source import built_in_recipes, recipe_file, recipe_values
from ser_hf.utils.errors import UserError


def test_a_built_in_recipe_has_its_name():
    recipes = built_in_recipes()
    assert list(recipes) == sorted(recipes)
    for name, path in recipes.items():
        assert path.name == f"{name}.yaml"
        assert path.is_file()
    assert recipe_file("quickstart") == recipes["quickstart"]
    assert recipe_values("quickstart")["output_dir"] == "runs/quickstart"


def test_a_path_is_used_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for source in ("a.yaml", "some/where", Path("b.yaml")):
        assert recipe_file(source) == Path(source)
    (tmp_path / "quickstart").touch()  # a file of the user comes before a built-in recipe
    assert recipe_file("quickstart") == Path("quickstart")


def test_a_misspelt_name_has_its_nearest_one():
    with pytest.raises(UserError) as error:
        recipe_file("quickstrat")
    assert str(error.value) == (
        "quickstrat: no such file, and no built-in recipe; the nearest is quickstart"
    )


@pytest.mark.parametrize("name", ["cremad_wav2vec2", "emotion", "x"])
def test_another_name_is_answered_with_the_list(name):
    with pytest.raises(UserError) as error:
        recipe_file(name)
    assert str(error.value) == (
        f"{name}: no such file, and no built-in recipe; ser-hf recipes lists them"
    )


def test_the_file_names_the_run_and_its_folder(tmp_path):
    path = tmp_path / "night.yaml"
    path.write_text("corpus: {name: synthetic}\n")
    assert recipe_values(path) == {
        "corpus": {"name": "synthetic"},
        "name": "night",
        "output_dir": "runs/night",
    }
    path.write_text("name: day\noutput_dir: somewhere\n")
    assert recipe_values(path) == {"name": "day", "output_dir": "somewhere"}
    assert recipe_values(path, ["name=late", "output_dir=null"])["output_dir"] is None


def test_overrides_create_sections_and_leave_the_source_as_it_is():
    source = {"model": {"architecture": "crnn"}, "audio": None}
    values = recipe_values(source, ["model.channels=[4, 8]", "audio.level=peak", "a.b.c=no"])
    assert values["model"] == {"architecture": "crnn", "channels": [4, 8]}
    assert values["audio"] == {"level": "peak"}
    assert values["a"] == {"b": {"c": "no"}}  # YAML 1.2: a word
    assert source == {"model": {"architecture": "crnn"}, "audio": None}


def test_later_overrides_replace_earlier_ones():
    assert recipe_values({}, ["a.b=1", "a.b=2"])["a"] == {"b": 2}
    assert recipe_values({}, ["a={b: 1, c: 2}", "a.b=3"])["a"] == {"b": 3, "c": 2}


def test_an_override_without_a_value_is_refused_with_its_form():
    with pytest.raises(UserError) as error:
        recipe_values({}, ["corpus.root"])
    assert str(error.value) == ("corpus.root: expected an override of the form section.key=value")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("=3", "=3"),
        ("corpus.name.x=3", "corpus.name.x"),
        ("corpus.root=[1", "the override corpus.root=[1, line 1"),
        ("corpus.root={a: 1, a: 2}", "the override corpus.root={a: 1, a: 2}, line 1"),
        (f"{'.'.join('a' * 200)}=1", "a.a.a"),
    ],
)
def test_a_malformed_override_is_named(override, named):
    with pytest.raises(UserError) as error:
        recipe_values({"corpus": {"name": "synthetic"}}, [override])
    assert str(error.value).startswith(named)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"night\.yaml: no such file$"):
        recipe_values(tmp_path / "night.yaml")
