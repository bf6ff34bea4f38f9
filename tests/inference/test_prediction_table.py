"""The columns of predictions as arrays, for models of labels, of dimensions and of both."""

import numpy as np
import pyarrow as pa
import pytest

from ser_hf.inference.decisions import Decision
from ser_hf.inference.outputs import TableMetadata, of_lists, on_scale, prediction_columns
from ser_hf.inference.prediction_table import PredictionTable
from ser_hf.inference.writers import records

LOGITS = np.array([[2.0, 0.5], [-1.0, -2.0]], dtype=np.float32)


def predicted(labels=("angry", "sad"), ratings=None, **changes):
    values = {
        "model": "a-model",
        "revision": None,
        "sampling_rate": 16000,
        "labels": list(labels),
        "window": None,
        "hop": None,
        "problem_type": None,
        "ranges": {},
        "embedding": None,
    }
    metadata = TableMetadata(**(values | changes))
    columns = {name: pa.array(["a", "b"]) for name in metadata.columns if name != "predicted"}
    columns |= prediction_columns(LOGITS, metadata, Decision(list(labels), [0, 1]))
    if ratings is not None:
        columns["values"] = of_lists(on_scale(ratings, metadata.rating_ranges))
    return PredictionTable(pa.table(columns), metadata, skipped=[])


def test_labels_have_probabilities_and_no_values():
    predictions = predicted()
    assert predictions.predicted == ["angry", "angry"]
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert predictions.values is None
    assert predictions.dimensions == []


def test_dimensions_have_values_on_the_scale_of_the_ratings():
    predictions = predicted(
        ["arousal", "valence"],
        problem_type="regression",
        ranges={"arousal": [1, 5], "valence": [0, 1]},
    )
    assert predictions.predicted is predictions.probabilities is None
    np.testing.assert_allclose(predictions.values, [[9, 0.5], [-3, -2]])
    assert predictions.dimensions == ["arousal", "valence"]


def test_a_model_of_both_has_all_of_them():
    ratings = np.array([[0.5, 0.25], [1.0, 0.0]], np.float32)
    ranges = {"arousal": [1, 5], "valence": [1, 5]}
    predictions = predicted(ratings=ratings, rating_ranges=ranges)
    assert predictions.predicted == ["angry", "angry"]
    np.testing.assert_allclose(predictions.values, [[3, 2], [5, 1]])
    assert predictions.dimensions == ["arousal", "valence"]
    row = records(predictions.table, predictions.metadata)[0]
    assert row["values"] == {"arousal": 3.0, "valence": 2.0}
    assert set(row["probabilities"]) == {"angry", "sad"}


def test_sets_of_labels_are_those_above_the_threshold():
    predictions = predicted(problem_type="multi_label_classification", label_threshold=0.6)
    assert predictions.predicted == ["angry+sad", "none"]
    predictions = predicted(problem_type="multi_label_classification", label_threshold=0.7)
    assert predictions.predicted == ["angry", "none"]
    np.testing.assert_allclose(predictions.probabilities, 1 / (1 + np.exp(-LOGITS)), rtol=1e-6)


@pytest.mark.parametrize("threshold", [0.95])
def test_a_clip_below_the_least_probability_is_unknown(threshold):
    predictions = predicted(
        problem_type="multi_label_classification", label_threshold=0.6, threshold=threshold
    )
    assert predictions.predicted == ["unknown", "unknown"]
    assert predictions.table["most_probable"].to_pylist() == ["angry+sad", "none"]
