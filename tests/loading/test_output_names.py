"""The names of a checkpoint's outputs, by which a new model keeps rows of its classifier."""

import pytest

from ser_hf.loading.output_names import check_label_names, output_names
from ser_hf.utils.errors import UserError

LABELS = ["angry", "happy", "neutral", "sad"]


@pytest.mark.parametrize(
    ("saved", "labels", "names"),
    [
        (["neu", "hap", "ang", "sad"], LABELS, ["neutral", "happy", "angry", "sad"]),
        (["Angry", "Contempt"], LABELS, ["angry", "Contempt"]),
        (["wut", "laughter"], LABELS, ["angry", "laughter"]),
        (["LABEL_0", "LABEL_1"], LABELS, ["LABEL_0", "LABEL_1"]),
        # A label of the corpus is never read as another word.
        (["ang", "hap"], ["ang", "angry"], ["ang", "hap"]),
        # Two outputs with one meaning stay as they are.
        (["female_happy", "male_happy", "sad"], LABELS, ["female_happy", "male_happy", "sad"]),
        (["happy", "Joy"], LABELS, ["happy", "Joy"]),
        # Dimensions, of which activation is another name of arousal.
        (["Activation", "Valence"], ["arousal", "valence"], ["arousal", "valence"]),
    ],
)
def test_names_of_models_of_others_are_read(saved, labels, names):
    assert output_names(dict(enumerate(saved)), labels) == names


def test_names_of_the_recipe_replace_those_of_the_checkpoint():
    saved = {0: "LABEL_0", 1: "LABEL_1"}
    assert output_names(saved, LABELS, ("sad", "ang")) == ["sad", "ang"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["angry", "sad"], "2 names, but org/model has 3 outputs"),
        (["angry", "sad", "hapy"], "'hapy' is neither .* the nearest is happy"),
        (["boredom", "calm", "fear"], "none of boredom, calm, fear is a label of the corpus"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, message):
    saved = {i: f"LABEL_{i}" for i in range(3)}
    with pytest.raises(UserError, match=rf"^model\.label_names: {message}"):
        check_label_names(names, "org/model", saved, LABELS)


@pytest.mark.parametrize(
    "names", [["angry", "calm", "sad"], ["angry", "LABEL_1", "sad"], ["angry", "laugh", "sad"]]
)
def test_names_of_emotions_of_labels_and_of_the_checkpoint_are_accepted(names):
    saved = {i: f"LABEL_{i}" for i in range(3)}
    check_label_names(names, "org/model", saved, [*LABELS, "laugh"])
