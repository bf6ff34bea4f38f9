"""`fit` keeps what validation prefers, tells its history, stops on a divergence and resumes from whole checkpoints."""

import numpy as np
import pytest
import torch
import transformers

from ser_hf.errors import UserError
from ser_hf.evaluation.metrics import trainer_metrics
from ser_hf.training.arguments import HOUSE_DEFAULTS, training_arguments
from ser_hf.training.batches import part
from ser_hf.training.build import blueprint, build_model
from ser_hf.training.loss import ClassificationLoss
from ser_hf.training.run import fit, last_checkpoint, predict

TINY = {"channels": [4], "time_pooling": [8], "band_pooling": [8], "lstm_hidden": 4}


@pytest.fixture
def training(clips, store, labels, tmp_path):
    """Runs `fit` on a tiny network, eight clips to learn and four to validate."""

    def run(metric="uar", patience=None, resume=False, **arguments):
        plan = blueprint("crnn", labels, options=TINY)
        settings = HOUSE_DEFAULTS | {"num_train_epochs": 3, "per_device_train_batch_size": 4} | arguments
        transformers.set_seed(0)
        return fit(
            build_model(plan),
            plan.extractor,
            store,
            part(clips, range(8), store),
            part(clips, range(8, 12), store),
            training_arguments(settings, tmp_path, 0, metric, progress=False),
            trainer_metrics,
            patience=patience,
            resume=resume,
        )

    return run


def test_the_history_has_one_entry_an_evaluation(training):
    fitted = training()
    assert [entry["epoch"] for entry in fitted.history] == [1.0, 2.0, 3.0]
    assert [entry["step"] for entry in fitted.history] == [2, 4, 6]
    for entry in fitted.history:
        assert {"train_loss", "learning_rate", "grad_norm"} <= set(entry)
        assert {"loss", "uar", "wa", "macro_f1", "weighted_f1"} <= set(entry["validation"])
    assert len(fitted.epoch_seconds) == 3
    assert sum(fitted.epoch_seconds) < fitted.seconds


def test_the_model_left_is_the_one_that_validation_prefers(training, clips, store):
    # A rate this high makes the last epoch worse than an earlier one.
    fitted = training("loss", learning_rate=0.3, warmup_steps=0, num_train_epochs=4, lr_scheduler_type="constant")
    losses = [entry["validation"]["loss"] for entry in fitted.history]
    assert losses[-1] > min(losses)
    validation = part(clips, range(8, 12), store)
    rows, logits = predict(fitted.trainer, validation)
    assert set(rows) == set(range(8, 12))
    measured = ClassificationLoss()({"logits": torch.from_numpy(logits)}, torch.tensor(validation["labels"][:]))
    assert measured.item() == pytest.approx(min(losses), rel=1e-5)


def test_patience_ends_a_training_that_gains_nothing(training):
    fitted = training(patience=2, learning_rate=0.0, num_train_epochs=9)
    assert [entry["epoch"] for entry in fitted.history] == [1.0, 2.0, 3.0]


def test_a_diverged_training_is_told(training):
    with pytest.raises(UserError, match=r"training\.learning_rate: training diverged"):
        training(learning_rate=1e30)


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(training, tmp_path):
    """Augmentation and dropout included: the checkpoint keeps the state of every generator."""
    whole = training(save_total_limit=None)
    (tmp_path / "checkpoint-6" / "trainer_state.json").unlink()
    resumed = training(save_total_limit=None, resume=True)
    losses = [[entry["train_loss"] for entry in fitted.history] for fitted in (whole, resumed)]
    assert losses[0] == losses[1]
    states = [fitted.trainer.model.state_dict() for fitted in (whole, resumed)]
    for name, value in states[0].items():
        np.testing.assert_array_equal(states[1][name].numpy(), value.numpy())


def test_the_last_whole_checkpoint_is_taken(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for step, whole in ((4, True), (12, True), (20, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model.safetensors").touch()
        if whole:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").touch()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-12")
