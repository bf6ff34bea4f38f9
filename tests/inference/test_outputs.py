"""The tables of predictions that follow from a model's outputs."""

import json

import numpy as np
import pyarrow as pa
import pytest
from support.close import assert_near

from ser_hf.inference.batches import ModelOutputs
from ser_hf.inference.chunks import Chunk
from ser_hf.inference.decisions import Decision
from ser_hf.inference.outputs import (
    METADATA,
    TableMetadata,
    clamped_rows,
    labels_of_model,
    matrix,
    of_lists,
    table,
)
from ser_hf.inference.recordings import Recording
from ser_hf.inference.timeline import Position

RATE = 1000
LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]], dtype=np.float32)
RECORDINGS = [Recording("a", "a.wav"), Recording("b", "b.wav")]


def metadata(**changes):
    values = {
        "model": "a-model",
        "revision": None,
        "sampling_rate": RATE,
        "labels": ["calm", "angry"],
        "window": 1.0,
        "hop": None,
        "problem_type": None,
        "ranges": {},
        "embedding": None,
    }
    return TableMetadata(**(values | changes))


def chunk(positions=None):
    """Two recordings of 2 s and 1 s, or their three positioned windows."""
    recordings = RECORDINGS
    seconds = [2, 1]
    if positions is not None:
        recordings = [RECORDINGS[0], RECORDINGS[0], RECORDINGS[1]]
        seconds = [1, 1, 1]
    return Chunk(
        recordings=recordings,
        waveforms=[np.zeros(count * RATE, dtype=np.float32) for count in seconds],
        sampling_rate=RATE,
        positions=positions,
    )


def predictions(chunk, outputs, metadata):
    """The table with all labels of the model, each of which may be predicted."""
    decision = Decision(metadata.labels, list(range(len(metadata.labels))))
    return table(chunk, outputs, metadata, decision)


def outputs(rows, starts, vectors=None):
    """`LOGITS` for windows of one second."""
    return ModelOutputs(
        rows=np.array(rows),
        starts=np.array(starts),
        lengths=np.full(len(rows), RATE),
        logits=LOGITS,
        vectors=vectors,
    )


def test_a_row_of_a_clip_is_the_mean_of_its_windows():
    vectors = np.array([[1.0], [3.0], [5.0]], dtype=np.float32)
    rows = predictions(chunk(), outputs([0, 0, 1], [0, RATE, 0], vectors), metadata())
    assert rows["id"].to_pylist() == ["a", "b"]
    assert rows["windows"].to_pylist() == [2, 1]
    assert rows["window"].to_pylist() == [None, 0]
    assert rows["start"].to_pylist() == [0.0, 0.0]
    assert rows["end"].to_pylist() == [2.0, 1.0]
    assert rows["predicted"].to_pylist() == ["calm", "angry"]
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert_near(matrix(rows, "probabilities"), [shares[:2].mean(axis=0), shares[2]])
    assert_near(matrix(rows, "embedding"), [[2.0], [5.0]])


def test_a_positioned_row_is_a_window_with_its_place():
    positions = [
        Position(number=0, windows=2, start=0.0, end=1.0),
        Position(number=1, windows=2, start=0.5, end=1.5),
        Position(number=0, windows=1, start=0.0, end=1.0),
    ]
    rows = predictions(chunk(positions), outputs([0, 1, 2], [0, 0, 0]), metadata(hop=0.5))
    assert rows["id"].to_pylist() == ["a", "a", "b"]
    assert rows["window"].to_pylist() == [0, 1, 0]
    assert rows["windows"].to_pylist() == [2, 2, 1]
    assert rows["start"].to_pylist() == [0.0, 0.5, 0.0]
    assert rows["end"].to_pylist() == [1.0, 1.5, 1.0]
    assert "embedding" not in rows.column_names


def test_dimensions_are_on_the_scale_of_their_ratings():
    described = metadata(
        labels=["arousal", "valence"],
        problem_type="regression",
        ranges={"arousal": [1.0, 5.0], "valence": [-1.0, 1.0]},
    )
    rows = predictions(chunk(), outputs([0, 0, 1], [0, RATE, 0]), described)
    assert "predicted" not in rows.column_names
    assert "probabilities" not in rows.column_names
    assert "predicted" not in described.columns
    # The mean outputs are (1, 0.5) and (0, 3).
    assert_near(matrix(rows, "values"), [[5.0, 0.0], [1.0, 5.0]])


def test_the_schema_contains_the_metadata():
    described = metadata()
    rows = predictions(chunk(), outputs([0, 0, 1], [0, RATE, 0]), described)
    stored = json.loads(rows.schema.metadata[METADATA])
    assert stored["labels"] == ["calm", "angry"]
    assert stored["window"] == 1.0
    assert stored["version"] == described.version


@pytest.mark.parametrize("shape", [(3, 2), (1, 4), (0, 2)])
def test_a_matrix_is_a_column_of_lists_of_a_fixed_size(shape):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    column = of_lists(values)
    assert column.type == pa.list_(pa.float32(), shape[1])
    assert len(column) == shape[0]
    if len(column):
        np.testing.assert_array_equal(matrix(pa.table({"x": column}), "x"), values)


def test_labels_of_a_table_are_in_the_words_of_the_model():
    original = ["anger", "Angry", "SAD", "cheerful", None, "calmness"]
    assert labels_of_model(original, ["angry", "calm"]) == [
        "angry",
        "angry",
        "sad",
        "cheerful",
        None,
        "calm",
    ]
    assert labels_of_model(["angry", "hap"], ["ang", "happiness"]) == ["ang", "happiness"]


def test_a_row_has_the_label_of_its_table_in_a_column_of_its_own():
    recordings = [Recording("a", "a.wav", label="anger"), Recording("b", "b.wav")]
    clips = Chunk(recordings, [np.zeros(RATE, dtype=np.float32)] * 2, RATE)
    rows = predictions(clips, outputs([0, 1], [0, 0]), metadata())
    assert rows["label"].to_pylist() == ["angry", None]
    assert rows["original_label"].to_pylist() == ["anger", None]


def test_values_end_at_the_scale_of_the_ratings_and_their_logits_do_not():
    known = metadata(problem_type="regression", ranges={"calm": [1, 5], "angry": [1, 5]})
    bounded = metadata(
        problem_type="regression", ranges={"calm": [1, 5], "angry": [1, 5]}, bounded=True
    )
    clips = chunk()
    values = predictions(clips, outputs([0, 1], [0, 0]), known)
    clamped = predictions(clips, outputs([0, 1], [0, 0]), bounded)
    assert matrix(values, "values").max() > 5
    assert matrix(clamped, "values").max() == 5
    assert_near(matrix(clamped, "logits"), matrix(values, "logits"))
    assert clamped_rows(values, known) == 0
    assert clamped_rows(clamped, bounded) == 2
