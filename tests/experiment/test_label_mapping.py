"""The mapping from the labels of any model to emotions, and from its outputs to dimensions."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset

from ser_hf.evaluation.summary import evaluate_predictions
from ser_hf.evaluation.tasks import MULTI_LABEL
from ser_hf.experiment.label_mapping import (
    SetMapping,
    dimension_mapping,
    identity_mapping,
    label_mapping,
    predictions_in_classes,
)
from ser_hf.utils.errors import UserError


def test_common_names_of_emotions_are_known_in_any_case_and_after_a_sex():
    mapping = label_mapping(["HAP", "female_angry", "male_angry", "Neutral", "fearful"])
    assert mapping.class_of_word == ["happy", "angry", "angry", "neutral", "fear"]
    assert mapping.classes == ["angry", "fear", "happy", "neutral"]
    probabilities = mapping.to_classes(np.array([[0.1, 0.2, 0.3, 0.4, 0.0]]))
    np.testing.assert_allclose(probabilities, [[0.5, 0.0, 0.1, 0.4]], rtol=1e-6)
    assert probabilities.dtype == np.float32


def test_an_unknown_label_is_a_class_that_counts_as_an_error():
    mapping = label_mapping(["angry", "laughter", "sad"])
    assert mapping.classes == ["angry", "sad", "laughter"]
    np.testing.assert_allclose(mapping.to_classes(np.array([[0.2, 0.7, 0.1]])), [[0.2, 0.1, 0.7]])
    assert mapping.rows()[1].to_dict() == {"word": "laughter", "emotion": None, "counted": True}


def test_a_label_map_names_emotions_and_leaves_labels_out():
    mapping = label_mapping(
        ["LABEL_0", "LABEL_1", "noise"], {"LABEL_0": "angry", "LABEL_1": "calm", "noise": "none"}
    )
    assert mapping.classes == ["angry", "calm"]
    assert mapping.rows()[2].to_dict() == {"word": "noise", "emotion": None, "counted": False}
    np.testing.assert_allclose(
        mapping.to_classes(np.array([[0.1, 0.3, 0.6], [0, 0, 1]])), [[0.25, 0.75], [0.5, 0.5]]
    )


@pytest.mark.parametrize(
    ("words", "label_map", "expected"),
    [
        (["LABEL_0", "LABEL_1"], {}, " 0 are known emotions; map them, as in LABEL_0=angry"),
        (["angry", "LABEL_1"], {}, " 1 are "),
        (["angry", "sad"], {"happy": "happy"}, "'happy'.* angry, sad$"),
        (["angry", "sad"], {"sad": "gloomy"}, "sad=gloomy: .*angry"),
    ],
)
def test_labels_without_emotions_are_refused(words, label_map, expected):
    with pytest.raises(UserError, match=f"^--label-map: .*{expected}"):
        label_mapping(words, label_map)


def test_dimensions_are_found_by_name_alias_and_label_map():
    mapping = dimension_mapping(["Activation", "V", "noise"], {"V": "valence", "noise": "none"})
    on_corpus = mapping.on(["valence", "arousal"])
    assert on_corpus.classes == ["valence", "arousal"]
    values = on_corpus.to_classes(np.array([[0.1, 0.2, 0.3]]))
    np.testing.assert_allclose(values, [[0.2, 0.1]], rtol=1e-6)
    with pytest.raises(UserError, match=r"^corpus\.targets:"):
        mapping.on(["dominance"])


def test_two_outputs_of_one_dimension_are_refused():
    with pytest.raises(UserError, match="^--label-map: "):
        dimension_mapping(["arousal", "Arousal"])


@pytest.mark.parametrize("task", ["emotions", "dimensions"])
def test_an_identity_mapping_changes_nothing(task):
    values = np.array([[0.25, 0.75]], np.float32)
    np.testing.assert_array_equal(identity_mapping(task, ["a", "b"]).to_classes(values), values)


def voted(votes):
    """Clips of a corpus with the labels happy, angry and fear, and with votes for them."""
    columns = {
        "id": [str(i) for i in range(len(votes))],
        "label": [int(np.argmax(row)) for row in votes],
        "votes": votes,
        "audio": [{"path": f"{i}.wav"} for i in range(len(votes))],
    }
    names = ClassLabel(names=["happy", "angry", "fear"])
    return Dataset.from_dict(columns).cast_column("label", names)


@pytest.mark.parametrize(
    ("share", "sets"),
    [
        # Half of the votes is not above 1 / 2, the share with two classes.
        (None, [[True, False], [False, False], [False, True]]),
        (0.4, [[True, False], [True, True], [False, True]]),
        (0.25, [[True, True], [True, True], [False, True]]),
        (0.0, [[True, True], [True, True], [False, True]]),
        (0.9, [[False, False], [False, False], [False, True]]),
    ],
)
def test_votes_become_sets_of_the_classes_of_the_model(share, sets):
    """Of the votes for angry and happy, the shares are 2/3, 1/3; 1/2, 1/2; and 0, 1."""
    dataset = voted([[0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])
    labels = ["angry", "happy"]
    mapping = SetMapping(labels, labels, labels, share)
    probabilities = np.array([[0.9, 0.1], [0.6, 0.7], [0.2, 0.8]], np.float32)
    predictions = predictions_in_classes(dataset, mapping, probabilities)
    assert predictions.task is MULTI_LABEL
    assert predictions.names == labels
    assert predictions.labels.tolist() == sets
    assert predictions.labels.dtype == bool
    np.testing.assert_array_equal(predictions.probabilities, probabilities[None])


def test_sets_of_the_classes_of_the_model_have_known_metrics():
    """With a share of 0.4: angry is true for clips 0 and 1, happy for clips 1 and 2."""
    dataset = voted([[0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])
    labels = ["angry", "happy"]
    mapping = SetMapping(labels, labels, labels, 0.4)
    # Above 0.5 are: angry; angry and happy; angry.
    probabilities = np.array([[0.9, 0.1], [0.6, 0.7], [0.8, 0.2]], np.float32)
    predictions = predictions_in_classes(dataset, mapping, probabilities)
    metrics = evaluate_predictions(predictions, bootstrap=20).metrics
    # Angry: 2 of 3 predicted clips are right, 2 of 2 true ones are predicted: F1 is 4 / 5.
    # Happy: 1 of 1, and 1 of 2: F1 is 2 / 3.
    assert metrics["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    # Two of three sets are right: {angry} and {angry, happy}.
    assert metrics["exact_match"] == pytest.approx(2 / 3)


def test_a_class_of_two_labels_has_the_higher_probability():
    mapping = SetMapping(["joy", "fun", "rage"], ["happy", "angry"], ["happy", "happy", "angry"])
    probabilities = mapping.to_classes(np.array([[0.2, 0.7, 0.4], [0.9, 0.1, 0.0]]))
    np.testing.assert_allclose(probabilities, [[0.7, 0.4], [0.9, 0.0]], rtol=1e-6)


def test_a_clip_without_votes_for_the_classes_has_no_set():
    labels = ["angry", "happy"]
    dataset = voted([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(UserError, match=r"^corpus: 1 has no votes for the labels of the model"):
        predictions_in_classes(
            dataset, SetMapping(labels, labels, labels), np.full((2, 2), 0.5, np.float32)
        )


def test_labels_and_votes_of_a_corpus_are_in_the_classes_of_the_model():
    columns = {
        "id": ["1", "2"],
        "label": [0, 1],
        "votes": [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]],
        "audio": [{"path": "1.wav"}, {"path": "2.wav"}],
    }
    names = ClassLabel(names=["happy", "angry", "fear"])
    dataset = Dataset.from_dict(columns).cast_column("label", names)
    mapping = label_mapping(["angry", "happy"])
    predictions = predictions_in_classes(dataset, mapping, np.full((2, 2), 0.5, np.float32))
    assert predictions.names == ["angry", "happy"]
    assert predictions.labels.tolist() == [1, 0]
    np.testing.assert_allclose(predictions.votes[0], [1 / 3, 2 / 3], rtol=1e-6)
    assert np.isnan(predictions.votes[1]).all(), "all raters chose a class that the model lacks"
