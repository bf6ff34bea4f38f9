"""Groups of clips and their gaps, the other label of clips, and each corpus by itself."""

import numpy as np
import pytest
from support.intervals import slice_metrics
from support.predictions import predictions_of

from ser_hf.evaluation.groups import SLICES
from ser_hf.evaluation.metrics import classification_metrics
from ser_hf.evaluation.slices import by_corpus, other_label, slice_places

LABELS = np.array([0, 1, 0, 1])
PREDICTIONS = np.array([0, 1, 1, 1])


def _slices(speakers=("s",) * 4, labels=LABELS, predictions=PREDICTIONS, **columns):
    return slice_metrics(predictions_of(labels, predictions, 2, speakers, **columns), resamples=200)


def test_each_value_is_evaluated_on_its_clips():
    slices, _ = _slices(speakers=["b", "b", "a", "a"])
    assert list(slices) == ["speaker"]
    assert list(slices["speaker"]) == ["a", "b"]
    sure = dict.fromkeys(("uar", "wa", "macro_f1", "weighted_f1"), 1.0)
    assert slices["speaker"]["b"].to_dict() == sure | {
        "clips": 2,
        "speakers": 1,
        "interval": [1.0, 1.0],
    }
    half = slices["speaker"]["a"]
    assert half.interval == [0.0, 1.0]
    assert {
        name: getattr(half, name) for name in ("clips", "uar", "wa", "macro_f1")
    } == pytest.approx({"clips": 2, "uar": 0.5, "wa": 0.5, "macro_f1": 1 / 3})


@pytest.mark.parametrize("values", [[None] * 4, ["female"] * 4, ["female", None, "female", None]])
def test_a_column_that_does_not_divide_the_clips_is_left_out(values):
    assert _slices(sex=values) == ({}, {})


def test_clips_without_a_value_are_in_no_slice():
    slices, _ = _slices(intensity=["normal", "strong", None, "strong"])
    assert {value: row.clips for value, row in slices["intensity"].items()} == {
        "normal": 1,
        "strong": 2,
    }


def test_ages_and_durations_are_grouped_in_order():
    slices, _ = _slices(age=[61, 17.5, 18, None], duration=[12.0, 0.5, 2.0, 2.9])
    assert list(slices["age_group"]) == ["under 18 years", "18 to 30 years", "60 years and more"]
    clips = [(value, row.clips) for value, row in slices["duration"].items()]
    assert clips == [("under 1 s", 1), ("2 to 3 s", 2), ("10 s and more", 1)]


def test_an_age_in_words_is_unknown():
    groups = [SLICES["age_group"].group(age) for age in ("26-35", 40, 20, float("nan"), None)]
    assert groups == [None, "30 to 45 years", "18 to 30 years", None, None]


def test_many_sentences_are_not_sliced_but_many_speakers_are():
    many = [str(i) for i in range(60)]
    places = slice_places(predictions_of([0] * 60, [0] * 60, 2, many, sentence=many))
    assert list(places) == ["speaker"]
    assert list(places["speaker"]) == many, "numbers by size"


def test_the_gap_names_the_worst_speaker_with_an_interval():
    labels = np.tile([0, 1], 60)
    speakers = np.repeat(["a", "b", "c"], 40)
    # b is right in three of four, the others always.
    predictions = np.where((speakers == "b") & (np.arange(120) % 4 < 1), 1 - labels, labels)
    _, gaps = slice_metrics(predictions_of(labels, predictions, 2, speakers), resamples=1000)
    gap = gaps["speaker"]
    assert (gap.worst, gap.best, gap.metric) == ("b", "a", "uar")
    assert gap.gap == pytest.approx(0.25)
    low, high = gap.interval
    # Half of b's clips, one class, are each right by a half: UAR's deviation is that of 20 clips,
    # halved.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 20) / 2, rel=0.2)
    assert 0 < low < 0.25 < high


def test_groups_that_differ_by_chance_have_a_gap_around_zero():
    generator = np.random.default_rng(0)
    labels = np.tile([0, 1], 200)
    predictions = np.where(generator.random(400) < 0.7, labels, 1 - labels)
    speakers = np.repeat([f"s{i}" for i in range(20)], 20)
    sexes = np.repeat(["female", "male"], 200).tolist()
    _, gaps = slice_metrics(
        predictions_of(labels, predictions, 2, speakers, sex=sexes), resamples=1000
    )
    low, high = gaps["sex"].interval
    assert low < 0 < high


def test_too_few_clips_are_not_the_worst():
    labels = np.tile([0, 1], 10)
    speakers = ["a"] * 16 + ["b"] * 4
    predictions = np.where(np.arange(20) < 16, labels, 1 - labels)
    slices, gaps = slice_metrics(predictions_of(labels, predictions, 2, speakers), resamples=50)
    assert slices["speaker"]["b"].uar == 0
    assert gaps == {}


