"""Saved models of every family: they load, give the same logits, and are saved with the same
tensors and settings.
"""

import json

import numpy as np
import pytest
import torch
from golden import FIXTURES, LOGITS, logits_of, model_facts, read, unpacked, waveforms
from peft import PeftModel
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

FACTS = read("models.json.xz")


def expected(place):
    with np.load(FIXTURES / "logits.npz") as kept:
        return kept[place]


@pytest.mark.parametrize(
    "place", [*(f"models/{name}" for name in FACTS), "runs/single/model", "runs/lora/model"]
)
def test_a_saved_model_gives_the_same_logits(place):
    logits = logits_of(unpacked() / place, waveforms())
    np.testing.assert_allclose(logits, expected(place), **LOGITS)


@pytest.mark.parametrize("name", FACTS)
def test_a_model_is_saved_as_before(name, tmp_path):
    """The same files, configuration, defaults, feature extractor, tensor names and shapes;
    `auto_map` for networks of ser_hf. New configuration keys may be added, Python files may have
    other names."""
    folder = unpacked() / "models" / name
    frozen = FACTS[name]
    model = AutoModelForAudioClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path)
    AutoFeatureExtractor.from_pretrained(folder).save_pretrained(tmp_path)
    now = model_facts(tmp_path, model)
    assert now["tensors"] == frozen["tensors"]
    for part in ("config", "defaults", "extractor"):
        assert {key: now[part].get(key, "lost") for key in frozen[part]} == frozen[part]
    ours = frozen["config"]["model_type"].startswith("ser_")
    files = {path.name for path in tmp_path.iterdir()}
    published = {file for file in files if not file.endswith(".py")}
    assert published == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert any(file.endswith(".py") for file in files) == ours
    assert bool(now["config"]["auto_map"]) == ours


def test_a_model_with_its_published_code_works_in_a_pipeline():
    folder = unpacked() / "models" / "crnn"
    assert list(folder.glob("modeling_*.py"))
    classify = pipeline("audio-classification", model=str(folder), trust_remote_code=True)
    audio = waveforms()[0].astype(np.float32) / 32768
    scores = {row["label"]: row["score"] for row in classify(audio, top_k=None)}
    wanted = torch.softmax(torch.tensor(logits_of(folder, [waveforms()[0]])[0]), dim=0)
    labels = json.loads((folder / "config.json").read_text())["id2label"].values()
    assert [scores[label] for label in labels] == pytest.approx(wanted.tolist(), abs=1e-5)


def test_a_lora_adapter_applied_to_its_encoder_is_the_merged_model():
    merged = unpacked() / "runs/lora/model"
    adapter = unpacked() / "runs/lora/model/adapter"
    labels = json.loads((merged / "config.json").read_text())["id2label"]
    base = AutoModelForAudioClassification.from_pretrained(
        unpacked() / "checkpoints/wav2vec2", num_labels=len(labels), classifier_proj_size=8
    )
    model = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    wanted = AutoModelForAudioClassification.from_pretrained(merged).state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-5, atol=1e-6)
