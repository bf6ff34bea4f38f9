"""Probabilities from logits."""

import subprocess
import sys

import numpy as np
import pytest

from ser_hf.evaluation.probabilities import (
    BINS,
    LEAST,
    activated,
    clipped,
    confidence_bins,
    softmax,
)


def test_softmax_survives_large_logits():
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0, -1000.0]])), [[0.5, 0.5, 0.0]])


def test_clipped_probabilities_are_positive_and_have_the_sum_one():
    raised = clipped(np.array([[0.0, 1.0], [0.25, 0.75]], np.float32))
    assert raised.min() >= LEAST / 2
    np.testing.assert_allclose(raised.sum(axis=1), 1)
    np.testing.assert_allclose(raised[1], [0.25, 0.75])


def test_the_problem_type_decides_what_a_logit_is():
    logits = np.array([[0.0, 2.0]], np.float32)
    np.testing.assert_array_equal(activated(logits, "regression"), logits)
    assert activated(logits, None).sum() == pytest.approx(1)
    assert activated(logits, "multi_label_classification")[0, 0] == pytest.approx(0.5)


def test_the_upper_bound_of_a_bin_is_in_it():
    top, bins = confidence_bins(np.array([[0.2] * 5, [1.0, 0, 0, 0, 0]]))
    assert top.tolist() == [0.2, 1.0]
    assert bins.tolist() == [2, BINS - 1]


@pytest.mark.slow
def test_predicting_loads_no_scikit_learn():
    code = "import sys, ser_hf.inference.predict; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
