"""The judgement of each corpus by itself: metrics over its own classes, a confusion over all, collisions named."""

import numpy as np
import pytest

from ser_hf.evaluation.metrics import classification_metrics
from ser_hf.evaluation.slices import by_corpus

NAMES = ["calm", "neutral", "sad"]
# Corpus a calls calm what is neutral in b, which has no calm.
CORPORA = ["a"] * 6 + ["b"] * 4
SPEAKERS = ["a:1"] * 3 + ["a:2"] * 3 + ["b:1"] * 4
LABELS = np.array([0, 0, 1, 1, 2, 2, 1, 1, 2, 2])
PREDICTED = np.array([[0, 0, 1, 1, 2, 1, 0, 0, 2, 2]])


def test_each_corpus_is_judged_on_its_own_clips_and_classes():
    judged = by_corpus(CORPORA, SPEAKERS, LABELS, PREDICTED, NAMES)
    assert list(judged) == ["a", "b"]
    assert (judged["a"]["clips"], judged["a"]["speakers"]) == (6, 2)
    assert (judged["b"]["clips"], judged["b"]["speakers"]) == (4, 1)
    assert judged["a"]["metrics"] == classification_metrics(LABELS[:6], PREDICTED[0, :6], 3)
    assert judged["b"]["metrics"]["uar"] == 0.5, "over the two classes that it has"
    assert judged["a"]["confusion"] == [[2, 0, 0], [0, 2, 0], [0, 1, 1]]
    assert judged["b"]["confusion"] == [[0, 0, 0], [2, 0, 0], [0, 0, 2]]
    assert list(judged["b"]["per_class"]) == ["neutral", "sad"]
    assert judged["b"]["per_class"]["neutral"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}


def test_labels_that_collide_are_named():
    judged = by_corpus(CORPORA, SPEAKERS, LABELS, PREDICTED, NAMES)
    assert judged["b"]["collisions"] == [{"label": "neutral", "taken_for": "calm", "share": 1.0, "foreign": True}]
    assert judged["a"]["collisions"] == [{"label": "sad", "taken_for": "neutral", "share": 0.5, "foreign": False}]


def test_the_worst_collision_comes_first_and_rare_ones_are_not_named():
    labels = np.array([0] * 10 + [1] * 10 + [2] * 10 + [0])
    predicted = np.array([[1] * 3 + [0] * 7 + [2] * 6 + [1] * 4 + [0] + [2] * 9 + [0]])
    judged = by_corpus(["a"] * 30 + ["b"], ["a:1"] * 30 + ["b:1"], labels, predicted, NAMES)
    assert [(one["label"], one["taken_for"], one["share"]) for one in judged["a"]["collisions"]] == [
        ("neutral", "sad", 0.6),
        ("calm", "neutral", 0.3),
    ]
    assert judged["b"]["collisions"] == []


def test_of_several_runs_metrics_are_the_mean_and_confusions_the_sum():
    judged = by_corpus(CORPORA, SPEAKERS, LABELS, np.stack([PREDICTED[0], LABELS]), NAMES)
    assert judged["b"]["metrics"]["uar"] == 0.75
    assert judged["b"]["confusion"] == [[0, 0, 0], [2, 2, 0], [0, 0, 4]]
    assert judged["b"]["per_class"]["neutral"]["support"] == 2
    assert judged["b"]["per_class"]["neutral"]["recall"] == 0.5
    assert judged["b"]["clips"] == 4


@pytest.mark.parametrize("corpora", [["a"] * 10, []])
def test_one_corpus_needs_no_table_of_its_own(corpora):
    count = len(corpora)
    assert by_corpus(corpora, SPEAKERS[:count], LABELS[:count], PREDICTED[:, :count], NAMES) == {}
