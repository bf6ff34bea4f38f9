"""The metrics behind the interface of `evaluate`, without a network."""

import evaluate
import numpy as np
import pytest
from support.predictions import guesses

from ser_hf.evaluation.metrics import METRICS, all_metrics, load_metric
from ser_hf.utils.errors import UserError

LABELS, (ANSWERS,) = guesses(50, 4)
VOTES = np.random.default_rng(1).dirichlet([1.0] * 4, size=50).astype(np.float32)


@pytest.mark.parametrize("name", METRICS)
def test_each_is_what_the_report_shows(name):
    metric = load_metric(name)
    assert isinstance(metric, evaluate.Metric)
    assert METRICS[name].definition in metric.description
    given = {"references": LABELS, "predictions": ANSWERS.argmax(axis=1)}
    if METRICS[name].needs == "probabilities":
        given = {"references": LABELS, "prediction_scores": ANSWERS}
    if METRICS[name].needs == "votes":
        given = {"references": VOTES, "prediction_scores": ANSWERS}
    for start in (0, 20):  # in batches, as evaluate's own loops give them
        metric.add_batch(**{key: values[start : 20 if start == 0 else 50] for key, values in given.items()})
    expected = all_metrics(LABELS, ANSWERS, VOTES)[name]
    assert metric.compute() == {name: pytest.approx(expected, rel=1e-6)}


def test_several_are_combined():
    together = evaluate.combine([load_metric("uar"), load_metric("macro_f1")])
    found = together.compute(predictions=ANSWERS.argmax(axis=1), references=LABELS)
    expected = all_metrics(LABELS, ANSWERS)
    assert found == {name: pytest.approx(expected[name]) for name in ("uar", "macro_f1")}


def test_what_there_is_not_is_told_with_what_there_is():
    with pytest.raises(UserError, match="there is no 'accuracy'; there are uar, wa"):
        load_metric("accuracy")
    with pytest.raises(UserError, match="class 4 among the references"):
        load_metric("ece").compute(prediction_scores=[[0.5, 0.5]], references=[4])


@pytest.mark.parametrize(("name", "value"), [("uar", 1.0), ("wa", 1.0), ("kappa", None), ("mcc", 0.0)])
def test_one_class_alone_is_measured(name, value):
    """Whatever other metrics would say to it."""
    assert load_metric(name).compute(predictions=[0, 0], references=[0, 0]) == {name: value}


def test_what_is_no_class_and_no_probability_is_refused():
    for told in ({"predictions": [-1, 0], "references": [0, 1]}, {"predictions": [0, 0], "references": [0, -1]}):
        with pytest.raises(UserError, match="class -1 among the"):
            load_metric("uar").compute(**told)
    for scores in ([[3.0, -1.0], [0.0, 2.0]], [[0.4, 0.4], [0.5, 0.5]], [[float("nan"), 1.0], [0.5, 0.5]]):
        with pytest.raises(UserError, match="each row of sum 1"):
            load_metric("log_loss").compute(prediction_scores=scores, references=[0, 1])
    with pytest.raises(UserError, match="2 classes or more"):
        load_metric("log_loss").compute(prediction_scores=[[1.0]], references=[0])
