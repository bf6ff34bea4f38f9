"""The FAST strategy through the Trainer: losses, resumption and the model that is left are those of any training."""

import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ser_hf.evaluation.metrics import trainer_metrics
from ser_hf.training.arguments import HOUSE_DEFAULTS, seed_everything, training_arguments
from ser_hf.training.checkpoints import MARKER
from ser_hf.training.data import TrainTransforms, part
from ser_hf.training.factory import blueprint, build_model
from ser_hf.training.feature_cache import FeatureCaching, fixed_crops, segments_of
from ser_hf.training.fit import fit, predict
from ser_hf.training.freezing import Freezing
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.slow  # trains for each of them

WHOLE = Freezing(encoder=True)
# Nothing at random: the same losses must follow with the store and without.
STILL = ("mask_time_prob", "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
STILL += ("final_dropout", "layerdrop")


@pytest.fixture
def trained(encoder_folder, labels, clips, store, tmp_path):
    """Runs `fit` on six clips, four of them longer than the crop."""

    def run(kind="wav2vec2-layer", freezing=WHOLE, cached=True, folder="run", resume=False, **settings):
        options = dict.fromkeys(STILL, 0.0)
        plan = blueprint(
            "encoder", labels, checkpoint=str(encoder_folder(kind)), options=options, weighted_layer_sum=True
        )
        seed_everything(0)
        model = build_model(plan)
        train = part(clips, range(6), store, 0.4)
        arguments = HOUSE_DEFAULTS | {"num_train_epochs": 2, "per_device_train_batch_size": 3, "learning_rate": 0.05}
        arguments |= {"warmup_steps": 0, "lr_scheduler_type": "constant", "per_device_eval_batch_size": 3} | settings
        own = {name: arguments.pop(name) for name in ("average", "average_start") if name in arguments}
        more = {name: arguments.pop(name) for name in ("watch", "transforms") if name in arguments}
        return fit(
            model,
            plan.extractor,
            store,
            train if cached else fixed_crops(train, store),
            part(clips, range(6, 10), store, window=6000),
            training_arguments(arguments, tmp_path / folder, 0, padding_safe=plan.padding_safe, progress=False, **own),
            trainer_metrics,
            freezing=freezing,
            resume=resume,
            cache=FeatureCaching(freezing, tmp_path / "cache") if cached else None,
            **more,
        )

    return run


def _curve(fitted):
    return [value for entry in fitted.history for value in (entry["train_loss"], entry["validation"]["loss"])]


@pytest.mark.parametrize("settings", [{}, {"train_sampling_strategy": "group_by_length"}, {"average": "swa"}])
def test_a_training_is_the_same_and_the_model_whole(settings, trained, clips, store, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="ser_hf")
    fast, full = trained(**settings), trained(cached=False, folder="full", **settings)
    np.testing.assert_allclose(_curve(fast), _curve(full), rtol=2e-3)
    pieces = fixed_pieces(clips, store)
    assert fast.cached["clips"] == len(pieces) > 10, "six crops, and windows of four clips"
    assert fast.cached["bytes"] == 2 * 16 * 3 * sum(_frames(fast.trainer.model, pieces))
    assert json.loads(json.dumps(fast.cached)) == fast.cached, "facts for a report"
    assert full.cached is None
    judged = part(clips, [10, 11], store)
    np.testing.assert_allclose(predict(fast.trainer, judged)[1], predict(full.trainer, judged)[1], atol=5e-3)
    small, large = ({*load_file(path)} for path in _checkpoints(tmp_path))
    assert not any("wav2vec2" in name for name in small), "checkpoints hold what is left"
    assert any("wav2vec2" in name for name in large)
    assert [*fast.trainer.model.state_dict()] == [*full.trainer.model.state_dict()]
    told = [
        record.message for record in caplog.records if "cached all 3 hidden states of the encoder" in record.message
    ]
    assert len(told) == 1
    assert f"{len(pieces)} clips x 3 x" in told[0]
    assert f"{fast.cached['bytes'] / 1e6:,.2f} MB in float16" in told[0]
    assert "each has one crop, the same in every epoch" in caplog.text


def fixed_pieces(clips, store):
    train = fixed_crops(part(clips, range(6), store, 0.4), store)
    return segments_of(train) + segments_of(part(clips, range(6, 10), store, window=6000))


def _frames(model, pieces):
    return [int(model._get_feat_extract_output_lengths(length)) for _, _, length in pieces]


def _checkpoints(folder):
    return [sorted((folder / name).glob("checkpoint-*/model.safetensors"))[-1] for name in ("run", "full")]


def test_a_second_run_finds_the_store_and_another_weight_does_not(trained, tmp_path, caplog):
    trained(num_train_epochs=1)
    made = {path.name for path in (tmp_path / "cache" / "frozen").iterdir() if path.is_dir()}
    assert len(made) == 1
    (tmp_path / "cache" / "frozen" / made.copy().pop() / "states").chmod(0o400)
    caplog.set_level(logging.INFO, logger="ser_hf")
    trained(folder="again", freezing=WHOLE, num_train_epochs=1)
    assert "found at" in caplog.text


class _Killed(Exception):
    pass


def test_a_cut_off_training_goes_on(trained, tmp_path):
    whole = trained(num_train_epochs=3, average="ema")

    def kill(epoch, metrics):
        if epoch == 2:
            raise _Killed

    with pytest.raises(_Killed):
        trained(folder="cut", num_train_epochs=3, watch=kill, average="ema")
    assert (tmp_path / "cut" / "checkpoint-4" / MARKER).exists()
    resumed = trained(folder="cut", num_train_epochs=3, resume=True, average="ema")
    assert _curve(resumed) == _curve(whole)
    states = resumed.trainer.model.state_dict()
    for name, value in whole.trainer.model.state_dict().items():
        assert torch.equal(value, states[name]), name


def test_a_crop_s_place_is_the_recording_s_own(clips, store):
    train = part(clips, range(12), store, 0.4)
    fixed, again = fixed_crops(train, store), fixed_crops(train.select(range(3, 12)), store)
    assert set(fixed["max_samples"]) == {0}
    places = dict(zip(fixed["row"], fixed["start"], strict=True))
    for row, start, length in segments_of(fixed):
        assert 0 <= start <= store.lengths[row] - length
        assert length == min(store.lengths[row], 6400)
    assert len({start for start in places.values() if start}) > 2
    assert dict(zip(again["row"], again["start"], strict=True)).items() <= places.items()


def test_sharing_out_and_caching_exclude_each_other(trained, monkeypatch):
    monkeypatch.setattr("ser_hf.training.feature_cache.shards", lambda: "fsdp")
    with pytest.raises(UserError, match=r"freeze\.cache: fsdp shards"):
        trained()


def test_clips_that_are_changed_are_refused(trained):
    with pytest.raises(ValueError, match="cannot be augmented"):
        trained(transforms=TrainTransforms(augmenter=lambda waveform, generator: waveform))
