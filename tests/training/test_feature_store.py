"""The store of cached activations: complete or absent, and found again by everything that its
values depend on.
"""

import pickle

import numpy as np
import pytest
import torch
from support.close import assert_near
from support.damage import cut, flip
from support.testing import tiny_config
from support.testing.models import TINY

from ser_hf.loading.plan import blueprint
from ser_hf.models import ARCHITECTURES
from ser_hf.training import feature_store
from ser_hf.training.cached_module import cached_module
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.feature_store import open_feature_store, segments_of
from ser_hf.training.freezing import Freezing
from ser_hf.utils.errors import UserError


@pytest.fixture
def opened(store, clips, labels, tmp_path):
    """Open the store of the features of a tiny network with other settings or clips."""

    def run(rows=range(4), name="crnn", length=4000, **settings):
        torch.manual_seed(0)
        model = ARCHITECTURES[name](tiny_config(name, **settings))
        plan = blueprint(name, labels, options=TINY[name] | settings)
        segments = segments_of(clip_table(clips, rows, store, window=length))
        collator = Collator(store, plan.extractor)
        cached = cached_module(model, Freezing())
        return (
            open_feature_store(model, cached, collator, segments, batch_size=3, cache_dir=tmp_path),
            model,
            collator,
        )

    return run


def _folders(tmp_path):
    return {path.name for path in (tmp_path / "frozen").iterdir() if path.is_dir()}


def test_the_store_has_the_features_of_each_single_clip(opened, store, clips):
    frozen, model, collator = opened(range(12), length=9000)
    model.eval()
    for clip in clip_table(clips, range(12), store, window=9000):
        kept = frozen[clip["row"], clip["start"], clip["length"]]
        batch = collator([clip])
        with torch.no_grad():
            features, mask = model.front_end.features(
                batch["input_values"], batch["attention_mask"].sum(dim=1)
            )
        assert kept.dtype == np.float16
        assert mask.all()
        np.testing.assert_allclose(kept[0], features[0].numpy(), rtol=1e-3, atol=1e-3)
    assert not kept.flags.writeable
    again = pickle.loads(pickle.dumps(frozen))
    assert again._values._file is None, "a worker maps the file by itself"
    np.testing.assert_array_equal(again[clip["row"], clip["start"], clip["length"]], kept)


def test_only_what_changes_the_features_makes_a_new_store(opened, tmp_path, monkeypatch):
    opened()
    built = _folders(tmp_path)
    for settings in ({"dropout": 0.5}, {"time_masks": 1}, {"lstm_hidden": 4}, {"deltas": 1}):
        opened(**settings)
    assert _folders(tmp_path) == built
    for settings in ({"n_mels": 30}, {"floor": 1e-5}, {"rows": range(5)}, {"length": 5000}):
        opened(**settings)
    assert len(_folders(tmp_path)) == 5
    monkeypatch.setattr(feature_store.transformers, "__version__", "99")
    opened()
    # as training.precision does on a GPU
    monkeypatch.setattr(torch.backends, "fp32_precision", "tf32")
    opened()
    assert len(_folders(tmp_path)) == 7


@pytest.mark.parametrize(
    ("name", "change"), [("states", cut), ("states", flip), ("index.npz", cut)]
)
def test_a_damaged_store_is_reported_and_built_again(opened, caplog, name, change):
    frozen, _, _ = opened()
    content = np.fromfile(frozen.folder / "states", np.float16)
    change(frozen.folder / name)
    again, _, _ = opened()
    (message,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert message.startswith(f"{frozen.folder} is damaged (")
    assert again.folder == frozen.folder
    assert_near(np.fromfile(again.folder / "states", np.float16), content, tolerance=1e-3)


def test_a_value_beyond_float16_is_refused(opened, tmp_path, monkeypatch):
    compute = feature_store.compute_activations

    def large(*given):
        states, frames = compute(*given)
        return states * 1e5, frames

    monkeypatch.setattr(feature_store, "compute_activations", large)
    with pytest.raises(
        UserError,
        match=r"freeze\.cache: log-mel spectrograms of the clip in row \d exceed .*float16",
    ):
        opened()
    assert _folders(tmp_path) == set()
