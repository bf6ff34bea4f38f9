"""`freeze.cache` in a recipe: what it contradicts is told by its key, and a run says that it was the FAST strategy."""

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

import ser_hf
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.recipe_checks import read_recipe
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.slow  # whole runs

CORPUS = {"corpus": {"name": "synthetic"}}
ENCODER = CORPUS | {"model": {"architecture": "encoder", "checkpoint": "someone/encoder"}}
FROZEN = ENCODER | {"freeze": {"encoder": True, "cache": True}}
CRNN = CORPUS | {"model": {"architecture": "crnn"}, "freeze": {"cache": True}}


@pytest.mark.parametrize(
    ("source", "overrides", "told"),
    [
        (ENCODER, ["freeze.cache=true"], "freeze.cache: only a fully frozen encoder can be cached"),
        (CRNN, ["augment.gain.probability=0.5"], "freeze.cache: augment.gain changes waveforms"),
        (FROZEN, ["augment.mixup.probability=0.5"], "freeze.cache: augment.mixup mixes waveforms"),
        (ENCODER, ["freeze.cache=true", "lora.rank=2"], "freeze.cache: lora adapts"),
        (ENCODER, ["freeze.cache=true", "freeze.layers=1"], "freeze.cache: only a fully frozen encoder can be cached"),
        (FROZEN, ["training.gradient_checkpointing=true"], "training.gradient_checkpointing: with freeze.cache"),
        (
            FROZEN,
            ["training.solver=sklearn", "model.pooling=mean"],
            "freeze.cache: of no use to scikit-learn",
        ),
        (CRNN, ["freeze.layers=1"], "freeze: crnn starts from random numbers"),
    ],
)
def test_a_contradiction_is_told_by_its_key(source, overrides, told):
    with pytest.raises(UserError) as error:
        read_recipe(source, overrides)
    assert str(error.value).startswith(told)


@pytest.fixture
def recipe(encoder_folder, tmp_path):
    return {
        "name": "fast",
        "output_dir": str(tmp_path / "run"),
        "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
        "protocol": {"near_duplicates": "skip"},
        "audio": {"max_duration": 0.4, "cache_dir": str(tmp_path / "cache")},
        "model": {"architecture": "encoder", "checkpoint": str(encoder_folder("wav2vec2-layer"))},
        "freeze": {"encoder": True, "cache": True},
        "training": {"num_train_epochs": 2, "learning_rate": 0.01, "seeds": [1], "per_device_train_batch_size": 8},
        "evaluation": {"bootstrap": 10},
    }


def test_a_run_says_that_it_was_fast_and_publishes_a_whole_model(recipe, tmp_path):
    report = ser_hf.run_recipe(recipe, ["training.seeds=[1,2]"])
    assert len(list((tmp_path / "cache" / "frozen").glob("*/states"))) == 1, "both seeds open one store"
    training = report.training
    assert training.strategy == "fast (frozen parts cached)"
    assert {"cached", "clips", "bytes", "seconds"} == set(training.cache)
    assert "for each training clip (long clips with one crop)." in report.model.depth
    first = tmp_path / "run" / "seed-1"
    assert "The frozen encoder was computed once for each training clip" in (first / "model" / "README.md").read_text(
        encoding="utf-8"
    )
    model = AutoModelForAudioClassification.from_pretrained(first / "model")
    source = AutoModelForAudioClassification.from_pretrained(recipe["model"]["checkpoint"])
    for name, value in source.wav2vec2.state_dict().items():
        assert torch.equal(model.wav2vec2.state_dict()[name], value), "what was frozen is as it was"
    extractor = AutoFeatureExtractor.from_pretrained(first / "model")
    with torch.no_grad():
        logits = model(**extractor(np.zeros(8000, np.float32), sampling_rate=16000, return_tensors="pt")).logits
    assert logits.isfinite().all()


@pytest.mark.parametrize(("overrides", "times"), [(["model.mask_time_prob=0.1"], 1), ([], 0)])
@pytest.mark.parametrize("cache", ["true", "false"])
def test_specaugment_that_a_recipe_asks_for_in_vain_is_told(recipe, caplog, overrides, times, cache):
    material = load_experiment_data(read_recipe(recipe, [f"freeze.cache={cache}", *overrides]))
    told = [line for line in caplog.messages if line.startswith("SpecAugment of the encoder (model.mask_time_prob)")]
    assert material.notes == told
    assert len(told) == times
