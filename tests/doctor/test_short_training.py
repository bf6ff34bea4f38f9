"""The short training: rates, steps and evaluation."""

import numpy as np
import pytest
from support.doctor import case_of

from ser_hf.doctor.short_training import ShortTraining, is_finite, steps_within


def test_a_step_lowers_the_loss_and_every_clip_has_outputs(tmp_path):
    case = case_of(tmp_path, "training.per_device_train_batch_size=5")
    training = ShortTraining(case.run)
    clips = training.clips.select(range(12))
    batches = training.batches(clips)
    assert [len(batch["labels"]) for batch in batches] == [5, 5, 2]
    before = training.evaluate(batches)
    for _ in range(10):
        training.step(batches)
    after = training.evaluate(batches)
    assert after.loss < before.loss
    assert 0 <= after.accuracy <= 1
    assert [logits.shape for logits in training.predict(batches)] == [(5, 6), (5, 6), (2, 6)]


def test_the_rate_rises_to_that_of_the_recipe_times_the_factor(tmp_path):
    case = case_of(tmp_path)
    training = ShortTraining(case.run, factor=0.1)
    batches = training.batches(training.clips.select(range(2)))
    rates = []
    for _ in range(7):
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.step(batches)
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.001)


def test_steps_end_with_the_time_but_not_before_the_first():
    assert list(steps_within(0.0, 10)) == [1]
    assert list(steps_within(100.0, 3)) == [1, 2, 3]


def test_losses_that_are_no_numbers():
    assert is_finite(1.0, 2)
    assert not is_finite(1.0, np.nan)
    assert not is_finite(np.inf)
