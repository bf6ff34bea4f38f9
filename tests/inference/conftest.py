"""A run of a tiny network, published models of several kinds with random weights, and a folder of
ragged clips.
"""

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import RATE, RECIPE, model_and_extractor

import ser_hf


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A complete run with trimmed clips, evaluated in windows."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    ser_hf.run_recipe(RECIPE, [f"output_dir={folder}"])
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """A folder of six recordings, 0.2 to 0.9 s: in no order of length, with other rates, channels
    and subfolders.
    """
    folder = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    files = [
        ("b.wav", 0.61, RATE, 1),
        ("a/long.flac", 0.9, RATE, 1),
        ("a/short.wav", 0.2, 44100, 2),
        ("c.wav", 0.35, 8000, 1),
        ("d.ogg", 0.77, 22050, 1),
        ("e.wav", 0.5, RATE, 1),
    ]
    for name, seconds, rate, channels in files:
        (folder / name).parent.mkdir(exist_ok=True)
        time = np.arange(round(seconds * rate)) / rate
        voice = np.sin(2 * np.pi * generator.uniform(100, 900) * time) * generator.uniform(0.1, 0.6)
        noise = 0.05 * generator.standard_normal((len(time), channels))
        soundfile.write(folder / name, voice[:, None] + noise, rate)
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory, encoder_folder):
    """A function from a key of `support.testing.CHECKPOINTS`, or ``"crnn"``, ``"pooled"`` and
    ``"forest"``, to the folder of a classifier of that kind, each written once."""
    written = {}

    def folder(kind):
        if kind not in written:
            written[kind] = tmp_path_factory.mktemp(f"published-{kind}")
            model, extractor = model_and_extractor(kind, encoder_folder)
            with torch.no_grad():
                for name, weight in model.classifier.named_parameters():
                    if weight.ndim == 2 and weight.is_floating_point() and kind != "forest":
                        # as initialized, all predictions would be nearly equal
                        weight.normal_(std=1.0)
                    assert weight.isfinite().all(), name
            model.save_pretrained(written[kind])
            extractor.save_pretrained(written[kind])
        return written[kind]

    return folder


@pytest.fixture
def copy(published, tmp_path):
    """A copy of a wav2vec2 classifier, to be altered."""
    for path in published("wav2vec2").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path
