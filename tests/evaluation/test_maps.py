"""Maps of embeddings: groups stay together, seeds repeat them, and silhouettes measure groups."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler
from support.predictions import predictions_of

from ser_hf.evaluation import maps
from ser_hf.evaluation.maps import (
    FEWEST_CLIPS,
    METHODS,
    map_embeddings,
    mean_map,
    project,
    require_installed,
    sampled_clips,
    silhouette,
)
from ser_hf.utils.errors import UserError


def grouped(clips=48, size=20, distance=6.0):
    """Embeddings of three groups, and the group of each clip."""
    generator = np.random.default_rng(0)
    group_of_clip = np.arange(clips) % 3
    centers = generator.normal(size=(3, size)) * distance
    return generator.normal(size=(clips, size)) + centers[group_of_clip], group_of_clip


def share_of_near_neighbors(points, group_of_clip):
    """The share of clips whose nearest other clip is of their group."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return (group_of_clip[distances.argmin(axis=1)] == group_of_clip).mean()


def projected(vectors, method, seed=0):
    if method == "umap":
        pytest.importorskip("umap")
    return project(vectors, method, seed)


WITH_UMAP = ["pca", "tsne", pytest.param("umap", marks=pytest.mark.exhaustive)]


@pytest.mark.parametrize("method", WITH_UMAP)
def test_groups_stay_together_and_a_seed_repeats_the_map(method):
    vectors, group_of_clip = grouped()
    points = projected(vectors, method, seed=3).points
    assert points.shape == (48, 2)
    assert points.dtype == np.float32
    assert share_of_near_neighbors(points, group_of_clip) > 0.9
    np.testing.assert_array_equal(points, projected(vectors, method, seed=3).points)


@pytest.mark.parametrize("method", WITH_UMAP)
@pytest.mark.parametrize(("clips", "size"), [(FEWEST_CLIPS, 3), (7, 1), (16, 40)])
def test_few_clips_and_few_features_have_a_map(method, clips, size):
    vectors, _ = grouped(clips, size)
    points = projected(vectors, method).points
    assert points.shape == (clips, 2)
    assert np.isfinite(points).all()


def test_pca_has_the_singular_vectors_and_shares_of_the_variance():
    vectors, _ = grouped(clips=30, size=6)
    centered = vectors - vectors.mean(axis=0)
    left, values, _ = np.linalg.svd(centered, full_matrices=False)
    projection = project(vectors, "pca")
    expected = np.abs(left[:, :2] * values[:2])
    np.testing.assert_allclose(np.abs(projection.points), expected, rtol=1e-3, atol=1e-4)
    shares = values[:2] ** 2 / (values**2).sum()
    assert projection.explained == pytest.approx(shares.tolist(), rel=1e-6)


def test_silhouettes_are_those_of_all_standardized_dimensions():
    vectors, group_of_clip = grouped(distance=1.0)
    speakers = [f"s{i % 4}" for i in range(48)]
    predictions = predictions_of(group_of_clip, group_of_clip, 3, speakers)
    clip_map = map_embeddings(predictions, vectors * 10.0 ** np.arange(-10, 10), "pca")
    standardized = StandardScaler().fit_transform(vectors)
    section = clip_map.section
    assert section.emotions == pytest.approx(silhouette_score(standardized, group_of_clip))
    assert section.speakers == pytest.approx(silhouette_score(standardized, speakers))
    assert section.emotions > 0 > section.speakers
    assert (section.clips, section.of_clips, section.size) == (48, 48, 20)
    assert section.missing is None


def test_the_table_has_a_row_for_each_clip():
    vectors, group_of_clip = grouped(clips=9)
    predictions = predictions_of(group_of_clip, (group_of_clip + 1) % 3, 3, ["a", None, "b"] * 3)
    table = map_embeddings(predictions, vectors, "pca").table
    assert table.column_names == ["id", "speaker", "label", "predicted", "x", "y"]
    assert table["id"].to_pylist() == predictions.ids
    assert table["speaker"].to_pylist() == ["a", None, "b"] * 3
    assert table["label"].to_pylist()[:2] == ["class0", "class1"]
    assert table["predicted"].to_pylist()[:2] == ["class1", "class2"]


def test_clips_with_ratings_have_no_silhouette_of_emotions():
    vectors, group_of_clip = grouped(clips=9)
    ratings = np.linspace(0, 1, 18, dtype=np.float32).reshape(9, 2)
    predictions = predictions_of(
        ratings, None, 2, group_of_clip, ratings[None], names=["arousal", "valence"]
    )
    clip_map = map_embeddings(predictions, vectors, "pca")
    assert clip_map.section.emotions is None
    assert clip_map.section.speakers > 0.5
    assert clip_map.table["true_valence"].to_pylist() == ratings[:, 1].tolist()


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (np.ones((9, 4)), "the same embedding"),
        (np.full((9, 4), np.nan), "not finite"),
        (np.eye(4), "5 clips or more"),
    ],
)
def test_clips_without_a_map_have_a_reason(vectors, reason):
    labels = np.arange(len(vectors)) % 3
    clip_map = map_embeddings(predictions_of(labels, labels, 3), vectors, "tsne")
    assert reason in clip_map.section.missing
    assert clip_map.section.clips == 0
    assert clip_map.section.of_clips == len(vectors)
    assert clip_map.table is None


@pytest.mark.parametrize(
    "groups", [["a"] * 5, list("abcde"), [None] * 5, ["a", "b", None] + [None] * 2]
)
def test_a_silhouette_needs_two_groups_with_more_clips_than_groups(groups):
    assert silhouette(1 - np.eye(5), groups) is None


def test_clips_of_unknown_groups_are_left_out_of_a_silhouette():
    points = np.array([0.0, 0.1, 5.0, 5.1, 2.5])[:, None]
    distances = np.abs(points - points.T)
    expected = silhouette(distances[:4, :4], ["a", "a", "b", "b"])
    assert silhouette(distances, ["a", "a", "b", "b", None]) == expected


def test_a_map_of_many_clips_has_a_random_sample(monkeypatch):
    monkeypatch.setattr(maps, "MOST_CLIPS", 20)
    rows = sampled_clips(60)
    assert len(set(rows)) == 20
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, sampled_clips(60))
    np.testing.assert_array_equal(sampled_clips(20), np.arange(20))


def test_umap_without_its_package_names_the_key_and_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for method in ("pca", "tsne", None):
        require_installed(method, "evaluation.map")
    with pytest.raises(UserError, match=r'^evaluation\.map: umap .*"ser_hf\[umap\]"'):
        require_installed("umap", "evaluation.map")


def test_folds_have_the_means_of_their_silhouettes():
    vectors, group_of_clip = grouped()
    predictions = predictions_of(group_of_clip, group_of_clip, 3, ["a"] * 48)
    sections = [map_embeddings(predictions, vectors, method).section for method in METHODS[:1]]
    missing = maps.no_map("pca", 48, "all clips have the same embedding").section
    mean = mean_map([*sections, missing], clips=96)
    assert mean.emotions == pytest.approx(sections[0].emotions)
    assert mean.speakers is None
    assert (mean.clips, mean.of_clips, mean.missing) == (48, 96, None)
    assert mean_map([missing, missing], clips=96).missing == missing.missing
