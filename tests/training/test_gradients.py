"""A step does not depend on how it is cut: accumulation leaves loss, gradient and weights alone (as processes do, see
test_two_processes.py).

The audio heads of transformers take `**kwargs`, from which the Trainer concludes that they divide their loss by the
clips of the whole step. They take each micro-batch's mean instead, and the gradient grows by the number of
micro-batches (transformers issue 47688). `ser_hf.training.loss` divides by the right number.
"""

import pytest
from ddp_script import STEP, clips_of, curves, hold_batch_norm, load, step_arguments, write_models
from transformers import Trainer

from ser_hf.training.data import Collator

pytestmark = pytest.mark.slow  # trains for each of them


@pytest.fixture(scope="module")
def models(checkpoint, tmp_path_factory):
    """Folder with a model of each route, random head and extractor included."""
    folder = tmp_path_factory.mktemp("step") / "models"
    write_models(folder, checkpoint("wav2vec2", "layer"))
    return folder


def _curves(models, kind, store, folder, batch, accumulation, held=False):
    model, extractor = load(models, kind)
    model = hold_batch_norm(model) if held else model
    return curves(model, extractor, store, kind, step_arguments(folder, batch, accumulation))


def assert_same(cut, whole):
    for key, values in whole.items():
        assert cut[key] == pytest.approx(values, rel=2e-5, abs=1e-6), key


@pytest.mark.parametrize("kind", ["crnn", "encoder"])
def test_accumulation_leaves_gradients_losses_and_weights_alone(models, store, tmp_path, kind):
    whole = _curves(models, kind, store, tmp_path / "whole", STEP, 1, held=True)
    assert len(whole["loss"]) == 4
    assert_same(_curves(models, kind, store, tmp_path / "cut", 2, 4, held=True), whole)


def test_the_stock_loss_multiplies_the_gradient(models, store, tmp_path):
    """Why the loss is ours. Should this fail, transformers has mended issue 47688."""
    norms = {}
    for batch, accumulation in ((8, 1), (2, 4)):
        model, extractor = load(models, "encoder")
        arguments = step_arguments(tmp_path, batch, accumulation, max_steps=1)
        arguments.eval_strategy, arguments.save_strategy, arguments.load_best_model_at_end = "no", "no", False
        collate = Collator(store, extractor)
        trainer = Trainer(model, arguments, data_collator=collate, train_dataset=clips_of(store))
        trainer.train()
        (norms[batch],) = [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
    assert norms[2] == pytest.approx(4 * norms[8], rel=1e-3)
