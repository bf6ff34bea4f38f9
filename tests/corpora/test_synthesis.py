"""The synthesis: clips of plausible sound, whose emotions can be told apart, but not too well."""

from dataclasses import astuple

import numpy as np
import pytest
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.metrics import recall_score

from ser_hf.corpora.synthesis import EMOTIONS, clip_prosody, utterance


def _latents(speakers, takes, seed):
    """Latent parameters of shape ``(clips, 9)``, factors as logarithms, and the emotion number of
    each clip.
    """
    rows = []
    labels = []
    for speaker in speakers:
        for label, emotion in enumerate(EMOTIONS):
            for take in range(takes):
                rows.append(astuple(clip_prosody(speaker, emotion, take, seed)))
                labels.append(label)
    latents = np.array(rows)
    positive = (latents > 0).all(axis=0)
    latents[:, positive] = np.log(latents[:, positive])
    return latents, np.array(labels)


@pytest.mark.parametrize(
    "other", [(4, "fear", 2, 7), (3, "sad", 2, 7), (3, "fear", 8, 7), (3, "fear", 2, 8)]
)
def test_any_other_argument_gives_another_clip(other):
    clip = utterance(3, "fear", 2, 7)
    different = utterance(*other)
    assert clip.shape != different.shape or not np.array_equal(clip, different)
    assert clip_prosody(3, "fear", 2, 7) != clip_prosody(*other)


def test_clips_are_finite_unclipped_mono_float32_of_plausible_length():
    for speaker in range(6):
        for emotion in EMOTIONS:
            for take in range(2):
                clip = utterance(speaker, emotion, take, seed=1)
                assert clip.dtype == np.float32
                assert clip.ndim == 1
                assert np.isfinite(clip).all()
                assert 0.001 < np.abs(clip).max() < 1.0
                assert 0.8 < len(clip) / 16000 < 3.5


@pytest.mark.parametrize("sampling_rate", [8000, 22050, 48000])
def test_a_clip_lasts_equally_long_at_any_sampling_rate(sampling_rate):
    clip = utterance(0, "happy", 0, seed=0, sampling_rate=sampling_rate)
    assert np.isfinite(clip).all()
    assert np.abs(clip).max() < 1.0
    assert len(clip) / sampling_rate == pytest.approx(
        len(utterance(0, "happy", 0, seed=0)) / 16000, abs=0.002
    )


def test_emotions_overlap_but_are_recognized_for_unseen_speakers():
    recalls = []
    for seed in range(3):
        classifier = QuadraticDiscriminantAnalysis().fit(*_latents(range(16), 8, seed))
        latents, labels = _latents(range(16, 24), 8, seed)
        recalls.append(recall_score(labels, classifier.predict(latents), average=None))
    assert 0.85 < np.mean(recalls) < 0.95
    assert np.mean(recalls, axis=0).max() < 1.0


def test_no_single_latent_determines_the_emotion():
    train, train_labels = _latents(range(16), 8, 0)
    test, test_labels = _latents(range(16, 24), 8, 0)
    for column in range(train.shape[1]):
        classifier = QuadraticDiscriminantAnalysis().fit(train[:, [column]], train_labels)
        predictions = classifier.predict(test[:, [column]])
        assert recall_score(test_labels, predictions, average="macro") < 0.7


def test_a_clip_keeps_its_sound_between_versions():
    """Where this fails on purpose, `GENERATOR_VERSION` must rise."""
    clip = utterance(3, "fear", 2, 7)
    assert len(clip) == 24582
    assert np.sqrt(np.mean(np.square(clip))) == pytest.approx(0.018977, rel=1e-4)
    assert clip[10000:10004].tolist() == pytest.approx(
        [-0.024725, -0.021420, -0.018431, -0.017179], abs=1e-5
    )
