"""The metrics as objects of `evaluate`."""

import os
import subprocess
import sys

import evaluate
import numpy as np
import pytest
from support.predictions import guesses
from transformers import EvalPrediction

import ser_hf
from ser_hf.evaluation.bootstrap import paired_comparison
from ser_hf.evaluation.metric_objects import combined
from ser_hf.evaluation.metrics import METRICS, all_metrics, definitions
from ser_hf.evaluation.outputs import Outputs
from ser_hf.evaluation.tasks import EMOTIONS
from ser_hf.utils.errors import UserError

LABELS, (SCORES,) = guesses(50, 4)
VOTES = np.random.default_rng(1).dirichlet([1.0] * 4, size=50).astype(np.float32)


@pytest.mark.parametrize("name", METRICS)
def test_each_has_the_value_of_the_report(name):
    metric = ser_hf.load_metric(name)
    assert METRICS[name].definition in metric.description
    given = {"references": LABELS, "predictions": SCORES.argmax(axis=1)}
    of_sets = METRICS[name].tasks == ("multi_label",)
    if of_sets:
        given = {"references": VOTES > 0.3, "prediction_scores": SCORES}
    elif METRICS[name].needs != "predictions":
        references = VOTES if METRICS[name].needs in ("votes", "values") else LABELS
        given = {"references": references, "prediction_scores": SCORES}
    for rows in (slice(0, 20), slice(20, 50)):
        metric.add_batch(**{key: values[rows] for key, values in given.items()})
    labels = VOTES if METRICS[name].needs == "values" else LABELS
    if of_sets:
        labels = VOTES > 0.3
    assert metric.compute() == {
        name: pytest.approx(all_metrics(labels, SCORES, VOTES)[name], rel=1e-6)
    }


def test_several_are_combined():
    both = evaluate.combine([ser_hf.load_metric("uar"), ser_hf.load_metric("macro_f1")])
    found = both.compute(predictions=SCORES.argmax(axis=1), references=LABELS)
    assert found == {
        name: pytest.approx(all_metrics(LABELS, SCORES)[name]) for name in ("uar", "macro_f1")
    }


def test_training_evaluation_and_comparison_compute_metrics_by_combined_objects(monkeypatch):
    computed = []

    class Counted(evaluate.CombinedEvaluations):
        def compute(self, *args, **inputs):
            found = super().compute(*args, **inputs)
            computed.append(list(found))
            return found

    def counted(names):
        return Counted([ser_hf.load_metric(name) for name in names])

    monkeypatch.setattr("ser_hf.evaluation.metric_objects.combined", counted)
    ser_hf.compute_metrics(EvalPrediction(SCORES, LABELS))
    assert computed == [list(EMOTIONS.headline)]
    all_metrics(LABELS, SCORES)
    assert len(computed) == 2
    outputs = Outputs.of_probabilities(LABELS, SCORES)
    paired_comparison({"a": [outputs], "b": [outputs]}, resamples=10)
    assert len(computed) == 4


def test_metrics_of_the_same_outputs_share_their_counts():
    outputs = Outputs.of_probabilities(LABELS, SCORES)
    names = tuple(definitions(EMOTIONS))[:5]
    assert combined(names).compute(outputs=outputs) == all_metrics(LABELS, SCORES, names=names)
    assert outputs.unweighted is outputs.unweighted


@pytest.mark.slow
def test_nothing_is_written_to_disk(tmp_path):
    code = (
        "import numpy as np, ser_hf\n"
        "metric = ser_hf.load_metric('uar')\n"
        "metric.add_batch(references=[0, 1], predictions=[0, 0])\n"
        "assert metric.compute() == {'uar': 0.5}\n"
        "assert metric.compute(references=[0, 1], predictions=[0, 1]) == {'uar': 1.0}\n"
    )
    home = tmp_path / "hub"
    places = {"HF_HOME": str(home), "HF_EVALUATE_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | places)
    assert not home.exists() or not any(path.is_file() for path in home.rglob("*"))


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
