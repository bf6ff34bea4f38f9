"""Search spaces: every mistake is named by its full key; grids, checked points and overrides."""

from pathlib import Path

import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.sweeps.space import overrides, read_space, resolve
from ser_hf.sweeps.sweep import read_sweep
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import parse_yaml

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
RECIPE = {"name": "tiny", "corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}}
RATE = {"training.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}
BUNDLES = {
    "strategy": {
        "FAST": {"freeze.encoder": True, "audio.max_duration": 3.0},
        "FULL": {"space": {"freeze.top_layers": [2, 4], "audio.max_duration": [3.0, 6.0]}},
    }
}


def points(search):
    """The settings at each point that is checked; of a grid at all points."""
    return [resolve(search.parameters, point) for point in search.points]


def grid(space):
    return points(read_space({"search": "grid", "space": space}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trails", 3, "trails: unknown key; the nearest known key is trials"),
        ("trials", None, "trials: missing; the number of trials that tpe runs"),
        (
            "search",
            "grid",
            "space.training.learning_rate: a grid needs a list of values",
        ),
        (
            "pruner",
            {"warmup_epochs": 0},
            "pruner.warmup_epochs: expected a whole number of at least 1",
        ),
        ("space", {}, "space: expected recipe keys, each with a range or a list"),
    ],
)
def test_a_mistake_is_named_with_its_key(key, value, message):
    with pytest.raises(UserError) as error:
        read_space({"trials": 3, "space": RATE, key: value})
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("a.b: 3", "space.a.b"),
        ("a.b: {low: 1, hihg: 2}", "space.a.b"),
        ("a.b: {low: 2, high: 1}", "space.a.b"),
        ("a.b: {low: 1, high: 4, log: true, step: 2}", "space.a.b"),
        ("training.loss: [{focal_gamma: 2.0}]", "space.training.loss"),
        ("training.seeds: [[1], [2]]", "space.training.seeds"),
        ("evaluation.part: [test]", "space.evaluation.part"),
    ],
)
def test_a_mistake_in_a_space_is_named_with_its_full_key(text, key):
    with pytest.raises(UserError, match=rf"^{key}: "):
        read_space(parse_yaml(f"trials: 3\nspace: {{{text}}}", ""))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a.b: [1], x: {A: {a.b: 3}}", "a.b and a.b"),
        ("x: {A: {a.b.c: 1, space: {a.b: [1]}}}", "a.b.c and a.b"),
    ],
)
def test_a_key_that_a_trial_would_set_twice_is_refused(text, keys):
    with pytest.raises(UserError, match=rf"^space: a trial would set both {keys};"):
        read_space(parse_yaml(f"trials: 3\nspace: {{{text}}}", ""))


def test_a_grid_has_a_bound():
    space = {"a.b": {"low": 1, "high": 50}, "a.c": {"low": 1, "high": 50}}
    with pytest.raises(UserError, match="^search: a grid of more than 2000 points"):
        read_space({"search": "grid", "space": space})


def test_a_grid_has_every_point_once_and_the_keys_of_a_bundle_only_with_that_bundle():
    fast = {"freeze.encoder": True, "audio.max_duration": 3.0}
    full = [
        {"freeze.top_layers": 2, "audio.max_duration": 3.0},
        {"freeze.top_layers": 2, "audio.max_duration": 6.0},
        {"freeze.top_layers": 4, "audio.max_duration": 3.0},
        {"freeze.top_layers": 4, "audio.max_duration": 6.0},
    ]
    with_1 = [{"a.b": 1, **rest} for rest in (fast, *full)]
    with_2 = [{"a.b": 2, **rest} for rest in (fast, *full)]
    assert grid({"a.b": [1, 2], **BUNDLES}) == with_1 + with_2


def test_ranges_in_a_grid_are_rounded_numbers():
    def values(**ends):
        return [point["a.b"] for point in grid({"a.b": ends})]

    assert values(low=0.1, high=0.4, step=0.1) == [0.1, 0.2, 0.3, 0.4]
    assert values(low=1, high=7, step=3) == [1, 4, 7]
    assert values(low=1, high=3) == [1, 2, 3]


