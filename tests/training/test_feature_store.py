"""The store of what is frozen: whole or not there, of room and range it tells, once for all who want it."""

import logging
import pickle
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support.damage import cut, empty, fill, flip

from ser_hf.models import ARCHITECTURES
from ser_hf.testing import tiny_config
from ser_hf.testing.models import TINY
from ser_hf.training import feature_store
from ser_hf.training.data import Collator, part
from ser_hf.training.factory import blueprint, build_model
from ser_hf.training.feature_cache import cached_module, compute_activations, segments_of
from ser_hf.training.feature_store import open_feature_store
from ser_hf.training.freezing import Freezing
from ser_hf.utils.errors import UserError

Usage = namedtuple("Usage", "total used free")


def _as_computed(compute, *given):
    return compute(*given)


@pytest.fixture
def opened(store, clips, labels, tmp_path):
    """Opens the store of the features of a tiny network, whose settings and clips may differ."""

    def run(rows=range(4), name="crnn", length=4000, changed=_as_computed, **settings):
        torch.manual_seed(0)
        model = ARCHITECTURES[name](tiny_config(name, **settings))
        plan = blueprint(name, labels, options=TINY[name] | settings)
        segments = segments_of(part(clips, rows, store, window=length))
        collator, cached = Collator(store, plan.extractor), cached_module(model, Freezing())
        compute = partial(changed, compute_activations, model, cached)
        return open_feature_store(model, cached, collator, segments, compute, 3, tmp_path), model, collator

    return run


def _folders(tmp_path):
    return {path.name for path in (tmp_path / "frozen").iterdir() if path.is_dir()}


def test_it_holds_what_is_computed_of_each_clip_alone(opened, store, clips):
    (frozen, _), model, collator = opened(range(12), length=9000)
    model.eval()
    for clip in part(clips, range(12), store, window=9000):
        kept = frozen[clip["row"], clip["start"], clip["length"]]
        batch = collator([clip])
        with torch.no_grad():
            features, mask = model.front_end.features(batch["input_values"], batch["attention_mask"].sum(dim=1))
        assert kept.dtype == np.float16
        assert mask.all()
        np.testing.assert_allclose(kept[0], features[0].numpy(), rtol=1e-3, atol=1e-3)
    assert not kept.flags.writeable
    again = pickle.loads(pickle.dumps(frozen))
    assert again._values is None, "a worker maps the file by itself"
    np.testing.assert_array_equal(again[clip["row"], clip["start"], clip["length"]], kept)


def test_what_changes_nothing_of_what_is_kept_finds_it_again(opened, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="ser_hf")
    opened()
    built = _folders(tmp_path)
    for settings in ({"dropout": 0.5}, {"time_masks": 1}, {"band_warp": 0.1}, {"lstm_hidden": 4}, {"deltas": 1}):
        opened(**settings)
    assert _folders(tmp_path) == built
    for settings in ({"n_mels": 30}, {"floor": 1e-5}, {"rows": range(5)}, {"length": 5000}):
        opened(**settings)
        assert _folders(tmp_path) > built
        built = _folders(tmp_path)


def test_code_and_releases_count(opened, tmp_path, monkeypatch):
    opened()
    monkeypatch.setattr(feature_store, "_own_code", lambda modules: "other")
    opened()
    monkeypatch.setattr(feature_store.transformers, "__version__", "99")
    opened()
    assert len(_folders(tmp_path)) == 3


def test_the_attention_counts(encoder_folder, labels):
    checkpoint = str(encoder_folder("wav2vec2"))
    settings = []
    for attention in ("eager", "sdpa"):
        model = build_model(blueprint("encoder", labels, checkpoint=checkpoint, attention=attention))
        settings.append(feature_store._settings(model, cached_module(model, Freezing(encoder=True))))
    assert settings[0] != settings[1]
    assert settings[0] | {"attention": "'sdpa'"} == settings[1]


def test_the_device_and_its_arithmetic_count(opened, tmp_path, monkeypatch):
    opened()
    monkeypatch.setattr(torch.backends, "fp32_precision", "tf32")  # as training.precision bf16 does on a graphics card
    opened()
    monkeypatch.undo()
    with torch.autocast("cpu"):
        opened()
    assert len(_folders(tmp_path)) == 3
    assert feature_store._arithmetic(torch.device("cuda:1")) == feature_store._arithmetic(torch.device("cuda:0"))
    assert feature_store._arithmetic(torch.device("cuda")) != feature_store._arithmetic(torch.device("cpu"))


def test_a_full_disk_is_told_before_anything_is_computed(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: Usage(0, 0, 1000))
    with pytest.raises(UserError, match=r"audio\.cache_dir: freeze\.cache needs 0\.0\d MB at .*, where 0\.00 MB"):
        opened()
    assert _folders(tmp_path) == set()


def test_a_disk_that_fills_up_leaves_nothing(opened, tmp_path, monkeypatch):
    def full(*given, **named):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(feature_store.np, "savez", full)
        with pytest.raises(UserError, match=r"audio\.cache_dir: .* cannot be written \(No space left on device\)"):
            opened()
    assert _folders(tmp_path) == set()
    assert len(opened(length=20000)[0][0]) == 4


@pytest.mark.parametrize("change", [cut, flip, empty, fill, Path.unlink])
@pytest.mark.parametrize("name", ["states", "index.npz"])
def test_a_damaged_store_is_told_and_built_again(opened, caplog, name, change):
    (frozen, _), _, _ = opened()
    files = [frozen.folder / "states", frozen.folder / "index.npz"]
    wanted = [file.read_bytes() for file in files]
    change(frozen.folder / name)
    (again, _), _, _ = opened()
    (told,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert told.startswith(f"{frozen.folder} is damaged (")
    assert again.folder == frozen.folder
    assert [file.read_bytes() for file in files] == wanted


def test_a_value_beyond_float16_is_refused(opened, tmp_path):
    def large(compute, *given):
        states, *rest = compute(*given)
        return (states * 1e5, *rest)

    with pytest.raises(UserError, match=r"freeze\.cache: log-mel spectrograms of the clip in row \d reach .*65504"):
        opened(changed=large)
    assert _folders(tmp_path) == set()


def test_a_store_of_another_size_than_computed_is_a_fault(opened, tmp_path):
    def short(compute, *given):
        states, counts, *rest = compute(*given)
        return (states[:, :, :-1], counts, *rest)

    with pytest.raises(RuntimeError, match="bytes were written"):
        opened(changed=short)
    assert _folders(tmp_path) == set()
