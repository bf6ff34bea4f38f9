"""Training on shuffled labels: chance on sound splits, and more where splits share clips."""

import dataclasses

import numpy as np
from support.doctor import QUICK_CRNN, case_of, case_of_ratings, faults

from ser_hf.doctor.shuffled import check_shuffled, recording_of_rows, with_shuffled_labels


def test_shuffled_labels_of_a_sound_split_are_not_predicted(tmp_path):
    outcome = check_shuffled(case_of(tmp_path, seconds=2.0))
    assert faults(outcome) == []
    assert outcome.values["p"] > 0.001


def test_validation_clips_that_were_trained_on_are_named(tmp_path):
    case = case_of(tmp_path, "corpus.takes=1", model=QUICK_CRNN)
    rows = case.run.fold.split.rows
    leaky = {**rows, "validation": rows["train"]}
    split = dataclasses.replace(case.run.fold.split, rows=leaky)
    fold = dataclasses.replace(case.run.fold, split=split)
    vars(case)["run"] = case.run.on_fold(fold)
    outcome = check_shuffled(case)
    assert faults(outcome) == ["shuffled-labels-learned"]
    assert outcome.values["uar"] > 0.5


def test_a_classifier_of_scikit_learn_is_fitted_to_shuffled_labels(tmp_path):
    case = case_of(tmp_path, model={"architecture": "mfcc_linear"}, training={})
    outcome = check_shuffled(case)
    assert faults(outcome) == []
    assert "scikit-learn" in outcome.text


def test_copies_get_one_label_and_other_clips_keep_their_numbers(tmp_path):
    case = case_of(tmp_path)
    recordings = recording_of_rows(case)
    assert recordings == list(range(96))
    copies = [row // 2 for row in recordings]
    run = with_shuffled_labels(case.run, copies)
    rows = sorted(run.fold.split.rows["train"] + run.fold.split.rows["validation"])
    before = np.asarray(case.run.data.dataset["label"][:])
    after = np.asarray(run.data.dataset["label"][:])
    assert (before != after).any()
    assert all(after[row] == after[row - 1] for row in rows if row % 2)
    tested = run.fold.split.rows["test"]
    assert (before[tested] == after[tested]).all()


def test_dimensions_are_left_out(tmp_path):
    case = case_of_ratings(tmp_path)
    assert check_shuffled(case).is_left_out
