"""Verification of good and faulty models, by the worker in a fork or in a clean process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from support.damage import change
from support.hub import LoopbackHub
from support.testing import tiny_config
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Wav2Vec2FeatureExtractor,
)

from ser_hf import cli
from ser_hf.corpora.synthesis import utterance
from ser_hf.hub.verdict import Verdict
from ser_hf.hub.verify import verify
from ser_hf.inference.reference import compute_logits
from ser_hf.models import ARCHITECTURES, PooledEncoderConfig, PooledEncoderForAudioClassification
from ser_hf.models.preparation import Preparation, PreparedFeatureExtractor
from ser_hf.utils.errors import UserError

LABELS = ["angry", "happy", "neutral", "sad"]
NAMES = {
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: i for i, label in enumerate(LABELS)},
}
CLIPS = [utterance(speaker, "happy", speaker, 0) for speaker in (1, 2)]
TRIMMED = Preparation(trim_silence=30.0, level="peak")
OURS = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)


class Models:
    """Folders of models, and the expected logits of `CLIPS`."""

    def __init__(self, folder):
        self.folder = folder
        self.logits = {}

    def write(self, name, model, extractor=OURS, preparation=None):
        model.save_pretrained(self.folder / name)
        prepared = extractor
        if preparation is not None:
            prepared = PreparedFeatureExtractor.from_stock(extractor, preparation)
        prepared.save_pretrained(self.folder / name)
        logits = compute_logits(model, extractor, preparation or Preparation(), CLIPS)
        self.logits[name] = np.stack(logits)

    def verify(self, name, **options):
        return verify(self.folder / name, clips=CLIPS, logits=self.logits.get(name), **options)


@pytest.fixture(scope="module")
def models(tmp_path_factory, encoder_folder):
    models = Models(tmp_path_factory.mktemp("models"))

    def network(architecture):
        torch.manual_seed(0)
        return ARCHITECTURES[architecture](tiny_config(architecture, **NAMES)).eval()

    models.write("crnn", network("crnn"))
    models.write("mfcc_linear", network("mfcc_linear"))
    models.write("prepared", network("cnn2d"), preparation=TRIMMED)
    base = encoder_folder("wav2vec2-layer")
    extractor = AutoFeatureExtractor.from_pretrained(base)
    torch.manual_seed(0)
    config = PooledEncoderConfig(encoder=AutoConfig.from_pretrained(base), head_layers=[8], **NAMES)
    models.write("pooled", PooledEncoderForAudioClassification(config).eval(), extractor)
    torch.manual_seed(0)
    models.write(
        "stock", AutoModelForAudioClassification.from_pretrained(base, **NAMES).eval(), extractor
    )
    return models


@pytest.fixture
def faulty(models, tmp_path):
    """A function that copies a model for the test to change."""

    def copied(name):
        return Path(shutil.copytree(models.folder / name, tmp_path / f"{name}_{tmp_path.name}"))

    return copied


def change_weights(folder, function):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(function(tensors), folder / "model.safetensors", {"format": "pt"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crnn", "mfcc_linear", "prepared", "pooled", "stock"])
def test_a_good_model(models, forked, name):
    verdict = models.verify(name)
    assert verdict.good, str(verdict)
    assert verdict.notes == []
    assert verdict.labels == LABELS
    assert (verdict.sampling_rate, verdict.clips) == (16000, 2)
    assert verdict.remote_code == (name != "stock")
    assert verdict.front_end == (
        "PreparedFeatureExtractor" if name == "prepared" else "Wav2Vec2FeatureExtractor"
    )
    assert verdict.tensors > 0
    assert verdict.newly_initialized == verdict.unexpected == []
    assert verdict.largest_difference < 1e-4
    assert verdict.padding_safe
    assert verdict.versions["torch"] == torch.__version__


def _random_head(folder):
    def without_head(tensors):
        return {key: value for key, value in tensors.items() if not key.startswith("classifier")}

    change_weights(folder, without_head)


def _renamed_head(folder):
    def renamed(tensors):
        return {
            key.replace("classifier.", "classifier.dense."): value for key, value in tensors.items()
        }

    change_weights(folder, renamed)


def _torn(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fault", "loads", "problem"),
    [
        (
            "stock",
            _renamed_head,
            True,
            "2 tensors of 55 are not in its files and start from random numbers: classifier.bias, "
            "classifier.weight. ",
        ),
        (
            "crnn",
            lambda folder: (folder / "front_end.py").unlink(),
            False,
            "pipeline does not load it: ",
        ),
        ("stock", _torn, False, "pipeline does not load it: SafetensorError: "),
    ],
)
def test_a_fault_is_one_problem(faulty, forked, name, fault, loads, problem):
    folder = faulty(name)
    fault(folder)
    verdict = verify(folder, clips=CLIPS)
    assert verdict.loads == loads
    assert not verdict.good
    assert [line[: len(problem)] for line in verdict.problems] == [problem]


@pytest.mark.slow
def test_weights_that_differ(faulty, forked, models):
    folder = faulty("crnn")
    change_weights(
        folder, lambda tensors: tensors | {"classifier.weight": 1.01 * tensors["classifier.weight"]}
    )
    verdict = verify(folder, clips=CLIPS, logits=models.logits["crnn"])
    (problem,) = verdict.problems
    assert problem.startswith("Its logits differ from those of the training process by up to ")
    assert 1e-3 < verdict.largest_difference < 1


@pytest.mark.slow
def test_code_of_others_runs_with_trust(faulty, forked, tmp_path):
    changed = faulty("crnn")
    with (changed / "modeling_crnn.py").open("a") as file:
        file.write(f"\nopen({str(tmp_path / 'was_run')!r}, 'w')\n")
    assert verify(changed, clips=CLIPS, trust_remote_code=True).good
    assert (tmp_path / "was_run").exists()


@pytest.mark.slow
def test_recordings_are_read_at_the_model_s_rate(models, forked, tmp_path):
    soundfile.write(
        tmp_path / "clip.flac", np.stack([utterance(1, "sad", 0, 0, 22050)] * 2, axis=1), 22050
    )
    verdict = verify(
        models.folder / "crnn", clips=[tmp_path / "clip.flac", str(tmp_path / "clip.flac")]
    )
    assert verdict.good
    assert verdict.clips == 2
    (tmp_path / "README.md").write_text("no audio")
    with pytest.raises(UserError, match=r"^--clips: .*README.md"):
        verify(models.folder / "crnn", clips=[tmp_path / "README.md"])


@pytest.mark.slow
def test_a_clean_process_without_ser_hf(faulty, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    needs_ser_hf = faulty("crnn")
    deadly = faulty("stock")
    with (needs_ser_hf / "modeling_crnn.py").open("a") as file:
        file.write("\nimport ser_hf\n")
    verdict = verify(needs_ser_hf, clips=CLIPS, trust_remote_code=True)
    assert not verdict.loads
    assert "import of ser_hf halted" in verdict.problems[0]
    (deadly / "modeling_own.py").write_text(
        "import os\nprint('farewell', flush=True)\nos._exit(7)\n"
    )
    _random_head(deadly)
    change(deadly / "config.json", auto_map={"AutoModelForAudioClassification": "modeling_own.Own"})
    (problem,) = verify(deadly, clips=CLIPS, trust_remote_code=True).problems
    assert problem == "The process that loads it dies with exit code 7; its last line: farewell."


PUSH_AND_VERIFY = """
import json, sys
from huggingface_hub import HfApi
from ser_hf.hub.verify import verify
from ser_hf.utils.errors import UserError

