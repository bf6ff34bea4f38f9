"""Folders of others: their code never runs without consent, and their pickles never; a mistake is one line."""

import functools
import json
import shutil
import types
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

from ser_hf import cli
from ser_hf.corpora.synthetic import utterance
from ser_hf.hub.verify import verify
from ser_hf.inference.classifier import load_classifier
from ser_hf.models import ARCHITECTURES
from ser_hf.models.preparation import Preparation, PreparedFeatureExtractor
from ser_hf.testing import tiny_config
from ser_hf.training import loading
from ser_hf.training.factory import blueprint, build_model
from ser_hf.utils.errors import UserError

LABELS = ["angry", "happy", "neutral", "sad"]
NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
CONFIG, EXTRACTOR, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


@pytest.fixture(scope="module")
def models(tmp_path_factory, encoder_folder):
    """Models as ser_hf writes them, by the kind of their network."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    ARCHITECTURES["crnn"](tiny_config("crnn", **NAMES)).save_pretrained(folder / "crnn")
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    PreparedFeatureExtractor.from_stock(extractor, Preparation(level="peak")).save_pretrained(folder / "crnn")
    base = encoder_folder("wav2vec2-layer")
    AutoModelForAudioClassification.from_pretrained(base, **NAMES).save_pretrained(folder / "wav2vec2")
    AutoFeatureExtractor.from_pretrained(base).save_pretrained(folder / "wav2vec2")
    return folder


@pytest.fixture
def untrusted(models, tmp_path):
    """A function that copies a model and adds a harmful module to it; and the file that appears when harm is done."""
    marker = tmp_path / "was_run"

    def copied(kind, name="untrusted"):
        folder = Path(shutil.copytree(models / kind, tmp_path / name))
        harm = f"open({str(marker)!r}, 'w')\n"
        (folder / "evil.py").write_text(
            f"{harm}from transformers import PreTrainedConfig, Wav2Vec2Config, Wav2Vec2FeatureExtractor\n"
            "from transformers import Wav2Vec2ForSequenceClassification, AudioClassificationPipeline\n"
            "class Config(Wav2Vec2Config): pass\nclass Model(Wav2Vec2ForSequenceClassification): pass\n"
            "class Extractor(Wav2Vec2FeatureExtractor): pass\nclass Pipe(AudioClassificationPipeline): pass\n"
        )
        return folder, marker

    return copied


def change(path, **values):
    """Change keys of a JSON file, which may be missing."""
    path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | values))


def changed_byte(folder, marker):
    with (folder / "modeling_crnn.py").open("a") as file:
        file.write(f"\nopen({str(marker)!r}, 'w')\n")


def replaced_sibling(folder, marker):
    """Behind a link, and imported by an unchanged file only."""
    (folder / "layers.py").unlink()
    (folder / "layers.py").symlink_to(folder / "evil.py")


def foreign(name, auto, place, key="auto_map"):
    return lambda folder, marker: change(folder / name, **{key: {auto: place}})


def own_extractor(folder, marker):
    extractor = {"feature_extractor_type": "Extractor", "auto_map": {"AutoFeatureExtractor": "evil.Extractor"}}
    change(folder / PROCESSOR, feature_extractor=extractor)


def versioned(folder, marker):
    change(folder / "config.4.0.0.json", **json.loads((folder / CONFIG).read_text()))
    foreign("config.4.0.0.json", "AutoConfig", "evil.Config")(folder, marker)
    change(folder / CONFIG, configuration_files=["config.4.0.0.json"])


def custom_pipeline(folder, marker):
    pipelines = {"audio-classification": {"impl": "evil.Pipe", "pt": ["AutoModelForAudioClassification"]}}
    change(folder / CONFIG, custom_pipelines=pipelines)


def versioned_extractor(folder, marker):
    versioned(folder, marker)
    own_extractor(folder, marker)


# What is done to a folder -> the network, and the file that the message names.
CODE = {
    "one more byte": ("crnn", changed_byte, "modeling_crnn.py"),
    "a sibling behind a link": ("crnn", replaced_sibling, "layers.py"),
    "configuration": ("crnn", foreign(CONFIG, "AutoConfig", "evil.Config"), CONFIG),
    "network": ("wav2vec2", foreign(CONFIG, "AutoModelForAudioClassification", "evil.Model"), CONFIG),
    "another repository": ("wav2vec2", foreign(CONFIG, "AutoConfig", "some/body--evil.Config"), CONFIG),
    "nested": ("wav2vec2", lambda folder, marker: change(folder / CONFIG, encoder=[{"auto_map": "evil.X"}]), CONFIG),
    "feature extractor": ("crnn", foreign(EXTRACTOR, "AutoFeatureExtractor", "evil.Extractor"), EXTRACTOR),
    "extractor in a processor": ("crnn", own_extractor, PROCESSOR),
    "processor": ("wav2vec2", foreign(PROCESSOR, "AutoProcessor", "evil.Processor"), PROCESSOR),
    "versioned configuration": ("crnn", versioned, CONFIG),
    "versioned configuration and extractor": ("wav2vec2", versioned_extractor, CONFIG),
    "custom pipeline": ("crnn", custom_pipeline, CONFIG),
    "attention from a repository": (
        "wav2vec2",
        lambda folder, marker: change(folder / CONFIG, _attn_implementation="some/body:kernel"),
        CONFIG,
    ),
}


def as_pickle(folder, marker):
    torch.save(load_file(folder / WEIGHTS) | {"harm": Payload(marker)}, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def outside(place):
    def lead_out(folder, marker):
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")
        change(folder / INDEX, metadata={}, weight_map=dict.fromkeys(tensors, place.format(folder.parent)))

    return lead_out


def sharded_pickle(folder, marker):
    as_pickle(folder, marker)
    (folder / "pytorch_model.bin").rename(folder / "a.bin")
    change(folder / INDEX, metadata={}, weight_map={"classifier.weight": "a.bin"})


def no_table(folder, marker):
    as_pickle(folder, marker)
    change(folder / INDEX, weight_map=3)


WEIGHT_FAULTS = {
    "pickle": (as_pickle, "model.safetensors"),
    "index of pickles": (sharded_pickle, INDEX),
    "index to the folder above": (outside("../outside.safetensors"), INDEX),
    "index to a path": (outside("{}/outside.safetensors"), INDEX),
    "index of no table": (
        lambda folder, marker: (as_pickle(folder, marker), change(folder / INDEX, weight_map=3)),
        INDEX,
    ),
}


def check(folder, **options):
    return verify(folder, clips=[utterance(1, "happy", 1, 0)], **options)


def predict(folder, **options):
    load_classifier(folder, device="cpu", **options)


trusted = {"check": functools.partial(check, trust_remote_code=True)}
trusted["predict"] = functools.partial(predict, trust_remote_code=True)


def train(folder):
    build_model(blueprint("encoder", LABELS, checkpoint=str(folder)))


def refused(function, folder, file, marker):
    with pytest.raises(UserError) as error:
        function(folder)
    message = str(error.value)
    assert not marker.exists()
    assert file in message
    assert "\n" not in message
    assert str(folder) in message
    assert len(message) < 300 + len(str(folder))
    return message


@pytest.mark.parametrize("attack", CODE)
def test_code_of_others_is_refused(untrusted, forked, attack):
    kind, harm, file = CODE[attack]
    folder, marker = untrusted(kind)
    harm(folder, marker)
    assert "--trust-remote-code" in refused(check, folder, file, marker)
    if file.endswith(".json"):
        for function in (predict, train):
            refused(function, folder, file, marker)
    else:  # the installed package's own classes load it
        predict(folder)
        train(folder)
        assert not marker.exists()


@pytest.mark.parametrize("function", [check, predict, train, *trusted.values()], ids=str)
@pytest.mark.parametrize("attack", WEIGHT_FAULTS)
def test_pickles_and_indices_that_lead_out_are_refused(untrusted, attack, function):
    """Also with trust in code: a pickle is no code that one can read."""
    folder, marker = untrusted("wav2vec2")
    harm, file = WEIGHT_FAULTS[attack]
    harm(folder, marker)
    refused(function, folder, file, marker)


def test_an_adapter_never_leads_to_its_base(untrusted):
    folder, marker = untrusted("wav2vec2")
    base, _ = untrusted("wav2vec2", "base")
    foreign(CONFIG, "AutoModelForAudioClassification", "evil.Model")(base, marker)
    change(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(base))
    torch.save({"harm": Payload(marker)}, folder / "adapter_model.bin")
    for function in (predict, train, trusted["predict"]):
        refused(function, folder, "adapter_config.json", marker)
    for function in (check, trusted["check"]):
        assert "adapter_config.json is beside the model" in str(function(folder))
    (folder / CONFIG).unlink()
    assert "adapter_config.json is beside the model" in str(check(folder))
    assert not marker.exists()


def test_what_a_model_does_not_need_is_left_out(untrusted, forked):
    folder, marker = untrusted("crnn")
    for name in ("tokenizer_config.json", "generation_config.json", "feature_extractor_config.json"):
        foreign(name, "AutoTokenizer", "evil.Tokenizer")(folder, marker)
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        torch.save({"harm": Payload(marker)}, folder / name)
    for name in ("transformers.py", "sitecustomize.py", "layers/__init__.py", "front_end.abi3.so"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / "evil.py", folder / name)
    assert check(folder).good
    predict(folder)
    train(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    "words", ["predict {} clip.wav", "export {} --output model.onnx", "verify {}", "demo {}", "train recipe.yaml"]
)
def test_every_command_refuses_in_one_line(untrusted, monkeypatch, capsys, words):
    folder, marker = untrusted("wav2vec2")
    as_pickle(folder, marker)
    monkeypatch.chdir(folder.parent)
    soundfile.write("clip.wav", utterance(1, "happy", 1, 0), 16000)
    model = f"{{architecture: encoder, checkpoint: {folder}}}"
    Path("recipe.yaml").write_text(
        f"name: a\ncorpus: {{name: synthetic, speakers: 4, takes: 1}}\nmodel: {model}\n"
        "protocol: {name: speaker_independent}\n"
    )
    assert cli.main(words.format(folder).split()) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "pickle" in line]
    assert str(folder) in line
    assert not marker.exists()


def test_an_encoder_of_the_hub_in_a_pickle_is_loaded_as_the_safetensors_made_of_it(models, tmp_path, monkeypatch):
    """And refused without those; the folders are as the Hub's cache has them."""
    place, pickled, converted = tmp_path / "models--someone--voices", 40 * "a", 40 * "b"
    for ref, commit in (("main", pickled), ("refs/pr/3", converted)):
        (place / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (place / "refs" / ref).write_text(commit)
        shutil.copytree(models / "wav2vec2", place / "snapshots" / commit)
    as_pickle(place / "snapshots" / pickled, tmp_path / "was_run")
    for module in ("huggingface_hub.constants.HF_HUB_CACHE", "transformers.utils.hub.constants.HF_HUB_CACHE"):
        monkeypatch.setattr(module, str(tmp_path))
    with pytest.raises(UserError, match="model.checkpoint: someone/voices: no model.safetensors; a pickle"):
        train("someone/voices")
    monkeypatch.setattr(loading, "is_offline_mode", lambda: False)
    monkeypatch.setattr(loading.HfApi, "model_info", lambda *_: types.SimpleNamespace(siblings=[]))
    monkeypatch.setattr(loading, "get_conversion_pr_reference", lambda api, name: "refs/pr/3")
    train("someone/voices")
    assert not (tmp_path / "was_run").exists()
