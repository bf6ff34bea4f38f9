"""One log line for each evaluation, and the end of a training that diverges."""

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from ser_hf.training.callbacks import EpochLog
from ser_hf.utils.errors import UserError


def _metrics(loss, uar=0.5):
    return {"eval_loss": loss, "eval_uar": uar, "eval_macro_f1": 0.25}


@pytest.fixture
def arguments(tmp_path, caplog):
    caplog.set_level("INFO", "ser_hf")
    return TrainingArguments(str(tmp_path), use_cpu=True)


def _log(arguments, metrics=None, main=True):
    lines = EpochLog()
    state = TrainerState(epoch=2.0, num_train_epochs=4)
    state.is_world_process_zero = main
    lines.on_epoch_begin(arguments, state, TrainerControl())
    lines.on_epoch_end(arguments, state, TrainerControl())
    lines.on_log(arguments, state, TrainerControl(), logs={"loss": 1.25})
    lines.on_evaluate(arguments, state, TrainerControl(), metrics=metrics or _metrics(0.75))
    return lines


def test_each_evaluation_logs_one_line(arguments, caplog):
    lines = _log(arguments)
    (line,) = caplog.messages
    for piece in (
        "2.0/4",
        "train loss 1.250",
        "validation loss 0.750",
        "UAR 0.500",
        "macro-F1 0.250",
    ):
        assert piece in line
    assert len(lines.epoch_seconds) == 1
    assert lines.epoch_seconds[0] >= 0


def test_only_the_first_process_logs(arguments, caplog):
    _log(arguments, main=False)
    assert not caplog.messages


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverged_training_ends_with_advice(arguments, loss):
    with pytest.raises(
        UserError, match=r"training\.learning_rate: training diverged .* after epoch 2"
    ):
        _log(arguments, metrics=_metrics(loss))
