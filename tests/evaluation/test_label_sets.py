"""Sets of labels: metrics equal to scikit-learn's, groups, thresholds, tables and the report."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk
from support.predictions import predictions_of
from transformers import EvalPrediction

from ser_hf.evaluation.bootstrap import paired_comparison
from ser_hf.evaluation.label_sets import best_threshold, set_text
from ser_hf.evaluation.metric_objects import load_metric
from ser_hf.evaluation.metrics import compute, definitions, set_metrics, values
from ser_hf.evaluation.predictions import Predictions, from_table, to_table
from ser_hf.evaluation.summary import evaluate_predictions
from ser_hf.evaluation.tasks import MULTI_LABEL, task_of, task_of_problem

NAMES = ["angry", "happy", "sad"]


def decided(clips=60, speakers=6, runs=1, seed=0, threshold=0.4):
    """Sets of three labels, with probabilities that are better than chance."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=(clips, 3)) < (0.5, 0.3, 0.2)
    noise = rng.normal(size=(runs, clips, 3))
    probabilities = (1 / (1 + np.exp(-(2 * labels - 1 + noise)))).astype(np.float32)
    speaker_names = [f"toy:{i % speakers}" for i in range(clips)]
    columns = predictions_of([0] * clips, [0] * clips, 2, speaker_names).columns
    ids = [f"clip {i}" for i in range(clips)]
    return Predictions(NAMES, ids, labels, probabilities, columns).with_threshold(threshold)


def reference(labels, predicted, probabilities):
    """The metrics by scikit-learn."""
    return {
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
        "weighted_f1": sk.f1_score(labels, predicted, average="weighted"),
        "micro_f1": sk.f1_score(labels, predicted, average="micro"),
        "auroc": sk.roc_auc_score(labels, probabilities, average="macro"),
        "jaccard": sk.jaccard_score(labels, predicted, average="samples", zero_division=1.0),
        "exact_match": sk.accuracy_score(labels, predicted),
        "hamming_loss": sk.hamming_loss(labels, predicted),
    }


def test_metrics_are_those_of_scikit_learn():
    clips = decided()
    (run,) = clips.outputs
    expected = reference(clips.labels, clips.probabilities[0] > 0.4, clips.probabilities[0])
    measured = values(run)
    assert list(measured) == list(definitions(MULTI_LABEL)) == list(expected)
    assert measured == pytest.approx(expected, rel=1e-6)


def test_weights_are_repeated_clips():
    (run,) = decided(12, seed=3).outputs
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=5)
    weighted = compute(run, counts)
    for i, drawn in enumerate(counts):
        repeated = run.only(np.repeat(np.arange(12), drawn))
        expected = values(repeated)
        assert {name: own[i] for name, own in weighted.items() if expected[name] is not None} == (
            pytest.approx({name: value for name, value in expected.items() if value is not None})
        )


def test_the_score_of_a_group_is_that_of_its_clips():
    (run,) = decided(30).outputs
    group = np.arange(30) % 3 - 1  # a third is in no group
    scores = run.main_by_group(group, 2)(np.ones((1, 30)))
    expected = [values(run.only(np.flatnonzero(group == i)))["macro_f1"] for i in range(2)]
    assert scores[0] == pytest.approx(expected)


def test_a_label_that_no_clip_has_is_left_out_of_the_mean():
    clips = decided()
    clips.labels[:, 2] = False
    (run,) = clips.outputs
    expected = sk.f1_score(clips.labels[:, :2], run.predictions[:, :2], average="macro")
    assert values(run)["macro_f1"] == pytest.approx(expected)


