"""Properties of a classifier: labels, task, ranges, and its windows."""

import dataclasses

import pytest
from support.damage import change
from tiny_models import LABELS, RATE

from ser_hf import UserError, predict
from ser_hf.evaluation.tasks import DIMENSIONS, EMOTIONS
from ser_hf.inference.load import load_classifier
from ser_hf.models.preparation import Preparation


@pytest.fixture
def crnn(published):
    return load_classifier(published("crnn"), device="cpu")


@pytest.fixture
def wav2vec2(published):
    return load_classifier(published("wav2vec2"), device="cpu")


def test_labels_are_in_the_order_of_the_outputs(copy):
    change(copy / "config.json", id2label={"3": "sad", "0": "calm", "2": "happy", "1": "angry"})
    assert load_classifier(copy, device="cpu").labels == ["calm", "angry", "happy", "sad"]


def test_a_classifier_of_emotions_has_no_ranges(wav2vec2):
    assert wav2vec2.labels == LABELS
    assert wav2vec2.problem_type is None
    assert wav2vec2.task is EMOTIONS
    assert wav2vec2.ranges == {}


def test_a_regression_predicts_dimensions_on_their_ranges(copy):
    change(copy / "config.json", problem_type="regression", target_ranges={"angry": [1, 7]})
    classifier = load_classifier(copy, device="cpu")
    assert classifier.task is DIMENSIONS
    assert classifier.ranges.pop("angry") == [1, 7]
    ranges_without_a_key = {name: classifier.ranges[name] for name in LABELS[1:]}
    assert ranges_without_a_key == dict.fromkeys(LABELS[1:], [0.0, 1.0])


def test_an_encoder_is_a_pretrained_network_with_any_head(published, crnn, wav2vec2):
    assert wav2vec2.encoder
    assert load_classifier(published("pooled"), device="cpu").encoder
    assert not crnn.encoder


def test_padding_changes_nothing_where_a_mask_is_used(published, crnn, wav2vec2):
    assert crnn.padding_safe
    assert load_classifier(published("wav2vec2-layer"), device="cpu").padding_safe
    assert not wav2vec2.padding_safe


def test_the_window_is_the_requested_one_or_that_of_the_recipe(crnn):
    assert crnn.window() is None
    assert crnn.window(0.25) == RATE / 4
    with_recipe = dataclasses.replace(crnn, evaluation_window=2.0)
    assert with_recipe.window() == 2 * RATE
    assert with_recipe.window(0.25) == RATE / 4


def test_a_model_of_one_fixed_length_has_no_longer_windows(published):
    whisper = load_classifier(published("whisper"), device="cpu")
    assert whisper.window(30) == whisper.window() == RATE
    assert whisper.window(0.5) == RATE / 2


def test_vectors_of_functionals_have_no_windows(crnn):
    preparation = Preparation(functionals="eGeMAPSv02")
    functionals = dataclasses.replace(crnn, preparation=preparation)
    assert functionals.window() is None
    assert functionals.window(0.25, prepared=False) == RATE / 4
    with pytest.raises(UserError, match="^--window: "):
        functionals.window(0.25)


def test_clips_too_long_for_a_model_are_processed_in_windows(published, recordings):
    results = predict(published("whisper"), recordings, window=30)
    assert results.metadata.window == 1.0
    short = predict(published("wav2vec2"), recordings / "a" / "long.flac", window=0.5)
    assert short.metadata.window == 0.5
    assert short.table["windows"].to_pylist() == [2]
    assert predict(published("wav2vec2"), recordings / "c.wav").metadata.window is None
