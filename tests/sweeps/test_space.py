"""Search spaces: every mistake is named by its full key; grids, checked points and overrides."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.experiment.recipe_checks import read_recipe
from ser_hf.sweeps.space import Range, overrides, read_space, resolve
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
    """(settings, settings as shown) at each point that is checked; of a grid at all points."""
    return [resolve(search.parameters, lambda name, _, at=answers: at[name]) for answers in search.points()]


def grid(space):
    return [settings for settings, _ in points(read_space({"search": "grid", "space": space}))]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trails": 3}, "trails: unknown key; the nearest known key is trials"),
        ({"trials": None}, "trials: missing; the number of trials that tpe runs"),
        ({"trials": 0}, "trials: expected one or more, got 0"),
        ({"seed": -1}, "seed: expected zero or more, got -1"),
        ({"search": "bayes"}, "search: expected one of tpe, random, grid"),
        ({"metric": "accuracy"}, "metric: expected one of uar, wa, macro_f1, weighted_f1, loss"),
        ({"pruner": {"kind": "best"}}, "pruner.kind: expected one of median, successive_halving, hyperband"),
        ({"pruner": {"kind": "median", "reduction_factor": 3}}, "pruner.reduction_factor: belongs to hyperband"),
        ({"pruner": {"kind": "hyperband", "startup_trials": 3}}, "pruner.startup_trials: belongs to median"),
        ({"pruner": {"kind": "hyperband", "warmup_epochs": 0}}, "pruner.warmup_epochs: expected 1 or more, got 0"),
        ({"pruner": {"kind": "median", "warmup_epochs": -1}}, "pruner.warmup_epochs: expected 0 or more, got -1"),
        ({"pruner": {"kind": "successive_halving", "reduction_factor": 1}}, "pruner.reduction_factor: expected 2"),
        ({"space": {}}, "space: expected recipe keys, each with a range or a list"),
        ({"space": [1]}, "space: expected a mapping"),
        ({"space": {"a.b": []}}, "space.a.b: expected at least one value, got an empty list"),
        ({"space": {"a.b": [1, 2, 1]}}, "space.a.b: each value once, got 1, 2, 1"),
        (
            {"space": {"a.b": 3}},
            "space.a.b: expected a list of values, {low: ",
        ),
        ({"space": {"a.b": {"low": 1}}}, "space.a.b.high: missing"),
        (
            {"space": {"a.b": {"low": 1, "hihg": 2}}},
            "space.a.b.hihg: unknown key; the nearest",
        ),
        ({"space": {"a.b": {"low": 2, "high": 1}}}, "space.a.b.high: expected more than low, 2, got 1"),
        ({"space": {"a.b": {"low": "1e", "high": 1}}}, "space.a.b.low: expected a number, got '1e'"),
        ({"space": {"a.b": {"low": True, "high": 3}}}, "space.a.b.low: expected a number, got True"),
        ({"space": {"a.b": {"low": 0, "high": 1, "log": True}}}, "space.a.b.low: a logarithm needs more than zero"),
        (
            {"space": {"a.b": {"low": 1, "high": 4, "log": True, "step": 1}}},
            "space.a.b.step: cannot be combined with log",
        ),
        ({"space": {"a.b": {"low": 1, "high": 4, "step": 0.5}}}, "space.a.b.step: expected a whole"),
        ({"space": {"a.b": {"low": 1.0, "high": 4, "step": -1}}}, "space.a.b.step: expected more than zero, got -1"),
        (
            {"space": {"training": {"learning_rate": [1]}}},
            "space.training: a bundle's name has no dot and is no section; write keys as training.learning_rate",
        ),
        (
            {"space": {"x": {"A": [1]}}},
            "space.x.A: expected a bundle, recipe keys with their values, got [1]; write",
        ),
        (
            {"space": {"x": {"A": {"training": {"learning_rate": 1e-3}}}}},
            "space.x.A.training: training is a section, and its other keys would be lost; set its keys one by one, "
            "with a dot, such as training.learning_rate",
        ),
        ({"space": {"training.loss": [{"focal_gamma": 2.0}]}}, "space.training.loss: training.loss is a section, and"),
        (
            {"space": {"corpus": [{"name": "synthetic"}, {"name": "synthetic", "root": "elsewhere"}]}},
            "space.corpus: corpus is a section",
        ),
        ({"space": {"training.seeds": [[1], [2]]}}, "space.training.seeds: cannot vary; the best of several seeds is"),
        ({"space": {"message": {"A": {"a.b": 1}}}}, "space.message: the leaderboard has a column of that name"),
        ({"space": {"validation_uar": {"A": {"a.b": 1}}}}, "space.validation_uar: the leaderboard has a column of"),
        ({"space": {"a.b": [b"hi"]}}, "space: expected words, numbers, true, false or null: Object of type bytes"),
        (
            {"metric": "loss", "space": {"x": {"A": {}, "B": {"space": {"training.loss.focal_gamma": [0.0, 2.0]}}}}},
            "metric: space.x.B.space.training.loss.focal_gamma changes the loss itself, so losses cannot be compared",
        ),
        ({"space": {"output_dir": ["a"]}}, "space.output_dir: cannot vary; each trial has its own folder"),
        (
            {"space": {"evaluation.part": ["test"]}},
            "space.evaluation.part: cannot vary; all trials are evaluated on validation in the same way",
        ),
        (
            {"space": {"protocol.seed": {"low": 1, "high": 3}}},
            "space.protocol.seed: cannot vary; trials",
        ),
        ({"space": {"x": {"A": {"protocol.seed": 3}}}}, "space.x.A.protocol.seed: cannot vary"),
        (
            {"space": {**BUNDLES, "audio.max_duration": [3.0, 6.0]}},
            "space.audio.max_duration: space.strategy.FAST.audio.max_duration sets audio.max_duration too; a key",
        ),
        (
            {"space": {"x": {"A": {"corpus.merge.sad": "low", "space": {"corpus.merge": [{"calm": "low"}]}}}}},
            "space.x.A.space.corpus.merge: space.x.A.corpus.merge.sad sets corpus.merge.sad too",
        ),
        ({"search": "grid"}, "space.training.learning_rate: a grid needs a list of values, or a step and no log"),
        (
            {"search": "grid", "space": {"x": {"A": {"space": {"a.b": {"low": 0.0, "high": 1.0}}}}}},
            "space.x.A.space.a.b: a grid needs a list of values",
        ),
        (
            {"search": "grid", "space": {"a.b": {"low": 1, "high": 50}, "a.c": {"low": 1, "high": 50}}},
            "search: a grid of 2500 points; shorten its lists, or search by tpe or random",
        ),
    ],
)
def test_a_mistake_is_named_with_its_full_key(values, message):
    with pytest.raises(UserError) as error:
        read_space({"trials": 3, "space": RATE, **values})
    assert str(error.value).startswith(message)


def test_a_grid_has_every_point_once_and_the_keys_of_a_bundle_only_with_that_bundle():
    assert grid({"a.b": [1, 2], **BUNDLES}) == [
        {"a.b": first, **rest}
        for first in (1, 2)
        for rest in (
            {"freeze.encoder": True, "audio.max_duration": 3.0},
            {"freeze.top_layers": 2, "audio.max_duration": 3.0},
            {"freeze.top_layers": 2, "audio.max_duration": 6.0},
            {"freeze.top_layers": 4, "audio.max_duration": 3.0},
            {"freeze.top_layers": 4, "audio.max_duration": 6.0},
        )
    ]


def test_a_point_is_shown_by_the_names_of_its_bundles():
    (_, fast), (_, full), *_ = points(read_space({"search": "grid", "space": BUNDLES}))
    assert fast == {"strategy": "FAST"}
    assert full == {"strategy": "FULL", "freeze.top_layers": 2, "audio.max_duration": 3.0}


def test_ranges_in_a_grid_are_the_numbers_that_people_write():
    assert grid({"a.b": {"low": 0.1, "high": 0.45, "step": 0.1}}) == [{"a.b": v} for v in (0.1, 0.2, 0.3, 0.4)]
    assert grid({"a.b": {"low": 1, "high": 7, "step": 3}}) == [{"a.b": value} for value in (1, 4, 7)]
    assert grid({"a.b": {"low": 1, "high": 3}}) == [{"a.b": value} for value in (1, 2, 3)]
    assert Range(1e-5, 1e-3).count is None


def test_the_checked_points_contain_every_bound_choice_and_bundle():
    found = points(read_space({"trials": 1, "space": {"a.b": [1, 2], "a.c": {"low": 0.0, "high": 1.0}, **BUNDLES}}))
    assert len(found) == 3
    values = {(key, str(value)) for settings, shown in found for key, value in (settings | shown).items()}
    expected = {("a.b", "1"), ("a.b", "2"), ("a.c", "0.0"), ("a.c", "1.0"), ("strategy", "FAST"), ("strategy", "FULL")}
    bundles = {("freeze.top_layers", "2"), ("freeze.top_layers", "4"), ("audio.max_duration", "6.0")}
    assert values >= expected | bundles


# What people type: PyYAML itself does not read back all control characters that it writes.
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co", "Zl", "Zp"), exclude_characters="\ufeff"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT.filter(bool), inner, max_size=2),
    max_leaves=5,
)


@given(VALUES)
def test_any_value_reaches_the_recipe(value):
    (override,) = overrides({"a.b": value})
    assert parse_yaml(override.partition("=")[2], "") == value


def test_one_true_and_the_word_one_are_three_choices():
    values = [1, True, "1", "true", 1.0, None, "null", [1], "", "a\nb", "[a", "a b"]
    found = [settings["a.b"] for settings in grid({"a.b": values})]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in values]


@pytest.mark.parametrize("search", ["grid", "random"])
def test_a_key_or_value_that_the_recipe_does_not_take_is_refused_before_anything_runs(search):
    def refusal(space):
        with pytest.raises(UserError) as error:
            read_sweep(RECIPE, {"search": search, "trials": 2, "space": space}, [])
        return str(error.value)

    assert refusal({"training.lerning_rate": [1e-3]}) == (
        "training.lerning_rate: unknown key; the nearest known key is training.learning_rate "
        "(at training.lerning_rate=0.001)"
    )
    assert refusal({"model.dropout": [0.1], "training.loss.label_smoothing": [0.1, 1.0]}).endswith(
        "(at model.dropout=0.1, training.loss.label_smoothing=1)"
    )
    assert refusal({"x": {"A": {}, "B": {"model.lstm_hiden": 3}}}).startswith("model.lstm_hiden: unknown key")


def test_a_range_is_checked_between_its_ends_too():
    for ends in ({"low": 8, "high": 6.4e1}, {"low": 8.0, "high": 64.0, "step": 0.5}):
        space = {"search": "random", "trials": 1, "space": {"model.lstm_hidden": ends}}
        with pytest.raises(UserError, match=r"model\.lstm_hidden: expected a whole number, got .* \(at model"):
            read_sweep(RECIPE, space, [])
    whole = {"search": "random", "trials": 1, "space": {"model.lstm_hidden": {"low": 8, "high": 64, "log": True}}}
    read_sweep(RECIPE, whole, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.learning_rate=7e-3", r"space\.training\.learning_rate sets this key"),
        ("audio.max_duration=3.0", r"space\.strategy\.FAST\.audio\.max_duration sets this key"),
    ],
)
def test_an_override_of_a_key_that_the_space_sets_is_refused(change, message):
    with pytest.raises(UserError, match=f"^{change}: {message}"):
        read_sweep(RECIPE, {"trials": 2, "space": {**RATE, **BUNDLES}}, [change])


@pytest.mark.parametrize("path", sorted((RECIPES / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_space_opens_with_its_command_and_every_point_is_a_recipe(path):
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    verb, recipe, space, *changes = head[0].removeprefix("# ser-hf ").split()
    assert (verb, RECIPES.parent / space) == ("sweep", path)
    assert any(line.startswith("# needs ") for line in head)
    assert any(line.startswith(("# expect ", "# not measured here")) for line in head)
    found = points(read_space(path))
    assert f" {len(found)} points" in " ".join(head)
    source = RECIPES.parent / recipe
    recipes = {read_recipe(source, [*changes, *overrides(settings)]).to_yaml() for settings, _ in found}
    assert len(recipes) == len(found)