def test_a_group_of_one_or_two_speakers_has_no_interval_and_is_not_the_worst():
    labels = np.tile([0, 1], 60)
    speakers = np.repeat([f"s{i}" for i in range(6)], 20)
    predictions = np.where(speakers == "s0", 1 - labels, labels)
    predictions[::7] = 1 - labels[::7]
    ages = np.repeat([70, 70, 20, 20, 20, 50], 20).tolist()
    slices, gaps = _slices(speakers, labels, predictions, age=ages, sex=["m", "f"] * 60)
    found = {
        value: (row.speakers, row.interval is None) for value, row in slices["age_group"].items()
    }
    assert found == {
        "18 to 30 years": (3, False),
        "45 to 60 years": (1, True),
        "60 years and more": (2, True),
    }
    assert set(gaps) == {"speaker", "sex"}
    assert all(row.interval for row in slices["speaker"].values())
    assert gaps["speaker"].worst == "s0"


def test_clips_of_unknown_speakers_are_sliced_as_well():
    slices, _ = _slices([None, "a", "b", None], sex=["f", "m", "m", "f"])
    assert [row.speakers for row in slices["sex"].values()] == [None, 2]
    assert slices["sex"]["f"].interval


@pytest.mark.parametrize("value", [" ", "² m", "²", "1e", "1.2.3", "٣ cm", "-", "under"])
def test_any_text_may_be_a_sentence(value):
    slices, _ = _slices(sentence=[value, "x", "x", "y"])
    assert set(slices["sentence"]) == {"x", "y"} | ({value} if value.strip() else set())


def test_perceived_emotions_are_compared_with_the_same_predictions():
    names = ["angry", "sad"]
    perceived = ["angry", "sad", "sad", None, "fear"]
    labels = [0, 1, 0, 0, 1]
    predictions = [0, 1, 1, 1, 1]
    found = other_label(predictions_of(labels, predictions, 2, names=names, perceived=perceived))
    assert (found.by, found.clips) == ("perceived", 3)
    assert found.agreement == pytest.approx(2 / 3)
    assert found.metrics["wa"] == 1.0
    assert found.same_clips["wa"] == pytest.approx(2 / 3)
    assert found.counts == [[1, 1], [0, 1]]
    assert other_label(predictions_of(labels, predictions, 2)) is None


NAMES = ["calm", "neutral", "sad"]
# Clips that are calm in corpus a are neutral in b, which has no calm.
CORPORA = ["a"] * 6 + ["b"] * 4
SPEAKERS = ["a:1"] * 3 + ["a:2"] * 3 + ["b:1"] * 4
TRUE = np.array([0, 0, 1, 1, 2, 2, 1, 1, 2, 2])
PREDICTED = np.array([0, 0, 1, 1, 2, 1, 0, 0, 2, 2])


def corpora_of(labels, predicted, corpora=CORPORA, speakers=SPEAKERS):
    return by_corpus(predictions_of(labels, predicted, 3, speakers, names=NAMES, corpus=corpora))


def test_each_corpus_is_evaluated_on_its_clips_and_classes():
    found = corpora_of(TRUE, PREDICTED)
    assert {name: (own.clips, own.speakers) for name, own in found.items()} == {
        "a": (6, 2),
        "b": (4, 1),
    }
    assert found["a"].metrics == classification_metrics(TRUE[:6], PREDICTED[:6], 3)
    assert found["b"].metrics["uar"] == 0.5, "over the two classes that it has"
    assert found["a"].confusion == [[2, 0, 0], [0, 2, 0], [0, 1, 1]]
    assert found["b"].confusion == [[0, 0, 0], [2, 0, 0], [0, 0, 2]]
    assert list(found["b"].per_class) == ["neutral", "sad"]
    assert found["b"].per_class["neutral"].to_dict() == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 2,
    }
    assert [one.to_dict() for one in found["b"].collisions] == [
        {"label": "neutral", "taken_for": "calm", "share": 1.0, "foreign": True}
    ]
    assert [one.to_dict() for one in found["a"].collisions] == [
        {"label": "sad", "taken_for": "neutral", "share": 0.5, "foreign": False}
    ]
    assert corpora_of(TRUE, PREDICTED, ["a"] * 10) == {}


def test_the_worst_collision_comes_first_and_rare_ones_are_left_out():
    labels = np.array([0] * 10 + [1] * 10 + [2] * 10 + [0])
    predicted = np.array([1] * 3 + [0] * 7 + [2] * 6 + [1] * 4 + [0] + [2] * 9 + [0])
    found = corpora_of(labels, predicted, ["a"] * 30 + ["b"], ["a:1"] * 30 + ["b:1"])
    assert [(one.label, one.taken_for, one.share) for one in found["a"].collisions] == [
        ("neutral", "sad", 0.6),
        ("calm", "neutral", 0.3),
    ]
    assert [one.to_dict() for one in found["b"].collisions] == []


def test_over_several_runs_metrics_are_the_mean_and_confusions_the_sum():
    found = corpora_of(TRUE, np.stack([PREDICTED, TRUE]))["b"]
    assert found.metrics["uar"] == 0.75
    assert found.confusion == [[0, 0, 0], [2, 2, 0], [0, 0, 4]]
    assert (found.clips, found.per_class["neutral"].support) == (4, 2)
    assert found.per_class["neutral"].recall == 0.5
