"""Runs with auxiliary clips, which are in the training split only."""

import pandas as pd
import pytest
from support.recipes import TINY_CRNN
from support.testing import write_corpus

import ser_hf
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.training_clips import read_training_clips, short_hash
from ser_hf.utils.errors import UserError


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    write_corpus("emodb", folder / "emodb", speakers=4, takes=2)
    write_corpus("ravdess", folder / "ravdess", speakers=3, takes=1, seed=1)
    return {
        "name": "auxiliary",
        "corpus": {
            "name": "emodb",
            "root": str(folder / "emodb"),
            "auxiliary": [{"name": "ravdess", "root": str(folder / "ravdess"), "cap": 12}],
        },
        "protocol": {
            "name": "leave_one_speaker_out",
            "folds": [1, 2],
            "near_duplicates": "skip",
        },
        "audio": {"sampling_rate": 8000, "max_duration": 0.5},
        "model": TINY_CRNN,
        "training": {"num_train_epochs": 1},
        "evaluation": {"bootstrap": 10, "map": None},
    }


def corpora(data, rows):
    return {data.dataset["corpus"][row] for row in rows}


@pytest.mark.parametrize("foil", ["null", "random_stratified"])
def test_only_the_training_split_has_auxiliary_clips(recipe, foil):
    data = load_experiment_data(read_recipe(recipe, [f"protocol.foil={foil}"]))
    alone = read_recipe(recipe, ["corpus.auxiliary=null"])
    alone_folds = load_experiment_data(alone).folds
    assert data.auxiliary == {"ravdess": 12}
    for fold in [*data.folds, *data.foil]:
        split = fold.split
        assert corpora(data, split.rows["train"]) == {"emodb", "ravdess"}
        assert corpora(data, split.rows["validation"]) == {"emodb"}
        assert corpora(data, split.rows["test"]) == {"emodb"}
    for fold, fold_alone in zip(data.folds, alone_folds, strict=True):
        assert fold.split.sha256 != fold_alone.split.sha256
        assert fold.split.ids["test"] == fold_alone.split.ids["test"]
        assert fold.split.ids["validation"] == fold_alone.split.ids["validation"]


def test_a_recording_of_the_test_speakers_is_refused(recipe, tmp_path):
    """The audit finds the main corpus under another name among the auxiliary clips."""
    main = load_experiment_data(read_recipe(recipe, ["corpus.auxiliary=null"])).dataset
    table = tmp_path / "copies.csv"
    lines = ["path,label,speaker"]
    for row in range(len(main)):
        label = main.features["label"].names[main[row]["label"]]
        lines.append(f"{main[row]['audio']['path']},{label},anna")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    item = f"{{name: csv, root: '{table}', corpus_name: copies}}"
    with pytest.raises(UserError, match="the same recording in two parts"):
        load_experiment_data(read_recipe(recipe, [f"corpus.auxiliary=[{item}]"]))


def test_report_card_and_training_clips_have_the_auxiliary_corpus(recipe, tmp_path):
    report = ser_hf.run_recipe(recipe, [f"output_dir={tmp_path / 'run'}"])
    assert report.protocol.auxiliary == {"ravdess": 12}
    assert {source.corpus for source in report.sources} == {"emodb", "ravdess"}
    model = tmp_path / "run" / "model"
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "RAVDESS" in card
    assert "cc-by-nc-sa-4.0" in card
    assert "12 of ravdess" in card

    dataset = load_experiment_data(read_recipe(recipe)).dataset
    trained = read_training_clips(str(model))
    auxiliary = [short_hash(row["content_hash"]) for row in dataset if row["corpus"] == "ravdess"]
    assert trained.issuperset(auxiliary)


@pytest.mark.slow
def test_folds_and_seeds_have_the_same_auxiliary_clips(recipe, tmp_path):
    overrides = [f"output_dir={tmp_path / 'run'}", "training.seeds=[1, 2]"]
    report = ser_hf.run_recipe(recipe, overrides)
    assert report.protocol.auxiliary == {"ravdess": 12}
    predictions = pd.read_parquet(tmp_path / "run" / "report" / "predictions.parquet")
    assert set(predictions["seed"]) == {1, 2}
    assert set(predictions["fold"]) == {1, 2}
    evaluated = predictions[predictions["part"] != "train"]
    assert not evaluated["id"].str.startswith("ravdess").any()

    again = ser_hf.run_recipe(recipe, overrides, resume=True)
    assert again.metrics == report.metrics


def test_weights_need_the_trainer(recipe):
    weighted = {**recipe["corpus"], "auxiliary": [{**recipe["corpus"]["auxiliary"][0]}]}
    weighted["auxiliary"][0]["weight"] = 0.5
    changed = {**recipe, "corpus": weighted, "model": {"architecture": "mfcc_linear"}}
    changed["audio"] = {}
    with pytest.raises(UserError, match=r"^corpus\.auxiliary\[0\]\.weight: has no effect"):
        read_recipe(changed, ["training.num_train_epochs=100"])


def test_scikit_learn_fits_auxiliary_clips(recipe, tmp_path):
    changed = {**recipe, "model": {"architecture": "mfcc_linear"}, "audio": {}, "training": {}}
    report = ser_hf.run_recipe(changed, [f"output_dir={tmp_path / 'run'}", "protocol.folds=[1]"])
    assert "ravdess:01" in report.protocol.parts["train"].speakers
    assert report.protocol.parts["test"].speakers == ["emodb:03"]
