"""The calibration of dimensions: on the scale of the ratings, with a CCC that is not lower."""

import numpy as np
import pytest

from ser_hf.evaluation.rating_scale import calibration_effect, fit_rating_scale, outside_scale
from ser_hf.evaluation.ratings import Ratings


def rated(spread, clips=2000, noise=0.15):
    """Targets of two dimensions, and predictions whose deviation is multiplied by `spread`."""
    rng = np.random.default_rng(0)
    labels = rng.beta(4, 3, size=(clips, 2)).astype(np.float32)
    values = labels + rng.normal(0, noise, size=labels.shape)
    return labels, (spread * (values - 0.5) - 0.3).astype(np.float32)


def ccc(labels, values):
    return Ratings(labels, values).unweighted.ccc().mean()


@pytest.mark.parametrize("spread", [0.2, 1.0, 6.0])
def test_predictions_are_on_the_scale_and_ccc_is_not_lower(spread):
    labels, values = rated(spread)
    fitted, others = slice(0, 1000), slice(1000, 2000)
    scale = fit_rating_scale(labels[fitted], values[fitted])
    mapped = scale.apply(values[others])
    assert mapped.dtype == np.float32
    assert outside_scale(mapped).mean() < 0.02
    assert ccc(labels[others], mapped.clip(0, 1)) > ccc(labels[others], values[others])
    order = np.argsort(values[others], axis=0)
    assert (np.argsort(mapped, axis=0) == order).mean() > 0.99


def test_it_does_not_depend_on_units_of_the_network():
    labels, values = rated(1.0)
    plain = fit_rating_scale(labels, values).apply(values)
    scaled = fit_rating_scale(labels, 100 * values - 7).apply(100 * values - 7)
    np.testing.assert_allclose(plain, scaled, atol=1e-3)


def test_constant_predictions_move_to_the_mean_of_the_ratings():
    labels, values = rated(1.0)
    constant = np.full_like(values, 3.0)
    np.testing.assert_allclose(
        fit_rating_scale(labels, constant).apply(constant)[0], labels.mean(axis=0), atol=1e-5
    )


def test_equal_ratings_keep_a_positive_slope():
    labels, values = rated(1.0)
    scale = fit_rating_scale(np.full_like(labels, 0.5), values)
    assert (scale.slopes > 0).all()
    np.testing.assert_allclose(scale.apply(values), 0.5, atol=1e-4)


def test_the_effect_names_ccc_and_the_share_outside_of_each_dimension():
    labels, values = rated(6.0)
    scale = fit_rating_scale(labels, values)
    effects = calibration_effect(scale, ["arousal", "valence"], labels, values)
    assert list(effects) == ["arousal", "valence"]
    for effect in effects.values():
        assert effect.outside_before > 0.2 > 0.02 > effect.outside_after
        assert effect.ccc_after > effect.ccc_before


def test_an_undefined_ccc_has_no_figure():
    labels = np.full((5, 1), 0.5, np.float32)
    scale = fit_rating_scale(labels, labels)
    effect = calibration_effect(scale, ["arousal"], labels, labels)["arousal"]
    assert effect.ccc_before is None
