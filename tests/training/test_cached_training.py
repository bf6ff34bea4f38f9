"""`freeze.cache` through the Trainer and a recipe: losses, resumption and the model are those of
any training.
"""

import dataclasses
import functools
import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.close import assert_near
from support.predictions import predict
from transformers import AutoModelForAudioClassification

import ser_hf
from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.training.arguments import seed_everything, training_arguments
from ser_hf.training.checkpoints import MARKER
from ser_hf.training.clips import clip_table
from ser_hf.training.feature_cache import FeatureCaching, fixed_crops
from ser_hf.training.feature_store import segments_of
from ser_hf.training.fit import fit
from ser_hf.training.freezing import Freezing, freeze
from ser_hf.training.settings import TrainerSettings
from ser_hf.utils.errors import UserError

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

WHOLE = Freezing(encoder=True)
# Nothing at random: the same losses must follow with the store and without.
STILL = (
    "mask_time_prob",
    "hidden_dropout",
    "attention_dropout",
    "activation_dropout",
    "feat_proj_dropout",
)
STILL += ("final_dropout", "layerdrop")


@pytest.fixture
def trained(encoder_folder, labels, clips, store, tmp_path):
    """Runs `fit` on six clips, four of them longer than the crop."""

    def run(
        kind="wav2vec2-layer", freezing=WHOLE, cached=True, folder="run", resume=False, **settings
    ):
        settled = {"options": dict.fromkeys(STILL, 0.0), "weighted_layer_sum": True}
        plan = blueprint("encoder", labels, checkpoint=str(encoder_folder(kind)), **settled)
        seed_everything(0)
        model = build_model(plan)
        freeze(model, freezing)
        train = clip_table(clips, range(6), store, 0.4)
        arguments = DEFAULTS | {
            "num_train_epochs": 2,
            "per_device_train_batch_size": 3,
            "learning_rate": 0.05,
        }
        arguments |= {
            "warmup_steps": 0,
            "lr_scheduler_type": "constant",
            "per_device_eval_batch_size": 3,
        } | settings
        own = {name: arguments.pop(name) for name in ("average",) if name in arguments}
        more = {name: arguments.pop(name) for name in ("watch",) if name in arguments}
        return fit(
            model,
            plan.extractor,
            store,
            train if cached else fixed_crops(train, store),
            clip_table(clips, range(6, 10), store, window=6000),
            training_arguments(
                arguments,
                tmp_path / folder,
                0,
                padding_safe=plan.padding_safe,
                progress=False,
                **own,
            ),
            compute_metrics,
            resume=resume,
            cache=FeatureCaching(freezing, tmp_path / "cache") if cached else None,
            **more,
        )

    return run


def _curve(fitted):
    return [
        value
        for entry in fitted.history
        for value in (entry["train_loss"], entry["validation"]["loss"])
    ]


def test_a_training_on_the_cache_is_the_same(trained, clips, store, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="ser_hf")
    fast = trained(average="ema")
    full = trained(cached=False, folder="full", average="ema")
    np.testing.assert_allclose(_curve(fast), _curve(full), rtol=2e-3)
    train = fixed_crops(clip_table(clips, range(6), store, 0.4), store)
    segments = segments_of(train) + segments_of(clip_table(clips, range(6, 10), store, window=6000))
    assert fast.cached.clips == len(segments) > 10, "six crops, and windows of four clips"
    frames = [
        int(fast.trainer.model._get_feat_extract_output_lengths(length))
        for _, _, length in segments
    ]
    assert fast.cached.bytes == 2 * 16 * 3 * sum(frames)
    summary = dataclasses.asdict(fast.cached)
    assert json.loads(json.dumps(summary)) == summary, "part of the report"
    assert full.cached is None
    evaluated = clip_table(clips, [10, 11], store)
    np.testing.assert_allclose(
        predict(fast.trainer, evaluated)[1], predict(full.trainer, evaluated)[1], atol=5e-3
    )
    saved = (
        sorted(tmp_path.glob(f"{name}/checkpoint-*/model.safetensors"))[-1]
        for name in ("run", "full")
    )
    small, large = ({*load_file(path)} for path in saved)
    assert not any("wav2vec2" in name for name in small), "checkpoints hold the remaining modules"
    assert any("wav2vec2" in name for name in large)
    assert [*fast.trainer.model.state_dict()] == [*full.trainer.model.state_dict()]
    assert "cached all 3 hidden states of the encoder" in caplog.text


