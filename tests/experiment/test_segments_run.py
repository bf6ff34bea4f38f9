"""Training from segments of recordings gives the figures of training from cut files."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import ser_hf
from ser_hf.corpora.synthesis import utterance

RATE = 16000
SPEAKERS = {"train": ["1", "2", "3"], "validation": ["4"], "test": ["5"]}
EMOTIONS = ["angry", "neutral", "sad"]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """A recording of each speaker with segments.csv, and its clips as files with cut.csv."""
    folder = tmp_path_factory.mktemp("corpora")
    generator = np.random.default_rng(0)
    segments = []
    cut = []
    for speaker in sum(SPEAKERS.values(), []):
        pieces = []
        position = 0
        for number in range(9):
            emotion = EMOTIONS[number % 3]
            samples = utterance(int(speaker), emotion, number % 2, number)
            pause = int(generator.integers(2000, 9000))
            start = position + pause
            position = start + len(samples)
            pieces += [np.zeros(pause), samples]
            name = f"{speaker}_{number}.wav"
            soundfile.write(folder / name, samples, RATE, subtype="FLOAT")
            cut.append([name, emotion, speaker, "", ""])
            times = [start / RATE, position / RATE]
            segments.append([f"{speaker}.wav", emotion, speaker, *times])
        soundfile.write(folder / f"{speaker}.wav", np.concatenate(pieces), RATE, subtype="FLOAT")
    for name, rows in {"segments": segments, "cut": cut}.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["path", "label", "speaker", "start", "end"], *rows])
    return folder


def run(corpora, name):
    """The report and the predictions of a run on one of the tables."""
    recipe = {
        "name": name,
        "output_dir": str(corpora / "runs" / name),
        "corpus": {"name": "csv", "root": str(corpora / f"{name}.csv")},
        "protocol": {"name": "speaker_independent", "near_duplicates": "skip", **SPEAKERS},
        "audio": {"max_duration": 1.0},
        "model": {"architecture": "mfcc_mlp"},
        "training": {"num_train_epochs": 3, "learning_rate": 1e-2},
        "evaluation": {"map": None, "bootstrap": 20},
    }
    report = ser_hf.run_recipe(recipe)
    predictions = pq.read_table(corpora / "runs" / name / "report" / "predictions.parquet")
    return report, predictions


def test_a_run_on_segments_equals_one_on_cut_files(corpora):
    segments, of_segments = run(corpora, "segments")
    cut, of_cut = run(corpora, "cut")

    assert len(of_segments) == len(of_cut) == 18
    for column in ("label", "speaker", "part"):
        assert of_segments[column] == of_cut[column]
    probabilities = []
    for predictions in (of_segments, of_cut):
        columns = [predictions[f"p_{emotion}"].to_numpy() for emotion in EMOTIONS]
        probabilities.append(np.column_stack(columns))
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=1e-6)
    assert probabilities[0].std(axis=0).max() > 0.01, "equal predictions would show nothing"

    assert segments.metrics == pytest.approx(cut.metrics, abs=1e-6)
    curves = [
        [entry["validation"]["uar"] for entry in report.history if "validation" in entry]
        for report in (segments, cut)
    ]
    assert len(curves[0]) == 3
    assert curves[0] == pytest.approx(curves[1], abs=1e-6)
    assert of_segments["start"].null_count == 0
