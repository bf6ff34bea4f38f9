"""Fixtures: a store of short clips and tiny checkpoints, for the tests of loading and training."""

import numpy as np
import pytest
import soundfile
from datasets import ClassLabel, Dataset

from ser_hf.audio import open_store

from .testing import write_checkpoint

LABELS = ["angry", "happy", "neutral", "sad"]


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Twelve ragged clips of noise at 16 kHz, 0.25 to 0.8 s, in no order of length, each louder
    than the last.
    """
    folder = tmp_path_factory.mktemp("clips")
    generator = np.random.default_rng(0)
    sources = []
    for i, length in enumerate(generator.permutation(np.arange(4000, 12800, 735))):
        path = folder / f"{i}.wav"
        soundfile.write(
            path, 0.01 * (i + 1) * generator.standard_normal(length), 16000, subtype="FLOAT"
        )
        sources.append({"path": str(path), "bytes": None})
    return open_store(sources, 16000, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def clips(store):
    """The dataset of `store`, with the classes one after the other."""
    dataset = Dataset.from_dict({"label": [i % len(LABELS) for i in range(len(store))]})
    return dataset.cast_column("label", ClassLabel(names=LABELS))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Folder of a tiny encoder, written once for each kind."""
    written = {}

    def folder(model_type="wav2vec2", feat_extract_norm="layer"):
        key = (model_type, feat_extract_norm)
        if key not in written:
            written[key] = write_checkpoint(tmp_path_factory.mktemp("-".join(key)), *key)
        return str(written[key])

    return folder


@pytest.fixture
def labels():
    return list(LABELS)
