"""Responses of verify_worker.py, from the JSON that it writes."""

import pytest

from ser_hf.hub.response import Loaded, NotLoaded, Prediction, response_of
from ser_hf.utils.errors import UserError

LOADED = {
    "versions": {"torch": "2.12"},
    "loads": True,
    "tensors": 10,
    "missing": ["classifier.bias"],
    "unexpected": [],
    "labels": ["calm", None],
    "problem_type": None,
    "sampling_rate": 16000,
    "config_sampling_rate": 8000,
    "front_end": "Wav2Vec2FeatureExtractor",
    "model": "Wav2Vec2ForSequenceClassification",
    "predictions": [{"logits": [2.0, -2.0]}, {"error": "RuntimeError: too short"}],
    "alone": {"logits": [1.0, -1.0]},
    "padded": {"error": "RuntimeError: padded"},
}


def test_a_model_that_loads_has_a_prediction_for_each_clip():
    response = response_of(LOADED)
    assert isinstance(response, Loaded)
    assert response.predictions == [
        Prediction(logits=[2.0, -2.0]),
        Prediction(error="RuntimeError: too short"),
    ]
    assert response.alone == Prediction(logits=[1.0, -1.0])
    assert response.padded == Prediction(error="RuntimeError: padded")
    for name in ("versions", "tensors", "missing", "labels", "config_sampling_rate", "front_end"):
        assert getattr(response, name) == LOADED[name]


def test_a_model_that_does_not_load_has_the_error():
    values = {"loads": False, "error": "OSError: no config", "versions": {"torch": "2.12"}}
    assert response_of(values) == NotLoaded("OSError: no config", {"torch": "2.12"})


def test_a_clip_that_cannot_be_read_is_the_mistake_of_the_user():
    with pytest.raises(UserError, match=r"^--clips: a\.txt is no audio$"):
        response_of({"unreadable": "a.txt is no audio"})


@pytest.mark.parametrize("key", ["padded", "labels", "model"])
def test_a_response_without_a_key_is_a_fault(key):
    """Of this package, not of the model: it has no default."""
    incomplete = {name: value for name, value in LOADED.items() if name != key}
    with pytest.raises(KeyError, match=key):
        response_of(incomplete)
