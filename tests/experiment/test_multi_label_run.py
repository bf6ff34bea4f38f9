"""A run of task multi_label from votes to every use of its model; and recipes that are refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from support.recipes import TINY_CRNN
from support.testing import write_corpus
from transformers import pipeline

import ser_hf
from ser_hf import cli
from ser_hf.corpora.cremad import VOTE_COLUMNS
from ser_hf.experiment.reading import read_recipe
from ser_hf.report.report import read_report
from ser_hf.report.views import chance_of
from ser_hf.utils.errors import UserError

# A second emotion that some raters hear.
_SIMILAR = {"angry": "disgust", "disgust": "angry", "fear": "sad", "sad": "fear"}


def write_votes(clips, path):
    """Write the release's table of votes: of six raters, two choose a similar emotion."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["", *VOTE_COLUMNS, "fileName"])
        for number, clip in enumerate(clips):
            code = clip.stem.split("_")[2][0]
            votes = dict.fromkeys(VOTE_COLUMNS.values(), 0)
            emotion = VOTE_COLUMNS[code]
            votes[emotion] += 4
            votes[_SIMILAR.get(emotion, emotion)] += 2
            table.writerow([100_000 + number, *votes.values(), clip.stem])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("voted")
    clips = write_corpus("cremad", root / "AudioWAV", speakers=6, takes=1, sampling_rate=8000)
    (root / "processedResults").mkdir()
    write_votes(clips, root / "processedResults" / "tabulatedVotes.csv")
    return {
        "name": "voted",
        "task": "multi_label",
        "corpus": {
            "name": "cremad",
            "root": str(root / "AudioWAV"),
            "target": "voice",
            "soft": True,
        },
        "protocol": {
            "name": "speaker_independent",
            "validation": 0.2,
            "test": 0.4,
            "near_duplicates": "skip",
        },
        "audio": {"sampling_rate": 8000},
        "model": TINY_CRNN | {"n_fft": 256, "win_length": 200, "hop_length": 128},
        "training": {"num_train_epochs": 2, "learning_rate": 0.01, "use_cpu": True},
        "evaluation": {"bootstrap": 20},
    }


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "voted"
    return folder, ser_hf.run_recipe(recipe, [f"output_dir={folder}", "evaluation.robustness=true"])


@pytest.mark.slow
def test_the_report_has_sets_of_labels(run):
    folder, report = run
    assert report.task == "multi_label"
    assert report.selected_by == "macro_f1"
    assert set(report.metrics) >= {"macro_f1", "micro_f1", "jaccard", "exact_match", "hamming_loss"}
    assert report.confusion == []
    assert report.temperature is report.abstention is report.new_speaker is None
    assert set(report.per_class) == set(report.labels)
    # A third of the votes, and two thirds, are above a sixth.
    assert (
        report.class_distribution["test"]["angry"] == 2 * report.class_distribution["test"]["happy"]
    )
    assert report.label_threshold.chosen_by == "validation"
    # The macro-F1 of a model that predicts every label for every clip.
    assert chance_of(report) == pytest.approx(report.robustness.chance)
    assert report.robustness.clean.macro_f1 == pytest.approx(report.metrics["macro_f1"])
    assert read_report(folder / "report" / "report.json").metrics == report.metrics
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "A label is predicted if its probability is above" in page
    assert "UAR" not in page
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "A label is predicted if its probability is above" in card
    assert "UAR" not in card
    rows = pq.read_table(folder / "report" / "predictions.parquet").to_pylist()
    assert {row["threshold"] for row in rows} == {report.label_threshold.value}
    assert {sum(row[f"true_{name}"] for name in report.labels) for row in rows} == {1, 2}


