"""The options of networks: their limits, and what other layers read of them."""

from typing import Annotated, Literal

import jsonschema
import pytest

from ser_hf.models import ARCHITECTURES, PooledEncoderForAudioClassification
from ser_hf.models.configuration import WaveformConfig
from ser_hf.models.options import (
    Items,
    Number,
    OddNumber,
    Option,
    SomeOf,
    WholeNumber,
    options_of,
)

NETWORKS = [*ARCHITECTURES.values(), PooledEncoderForAudioClassification]

# Limits, values within them, values outside of them.
LIMITS = [
    (WholeNumber(1, 10), [1, 10], [0, 11, 1.5, True, "1", None]),
    (OddNumber(9), [1, 9], [0, 2, 11, True]),
    (Number(at_least=0, less_than=1), [0, 0.0, 0.999], [-0.1, 1, 1.0, False, "0", None]),
    (Number(more_than=0, at_most=1), [1e-300, 1], [0, 1.1]),
    (Number(), [-5, 1e300], [True, "0"]),
    (Items(WholeNumber(1, 4), most=2), [[1], [4, 1]], [[], [1, 2, 3], [5], 1]),
    (Items(Number(at_least=0.5), fewest=0), [[], [0.5, 2]], [[0.1]]),
    (SomeOf(("a", "b")), [["a"], ["b", "a"]], [[], ["a", "a"], ["c"], [["a"]], "a"]),
]


@pytest.mark.parametrize(("limits", "allowed", "refused"), LIMITS)
def test_limits(limits, allowed, refused):
    assert all(limits.allows(value) for value in allowed)
    assert not any(limits.allows(value) for value in refused)


@pytest.mark.parametrize(("limits", "allowed", "refused"), LIMITS)
def test_the_schema_agrees_with_the_limits(limits, allowed, refused):
    validator = jsonschema.Draft202012Validator(limits.json_schema())
    assert all(validator.is_valid(value) for value in allowed)
    assert not any(validator.is_valid(value) for value in refused)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_number_is_finite(value):
    assert not Number().allows(value)


def test_a_whole_number_is_no_float():
    assert not WholeNumber(1, 10).allows(1.0)


def test_the_words_of_limits():
    assert str(WholeNumber(1, 65_536)) == "a whole number from 1 to 65,536"
    assert str(Number(at_least=0, at_most=1)) == "a number from 0 to 1"
    assert str(Number(at_least=0, less_than=1)) == "a number of 0 or more and less than 1"
    assert str(Number(more_than=0)) == "a number of more than 0"
    two = Items(WholeNumber(1, 9), fewest=2, most=2)
    assert str(two) == "a list of 2 values, each a whole number from 1 to 9"


class Base(WaveformConfig):
    model_type = "test_base"

    size: Annotated[int, WholeNumber(1, 8), "Units of a layer."] = 4
    rate: Annotated[Annotated[float, Number(at_least=0)] | None, "In Hz."] = None
    kind: Annotated[Literal["a", 1], "Which one."] = "a"
    saved_only = 3


class Derived(Base):
    model_type = "test_derived"

    size: Annotated[int, WholeNumber(1, 2)] = 2


def test_options_of_a_class():
    options = options_of(Base)
    assert list(options) == ["sampling_rate", "size", "rate", "kind"]
    assert options["size"] == Option("size", int, False, WholeNumber(1, 8), 4, "Units of a layer.")
    assert options["rate"] == Option("rate", float, True, Number(at_least=0), None, "In Hz.")
    assert options["rate"].allows(None)
    assert options["rate"].expected == "a number of 0 or more or null"
    assert not options["size"].allows(None)
    assert options["kind"].allows(1)
    assert not options["kind"].allows(True)
    assert options["kind"].expected == "one of a, 1"


def test_a_class_that_changes_the_limits_keeps_the_description():
    size = options_of(Derived)["size"]
    assert size == Option("size", int, False, WholeNumber(1, 2), 2, "Units of a layer.")


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_each_option_of_each_network_has_a_description_and_a_schema(network):
    defaults = network.config_class()
    for option in options_of(network.config_class).values():
        assert option.description, option.name
        schema = option.json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        value = getattr(defaults, option.name)
        assert option.allows(value)
        if option.name != "encoder":  # a configuration
            jsonschema.validate(value, schema)