def test_a_training_of_the_last_layer_is_the_same_on_the_cache(trained, clips, store):
    """AdamW divides small gradients by their size, so that weights differ more than losses."""
    last = Freezing(top_layers=1)
    fast = trained(freezing=last)
    full = trained(freezing=last, cached=False, folder="full")
    assert_near(_curve(fast), _curve(full), 1e-5)
    assert fast.cached.cached == "all 2 states up to layer 1 of 2"
    states = fast.trainer.model.state_dict()
    for name, value in full.trainer.model.state_dict().items():
        torch.testing.assert_close(states[name], value, rtol=0, atol=1e-4)
    evaluated = clip_table(clips, [10, 11], store)
    assert_near(predict(fast.trainer, evaluated)[1], predict(full.trainer, evaluated)[1], 1e-5)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("freezing", [WHOLE, Freezing(top_layers=1)], ids=["whole", "layers"])
def test_an_interrupted_training_resumes_on_the_cache(freezing, trained, tmp_path):
    trained = functools.partial(trained, freezing=freezing)
    whole = trained(num_train_epochs=3, average="ema")

    def kill(epoch, metrics):
        if epoch == 2:
            raise _Killed

    with pytest.raises(_Killed):
        trained(folder="cut", num_train_epochs=3, watch=kill, average="ema")
    assert (tmp_path / "cut" / "checkpoint-4" / MARKER).exists()
    resumed = trained(folder="cut", num_train_epochs=3, resume=True, average="ema")
    assert_near(_curve(resumed), _curve(whole))
    states = resumed.trainer.model.state_dict()
    for name, value in whole.trainer.model.state_dict().items():
        assert_near(value, states[name])


def test_the_crop_depends_on_the_recording_alone(clips, store):
    train = clip_table(clips, range(12), store, 0.4)
    fixed = fixed_crops(train, store)
    again = fixed_crops(train.select(range(3, 12)), store)
    assert set(fixed["max_samples"]) == {0}
    places = dict(zip(fixed["row"], fixed["start"], strict=True))
    for row, start, length in segments_of(fixed):
        assert 0 <= start <= store.lengths[row] - length
        assert length == min(store.lengths[row], 6400)
    assert len({start for start in places.values() if start}) > 2
    assert dict(zip(again["row"], again["start"], strict=True)).items() <= places.items()


def test_sharded_weights_are_refused(trained, monkeypatch):
    monkeypatch.setattr("ser_hf.training.feature_cache.sharding_library", lambda: "fsdp")
    with pytest.raises(UserError, match=r"freeze\.cache: fsdp shards"):
        trained()


@pytest.mark.slow
def test_a_run_reports_the_cache_and_publishes_a_complete_model(encoder_folder, tmp_path):
    source = str(encoder_folder("wav2vec2-layer"))
    report = ser_hf.run_recipe(
        {
            "name": "fast",
            "output_dir": str(tmp_path / "run"),
            "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
            "protocol": {"near_duplicates": "skip"},
            "audio": {"max_duration": 0.4, "cache_dir": str(tmp_path / "cache")},
            "model": {"architecture": "encoder", "checkpoint": source},
            "freeze": {"encoder": True, "cache": True},
            "training": {"num_train_epochs": 1, "seeds": [1, 2], "per_device_train_batch_size": 8},
            "evaluation": {"bootstrap": 10},
        }
    )
    assert len(list((tmp_path / "cache" / "frozen").glob("*/states"))) == 1, (
        "both seeds open one store"
    )
    assert report.training.strategy == "fast (frozen parts cached)"
    assert {"cached", "clips", "bytes", "seconds"} == set(report.training.cache)
    first = tmp_path / "run" / "seed-1"
    assert "Only the head was trained" in (first / "model" / "README.md").read_text(
        encoding="utf-8"
    )
    states = AutoModelForAudioClassification.from_pretrained(first / "model").wav2vec2.state_dict()
    for name, value in (
        AutoModelForAudioClassification.from_pretrained(source).wav2vec2.state_dict().items()
    ):
        assert torch.equal(states[name], value), name