def test_the_checked_points_contain_every_bound_choice_and_bundle():
    space = {"a.b": [1, 2], "a.c": {"low": 0.0, "high": 1.0}, **BUNDLES}
    checked = points(read_space({"trials": 1, "space": space}))
    assert len(checked) == 3
    values = set()
    for settings in checked:
        values.update(settings.items())
    assert {("a.b", 1), ("a.b", 2), ("a.c", 0.0), ("a.c", 1.0)} <= values
    assert {("freeze.encoder", True), ("freeze.top_layers", 2)} <= values
    assert {("freeze.top_layers", 4), ("audio.max_duration", 6.0)} <= values


VALUES = [1, True, "1", "true", 1.0, 1e-5, None, "null", [1], "", "a\nb", "[a", "a b ", "1e5", "é"]


def test_any_value_reaches_the_recipe_and_one_true_and_the_word_one_are_three_choices():
    in_grid = [settings["a.b"] for settings in grid({"a.b": VALUES})]
    in_recipe = []
    for value in in_grid:
        (override,) = overrides({"a.b": value})
        in_recipe.append(parse_yaml(override.partition("=")[2], ""))

    # Equal values of different types, such as 1 and True, have different texts.
    assert [repr(value) for value in in_grid] == [repr(value) for value in VALUES]
    assert [repr(value) for value in in_recipe] == [repr(value) for value in VALUES]


@pytest.mark.parametrize("search", ["grid", "random"])
def test_keys_and_values_unknown_to_the_recipe_are_refused_before_any_run(search):
    def refusal(space):
        with pytest.raises(UserError) as error:
            read_sweep(RECIPE, {"search": search, "trials": 2, "space": space}, [])
        return str(error.value)

    assert refusal({"training.lerning_rate": [1e-3]}) == (
        "training.lerning_rate: unknown key; the nearest known key is training.learning_rate "
        "(at training.lerning_rate=0.001)"
    )
    too_smooth = refusal({"model.dropout": [0.1], "training.loss.label_smoothing": [0.1, 1.0]})
    assert too_smooth.startswith("training.loss.label_smoothing: ")
    assert too_smooth.endswith("(at model.dropout=0.1, training.loss.label_smoothing=1)")
    misspelt = refusal({"x": {"A": {}, "B": {"model.lstm_hiden": 3}}})
    assert misspelt.startswith("model.lstm_hiden: ")


def test_a_range_is_checked_between_its_ends_too():
    for ends in ({"low": 8, "high": 6.4e1}, {"low": 8.0, "high": 64.0, "step": 0.5}):
        space = {"search": "random", "trials": 1, "space": {"model.lstm_hidden": ends}}
        with pytest.raises(UserError, match=r"^model\.lstm_hidden: .* \(at model"):
            read_sweep(RECIPE, space, [])
    whole = {
        "search": "random",
        "trials": 1,
        "space": {"model.lstm_hidden": {"low": 8, "high": 64, "log": True}},
    }
    read_sweep(RECIPE, whole, [])


@pytest.mark.parametrize("change", ["training.learning_rate=7e-3", "audio.max_duration=3.0"])
def test_an_override_of_a_key_that_the_space_sets_is_refused(change):
    with pytest.raises(UserError, match=f"^{change}: the space sets this key"):
        read_sweep(RECIPE, {"trials": 2, "space": {**RATE, **BUNDLES}}, [change])


@pytest.mark.parametrize(
    "path", sorted((RECIPES / "sweeps").glob("*.yaml")), ids=lambda path: path.stem
)
def test_a_shipped_space_opens_with_its_command_and_every_point_is_a_recipe(path):
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    verb, recipe, space, *changes = head[0].removeprefix("# ser-hf ").split()
    assert (verb, RECIPES.parent / space) == ("sweep", path)
    assert any(line.startswith("# needs ") for line in head)
    assert any(line.startswith(("# expect ", "# not measured here")) for line in head)
    shipped = points(read_space(path))
    assert f" {len(shipped)} points" in " ".join(head)
    recipes = set()
    for settings in shipped:
        recipe_at = read_recipe(RECIPES.parent / recipe, [*changes, *overrides(settings)])
        recipes.add(recipe_at.to_yaml())
    assert len(recipes) == len(shipped)