def test_validation_chooses_the_threshold_with_the_best_macro_f1():
    clips = decided(200)
    probabilities = clips.probabilities[0]
    chosen = best_threshold(clips.labels, probabilities)
    scores = {
        threshold: sk.f1_score(clips.labels, probabilities > threshold, average="macro")
        for threshold in (0.1, 0.3, 0.5, 0.7, 0.9, chosen)
    }
    assert scores[chosen] == max(scores.values())
    # If all thresholds are equally good, it is 0.5.
    assert best_threshold(np.array([[True], [False]]), np.array([[0.99], [0.0]])) == 0.5


def test_the_trainer_measures_at_the_threshold_that_validation_chooses():
    clips = decided(200)
    probabilities = clips.probabilities[0]
    logits = np.log(probabilities / (1 - probabilities))
    measured = set_metrics(EvalPrediction(logits, clips.labels.astype(np.float32)))
    (run,) = clips.with_threshold(best_threshold(clips.labels, probabilities)).outputs
    assert measured == pytest.approx(values(run, MULTI_LABEL.headline), rel=1e-6)


def test_metric_objects_take_sets_and_probabilities():
    clips = decided(20, threshold=0.5)
    probabilities = clips.probabilities[0]
    computed = load_metric("jaccard").compute(
        references=clips.labels.astype(int), prediction_scores=probabilities
    )
    expected = reference(clips.labels, probabilities > 0.5, probabilities)["jaccard"]
    assert computed == {"jaccard": pytest.approx(expected)}


def test_the_report_has_precision_recall_and_intervals_of_each_label():
    clips = decided(80)
    results = evaluate_predictions(clips, bootstrap=50)
    (run,) = clips.outputs
    for i, name in enumerate(NAMES):
        row = results.per_class[name]
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            clips.labels[:, i], run.predictions[:, i], average="binary"
        )
        assert (row.precision, row.recall, row.f1) == pytest.approx((precision, recall, f1))
        assert row.support == clips.labels[:, i].sum()
        low, high = row.recall_interval
        assert low <= recall <= high
    assert results.confusion == []
    assert results.calibration is None
    assert set(results.slices["speaker"]) == {f"toy:{i}" for i in range(6)}
    worst = results.hardest[0]
    assert worst.label == set_text(NAMES, clips.labels[clips.ids.index(worst.id)])


def test_a_label_that_is_never_recognized_is_named():
    clips = decided(80)
    clips.probabilities[:, :, 2] = 0.01
    assert any("sad" in text for text in evaluate_predictions(clips, bootstrap=5).warnings)


def test_a_table_reads_back_as_it_was_with_the_thresholds_of_its_runs():
    first = decided(10, threshold=0.3)
    second = decided(10, threshold=0.7)
    tables = [to_table("test", first), to_table("test", second)]
    for seed, table in enumerate(tables):
        tables[seed] = table.append_column("seed", pa.array([seed] * len(table)))
    back = from_table(pa.concat_tables(tables), "test", NAMES)
    assert back.task is MULTI_LABEL
    np.testing.assert_array_equal(back.labels, first.labels)
    np.testing.assert_array_equal(back.thresholds, [[0.3] * 10, [0.7] * 10])
    np.testing.assert_array_equal(back.only([4, 2]).labels, first.labels[[4, 2]])


def test_paired_comparisons_compare_f1_and_overlap():
    outputs = decided(40).outputs
    compared = paired_comparison({"a": outputs, "b": decided(40, threshold=0.9).outputs}, None, 50)
    assert set(compared["a", "b"]) == set(MULTI_LABEL.compared)


def test_text_of_sets():
    assert set_text(NAMES, [True, False, True]) == "angry+sad"
    assert set_text(NAMES, [False, False, False]) == "none"


def test_labels_and_problem_types_determine_the_task():
    assert task_of(np.zeros((2, 3), bool)) is MULTI_LABEL
    assert task_of(np.zeros((2, 3), np.float32)).name == "dimensions"
    assert task_of(np.zeros(2, int)).name == "emotions"
    assert task_of_problem("multi_label_classification") is MULTI_LABEL
    assert task_of_problem(None).name == "emotions"
