"""Maps of embeddings: groups stay together, a seed gives the same map, few and constant clips have a map."""

import numpy as np
import pytest
from support.predictions import predictions_of

from ser_hf.evaluation import embeddings
from ser_hf.evaluation.embeddings import FEWEST, NAMES, embeddings_map, project
from ser_hf.utils.errors import UserError


def groups(clips=60, size=200, apart=8.0, seed=0):
    """Vectors of three groups with features of different scales, and the group of each vector."""
    generator = np.random.default_rng(seed)
    of = np.arange(clips) % 3
    vectors = generator.normal(size=(clips, size)) + apart * generator.normal(size=(3, size))[of] / np.sqrt(size)
    return vectors * 10.0 ** generator.integers(-3, 4, size), of


def neighbours_agree(points, of):
    """Share of clips whose nearest other clip is of their group."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return (of[distances.argmin(axis=1)] == of).mean()


@pytest.mark.parametrize("method", NAMES)
def test_groups_stay_together_and_a_seed_draws_the_same_map(method):
    vectors, of = groups()
    points = project(vectors, seed=3)[method]
    assert points.shape == (60, 2)
    assert points.dtype == np.float32
    assert neighbours_agree(points, of) > 0.9
    np.testing.assert_array_equal(points, project(vectors, seed=3)[method])


def test_pca_is_that_of_standardised_features():
    """By the singular vectors of the standardised table, up to sign."""
    vectors, _ = groups(clips=20, size=6)
    standardised = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    left, values, _ = np.linalg.svd(standardised, full_matrices=False)
    points = project(vectors)["pca"]
    np.testing.assert_allclose(np.abs(points), np.abs(left[:, :2] * values[:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("clips", "size"), [(FEWEST, 3), (7, 1), (12, 300)])
def test_few_clips_and_few_features(clips, size):
    vectors, _ = groups(clips, size)
    for points in project(vectors).values():
        assert points.shape == (clips, 2)
        assert np.isfinite(points).all()


def test_constant_features_have_no_effect_and_equal_clips_have_one_place():
    vectors, _ = groups(clips=12, size=5)
    padded = np.hstack([vectors, np.full((12, 1), 7.0)])
    np.testing.assert_allclose(project(padded)["pca"], project(vectors)["pca"], atol=1e-5)
    for points in project(np.ones((12, 5))).values():
        np.testing.assert_array_equal(points, np.zeros((12, 2)))


def test_a_map_of_many_clips_is_of_some(monkeypatch):
    monkeypatch.setattr(embeddings, "MOST", 20)
    vectors, of = groups(clips=60, size=5)
    facts, points = embeddings_map(predictions_of(of, of, 3), vectors)
    assert facts["clips"] == len(points) == len(set(points["id"].to_pylist())) == 20


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match="not all finite"):
        project(np.full((5, 2), np.nan))
