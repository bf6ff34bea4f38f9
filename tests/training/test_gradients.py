"""A step does not depend on how it is cut: accumulation leaves loss, gradient and weights alone (as
processes do, see test_two_processes.py).

The audio heads of transformers take `**kwargs`, from which the Trainer concludes that they divide
their loss by the clips of the whole step. They take each micro-batch's mean instead, and the
gradient grows by the number of micro-batches (transformers issue 47688). `ser_hf.training.loss`
divides by the right number.
"""

import pytest
from ddp_script import STEP, curves, hold_batch_norm, load, step_arguments, write_models

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
def test_accumulation_does_not_change_gradients_losses_and_weights(models, store, tmp_path, kind):
    whole = _curves(models, kind, store, tmp_path / "whole", STEP, 1, held=True)
    assert len(whole["loss"]) == 4
    assert_same(_curves(models, kind, store, tmp_path / "cut", 2, 4, held=True), whole)
