"""Labels and rates in a model's configuration are checked before the model is loaded."""

import pytest

from ser_hf.inference.model_settings import ModelSettings, check_settings, contradiction
from ser_hf.utils.errors import UserError


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"id2label": {"0": "angry", "1": "sad"}, "sampling_rate": 8000},
        {"target_ranges": {"arousal": [1.0, 7.0]}, "problem_type": "regression"},
        {"clip_seconds": [1.5, 4]},
        {"hidden_size": 768, "architectures": ["Wav2Vec2ForSequenceClassification"]},
    ],
)
def test_usual_configurations_are_accepted(values):
    check_settings(values, "config.json")


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"sampling_rate": "16000"}, "sampling_rate"),
        ({"sampling_rate": 0}, "sampling_rate"),
        ({"num_labels": 0}, "num_labels"),
        ({"problem_type": "ranking"}, "problem_type"),
        ({"id2label": {"0": ""}}, "id2label"),
        ({"id2label": {"first": "angry"}}, "id2label"),
        ({"target_ranges": {"arousal": [1.0]}}, "target_ranges"),
        ({"target_ranges": {"arousal": [1.0, float("inf")]}}, "target_ranges"),
        ({"padding_value": "zero"}, "padding_value"),
        ({"clip_seconds": [1.0]}, "clip_seconds"),
        ({"clip_seconds": ["one", "two"]}, "clip_seconds"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(values, key):
    with pytest.raises(UserError, match=rf"^config\.json: .*{key}"):
        check_settings(values, "config.json")


def test_a_configuration_that_is_no_object_is_refused():
    with pytest.raises(UserError, match=r"^config\.json: "):
        check_settings([1, 2], "config.json")


@pytest.mark.parametrize("numbers", [("0", "2"), ("1", "2")])
def test_labels_are_numbered_from_zero_without_gaps(numbers):
    names = {number: f"label {number}" for number in numbers}
    with pytest.raises(UserError, match=rf"^config\.json: .*numbers {', '.join(numbers)}, "):
        check_settings({"id2label": names}, "config.json")


NAMES = {0: "angry", 1: "sad"}


@pytest.mark.parametrize(
    "numbers", [None, {}, {"angry": 0, "sad": 1}, {"LABEL_0": 0, "LABEL_1": 1}, {"angry": 0}]
)
def test_numbers_that_agree_or_are_missing_are_no_contradiction(numbers):
    assert contradiction(ModelSettings(id2label=NAMES, label2id=numbers)) is None


def test_numbers_that_contradict_the_names_are_described():
    problem = contradiction(ModelSettings(id2label=NAMES, label2id={"angry": 1, "sad": 0}))
    assert problem.startswith("label2id in config.json numbers angry as 1, and id2label as 0")
