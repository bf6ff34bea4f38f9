"""Equality up to rounding: kernels, memory layouts, threads and processes add in other orders."""

import numpy as np


def assert_near(actual, expected, tolerance=2e-5):
    """Of one shape, and apart by at most `tolerance` times the largest magnitude of what is
    expected, or times 1.
    """
    actual, expected = (
        value.detach().double().numpy()
        if hasattr(value, "detach")
        else np.asarray(value, dtype=np.float64)
        for value in (actual, expected)
    )
    assert actual.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)
