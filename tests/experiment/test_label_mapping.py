"""The mapping from the labels of any model to emotions, and from its outputs to dimensions."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset

from ser_hf.experiment.label_mapping import (
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
