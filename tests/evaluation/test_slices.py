"""Slices by speaker, sex, intensity and sentence."""

import numpy as np
import pytest

from ser_hf.evaluation.slices import COLUMNS, slice_metrics

LABELS, PREDICTIONS = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1])
NOTHING = dict.fromkeys(COLUMNS, [None] * 4)


def test_each_value_is_judged_on_its_own_clips():
    slices = slice_metrics(NOTHING | {"speaker": ["b", "b", "a", "a"]}, LABELS, PREDICTIONS, 2)
    assert list(slices) == ["speaker"]
    assert list(slices["speaker"]) == ["a", "b"]
    assert slices["speaker"]["b"] == {"clips": 2, "uar": 1.0, "wa": 1.0, "macro_f1": 1.0, "weighted_f1": 1.0}
    assert slices["speaker"]["a"] == pytest.approx(
        {"clips": 2, "uar": 0.5, "wa": 0.5, "macro_f1": 1 / 3, "weighted_f1": 1 / 3}
    )


@pytest.mark.parametrize("values", [[None] * 4, ["female"] * 4, ["female", None, "female", None]])
def test_a_column_that_tells_no_clips_apart_is_left_out(values):
    assert slice_metrics(NOTHING | {"sex": values}, LABELS, PREDICTIONS, 2) == {}


def test_clips_without_a_value_are_in_no_slice():
    slices = slice_metrics(NOTHING | {"intensity": ["normal", "strong", None, "strong"]}, LABELS, PREDICTIONS, 2)
    assert {value: row["clips"] for value, row in slices["intensity"].items()} == {"normal": 1, "strong": 2}
