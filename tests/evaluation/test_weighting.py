"""Counts and means under weights of the clips."""

import numpy as np

from ser_hf.evaluation.weighting import mean_of_known, one_hot, recalls


def test_weights_count_the_drawn_clips_of_each_group():
    counts = np.array([[2, 0, 1]]) @ one_hot(np.array([1, 0, 1]), 3)
    assert counts.tolist() == [[0, 3, 0]]


def test_values_take_the_place_of_ones():
    sums = np.array([[1, 1]]) @ one_hot(np.array([0, 0]), 1, np.array([0.5, 0.25]))
    assert sums.tolist() == [[0.75]]


def test_a_class_without_a_clip_has_no_recall(recwarn):
    found = recalls(np.array([4.0, 0.0]), np.array([1.0, 0.0]))
    assert found[0] == 0.25
    assert np.isnan(found[1])
    assert mean_of_known(found) == 0.25
    assert np.isnan(mean_of_known(np.array([np.nan])))
    assert not recwarn.list
