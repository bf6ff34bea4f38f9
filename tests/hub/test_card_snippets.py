"""What a card tells its readers to type, typed by somebody who has no ser_hf; tests/test_end_to_end.py does the same
with the cards of whole runs."""

import json
import re

import numpy as np
import pytest
import soundfile
import torch
from isolated import run_without_ser_hf
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from ser_hf.corpora import corpus_facts
from ser_hf.hub.card import model_card
from ser_hf.testing import write_checkpoint
from ser_hf.training.lora import Lora, add_lora, merged, save_adapter

pytestmark = pytest.mark.slow
LABELS = ["angry", "happy", "sad"]
FIGURES = {"uar": 0.5, "wa": 0.5, "macro_f1": 0.5, "weighted_f1": 0.5}
REPORT = {
    "name": "adapted",
    "judged_on": "test",
    "labels": LABELS,
    "metrics": FIGURES,
    **dict.fromkeys(("intervals", "clip_intervals"), dict.fromkeys(FIGURES, [0.4, 0.6])),
    "confidence": 0.95,
    "warnings": [],
    "per_class": {},
    "selected_by": "uar",
    "protocol": {
        "name": "speaker_independent",
        "sha256": "0" * 64,
        "leak": None,
        "notes": [],
        "parts": dict.fromkeys(("train", "test"), {"clips": 2, "speakers": ["a:1"]}),
    },
    "audit": {"shared": {"train/test": {"speakers": 0}}, "apart": {"train/test": ["speakers"]}},
    "seconds": {"training": 1.0},
    "model": {"adapter": True, "depth": "Adapters learnt."},
    "environment": {
        "versions": {"ser_hf": "0", "torch": "2", "transformers": "5"},
        "accelerator": None,
        "processor": "x",
    },
}
COMPARE = """
import json
from transformers import AutoFeatureExtractor
extractor = AutoFeatureExtractor.from_pretrained("adapted")
heard = extractor(audio, sampling_rate=16000, return_tensors="pt")
print("logits", json.dumps(model.eval()(**heard).logits.tolist()))
"""


def test_the_adapter_s_snippet_gives_the_merged_model_s_answers(tmp_path):
    base = write_checkpoint(tmp_path / "base", "wav2vec2", "layer")
    own = {
        "num_labels": 3,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {word: i for i, word in enumerate(LABELS)},
    }
    torch.manual_seed(1)
    config = AutoConfig.from_pretrained(base, **own)
    adapted = add_lora(AutoModelForAudioClassification.from_pretrained(base, config=config), Lora(2))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    folder = tmp_path / "adapted"
    merged(adapted).save_pretrained(folder)
    AutoFeatureExtractor.from_pretrained(base).save_pretrained(folder)
    save_adapter(adapted, folder / "adapter", "base")
    settings = {"location": "adapted", "base_model": "base", "remote_code": False, "sampling_rate": 16000}
    text = str(
        model_card(REPORT, corpus=corpus_facts("cremad", {}), architecture="A.", recipe="name: adapted", **settings)
    )
    from_array, from_file, by_itself = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert "classifier(audio" in from_array
    assert 'classifier("clip.wav"' in from_file  # needs ffmpeg, which the whole runs' tests bring along
    assert "PeftModel" in by_itself

    clip = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    soundfile.write(tmp_path / "clip.wav", np.stack([clip, clip], axis=1), 16000)
    printed = run_without_ser_hf(from_array + by_itself + COMPARE, tmp_path).splitlines()
    told = next(line for line in printed if line.startswith("[{"))
    logits = json.loads(next(line for line in printed if line.startswith("logits")).removeprefix("logits"))
    wanted = dict(zip(LABELS, torch.tensor(logits)[0].softmax(dim=0).tolist(), strict=True))
    scores = {item["label"]: item["score"] for item in json.loads(told.replace("'", '"'))}
    assert scores == pytest.approx(wanted, abs=1e-5)
    assert max(scores.values()) - min(scores.values()) > 0.01, "equal answers would show nothing"
