"""Mistakes that only the network or the number of clips shows are told before a run takes its folder."""

import pytest

import ser_hf
from ser_hf.errors import UserError
from ser_hf.testing import write_checkpoint

RECIPE = {
    "name": "rehearsed",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"near_duplicates": "skip"},
    "model": {"architecture": "crnn", "channels": [4], "time_pooling": [8], "band_pooling": [8], "lstm_hidden": 4},
    "training": {"num_train_epochs": 2},
}


def refusal(folder, *overrides):
    with pytest.raises(UserError) as caught:
        ser_hf.run_recipe(RECIPE, [*overrides, f"output_dir={folder}"])
    assert not folder.exists(), "nothing is left for --overwrite to clear"
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.loss.class_weights={angry: 1}", "training.loss.class_weights: no weight for "),
        ("training.loss.class_weights={angri: 1}", "training.loss.class_weights"),
        ("training.loss.soft_labels=true", "training.loss.soft_labels: synthetic/"),
        ("training.warmup_steps=1000", "training.warmup_steps: 1000 steps are the whole run"),
        ("training.optim=adamw_8bit", "training.optim: adamw_8bit"),
        ("training.optim_args=foo", "training.optim: adamw_torch_fused with these optim_args"),
        ("training.adam_beta1=2", "training.optim: "),
    ],
)
def test_a_mistake_about_the_training_leaves_nothing_behind(tmp_path, override, told):
    assert refusal(tmp_path / "run", override).startswith(told)


def test_a_schedule_that_ends_above_its_rate_is_refused_early(tmp_path):
    kwargs = "training.lr_scheduler_kwargs={lr_end: 1.0}"
    assert refusal(tmp_path / "run", "training.lr_scheduler_type=polynomial", kwargs).startswith(
        "training.lr_schedule"
    )


def test_attention_that_is_not_installed_is_refused_early(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "encoder", "wav2vec2", "layer")
    model = f"model={{architecture: encoder, checkpoint: {checkpoint}, attention: flash_attention_2}}"
    assert refusal(tmp_path / "run", model).startswith("model.attention: ")
