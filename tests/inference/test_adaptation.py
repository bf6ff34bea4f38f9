"""Embeddings of a group are moved to the statistics of the training speakers."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from ser_hf import UserError, predict
from ser_hf.inference.adaptation import (
    LEAST_CLIPS,
    EmbeddingStatistics,
    adapt,
    embedding_statistics,
    head_logits,
    moved,
    read_statistics,
    save_statistics,
)
from ser_hf.inference.load import load_classifier
from ser_hf.loading.files import STATISTICS, weights_hash

SIZE = 6


def vectors_of(generator, clips, mean=0.0, deviation=1.0):
    return (mean + deviation * generator.standard_normal((clips, SIZE))).astype(np.float32)


def test_each_speaker_has_the_same_weight():
    generator = np.random.default_rng(0)
    vectors = np.concatenate(
        [vectors_of(generator, 300, mean=1, deviation=2), vectors_of(generator, 30, mean=5)]
    )
    statistics = embedding_statistics(vectors, ["a"] * 300 + ["b"] * 30)
    means = [vectors[:300].mean(axis=0), vectors[300:].mean(axis=0)]
    variances = [vectors[:300].var(axis=0), vectors[300:].var(axis=0)]
    np.testing.assert_allclose(statistics.mean, np.mean(means, axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics.deviation**2, np.mean(variances, axis=0), rtol=1e-5)
    assert (statistics.speakers, statistics.clips) == (2, 330)


def test_a_constant_feature_is_not_amplified():
    vectors = vectors_of(np.random.default_rng(0), 20)
    vectors[:, 0] = 3
    statistics = embedding_statistics(vectors, ["a"] * 10 + ["b"] * 10)
    assert statistics.deviation[0] > 1e-3
    assert (embedding_statistics(np.ones((4, 2)), list("aabb")).deviation == 1).all()


def test_a_large_group_gets_the_statistics_of_the_training_speakers():
    generator = np.random.default_rng(0)
    statistics = embedding_statistics(vectors_of(generator, 100), ["a", "b"] * 50)
    group = moved(vectors_of(generator, 5000, mean=7, deviation=3), statistics)
    np.testing.assert_allclose(group.mean(axis=0), statistics.mean, atol=0.02)
    np.testing.assert_allclose(group.std(axis=0), statistics.deviation, rtol=0.02)
    few = moved(vectors_of(generator, 10, mean=7, deviation=3), statistics)
    np.testing.assert_allclose(few.mean(axis=0), statistics.mean, atol=1e-4)
    ratio = few.std(axis=0) / statistics.deviation
    assert ((ratio > 1) & (ratio < 3)).all(), "few clips do not determine their deviation"


def test_small_groups_are_left_alone_and_named(published, caplog):
    classifier = load_classifier(published("crnn"), device="cpu")
    vectors = np.random.default_rng(0).standard_normal((LEAST_CLIPS + 3, _size(classifier)))
    vectors = vectors.astype(np.float32)
    logits = head_logits(classifier, vectors)
    groups = ["large"] * LEAST_CLIPS + ["small", "small", None]
    statistics = embedding_statistics(vectors + 1, ["a", "b", "c"] * 3 + ["a", "b"])
    result = adapt(
        classifier, statistics, vectors, logits, groups, whole=np.ones(len(vectors), bool)
    )
    assert (result.groups, result.adapted_groups) == (2, 1)
    assert result.adapted.tolist() == [True] * LEAST_CLIPS + [False] * 3
    np.testing.assert_array_equal(result.logits[LEAST_CLIPS:], logits[LEAST_CLIPS:])
    expected = head_logits(classifier, moved(vectors[:LEAST_CLIPS], statistics))
    np.testing.assert_allclose(result.logits[:LEAST_CLIPS], expected, rtol=1e-5)
    assert "small" in caplog.text
    assert "large" not in caplog.text


def _size(classifier):
    return classifier.model.classifier.in_features


def test_statistics_of_another_model_and_other_logits_are_refused(published):
    classifier = load_classifier(published("crnn"), device="cpu")
    size = _size(classifier)
    vectors = np.zeros((LEAST_CLIPS, size), dtype=np.float32)
    logits = head_logits(classifier, vectors)
    groups = ["a"] * LEAST_CLIPS
    whole = np.ones(LEAST_CLIPS, bool)
    other = EmbeddingStatistics(np.zeros(size + 1), np.ones(size + 1), speakers=2, clips=9)
    with pytest.raises(UserError, match=r"^--adapt: .*statistics of"):
        adapt(classifier, other, vectors, logits, groups, whole=whole)
    statistics = EmbeddingStatistics(np.zeros(size), np.ones(size), speakers=2, clips=9)
    with pytest.raises(UserError, match=r"^--adapt: .*last linear layer"):
        adapt(classifier, statistics, vectors, logits + 5, groups, whole=whole)


def test_statistics_are_saved_beside_the_weights(copy):
    classifier = load_classifier(copy, device="cpu")
    before = weights_hash(copy)
    with pytest.raises(UserError, match=r"^--adapt: .*--adapt-from"):
        read_statistics(classifier)
    statistics = embedding_statistics(np.random.default_rng(0).random((8, 3)), list("aabbccdd"))
    save_statistics(statistics, copy)
    assert weights_hash(copy) == before
    saved = read_statistics(classifier)
    np.testing.assert_array_equal(saved.mean, statistics.mean)
    np.testing.assert_array_equal(saved.deviation, statistics.deviation)
    assert (saved.speakers, saved.clips) == (4, 8)


@pytest.mark.parametrize("damage", ["text", "nan", "zero", "shape", "counts"])
def test_damaged_statistics_are_refused(copy, damage):
    classifier = load_classifier(copy, device="cpu")
    tensors = {"mean": np.zeros(3, np.float32), "deviation": np.ones(3, np.float32)}
    metadata = {"speakers": "2", "clips": "4"}
    if damage == "nan":
        tensors["mean"][0] = np.nan
    elif damage == "zero":
        tensors["deviation"][0] = 0
    elif damage == "shape":
        tensors["mean"] = np.zeros(4, np.float32)
    elif damage == "counts":
        metadata = {"speakers": "two", "clips": "4"}
    save_file(tensors, copy / STATISTICS, metadata=metadata)
    if damage == "text":
        (copy / STATISTICS).write_text("no tensors")
    with pytest.raises(UserError, match=f"{STATISTICS}: damaged"):
        read_statistics(classifier)


def test_predictions_of_a_run_are_adapted_by_its_saved_statistics(run, recordings):
    plain = predict(run, [recordings], device="cpu")
    assert (run / "model" / STATISTICS).is_file()
    settings = {"segments": "windows", "window": 0.1, "hop": 0.1, "device": "cpu"}
    windows = predict(run, [recordings], **settings)
    adapted = predict(run, [recordings], adapt="recording", **settings)
    assert adapted.ids == windows.ids
    assert adapted.metadata.adapt == "recording"
    assert "embedding" not in adapted.table.column_names
    is_adapted = np.array(adapted.table["adapted"].to_pylist())
    counts = {name: windows.ids.count(name) for name in windows.ids}
    assert is_adapted.tolist() == [counts[name] >= LEAST_CLIPS for name in windows.ids]
    assert is_adapted.any()
    assert not is_adapted.all()
    np.testing.assert_array_equal(adapted.logits[~is_adapted], windows.logits[~is_adapted])
    assert np.abs(adapted.logits[is_adapted] - windows.logits[is_adapted]).max() > 1e-3
    folders = predict(run, [recordings], adapt="folder", device="cpu")
    np.testing.assert_array_equal(folders.logits, plain.logits)  # too few clips in each


def test_mistakes_of_adaptation_name_the_option(run, recordings, copy):
    with pytest.raises(UserError, match=r"^--adapt: no recording has a speaker"):
        predict(run, [recordings], adapt="speaker", device="cpu")
    with pytest.raises(UserError, match=r"^--adapt: recording needs"):
        predict(run, [recordings], adapt="recording")
    with pytest.raises(UserError, match=r"^--adapt-from: has no effect"):
        predict(run, [recordings], adapt_from=[str(recordings)])
    with pytest.raises(UserError, match=r"^--adapt: .*no statistics"):
        predict(copy, [recordings], adapt="folder", device="cpu")
    predict(copy, [recordings], adapt="folder", adapt_from=[str(recordings)], device="cpu")
