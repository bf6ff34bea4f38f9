"""Adaptation and unknown predictions in runs and evaluations: sections, files, configuration."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.recipes import TINY_CRNN

import ser_hf
from ser_hf import UserError
from ser_hf.evaluation.abstention import choose_threshold, confidence_of
from ser_hf.evaluation.predictions import from_table
from ser_hf.inference.adaptation import LEAST_CLIPS, read_statistics
from ser_hf.inference.load import load_classifier
from ser_hf.loading.files import STATISTICS
from ser_hf.models.configuration import UNKNOWN_KEY
from ser_hf.report.report import read_report

CORPUS = {"name": "synthetic", "speakers": 6, "takes": 2, "drop": ["disgust", "fear"]}
RECIPE = {
    "name": "tiny",
    "corpus": CORPUS,
    "protocol": {"name": "speaker_independent", "validation": 0.2, "near_duplicates": "skip"},
    "audio": {"trim_silence": 30, "max_duration": 0.5},
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 1, "learning_rate": 0.01, "use_cpu": True},
    "evaluation": {"bootstrap": 20, "map": None, "adapt": "speaker", "error": 0.9},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    ser_hf.run_recipe(RECIPE, [f"output_dir={folder}"])
    return folder


@pytest.fixture(scope="module")
def report(run):
    return read_report(run / "report" / "report.json")


def test_the_statistics_are_those_of_the_training_speakers(run, report):
    statistics = read_statistics(load_classifier(run, device="cpu"))
    train = report.protocol.parts["train"]
    assert (statistics.speakers, statistics.clips) == (len(train.speakers), train.clips)
    clips = ser_hf.load_corpus("synthetic", **{k: v for k, v in CORPUS.items() if k != "name"})
    embedded = ser_hf.predict(run, clips, embeddings=True, device="cpu")
    speakers = np.array(embedded.table["speaker"].to_pylist())
    means = [embedded.embeddings[speakers == name].mean(axis=0) for name in train.speakers]
    np.testing.assert_allclose(statistics.mean, np.mean(means, axis=0), atol=1e-5)


def test_the_report_has_results_without_and_with_adaptation(report):
    section = report.adaptation
    tested = report.protocol.parts["test"]
    assert (section.grouping, section.groups) == ("speaker", len(tested.speakers))
    assert section.adapted_groups == section.groups
    assert section.clips == tested.clips >= LEAST_CLIPS
    expected = section.metrics["uar"] - report.metrics["uar"]
    assert section.difference == pytest.approx(expected)


def test_the_configuration_has_the_threshold_of_the_validation_split(run, report):
    table = pq.read_table(run / "report" / "predictions.parquet")
    validation = from_table(table, "validation", report.labels)
    threshold = choose_threshold(confidence_of(validation), 0.9)
    assert report.abstention.threshold == threshold
    config = json.loads((run / "model" / "config.json").read_text())
    assert config.get(UNKNOWN_KEY) == threshold
    assert threshold is not None
    results = ser_hf.predict(run, ser_hf.load_corpus("synthetic"), unknown="auto", device="cpu")
    unknown = results.probabilities.max(axis=1) < threshold
    assert [label == "unknown" for label in results.predicted] == unknown.tolist()


def test_an_evaluation_has_the_same_sections(run, tmp_path):
    settings = {key: value for key, value in CORPUS.items() if key != "name"}
    options = {"bootstrap": 20, "map": None, "training_speakers": True, "adapt": "speaker"}
    evaluated = ser_hf.evaluate_model(run, "synthetic", settings=settings, **options)
    assert evaluated.adaptation.adapted_groups == CORPUS["speakers"]
    assert evaluated.abstention.threshold is not None
    assert evaluated.abstention.stated_error is None
    (run / "model" / STATISTICS).rename(tmp_path / STATISTICS)
    try:
        with pytest.raises(UserError, match=r"^--adapt: .*no statistics"):
            ser_hf.evaluate_model(run, "synthetic", settings=settings, **options)
    finally:
        (tmp_path / STATISTICS).rename(run / "model" / STATISTICS)
