"""The section classes that evaluation computes into."""

import pytest
from pydantic import ValidationError
from support.predictions import guesses, predictions_of

from ser_hf.evaluation.sections import ClassScores, Results
from ser_hf.evaluation.summary import evaluate_predictions


def test_keys_that_were_not_set_are_absent():
    row = ClassScores(precision=1, recall=0.5, f1=2 / 3, support=4)
    assert list(row.to_dict()) == ["precision", "recall", "f1", "support"]
    row.recall_interval = None
    assert row.to_dict()["recall_interval"] is None


def test_filled_gives_values_as_they_are():
    row = ClassScores(precision=1, recall=0.5, f1=2 / 3, support=4)
    results = Results(metrics={"uar": 0.5}, per_class={"sad": row})
    assert list(results.filled()) == ["metrics", "per_class"]
    assert results.filled()["per_class"]["sad"] is row


def test_wrong_values_are_refused():
    with pytest.raises(ValidationError):
        ClassScores(precision=1, recall=0.5, f1=2 / 3, support=-1)
    with pytest.raises(ValidationError):
        Results(metrics={"uar": float("nan")})


def test_results_read_back_as_they_were():
    labels, shares = guesses(24, 3)
    predictions = predictions_of(labels, None, 3, ["a", "b", "c"] * 8, shares)
    results = evaluate_predictions(predictions, bootstrap=20)
    assert Results.model_validate(results.to_dict()) == results
