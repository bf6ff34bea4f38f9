"""The dry run: mistakes of network and schedule are refused before a run takes its folder."""

import pytest
from support.recipes import TINY_CRNN
from support.testing import write_checkpoint
from support.testing.models import TINY

import ser_hf
from ser_hf.loading.plan import blueprint
from ser_hf.models import TRANSFERRED
from ser_hf.training.arguments import HOUSE_DEFAULTS, training_arguments
from ser_hf.training.fit import dry_run
from ser_hf.training.freezing import Freezing
from ser_hf.utils.errors import UserError

RECIPE = {
    "name": "dry",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"near_duplicates": "skip"},
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 2},
}


def refusal(folder, *overrides):
    with pytest.raises(UserError) as caught:
        ser_hf.run_recipe(RECIPE, [*overrides, f"output_dir={folder}"])
    assert not folder.exists(), "nothing is left for --overwrite to clear"
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.loss.class_weights={angry: 1}",
            "training.loss.class_weights: expected a weight for each of ",
        ),
        ("training.loss.soft_labels=true", "training.loss.soft_labels: synthetic/"),
        ("training.warmup_steps=1000", "training.warmup_steps: expected fewer than the"),
        ("training.optim=adamw_8bit", "training.optim, training.optim_args: "),
    ],
)
def test_a_mistake_leaves_no_folder(tmp_path, override, message):
    assert refusal(tmp_path / "run", override).startswith(message)


def test_attention_that_is_not_installed_is_refused_early(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "encoder", "wav2vec2", "layer")
    model = (
        f"model={{architecture: encoder, checkpoint: {checkpoint}, attention: flash_attention_2}}"
    )
    assert refusal(tmp_path / "run", model).startswith("model.attention: ")


@pytest.mark.parametrize("name", sorted(TRANSFERRED))
def test_transferred_networks_are_checked(tmp_path, name):
    plan = blueprint(name, list("abcd"), random_init=True, options=TINY[name])
    arguments = training_arguments(
        HOUSE_DEFAULTS, tmp_path, 0, "uar", progress=False, layer_decay=0.9
    )
    dry_run(plan, arguments, 10, Freezing(top_layers=1))
    with pytest.raises(UserError, match=r"^freeze\.feature_encoder: "):
        dry_run(plan, arguments, 10, Freezing(feature_encoder=True))