@pytest.mark.slow
def test_prediction_pipeline_and_export_agree(run, recipe, tmp_path, capsys):
    folder, report = run
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config["label_threshold"] == report.label_threshold.value
    clips = sorted(str(path) for path in Path(recipe["corpus"]["root"]).rglob("*.wav"))[:3]
    predictions = ser_hf.predict(folder, clips)
    for predicted, probabilities in zip(
        predictions.predicted, predictions.probabilities, strict=True
    ):
        chosen = [
            label
            for label, probability in zip(report.labels, probabilities, strict=True)
            if probability > report.label_threshold.value
        ]
        assert predicted == ("+".join(chosen) or "none")
    classifier = pipeline(
        "audio-classification", str(folder / "model"), trust_remote_code=True, device="cpu"
    )
    for clip, probabilities in zip(clips, predictions.probabilities, strict=True):
        outputs = classifier(soundfile.read(clip, dtype="float32")[0], top_k=None)
        scores = {row["label"]: row["score"] for row in outputs}
        np.testing.assert_allclose(
            [scores[name] for name in report.labels], probabilities, atol=1e-5
        )
    ser_hf.export_model(folder, tmp_path / "model.onnx")
    exported = ser_hf.predict(tmp_path / "model.onnx", clips)
    np.testing.assert_allclose(exported.probabilities, predictions.probabilities, atol=1e-4)
    assert exported.predicted == predictions.predicted
    assert exported.metadata.label_threshold == report.label_threshold.value
    assert cli.main(["predict", str(folder), *clips]) == 0
    assert clips[0] in capsys.readouterr().out


@pytest.mark.slow
def test_evaluation_with_votes_measures_sets(run, recipe):
    folder, report = run
    settings = {"target": "voice", "soft": True, "sampling_rate": 8000}
    split = {
        "protocol": "speaker_independent",
        "protocol_options": {"validation": 0.2, "test": 0.4},
    }
    again = ser_hf.evaluate_model(
        folder, "cremad", recipe["corpus"]["root"], settings=settings, bootstrap=20, **split
    )
    assert again.task == "multi_label"
    assert again.metrics == pytest.approx(report.metrics, rel=1e-4)
    # Of six raters, four chose the first emotion of each clip: no other is above one half.
    settings["positive_share"] = 0.5
    strict = ser_hf.evaluate_model(
        folder, "cremad", recipe["corpus"]["root"], settings=settings, bootstrap=20, **split
    )
    assert sum(strict.class_distribution["test"].values()) == strict.clips
    settings = {"target": "voice", "sampling_rate": 8000}
    one = ser_hf.evaluate_model(
        folder, "cremad", recipe["corpus"]["root"], settings=settings, bootstrap=20, **split
    )
    assert one.task == "emotions"


@pytest.mark.slow
def test_several_runs_have_a_threshold_each_and_are_compared(recipe, tmp_path):
    overrides = ["protocol={name: kfold, k: 3, near_duplicates: skip}", "protocol.folds=[1, 2]"]
    report = ser_hf.run_recipe(recipe, [*overrides, f"output_dir={tmp_path / 'folds'}"])
    assert list(report.label_thresholds) == ["1", "2"]
    assert "macro_f1" in report.pooled.intervals
    fixed = ser_hf.run_recipe(
        recipe,
        [
            *overrides,
            "evaluation.label_threshold=0.3",
            "training.loss.class_weights=balanced",
            f"output_dir={tmp_path / 'fixed'}",
        ],
    )
    assert set(fixed.label_thresholds.values()) == {0.3}
    compared = ser_hf.compare_runs([tmp_path / "folds", tmp_path / "fixed"])
    assert compared.metric == "macro_f1"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task=emotions evaluation.label_threshold=0.4", "evaluation.label_threshold: not of task"),
        ("task=emotions corpus.positive_share=0.2", "corpus.positive_share: not of task emotions"),
        ("corpus.positive_share=1", "corpus.positive_share: "),
        ("evaluation.label_threshold=0", "evaluation.label_threshold: "),
        ("training.early_stopping.metric=uar", "training.early_stopping.metric: .*macro_f1"),
        ("training.loss.soft_labels=true", "training.loss.soft_labels: not of task multi_label"),
        ("evaluation.temperature=store", "evaluation.temperature: not of task multi_label"),
        ("model={architecture: mfcc_svm}", "training.solver: "),
        ("corpus.targets=[arousal]", "corpus.targets: "),
    ],
)
def test_a_recipe_that_mixes_the_tasks_is_refused(recipe, override, message):
    with pytest.raises(UserError, match=f"^{message}"):
        read_recipe(recipe, override.split(" ") if "{" not in override else [override])


def test_a_corpus_without_votes_is_refused(recipe, tmp_path):
    overrides = ["corpus.soft=false", f"output_dir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=r"^task: multi_label needs the votes .*corpus\.soft"):
        ser_hf.run_recipe(recipe, overrides)