api = HfApi()
changed = [("changed", "changed"), ("pickled", "pickled")]
for name, folder in (("public", "crnn"), ("private", "crnn"), ("gated", "stock"), *changed):
    api.create_repo(f"tester/{name}", private=name == "private")
    api.upload_folder(repo_id=f"tester/{name}", folder_path=f"{sys.argv[1]}/{folder}")
api.update_repo_settings("tester/gated", gated="auto")

for where, options in json.loads(sys.argv[2]):
    try:
        print(verify(where, **options).to_json().replace("\\n", ""))
    except UserError as error:
        print(json.dumps(str(error)))
"""


@pytest.mark.slow
def test_repositories_of_the_hub(models, tmp_path):
    calls = [
        ("tester/public", {}),
        ("tester/none", {}),
        ("tester/public", {"revision": "v9"}),
        ("a/b/c", {}),
        ("tester/private", {"token": "hf_wrong"}),
        ("tester/changed", {}),
        ("tester/pickled", {}),
        ("tester/gated", {"token": False}),
    ]
    changed = shutil.copytree(models.folder / "crnn", models.folder / "changed")
    pickled = shutil.copytree(models.folder / "crnn", models.folder / "pickled")
    (changed / "layers.py").write_text("raise SystemExit(3)")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with LoopbackHub() as hub:
        environment = os.environ | hub.environment(tmp_path / "home")
        command = [sys.executable, "-c", PUSH_AND_VERIFY, str(models.folder), json.dumps(calls)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        verdict, *refusals = map(json.loads, done.stdout.splitlines())
        assert verdict["good"], verdict
        assert verdict["commit"] == hub.commits("tester/public")[0].oid
        messages = [
            "tester/none: no such folder here; not on the Hub, or private",
            "tester/public: no such branch",
            "a/b/c: ",
            "tester/private: the Hub refuses the token",
            "tester/changed: layers.py is changed",
            "tester/pickled: no model.safetensors; a pickle",
            "tester/gated: gated",
        ]
        for refusal, message in zip(refusals, messages, strict=True):
            assert refusal.startswith(message)
        assert hub.mistakes == []


def test_the_command_line_prints_the_verdict(monkeypatch, capsys):
    requested = {}

    def answer(where, **options):
        requested.update(options)
        return Verdict(where, True, ["It is bad."] if where == "bad" else [])

    monkeypatch.setattr("ser_hf.hub.verify.verify", answer)
    clips = ["--clips", "a.wav", "--clips", "b.wav"]
    assert cli.main(["verify", "good", "--revision", "v1", *clips]) == 0
    assert requested == {"revision": "v1", "clips": ["a.wav", "b.wav"], "trust_remote_code": None}
    assert capsys.readouterr().out == f"{Verdict('good', True, [])}\n"
    assert cli.main(["verify", "bad", "--json", "--trust-remote-code"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == ["It is bad."]
    assert requested["trust_remote_code"] is True
