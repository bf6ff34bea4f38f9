"""Predictions over time are smoothed, joined and summed up."""

import numpy as np
import pyarrow as pa
import pytest

from ser_hf.inference.joining import joined, over_time, seconds_by_speaker, smoothed
from ser_hf.inference.outputs import TableMetadata, matrix, of_lists
from ser_hf.utils.errors import UserError

LABELS = ["angry", "sad"]


def metadata(**changes):
    values = {
        "model": "m",
        "revision": None,
        "sampling_rate": 16000,
        "labels": LABELS,
        "window": None,
        "hop": None,
        "problem_type": None,
        "ranges": {},
        "embedding": None,
    }
    return TableMetadata(**values | changes)


def table_of(*rows):
    """A table of segments: speaker, start, end and the probability of angry."""
    angry = np.array([row[3] for row in rows], dtype=np.float32)
    probabilities = np.stack([angry, 1 - angry], axis=1)
    columns = {
        "id": [f"r{i}" for i in range(len(rows))],
        "path": ["a.wav"] * len(rows),
        "speaker": pa.array([row[0] for row in rows], pa.string()),
        "label": pa.array([None] * len(rows), pa.string()),
        "window": pa.array([0] * len(rows), pa.int32()),
        "windows": pa.array([1] * len(rows), pa.int32()),
        "start": pa.array([float(row[1]) for row in rows]),
        "end": pa.array([float(row[2]) for row in rows]),
        "predicted": [LABELS[i] for i in probabilities.argmax(axis=1)],
        "probabilities": of_lists(probabilities),
        "logits": of_lists(np.log(probabilities)),
    }
    return pa.table(columns)


def rows_of(table):
    names = ("speaker", "start", "end", "predicted")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_neighbors_with_one_label_are_joined():
    table = table_of(
        ("anna", 0, 1, 0.9), ("anna", 1.5, 3.5, 0.6), ("anna", 4, 5, 0.2), ("anna", 9, 10, 0.3)
    )
    result = joined(table, metadata())
    assert rows_of(result) == [
        ("anna", 0.0, 3.5, "angry"),
        ("anna", 4.0, 5.0, "sad"),
        ("anna", 9.0, 10.0, "sad"),  # after a long pause
    ]
    # The mean is weighted by the seconds of the parts.
    assert matrix(result, "probabilities")[0, 0] == pytest.approx((0.9 + 2 * 0.6) / 3)
    assert result["windows"].to_pylist() == [2, 1, 1]


def test_speakers_are_not_joined_with_each_other():
    table = table_of(("anna", 0, 1, 0.9), ("ben", 1, 2, 0.9), ("anna", 2, 3, 0.9))
    assert rows_of(joined(table, metadata())) == [
        ("anna", 0.0, 3.0, "angry"),
        ("ben", 1.0, 2.0, "angry"),
    ]


def test_the_median_removes_a_single_segment():
    table = table_of(*[("anna", i, i + 1, 0.1 if i == 2 else 0.8) for i in range(5)])
    result = smoothed(table, metadata(), 3)
    assert result["predicted"].to_pylist() == ["angry"] * 5
    np.testing.assert_allclose(matrix(result, "probabilities").sum(axis=1), 1, atol=1e-6)
    assert smoothed(table, metadata(), 1).equals(table)


def test_a_threshold_applies_to_smoothed_predictions():
    table = table_of(("anna", 0, 1, 0.55), ("anna", 1, 2, 0.9))
    result = smoothed(table, metadata(threshold=0.6), 1)
    assert result["predicted"].to_pylist() == ["unknown", "angry"]
    assert result["most_probable"].to_pylist() == ["angry", "angry"]


@pytest.mark.parametrize("width", [2, 4])
def test_an_even_width_is_refused(width):
    with pytest.raises(UserError, match="^--smooth: expected an odd number"):
        smoothed(table_of(("anna", 0, 1, 0.9)), metadata(), width)


def test_dimensions_are_not_joined():
    ratings = metadata(ranges={"angry": [0, 1], "sad": [0, 1]})
    with pytest.raises(UserError, match="^--join: the model predicts dimensions"):
        joined(table_of(("anna", 0, 1, 0.9)), ratings)


def test_smoothing_comes_before_joining():
    table = table_of(*[("anna", i, i + 1, 0.1 if i == 2 else 0.8) for i in range(5)])
    assert rows_of(over_time(table, metadata(), smooth=3, join=True)) == [
        ("anna", 0.0, 5.0, "angry")
    ]
    assert over_time(table, metadata()).equals(table)


def test_seconds_are_summed_by_speaker():
    table = table_of(("anna", 0, 1, 0.9), ("ben", 1, 3, 0.1), ("anna", 5, 9, 0.8))
    assert seconds_by_speaker(table) == {"anna": {"angry": 5.0}, "ben": {"sad": 2.0}}
