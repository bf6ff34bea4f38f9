"""Attention kernels, gradient checkpointing, compilation, half precision: faster or smaller, and
the same training.
"""

import pytest
import torch
from support.testing import write_checkpoint

from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.training.arguments import seed_everything, training_arguments
from ser_hf.training.clips import clip_table
from ser_hf.training.fit import fit
from ser_hf.training.settings import TrainerSettings
from ser_hf.utils.errors import UserError

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

STILL = dict.fromkeys(
    [f"{part}_dropout" for part in ("attention", "activation", "hidden", "feat_proj", "final")], 0.0
)
STILL |= {"mask_time_prob": 0.0, "layerdrop": 0.0}
on_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA GPU and SER_HF_TEST_GPU=1"
)


@pytest.fixture
def train(clips, store, labels, checkpoint, tmp_path):
    """Two epochs of a tiny encoder without dropout; returns what `fit` does."""

    def run(attention=None, own=None, folder=None, **arguments):
        folder = str(folder or checkpoint("wav2vec2"))
        plan = blueprint("encoder", labels, checkpoint=folder, attention=attention, options=STILL)
        settings = DEFAULTS | {"num_train_epochs": 2, "per_device_train_batch_size": 4} | arguments
        seed_everything(0)
        parts = clip_table(clips, range(8), store), clip_table(clips, range(8, 12), store)
        arguments = training_arguments(settings, tmp_path, 0, progress=False, **(own or {}))
        return fit(build_model(plan), plan.extractor, store, *parts, arguments, compute_metrics)

    return run


def losses(fitted):
    return [
        value
        for entry in fitted.history
        for value in (entry["train_loss"], entry["validation"]["loss"])
    ]


@pytest.mark.parametrize("attention", [pytest.param("eager", marks=pytest.mark.slow), "sdpa"])
def test_kinds_of_attention_give_equal_losses(train, attention):
    fitted = train(attention)
    assert fitted.trainer.model.config._attn_implementation == attention
    assert losses(fitted) == pytest.approx(losses(train()), rel=1e-4)


def test_attention_that_is_not_installed_is_refused(checkpoint, labels):
    plan = blueprint(
        "encoder", labels, checkpoint=checkpoint("wav2vec2"), attention="flash_attention_2"
    )
    with pytest.raises(UserError, match=r"model\.attention: .*[Ff]lash"):
        build_model(plan)


def test_activation_checkpointing_saves_memory_and_changes_nothing(train):
    fitted = train(activation_checkpointing=True)
    assert any(
        getattr(module, "gradient_checkpointing", False)
        for module in fitted.trainer.model.modules()
    )
    assert losses(fitted) == pytest.approx(losses(train()), rel=1e-5)


def test_half_precision_is_autocast_s_and_weights_stay_float32(train):
    fitted = train(own={"precision": "bf16"})
    assert {parameter.dtype for parameter in fitted.trainer.model.parameters()} == {torch.float32}
    exact = losses(train(own={"precision": "fp32"}))
    assert losses(fitted) != exact
    assert losses(fitted) == pytest.approx(exact, rel=0.02)


@pytest.mark.exhaustive
def test_a_compiled_network_trains_the_same(train, tmp_path):
    """Traced with gradients for clips of any length. Compiling the graphs would take minutes."""
    # Of one layer: they are traced one by one.
    folder = write_checkpoint(tmp_path / "one layer", "wav2vec2", num_hidden_layers=1)
    compiled = train(folder=folder, torch_compile=True, torch_compile_backend="aot_eager")
    assert losses(compiled) == pytest.approx(losses(train(folder=folder)), rel=1e-3)


@on_gpu
@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16", "tf32"])
def test_precisions_of_a_gpu_come_close_to_float32(train, precision):
    exact = losses(train(own={"precision": "fp32"}))
    assert losses(train(own={"precision": precision})) == pytest.approx(exact, rel=0.05)
