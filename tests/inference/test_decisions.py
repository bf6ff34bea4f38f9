"""Decisions between some labels, and unknown predictions, in tables and by the command."""

import csv
import io
import json

import numpy as np
import pytest
from support.close import assert_near
from tiny_models import LABELS

from ser_hf import UserError, predict
from ser_hf.cli import main
from ser_hf.inference.decisions import UNKNOWN, decision_of
from ser_hf.inference.load import load_classifier
from ser_hf.models.configuration import UNKNOWN_KEY

SOME = ["sad", "angry"]


def test_probabilities_of_some_labels_are_divided_by_their_sum(run, recordings):
    every = predict(run, [recordings], device="cpu")
    some = predict(run, [recordings], labels=SOME, device="cpu")
    assert some.labels == ["angry", "sad"]
    kept = every.probabilities[:, [LABELS.index(label) for label in some.labels]]
    assert_near(some.probabilities, kept / kept.sum(axis=1, keepdims=True))
    expected = [some.labels[i] for i in kept.argmax(axis=1)]
    assert some.predicted == expected


def test_predictions_below_the_probability_are_unknown(published, recordings):
    model = published("crnn")
    plain = predict(model, [recordings], device="cpu")
    highest = plain.probabilities.max(axis=1)
    threshold = float(np.median(highest))
    results = predict(model, [recordings], unknown=threshold, device="cpu")
    unknown = highest < threshold
    assert unknown.any()
    for label, expected, is_unknown in zip(
        results.predicted, plain.predicted, unknown, strict=True
    ):
        assert label == (UNKNOWN if is_unknown else expected)
    assert results.table["most_probable"].to_pylist() == plain.predicted
    np.testing.assert_array_equal(results.probabilities, plain.probabilities)
    assert results.metadata.threshold == threshold


def test_the_stored_threshold_is_used_by_auto(published, recordings):
    classifier = load_classifier(published("crnn"), device="cpu")
    with pytest.raises(UserError, match=r"^--unknown: .*stores no threshold"):
        decision_of(classifier, unknown="auto")
    setattr(classifier.model.config, UNKNOWN_KEY, 0.75)
    assert decision_of(classifier, unknown="auto").threshold == 0.75
    with pytest.raises(UserError, match=r"^--unknown: auto .*--labels"):
        decision_of(classifier, SOME, "auto")
    classifier.model.config.id2label = dict(enumerate(["angry", UNKNOWN, "neutral", "sad"]))
    with pytest.raises(UserError, match=r"^--unknown: .*label 'unknown'"):
        decision_of(classifier, unknown=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", "angry,hapy"], "--labels: .*no label 'hapy'"),
        (["--labels", "angry"], "--labels: fewer than two"),
        (["--unknown", "often"], "--unknown: expected a probability"),
        (["--unknown", "1.5"], "--unknown: expected"),
        (["--adapt-from", "calls"], "--adapt-from: has no effect"),
    ],
)
def test_mistakes_are_named(published, recordings, options, message, capsys):
    import re

    code = main(["predict", str(published("crnn")), str(recordings), *options])
    assert code == 2
    assert re.search(message, capsys.readouterr().err)


def test_every_format_shows_unknown_predictions(published, recordings, capsys):
    base = ["predict", str(published("crnn")), str(recordings), "--device", "cpu"]
    base += ["--unknown", "0.999999"]
    assert main([*base, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["predicted"] for row in rows} == {UNKNOWN}
    assert all(row["most_probable"] in LABELS for row in rows)
    assert main([*base, "--format", "jsonl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {json.loads(line)["predicted"] for line in lines} == {UNKNOWN}
    assert main(base) == 0
    for line, row in zip(capsys.readouterr().out.splitlines(), rows, strict=True):
        assert f"{UNKNOWN}" in line
        assert f"(rather {row['most_probable']})" in line
