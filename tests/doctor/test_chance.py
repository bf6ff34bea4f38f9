"""The permutation test against chance."""

import numpy as np
import pytest

from ser_hf.doctor.chance import p_value, uar


def test_right_predictions_are_above_chance_and_random_ones_are_not():
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=100)
    assert uar(labels, labels) == 1
    assert p_value(labels, labels) == pytest.approx(1 / 2001)
    assert p_value(labels, generator.integers(4, size=100)) > 0.01
    assert p_value(labels, np.zeros(100, dtype=int)) == 1


def test_the_share_of_false_alarms_is_that_of_the_threshold():
    generator = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 10)
    values = [p_value(labels, generator.integers(3, size=30)) for _ in range(20)]
    assert np.mean(np.asarray(values) < 0.2) < 0.5
    assert np.median(values) > 0.25
