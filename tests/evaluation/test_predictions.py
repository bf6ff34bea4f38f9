"""Predictions for clips of a corpus, as a table and back."""

import numpy as np
import pyarrow as pa
import pytest
from datasets import Audio, ClassLabel, Dataset, Features, List, Value
from support.predictions import guesses

from ser_hf.evaluation.predictions import CLIP_COLUMNS, from_table, of_rows, to_table

NAMES = ["angry", "happy", "sad"]
ROWS = [4, 0, 3]


@pytest.fixture(scope="module")
def dataset():
    features = {
        "audio": Value("string"),
        "id": Value("string"),
        "label": ClassLabel(names=NAMES),
        "votes": List(Value("float32"), length=3),
        "intended": Value("string"),
        **{
            name: Value("float64" if name in ("age", "duration") else "string")
            for name in CLIP_COLUMNS
        },
    }
    columns = {
        "audio": [f"{i}.wav" for i in range(5)],
        "id": [f"toy/{i}" for i in range(5)],
        "label": [0, 1, 2, 0, 1],
        "votes": [[1, 0, 0], None, None, [0, 0.5, 0.5], None],
        "intended": ["angry", "sad", None, "angry", "happy"],
        **dict.fromkeys(CLIP_COLUMNS, [None] * 5),
        "speaker": ["a", "a", "b", "b", "b"],
        "duration": [1.5, 2.0, 2.5, 3.0, 3.5],
    }
    return Dataset.from_dict(columns, features=Features(features)).cast_column(
        "audio", Audio(decode=False)
    )


SHARES = guesses(3, 3)[1][0]


def test_a_table_reads_back_as_it_was(dataset):
    predictions = of_rows(dataset, ROWS, SHARES)
    assert predictions.ids == ["toy/4", "toy/0", "toy/3"]
    assert predictions.labels.tolist() == [1, 0, 0]
    assert predictions.columns["duration"] == [3.5, 1.5, 3.0]
    back = from_table(
        pa.concat_tables([to_table("validation", predictions), to_table("test", predictions)]),
        "test",
        NAMES,
    )
    assert (back.names, back.ids, back.paths) == (
        predictions.names,
        predictions.ids,
        predictions.paths,
    )
    assert back.columns == predictions.columns
    np.testing.assert_array_equal(back.labels, predictions.labels)
    np.testing.assert_array_equal(back.probabilities, predictions.probabilities)
    np.testing.assert_array_equal(back.votes, predictions.votes)
    assert np.isnan(back.votes[0]).all()


def test_predictions_are_a_table_of_clips(dataset):
    clips = to_table("test", of_rows(dataset, ROWS, SHARES)).to_pylist()
    for clip, row, share in zip(clips, ROWS, SHARES, strict=True):
        probabilities = {name: clip[f"p_{name}"] for name in NAMES}
        assert list(probabilities.values()) == pytest.approx(share.tolist())
        assert clip["predicted"] == max(probabilities, key=probabilities.get)
        assert (clip["part"], clip["id"], clip["path"]) == ("test", f"toy/{row}", f"{row}.wav")
        assert clip["label"] == NAMES[dataset[row]["label"]]


def _with_seed(dataset, seed, rows=ROWS, shares=SHARES):
    table = to_table("test", of_rows(dataset, rows, shares))
    return table.append_column("seed", pa.array([seed] * len(table)))


def test_seeds_are_runs_on_the_same_clips_in_any_order(dataset):
    turned = _with_seed(dataset, 2, ROWS[::-1], SHARES[::-1] ** 2)
    predictions = from_table(pa.concat_tables([_with_seed(dataset, 1), turned]), "test", NAMES)
    assert len(predictions) == 3
    np.testing.assert_array_equal(predictions.probabilities, np.stack([SHARES, SHARES**2]))
    with pytest.raises(ValueError, match="different clips"):
        from_table(
            pa.concat_tables(
                [_with_seed(dataset, 1), _with_seed(dataset, 2, ROWS[:2], SHARES[:2])]
            ),
            "test",
            NAMES,
        )


def test_some_of_the_clips(dataset):
    predictions = of_rows(dataset, ROWS, SHARES)
    by_mask = predictions.only(np.array([False, True, True]))
    by_place = predictions.only(np.array([1, 2]))
    for some in (by_mask, by_place):
        assert some.ids == ["toy/0", "toy/3"]
        assert some.paths == ["0.wav", "3.wav"]
        assert some.columns["speaker"] == ["a", "b"]
        np.testing.assert_array_equal(some.probabilities, predictions.probabilities[:, 1:])
