"""Learning 16 clips by heart: wrong rates are named with one that works."""

import numpy as np
import pytest
from datasets import Dataset
from support.doctor import QUICK_CRNN, case_of, faults, made_case, rated_corpus

from ser_hf.doctor import overfitting
from ser_hf.doctor.overfitting import CLIPS, check_overfitting, few_clips
from ser_hf.models.modeling_crnn import CRNNForAudioClassification


def checked(folder, rate, seconds=600.0):
    case = case_of(
        folder,
        "audio.max_duration=0.6",
        model=QUICK_CRNN,
        training={"learning_rate": rate},
        seconds=seconds,
    )
    return check_overfitting(case)


def test_a_fitting_rate_learns_the_clips(tmp_path):
    outcome = checked(tmp_path, 0.01)
    assert faults(outcome) == []
    assert outcome.values["learned"]
    assert outcome.values["last_loss"] < outcome.values["first_loss"]


@pytest.mark.parametrize(("rate", "fault"), [(30.0, "rate-too-high"), (1e-7, "rate-too-low")])
def test_a_wrong_rate_is_named_with_one_that_learns(tmp_path, monkeypatch, rate, fault):
    monkeypatch.setattr(overfitting, "_STEPS", 60)
    monkeypatch.setattr(overfitting, "_RATES", (1e-2,))
    outcome = checked(tmp_path, rate)
    assert faults(outcome) == [fault]
    assert outcome.problems[0].remedy == "set training.learning_rate: 0.01"


def test_a_network_that_ignores_its_input_learns_nothing(tmp_path, monkeypatch):
    def forward(self, input_values, *arguments, **further):
        return original(self, input_values * 0, *arguments, **further)

    original = CRNNForAudioClassification.forward
    monkeypatch.setattr(CRNNForAudioClassification, "forward", forward)
    monkeypatch.setattr(overfitting, "_STEPS", 60)
    monkeypatch.setattr(overfitting, "_STEPS_OF_TRIAL", 10)
    assert faults(checked(tmp_path, 0.01)) == ["nothing-learned"]


def test_frozen_parameters_and_too_little_time_are_no_verdict(tmp_path):
    outcome = checked(tmp_path, 1e-7, seconds=0.01)
    assert outcome.is_left_out
    assert "--seconds" in outcome.text


def test_a_training_that_the_time_ends_is_no_verdict_at_any_rate(tmp_path, monkeypatch):
    """A network that ignores its input, on a machine that is slow."""

    def learn(case, factor, seconds, steps):
        return overfitting.Loop(50, 1.8, 1.8, 0.1, learned=False)

    monkeypatch.setattr(overfitting, "learn_few_clips", learn)
    outcome = checked(tmp_path, 0.01)
    assert outcome.is_left_out
    assert "--seconds" in outcome.text


def test_scikit_learn_has_no_rate(tmp_path):
    case = case_of(tmp_path, model={"architecture": "mfcc_linear"}, training={})
    assert check_overfitting(case).is_left_out


def test_the_few_clips_have_all_classes():
    labels = [0] * 100 + [1] * 5 + [2] * 50
    clips = few_clips(Dataset.from_dict({"labels": labels}))
    assert len(clips) == CLIPS
    assert sorted(np.bincount(clips["labels"])) == [5, 5, 6]


def test_dimensions_are_learned_by_their_loss(tmp_path):
    case = made_case(
        tmp_path,
        task="dimensions",
        corpus=rated_corpus(tmp_path),
        model=QUICK_CRNN,
        edit=lambda row: row | {"arousal": "5" if row["label"] in ("angry", "happy") else "1"},
    )
    outcome = check_overfitting(case)
    assert faults(outcome) == []
    assert outcome.values["accuracy"] is None
