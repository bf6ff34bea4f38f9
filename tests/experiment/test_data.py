"""The data of an experiment: corpus, splits, audit, and the foil's split of the same clips."""

import pytest
from support.recipes import TINY_CRNN

from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.loading.published import PUBLISHED
from ser_hf.utils.errors import UserError
from ser_hf.utils.files import packaged

RECIPE = {
    "name": "data",
    "corpus": {
        "name": "synthetic",
        "speakers": 6,
        "takes": 1,
        "labels": ["angry", "happy", "sad"],
        "drop": ["disgust", "fear", "neutral"],
    },
    "protocol": {"validation": 0.3, "test": 0.3, "near_duplicates": "skip"},
    "model": TINY_CRNN,
}


def load(*overrides):
    return load_experiment_data(read_recipe(RECIPE, overrides))


def test_a_fold_has_an_audited_split_of_all_clips():
    data = load()
    (fold,) = data.folds
    rows = sorted(row for rows in fold.split.rows.values() for row in rows)
    assert rows == list(range(len(data.dataset)))
    assert fold.number == 1
    assert fold.audit.shared["train/test"]["speakers"] == 0
    assert len(data.store) == len(data.dataset)
    assert data.labels == ["angry", "happy", "sad"]
    assert data.foil == []
    assert data.preparation_seconds > 0


def test_chosen_folds_keep_their_numbers():
    data = load("protocol={name: kfold, k: 3, folds: [3, 1], validation: 0.3}")
    assert [fold.number for fold in data.folds] == [3, 1]
    assert len({fold.clips for fold in data.folds}) == 1, "the folds have the same clips"


def test_the_foil_has_splits_of_the_same_sizes_and_a_leak():
    data = load("protocol.foil=random")
    (fold,) = data.folds
    (foil,) = data.foil
    for part, rows in fold.split.rows.items():
        assert len(foil.split.rows[part]) == pytest.approx(len(rows), abs=1)
    assert fold.split.leak is None
    assert foil.split.leak is not None


def test_the_digest_of_the_clips_depends_on_their_labels():
    (fold,) = load().folds
    renamed = load("corpus.merge={happy: angry}", "corpus.labels=[angry, sad]").folds[0]
    assert fold.split.sha256 == renamed.split.sha256
    assert fold.clips != renamed.clips


def test_a_leaky_protocol_has_no_foil():
    with pytest.raises(UserError, match=r"^protocol\.foil:"):
        load("protocol.name=random", "protocol.foil=random_stratified")


@pytest.mark.parametrize("network", ["vgg16", "vggish", "cnn14", "byols"])
def test_missing_published_weights_stop_a_run_before_a_clip_is_read(network):
    published = PUBLISHED[f"ser_{network}"]
    recipe = read_recipe(
        packaged("recipes") / f"{published.recipe}.yaml",
        ["corpus.root=/absent", "corpus.download=true"],
    )
    with pytest.raises(UserError, match=r"^model\.checkpoint: no such file") as raised:
        load_experiment_data(recipe)
    assert published.sha256 in str(raised.value)
