"""Models with random weights in folders, and clips to predict."""

import numpy as np
import torch
from support.testing import tiny_config
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Wav2Vec2FeatureExtractor,
)

from ser_hf.models import ARCHITECTURES
from ser_hf.models.preparation import Preparation, PreparedFeatureExtractor

LABELS = ["angry", "happy", "neutral", "sad"]
RATE = 16000


def clips(*lengths, seed=0):
    """Noise that swells and fades, so that there is silence to trim, float32 (samples,) each."""
    generator = np.random.default_rng(seed)
    waveforms = []
    for length in lengths:
        noise = 0.2 * generator.standard_normal(length)
        envelope = np.sin(np.pi * np.arange(length) / length) ** 4
        waveforms.append((noise * envelope).astype(np.float32))
    return waveforms


def write_model(folder, architecture="crnn", preparation=None, **settings):
    """A tiny network of ser_hf with an extractor that prepares waveforms, in `folder`."""
    torch.manual_seed(0)
    config = tiny_config(architecture, len(LABELS), **settings)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: i for i, label in enumerate(LABELS)}
    extractor = Wav2Vec2FeatureExtractor(
        do_normalize=False, return_attention_mask=True, sampling_rate=RATE
    )
    if preparation is not None:
        extractor = PreparedFeatureExtractor.from_stock(extractor, preparation)
    return _saved(ARCHITECTURES[architecture](config), extractor, folder)


def write_encoder(folder, checkpoint, preparation=None, **settings):
    """transformers' own classifier on a tiny checkpoint, in `folder`."""
    torch.manual_seed(0)
    names = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
    }
    config = AutoConfig.from_pretrained(checkpoint, **names, **settings)
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    if preparation is not None:
        extractor = PreparedFeatureExtractor.from_stock(extractor, preparation)
    return _saved(AutoModelForAudioClassification.from_config(config), extractor, folder)


@torch.no_grad()
def _saved(model, extractor, folder):
    for weight in model.classifier.parameters():
        if weight.ndim == 2:
            weight.normal_()  # with initial weights all predictions would be almost equal
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


PREPARATIONS = [
    Preparation(trim_silence=30),
    Preparation(trim_silence=20, level="peak"),
    Preparation(level="loudness"),
    Preparation(trim_silence=25, level="loudness", target_level=-20, fixed_duration=1.0),
]
