"""Training with frozen parts: gradual unfreezing by epoch, and its resumption (processes: test_two_processes.py)."""

import logging
from types import SimpleNamespace

import pytest
import torch
from test_run import same

from ser_hf.evaluation.metrics import trainer_metrics
from ser_hf.models import TRANSFERRED
from ser_hf.testing import tiny_config
from ser_hf.training.arguments import HOUSE_DEFAULTS, seed_everything, training_arguments
from ser_hf.training.checkpoints import MARKER
from ser_hf.training.data import part
from ser_hf.training.factory import blueprint, build_model
from ser_hf.training.fit import fit
from ser_hf.training.freezing import Freezing, structure
from ser_hf.training.trainer import expect_unused
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.slow  # trains for most of them

OWN = ("average", "head_learning_rate", "layer_decay")


@pytest.fixture
def training(clips, store, labels, checkpoint, tmp_path):
    """Runs `fit` on a tiny encoder of two layers, eight clips to train and four to validate."""

    def run(freezing, resume=False, prepare=None, model=None, **arguments):
        plan = blueprint("encoder", labels, checkpoint=checkpoint(), options={"hidden_dropout": 0.2})
        settings = HOUSE_DEFAULTS | {"num_train_epochs": 4, "per_device_train_batch_size": 4, "learning_rate": 0.01}
        own = {name: arguments.pop(name) for name in OWN if name in arguments}
        seed_everything(0)
        model = build_model(plan) if model is None else model
        if prepare:
            prepare(model)
        return fit(
            model,
            plan.extractor,
            store,
            part(clips, range(8), store, 0.4),
            part(clips, range(8, 12), store),
            training_arguments(settings | arguments, tmp_path, 0, "uar", progress=False, **own),
            trainer_metrics,
            freezing=freezing,
            resume=resume,
        )

    return run


class _Watch:
    """Records trainable parts, parts in training mode and the weights at every training forward."""

    def __init__(self):
        self.seen, self.weights = [], []

    def __call__(self, model):
        where = structure(model)

        def look(module, inputs):
            if not module.training:
                return
            trainable = {where.place(name) for name, p in model.named_parameters() if p.requires_grad}
            active = {name for name in (*where.stem, *where.layers) if model.get_submodule(name).training}
            self.seen.append((trainable, active, model.get_submodule(where.encoder).training))
            self.weights.append({name: p.detach().clone() for name, p in model.named_parameters()})

        model.register_forward_pre_hook(look)


def test_layers_are_unfrozen_by_epoch_and_frozen_ones_do_not_change(training, caplog):
    watch = _Watch()
    with caplog.at_level(logging.INFO, logger="ser_hf.training.trainer"):
        fitted = training(Freezing(every=1), prepare=watch, head_learning_rate=0.02, layer_decay=0.5, warmup_steps=0)
    layers = ["wav2vec2.encoder.layers.0", "wav2vec2.encoder.layers.1"]
    head, first = {("head", 0)}, {("head", 0), ("layer", 1)}
    both = first | {("layer", 0)}
    whole = both | {("stem", 0), ("input", 0)}
    stem = {"wav2vec2.feature_extractor"}
    assert watch.seen == [
        *[(head, set(), False)] * 2,
        *[(first, {layers[1]}, True)] * 2,
        *[(both, {*layers}, True)] * 2,
        *[(whole, stem | {*layers}, True)] * 2,
    ]
    for step, (before, after) in enumerate(zip(watch.weights, watch.weights[1:], strict=False)):
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        trainable = {name for name in before if structure(fitted.trainer.model).place(name) in watch.seen[step][0]}
        assert moved <= trainable
        assert trainable - moved <= {"wav2vec2.masked_spec_embed"}
    tables = [record.getMessage() for record in caplog.records if record.name == "ser_hf.training.trainer"]
    assert [table.splitlines()[0] for table in tables] == [f"trainable after {epochs} epochs:" for epochs in (1, 2, 3)]
    assert "frozen" not in tables[2]


@pytest.mark.parametrize(("average", "last"), [(None, 4), ("ema", 3)])
def test_an_interrupted_unfreezing_resumes_to_the_same_weights(training, tmp_path, average, last):
    often = dict.fromkeys(("eval_strategy", "save_strategy", "logging_strategy"), "steps")
    often |= {"eval_steps": 1, "save_steps": 1, "logging_steps": 1, "save_total_limit": None, "average": average}
    whole = training(Freezing(every=1), **often)
    for step in range(last + 1, 9):
        (tmp_path / f"checkpoint-{step}" / MARKER).unlink()
    watch = _Watch()
    resumed = training(Freezing(every=1), **often, resume=True, prepare=watch)
    assert len(watch.seen) == 8 - last
    assert ("layer", 1) in watch.seen[0][0]
    assert (("layer", 0) in watch.seen[0][0]) == (last >= 4)
    same(whole, resumed)


def test_a_frozen_network_keeps_its_batch_statistics(training):
    model = TRANSFERRED["byols"](tiny_config("byols"))
    norms = [module for module in model.encoder.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
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


@pytest.mark.parametrize(("key", "value"), [("ddp_find_unused_parameters", False), ("ddp_static_graph", True)])
@pytest.mark.parametrize(("drops", "gradual"), [(0.0, True), (0.1, False)])
def test_settings_that_need_all_gradients_are_refused(checkpoint, labels, key, value, drops, gradual):
    model = build_model(blueprint("encoder", labels, checkpoint=checkpoint(), options={"layerdrop": drops}))
    keys = {"ddp_find_unused_parameters": None, "ddp_static_graph": None}
    arguments = SimpleNamespace(world_size=2, **keys | {key: value})
    with pytest.raises(UserError, match=rf"^training\.{key}: with (freeze\.gradual|layerdrop \(0\.1\)) "):
        expect_unused(arguments, model, gradual)
    one, none = SimpleNamespace(world_size=1, **keys | {key: value}), SimpleNamespace(world_size=2, **keys)
    expect_unused(one, model, gradual)
    assert vars(one)[key] is value
    expect_unused(none, model, gradual)
    assert none.ddp_find_unused_parameters is True
