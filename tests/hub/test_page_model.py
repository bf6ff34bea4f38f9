"""The two modules that load the model of a page: with transformers, and with ser_hf."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from support.hub_twins import dense_twin
from support.testing import tiny_config
from transformers import Wav2Vec2FeatureExtractor

from ser_hf.hub.space import Demo, write_space
from ser_hf.inference.batches import classify_targets
from ser_hf.inference.load import load_classifier
from ser_hf.models import ARCHITECTURES

ROOT = Path(__file__).parents[2]
RATE = 16000
CLIPS = [
    np.random.default_rng(seed).normal(0, 0.1, length).astype(np.float32)
    for seed, length in enumerate((8000, 8000, 12001))
]


def page_model(name, model, **facts):
    """The class `Model` of a module of hub_cards, with a model."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "hub_cards" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = {"revision": None, "trust_remote_code": True, "label_names": None}
    return module.Model({"model": str(model), **known, **facts})


@pytest.fixture(scope="module")
def model_of_both(tmp_path_factory):
    """The folder of a tiny model of labels and ratings."""
    folder = tmp_path_factory.mktemp("both")
    torch.manual_seed(0)
    config = tiny_config("crnn", labels=3)
    config.id2label = dict(enumerate(["angry", "happy", "sad"]))
    config.dimension_names = ["arousal", "valence"]
    config.target_ranges = {"arousal": [1, 5], "valence": [1, 7]}
    ARCHITECTURES["crnn"](config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("module", ["space_model", "demo_model"])
def test_a_page_has_labels_and_ratings(model_of_both, module):
    model = page_model(module, model_of_both)
    assert model.outputs == ["angry", "happy", "sad", "arousal", "valence"]
    predicted = np.stack(list(model.predict(CLIPS, 2)))
    classifier = load_classifier(model_of_both, device="cpu")
    names = ["a", "b", "c"]
    clips = classify_targets(classifier, CLIPS, names, progress=False)
    np.testing.assert_allclose(predicted[:, :3], clips.predictions, atol=1e-5)
    np.testing.assert_allclose(predicted[:, 3:].clip(0, 1), clips.ratings, atol=1e-5)
    assert np.ptp(predicted[:, 3:].clip(0, 1)) > 0


def test_a_local_page_takes_heads_that_transformers_does_not_have(tmp_path):
    logits = dense_twin(tmp_path / "twin", ["LABEL_0", "LABEL_1"], pooling_mode="mean")
    model = page_model("demo_model", tmp_path / "twin", label_names=["calm", "angry"])
    assert model.outputs == ["calm", "angry"]
    (predicted,) = model.predict(CLIPS[:1], 1)
    expected = torch.tensor(logits(CLIPS[0])).softmax(dim=-1).numpy()
    np.testing.assert_allclose(predicted, expected, atol=1e-4)


def test_a_local_page_loads_its_model_by_ser_hf(tmp_path):
    for local, name in ((True, "demo_model.py"), (False, "space_model.py")):
        space = write_space(tmp_path / name, Demo("tester/voices", local=local))
        assert (space / "model.py").read_bytes() == (ROOT / "hub_cards" / name).read_bytes()
