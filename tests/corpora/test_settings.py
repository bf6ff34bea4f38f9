"""The keys that every corpus has, and their checks."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from ser_hf.corpora import CORPORA, CorpusSettings, settings_class
from ser_hf.corpora.settings import refuse


def locations(error):
    return [problem["loc"] for problem in error.value.errors()]


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_key_has_a_description(name):
    for key, field in settings_class(name).model_fields.items():
        assert field.description, key


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_class_has_a_json_schema_that_knows_its_keys(name):
    settings = settings_class(name)
    schema = settings.model_json_schema()
    assert set(schema["properties"]) == set(settings.model_fields)
    assert schema["additionalProperties"] is False


def test_a_path_of_python_is_text():
    assert CorpusSettings(name="toy", root=Path("data")).root == "data"


@pytest.mark.parametrize("targets", [[""], ["a", "a"], ["x" * 101], ["a\nb"]])
def test_names_of_targets_are_checked(targets):
    with pytest.raises(ValidationError) as error:
        CorpusSettings(name="toy", targets=targets)
    assert locations(error) == [("targets",)]


@pytest.mark.parametrize("bounds", [[1.0], [5.0, 1.0], [1.0, float("inf")], [1.0, 1.0]])
def test_a_range_is_a_lowest_and_a_highest_rating(bounds):
    with pytest.raises(ValidationError) as error:
        CorpusSettings(name="toy", targets=["valence"], ranges={"valence": bounds})
    assert [location[:2] for location in locations(error)] == [("ranges", "valence")]


def test_a_range_belongs_to_a_target():
    with pytest.raises(ValidationError) as error:
        CorpusSettings(name="toy", ranges={"valence": [1.0, 5.0]})
    assert locations(error) == [("ranges", "valence")]


def test_a_refused_value_has_its_path_and_its_message():
    with pytest.raises(ValidationError) as error:
        refuse(3, "not {this}", "corpora", 1, "cap")
    (problem,) = error.value.errors()
    assert problem["loc"] == ("corpora", 1, "cap")
    assert problem["msg"] == "not {this}"
