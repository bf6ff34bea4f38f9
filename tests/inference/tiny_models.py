"""The recipe of the run, and models with random weights."""

import torch
from support.recipes import TINY_CRNN
from support.testing import tiny_config
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Wav2Vec2FeatureExtractor,
)

from ser_hf.models import ARCHITECTURES, PooledEncoderConfig

LABELS = ["angry", "happy", "neutral", "sad"]
RATE = 16000
RECIPE = {
    "name": "tiny",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1, "drop": ["disgust", "fear"]},
    "protocol": {"name": "speaker_independent", "validation": 0.2, "near_duplicates": "skip"},
    "audio": {"trim_silence": 30, "max_duration": 0.5},
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 1, "learning_rate": 0.01, "use_cpu": True},
    "evaluation": {"bootstrap": 20, "window": 0.4},
}


def model_and_extractor(kind, encoder_folder):
    """As `published` in conftest.py has it; `encoder_folder` is the fixture of that name."""
    torch.manual_seed(0)
    names = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
    }
    if kind in ("crnn", "forest"):
        architecture = {"crnn": "crnn", "forest": "mfcc_forest"}[kind]
        config = tiny_config(architecture, len(LABELS))
        config.id2label = names["id2label"]
        config.label2id = names["label2id"]
        extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
        return ARCHITECTURES[architecture](config), extractor
    checkpoint = encoder_folder("wavlm-large" if kind == "pooled" else kind)
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    if kind == "pooled":
        extractor.return_attention_mask = True
        encoder = AutoConfig.from_pretrained(checkpoint)
        own = {"pooling": "attentive_stats", "weighted_layer_sum": True, "head_layers": [6]}
        config = PooledEncoderConfig(encoder=encoder, sampling_rate=RATE, **own, **names)
    else:
        config = AutoConfig.from_pretrained(checkpoint, **names)
    return AutoModelForAudioClassification.from_config(config), extractor
