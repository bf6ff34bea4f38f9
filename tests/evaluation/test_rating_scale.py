"""The calibration of dimensions: on the scale of the ratings, with a CCC that is not lower."""

import numpy as np
import pytest

from ser_hf.evaluation.rating_scale import (
    calibration_effect,
    fit_rating_scale,
    outside_scale,
    select_rating_scale,
)
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


def speakers(clips, voices=8):
    return [f"s{i % voices}" for i in range(clips)]


def test_a_map_that_helps_is_selected():
    labels, values = rated(6.0)
    selected = select_rating_scale(labels, values, speakers(len(labels)))
    fitted = fit_rating_scale(labels, values)
    np.testing.assert_array_equal(selected.slopes, fitted.slopes)
    np.testing.assert_array_equal(selected.offsets, fitted.offsets)


def test_a_dimension_whose_map_fails_on_other_speakers_keeps_its_values():
    labels, values = rated(1.0)
    values = values + 0.3  # the first dimension is on the scale of its ratings
    voice = np.asarray(speakers(len(labels), voices=4))
    labels[:, 0] = values[:, 0].clip(0, 1)
    # Each speaker is rated higher or lower as a whole, which the map of the others cannot know.
    for i in range(4):
        labels[voice == f"s{i}", 0] += 0.2 * (i - 1.5)
    scale = select_rating_scale(labels, values, voice)
    assert (scale.slopes[0], scale.offsets[0]) == (1, 0)
    assert scale.slopes[1] != 1

    kept = scale.apply(values).clip(0, 1)[:, :1]
    np.testing.assert_allclose(kept, values.clip(0, 1)[:, :1], atol=1e-6)


def test_one_speaker_and_equal_ratings_have_the_map():
    labels, values = rated(6.0)
    fitted = fit_rating_scale(labels, values)
    np.testing.assert_array_equal(
        select_rating_scale(labels, values, ["s"] * len(labels)).slopes, fitted.slopes
    )
    equal = np.full_like(labels, 0.5)
    scale = select_rating_scale(equal, values, speakers(len(labels)))
    np.testing.assert_allclose(scale.apply(values), 0.5, atol=1e-4)


def test_many_speakers_are_few_folds(monkeypatch):
    labels, values = rated(6.0, clips=300)
    fits = []

    def fit(*data):
        fits.append(data)
        return fit_rating_scale(*data)

    monkeypatch.setattr("ser_hf.evaluation.rating_scale.fit_rating_scale", fit)
    select_rating_scale(labels, values, [f"s{i}" for i in range(300)])
    assert len(fits) == 11
