"""What of a model is evaluated on a corpus with labels and ratings."""

import csv

import pytest
from support.hub_twins import TWINS
from support.testing import write_corpus

import ser_hf
from ser_hf.experiment.matrix import evaluate_matrix

TARGETS = ["arousal", "valence"]
RATED = {"targets": TARGETS, "ranges": dict.fromkeys(TARGETS, [1, 5])}
# The labels of superb's models are neu, hap, ang and sad.
SHARED = {"angry", "happy", "neutral", "sad"}
SETTINGS = {"bootstrap": 20, "map": None}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A model of labels only."""
    folder = tmp_path_factory.mktemp("twin") / "superb"
    TWINS["superb"](folder)
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table with ratings; the first clip of each speaker has no label, the second no ratings."""
    root = tmp_path_factory.mktemp("rated")
    write_corpus("csv", root, speakers=2, takes=2)
    rows = list(csv.DictReader((root / "clips.csv").open()))
    clips_of_speaker = {}
    for number, row in enumerate(rows):
        row |= {"arousal": 1 + number % 5, "valence": 5 - number % 4}
        clips_of_speaker.setdefault(row["speaker"], []).append(row)
    for clips in clips_of_speaker.values():
        clips[0]["label"] = ""
        clips[1] |= {"arousal": "", "valence": ""}
    path = root / "rated.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path, rows


def test_ratings_are_ignored_for_a_model_of_labels(classifier, table, tmp_path, caplog):
    path, rows = table
    settings = {**RATED, "partial": True}
    rated = ser_hf.evaluate_model(
        classifier, "csv", path, settings=settings, output=tmp_path / "rated", **SETTINGS
    )
    note = "The ratings of the corpus (arousal, valence) are not evaluated"
    assert [line.startswith(note) for line in caplog.messages].count(True) == 1
    assert [line.startswith(note) for line in rated.warnings].count(True) == 1
    assert rated.task == "emotions"
    assert rated.clips == sum(row["label"] in SHARED for row in rows)
    assert "2 clips are not evaluated: they have no label." in rated.protocol.notes
    assert not rated.ranges

    labeled = ser_hf.evaluate_model(
        classifier, "csv", path, settings={"on_unknown": "skip"}, **SETTINGS
    )
    assert labeled.metrics == rated.metrics
    assert labeled.clips == rated.clips


def test_a_cell_of_a_matrix_ignores_ratings_too(classifier, table, tmp_path):
    path, rows = table
    corpora = {"csv": {"root": str(path), **RATED, "partial": True}}
    matrix = evaluate_matrix([classifier], corpora, tmp_path / "matrix", **SETTINGS)
    assert not matrix.failed
    (cell,) = matrix.cells
    assert cell.metric == "uar"
    assert cell.clips == sum(row["label"] in SHARED for row in rows)
