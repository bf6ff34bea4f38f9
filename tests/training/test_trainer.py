"""Training with frozen parts: they run as in evaluation and do not change."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.testing import tiny_config

from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.models import TRANSFERRED
from ser_hf.training.arguments import seed_everything, training_arguments
from ser_hf.training.clips import clip_table
from ser_hf.training.fit import fit, window_logits
from ser_hf.training.freezing import Freezing, freeze
from ser_hf.training.settings import TrainerSettings
from ser_hf.training.trainer import expect_unused
from ser_hf.utils.errors import UserError

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

pytestmark = pytest.mark.slow  # trains for most of them

OWN = ("precision", "average", "head_learning_rate", "layer_decay")


@pytest.fixture
def training(clips, store, labels, checkpoint, tmp_path):
    """Runs `fit` on a tiny encoder of two layers, eight clips to train and four to validate."""

    def run(freezing, model=None, **arguments):
        plan = blueprint(
            "encoder", labels, checkpoint=checkpoint(), options={"hidden_dropout": 0.2}
        )
        settings = DEFAULTS | {
            "num_train_epochs": 4,
            "per_device_train_batch_size": 4,
            "learning_rate": 0.01,
        }
        own = {name: arguments.pop(name) for name in OWN if name in arguments}
        seed_everything(0)
        model = build_model(plan) if model is None else model
        freeze(model, freezing)
        return fit(
            model,
            plan.extractor,
            store,
            clip_table(clips, range(8), store, 0.4),
            clip_table(clips, range(8, 12), store),
            training_arguments(settings | arguments, tmp_path, 0, "uar", progress=False, **own),
            compute_metrics,
        )

    return run


def test_a_frozen_layer_runs_as_in_evaluation(training, checkpoint, labels):
    """The encoder as a whole is in training mode: it still masks at random."""
    model = build_model(blueprint("encoder", labels, checkpoint=checkpoint()))
    modes = []

    def watch(module, inputs):
        if module.training:
            encoder = module.wav2vec2
            parts = (encoder, encoder.feature_extractor, *encoder.encoder.layers)
            modes.append([part.training for part in parts])

    model.register_forward_pre_hook(watch)
    training(Freezing(layers=1), model=model)
    assert len(modes) == 8
    assert all(mode == [True, False, False, True] for mode in modes)


def test_a_frozen_network_keeps_its_batch_statistics(training):
    model = TRANSFERRED["byols"](tiny_config("byols"))
    norms = [
        module
        for module in model.encoder.modules()
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    ]
    assert norms
    generator = torch.Generator().manual_seed(0)
    for norm in norms:
        norm.running_mean.normal_(generator=generator)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    head = model.classifier.weight.detach().clone()
    fitted = training(Freezing(encoder=True), model=model, average="ema")
    for name, value in fitted.trainer.model.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(fitted.trainer.model.classifier.weight, head)


def test_a_model_trained_in_bf16_is_evaluated_in_float32(training, clips, store):
    fitted = training(Freezing(), precision="bf16")
    split = clip_table(clips, range(8, 12), store)
    model = fitted.trainer.model.eval()
    collator = fitted.trainer.data_collator
    with torch.no_grad():
        # The method of the class: Accelerate replaces that of the model by one in bf16.
        expected = torch.cat(
            [type(model).forward(model, **collator([clip])).logits for clip in split]
        ).numpy()
    np.testing.assert_allclose(window_logits(fitted.trainer, split).logits, expected, atol=1e-5)


def test_several_gpus_of_one_process_are_one(tmp_path):
    settings = DEFAULTS | {"per_device_train_batch_size": 4}
    arguments = training_arguments(settings, tmp_path, 0, progress=False)
    arguments._n_gpu = 8  # as on a machine with eight
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, 4)


@pytest.mark.parametrize(
    ("key", "value"), [("ddp_find_unused_parameters", False), ("ddp_static_graph", True)]
)
def test_settings_that_need_all_gradients_are_refused(checkpoint, labels, key, value):
    model = build_model(
        blueprint("encoder", labels, checkpoint=checkpoint(), options={"layerdrop": 0.1})
    )
    keys = {"ddp_find_unused_parameters": None, "ddp_static_graph": None}
    arguments = SimpleNamespace(world_size=2, **keys | {key: value})
    with pytest.raises(UserError, match=rf"^training\.{key}: with layerdrop "):
        expect_unused(arguments, model)
    one = SimpleNamespace(world_size=1, **keys | {key: value})
    none = SimpleNamespace(world_size=2, **keys)
    expect_unused(one, model)
    assert vars(one)[key] is value
    expect_unused(none, model)
    assert none.ddp_find_unused_parameters is True
