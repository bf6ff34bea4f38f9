"""What transformers and datasets push to the loopback Hub they load again, as strangers who start with nothing."""

import json
import os
import subprocess
import sys

import pytest
from hub_client import client_of
from support.hub import LoopbackHub
from transformers import Wav2Vec2FeatureExtractor

from ser_hf.models import ARCHITECTURES
from ser_hf.testing import tiny_config

pytestmark = pytest.mark.slow

PUSH_AND_LOAD_CLIPS = """
import io, json
import numpy as np, soundfile
from datasets import Audio, ClassLabel, Dataset, load_dataset

def clip(number):
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(4000) * 0.01 * number), 16000, format="FLAC")
    return {"bytes": file.getvalue(), "path": f"{number}.flac"}

rows = {"audio": [clip(number) for number in range(8)], "label": ["angry", "sad"] * 4}
clips = Dataset.from_dict(rows).cast_column("label", ClassLabel(names=["angry", "sad"]))
clips = clips.cast_column("audio", Audio(sampling_rate=16000))
clips.push_to_hub("tester/clips", private=True, num_shards=2)
clips.select(range(3)).push_to_hub("tester/clips", "few", split="test")
loaded = load_dataset("tester/clips", "default", split="train").cast_column("audio", Audio(decode=False))
few = load_dataset("tester/clips", "few", split="test")
print(json.dumps({
    "same": [row["audio"]["bytes"] for row in loaded] == [row["bytes"] for row in rows["audio"]],
    "labels": loaded["label"][:], "names": loaded.features["label"].names, "rate": few.features["audio"].sampling_rate,
    "few": len(few),
}))
"""


def run(hub, code, folder, home):
    environment = {**os.environ, **hub.environment(folder / home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_datasets_pushes_clips_and_loads_them(tmp_path):
    with LoopbackHub(tmp_path / "hub") as hub:
        told = run(hub, PUSH_AND_LOAD_CLIPS, tmp_path, "home")
        assert told.pop("same")
        assert told == {"labels": [0, 1] * 4, "names": ["angry", "sad"], "rate": 16000, "few": 3}
        assert hub.private("tester/clips", "dataset")
        shards = {f"data/train-0000{number}-of-00002.parquet" for number in range(2)}
        assert set(hub.large_files("tester/clips", "dataset")) == shards | {"few/test-00000-of-00001.parquet"}
        assert hub.mistakes == []


def test_weights_are_pushed_as_a_large_file(tmp_path):
    """A pipeline loads such repositories, with the code that they bring, in tests/hub/test_verify.py."""
    model = ARCHITECTURES["cnn1d"](tiny_config("cnn1d", labels=3))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    for part in (model, extractor):
        part.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("---\nlicense: mit\npipeline_tag: audio-classification\n---\n")
    with LoopbackHub(tmp_path / "hub") as hub, client_of(hub, tmp_path / "home") as client:
        client(f"""
            api.create_repo("tester/emotions", private=True)
            api.upload_folder(repo_id="tester/emotions", folder_path={str(tmp_path / "model")!r}).oid
        """)
        assert hub.large_files("tester/emotions") == ["model.safetensors"]
        assert hub.mistakes == []
