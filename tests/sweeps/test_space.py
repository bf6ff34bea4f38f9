"""Spaces: every mistake named by its full key; grids, corners and overrides as they are written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.errors import UserError
from ser_hf.recipe import read_recipe
from ser_hf.strict import parse_yaml
from ser_hf.sweeps.parameters import Range, overrides
from ser_hf.sweeps.plan import check_points
from ser_hf.sweeps.points import at, between, corners, grid
from ser_hf.sweeps.space import read_space

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
RATE = {"training.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}
BUNDLES = {
    "strategy": {
        "FAST": {"freeze.encoder": True, "audio.max_duration": 3.0},
        "FULL": {"space": {"freeze.top_layers": [2, 4], "audio.max_duration": [3.0, 6.0]}},
    }
}


def refusal(**values):
    with pytest.raises(UserError) as error:
        read_space({"trials": 3, "space": RATE, **values})
    return str(error.value)


def points(space):
    search = read_space({"search": "grid", "space": space})
    return [at(search.parameters, answers)[0] for answers in grid(search.parameters)]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"trails": 3}, "trails: unknown key; the nearest known key is trials"),
        ({"trials": None}, "trials: missing; how many tpe is to try"),
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
        ({"space": {"a.b": {"low": 1, "high": 4, "log": True, "step": 1}}}, "space.a.b.step: not on a logarithm"),
        ({"space": {"a.b": {"low": 1, "high": 4, "step": 0.5}}}, "space.a.b.step: expected a whole"),
        ({"space": {"a.b": {"low": 1.0, "high": 4, "step": -1}}}, "space.a.b.step: expected more than zero, got -1"),
        (
            {"space": {"training": {"learning_rate": [1]}}},
            "space.training: bundles have a name of their own, without a dot; keys of a section are written with one",
        ),
        (
            {"space": {"x": {"A": [1]}}},
            "space.x.A: expected a bundle, recipe keys with their values, got [1]; keys of",
        ),
        (
            {"space": {"x": {"A": {"training": {"learning_rate": 1e-3}}}}},
            "space.x.A.training: training is a section, whose other keys would be lost; set its keys one by one, with "
            "a dot, such as training.learning_rate",
        ),
        ({"space": {"training.loss": [{"focal_gamma": 2.0}]}}, "space.training.loss: training.loss is a section, who"),
        (
            {"space": {"corpus": [{"name": "synthetic"}, {"name": "synthetic", "root": "elsewhere"}]}},
            "space.corpus: corpus is a section",
        ),
        ({"space": {"training.seeds": [[1], [2]]}}, "space.training.seeds: cannot vary; the best of several seeds is"),
        ({"space": {"message": {"A": {"a.b": 1}}}}, "space.message: the leaderboard has a column of that name"),
        ({"space": {"validation_uar": {"A": {"a.b": 1}}}}, "space.validation_uar: the leaderboard has a column of"),
        (
            {"space": {"x": {"A": {"space": {"b.c.d": [1]}}, "A.b": {"space": {"c.d": [1]}}}}},
            "space: two parameters are both called x.A.b.c.d; give one of their bundles another name",
        ),
        ({"space": {"a.b": [b"hi"]}}, "space.a.b: expected words, numbers, true, false or null, got a bytes"),
        ({"space": {"x": {"A": {"a.b": {"c": {1}}}}}}, "space.x.A.a.b.c: expected words, numbers, true, false or nu"),
        (
            {"metric": "loss", "space": {"x": {"A": {}, "B": {"space": {"training.loss.focal_gamma": [0.0, 2.0]}}}}},
            "metric: space.x.B.space.training.loss.focal_gamma changes what the loss is, so that trials' losses say",
        ),
        ({"space": {"output_dir": ["a"]}}, "space.output_dir: cannot vary; each trial has a folder of its own"),
        (
            {"space": {"evaluation.part": ["test"]}},
            "space.evaluation.part: cannot vary; trials are judged",
        ),
        (
            {"space": {"protocol.seed": {"low": 1, "high": 3}}},
            "space.protocol.seed: cannot vary; trials",
        ),
        ({"space": {"x": {"A": {"protocol.seed": 3}}}}, "space.x.A.protocol.seed: cannot vary"),
        (
            {"space": {**BUNDLES, "audio.max_duration": [3.0, 6.0]}},
            "space.audio.max_duration: space.strategy.FAST.audio.max_duration sets audio.max_duration too; what only",
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
def test_a_mistake_is_named_with_its_full_key(values, told):
    assert refusal(**values).startswith(told)


def test_a_grid_has_every_point_once_and_the_keys_of_a_bundle_only_where_it_stands():
    assert points({"a.b": [1, 2], **BUNDLES}) == [
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


def test_a_point_is_shown_by_bundles_names():
    search = read_space({"search": "grid", "space": BUNDLES})
    first, second, *_ = grid(search.parameters)
    assert at(search.parameters, first)[1] == {"strategy": "FAST"}
    shown = {"strategy": "FULL", "freeze.top_layers": 2, "audio.max_duration": 3.0}
    assert at(search.parameters, second)[1] == shown


def test_ranges_in_a_grid_are_the_numbers_that_people_write():
    assert points({"a.b": {"low": 0.1, "high": 0.45, "step": 0.1}}) == [{"a.b": v} for v in (0.1, 0.2, 0.3, 0.4)]
    assert points({"a.b": {"low": 1, "high": 7, "step": 3}}) == [{"a.b": value} for value in (1, 4, 7)]
    assert points({"a.b": {"low": 1, "high": 3}}) == [{"a.b": value} for value in (1, 2, 3)]
    assert Range(1e-5, 1e-3).values() is None


def test_corners_hold_every_bound_choice_and_bundle_and_stand_beside_the_others_first():
    space = read_space({"trials": 1, "space": {"a.b": [1, 2], "a.c": {"low": 0.0, "high": 1.0}, **BUNDLES}}).parameters
    found = [at(space, answers)[0] for answers in corners(space)]
    fast, full = (
        {"freeze.encoder": True, "audio.max_duration": 3.0},
        {"freeze.top_layers": 2, "audio.max_duration": 3.0},
    )
    assert found == [
        {"a.b": 1, "a.c": 0.0, **fast},
        {"a.b": 2, "a.c": 0.0, **fast},
        {"a.b": 1, "a.c": between(Range(0.0, 1.0)), **fast},
        {"a.b": 1, "a.c": 1.0, **fast},
        {"a.b": 1, "a.c": 0.0, **fast},
        {"a.b": 1, "a.c": 0.0, **full},
        {"a.b": 1, "a.c": 0.0, **full, "freeze.top_layers": 4},
        {"a.b": 1, "a.c": 0.0, **full, "audio.max_duration": 6.0},
    ]


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
    space = read_space({"search": "grid", "space": {"a.b": values}}).parameters
    assert list(space["a.b"].labelled().values()) == values
    assert len(space["a.b"].labelled()) == len(values)


@pytest.mark.parametrize("search", ["grid", "random"])
def test_a_key_or_value_that_no_recipe_takes_is_told_before_anything_runs(search):
    recipe = {"name": "tiny", "corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}}

    def told(space):
        with pytest.raises(UserError) as error:
            check_points(recipe, [], read_space({"search": search, "trials": 2, "space": space}))
        return str(error.value)

    assert told({"training.lerning_rate": [1e-3]}) == (
        "training.lerning_rate: unknown key; the nearest known key is training.learning_rate "
        "(at training.lerning_rate=0.001)"
    )
    assert told({"model.dropout": [0.1], "training.loss.label_smoothing": [0.1, 1.0]}).endswith(
        "(at model.dropout=0.1, training.loss.label_smoothing=1)"
    )
    assert told({"x": {"A": {}, "B": {"model.lstm_hiden": 3}}}).startswith("model.lstm_hiden: unknown key")


def test_a_range_is_checked_between_its_ends_too():
    recipe = {"name": "tiny", "corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}}
    for ends in ({"low": 8, "high": 6.4e1}, {"low": 8.0, "high": 64.0, "step": 0.5}):
        search = read_space({"search": "random", "trials": 1, "space": {"model.lstm_hidden": ends}})
        with pytest.raises(UserError, match=r"model\.lstm_hidden: expected a whole number, got .* \(at model"):
            check_points(recipe, [], search)
    whole = read_space({"search": "random", "trials": 1, "space": {"model.lstm_hidden": {"low": 8, "high": 64}}})
    check_points(recipe, [], whole)
    assert between(Range(8, 64, log=True)) == 36


@pytest.mark.parametrize("path", sorted((RECIPES / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_space_opens_with_its_command_and_every_point_is_a_recipe(path):
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    verb, recipe, space, *changes = head[0].removeprefix("# ser-hf ").split()
    assert (verb, RECIPES.parent / space) == ("sweep", path)
    assert any(line.startswith("# needs ") for line in head)
    assert any(line.startswith(("# expect ", "# not measured here")) for line in head)
    search = read_space(path)
    found = list(grid(search.parameters))
    assert f" {len(found)} points" in " ".join(head)
    settings = [at(search.parameters, answers)[0] for answers in found]
    recipes = {read_recipe(RECIPES.parent / recipe, [*changes, *overrides(own)]).to_yaml() for own in settings}
    assert len(recipes) == len(found)
