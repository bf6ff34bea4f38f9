"""The metrics as objects of `evaluate`."""

import evaluate
import numpy as np
import pytest
from support.predictions import guesses

import ser_hf
from ser_hf.evaluation.metrics import METRICS, all_metrics
from ser_hf.utils.errors import UserError

LABELS, (SCORES,) = guesses(50, 4)
VOTES = np.random.default_rng(1).dirichlet([1.0] * 4, size=50).astype(np.float32)


@pytest.mark.parametrize("name", METRICS)
def test_each_has_the_value_of_the_report(name):
    metric = ser_hf.load_metric(name)
    assert METRICS[name].definition in metric.description
    given = {"references": LABELS, "predictions": SCORES.argmax(axis=1)}
    if METRICS[name].needs != "predictions":
        references = VOTES if METRICS[name].needs in ("votes", "values") else LABELS
        given = {"references": references, "prediction_scores": SCORES}
    for rows in (slice(0, 20), slice(20, 50)):
        metric.add_batch(**{key: values[rows] for key, values in given.items()})
    labels = VOTES if METRICS[name].needs == "values" else LABELS
    assert metric.compute() == {
        name: pytest.approx(all_metrics(labels, SCORES, VOTES)[name], rel=1e-6)
    }


def test_several_are_combined():
    both = evaluate.combine([ser_hf.load_metric("uar"), ser_hf.load_metric("macro_f1")])
    found = both.compute(predictions=SCORES.argmax(axis=1), references=LABELS)
    assert found == {
        name: pytest.approx(all_metrics(LABELS, SCORES)[name]) for name in ("uar", "macro_f1")
    }


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="unknown metric 'accuracy'; choose one of uar, wa"):
        ser_hf.load_metric("accuracy")


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("uar", {"predictions": [-1, 0], "references": [0, 1]}, "0 or more, got -1"),
        ("uar", {"predictions": [0, 0], "references": [0, -1]}, "0 or more, got -1"),
        (
            "ece",
            {"prediction_scores": [[0.5, 0.5]], "references": [4]},
            "class 4 has no probability",
        ),
        (
            "log_loss",
            {"prediction_scores": [[3.0, -1.0]], "references": [0]},
            "each row with the sum 1",
        ),
        (
            "log_loss",
            {"prediction_scores": [[float("nan"), 1.0]], "references": [0]},
            "each row with the sum 1",
        ),
    ],
)
def test_invalid_ids_and_probabilities_are_refused(name, given, message):
    with pytest.raises(UserError, match=message):
        ser_hf.load_metric(name).compute(**given)
