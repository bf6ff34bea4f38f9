"""Folders of others: their code never runs without consent, and their pickles never."""

import functools
import io
import json
import shutil
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from support.damage import Payload
from support.testing import tiny_config
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Wav2Vec2FeatureExtractor,
)

from ser_hf import cli
from ser_hf.cli import demo
from ser_hf.corpora.synthesis import utterance
from ser_hf.hub.verify import verify
from ser_hf.inference.load import load_classifier
from ser_hf.loading import files
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.models import ARCHITECTURES
from ser_hf.models.preparation import Preparation, PreparedFeatureExtractor
from ser_hf.utils.errors import UserError

LABELS = ["angry", "happy", "neutral", "sad"]
NAMES = {
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: i for i, label in enumerate(LABELS)},
}
CONFIG = "config.json"
EXTRACTOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def models(tmp_path_factory, encoder_folder):
    """Models as ser_hf writes them, by the kind of their network."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    ARCHITECTURES["crnn"](tiny_config("crnn", **NAMES)).save_pretrained(folder / "crnn")
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    PreparedFeatureExtractor.from_stock(extractor, Preparation(level="peak")).save_pretrained(
        folder / "crnn"
    )
    base = encoder_folder("wav2vec2-layer")
    AutoModelForAudioClassification.from_pretrained(base, **NAMES).save_pretrained(
        folder / "wav2vec2"
    )
    AutoFeatureExtractor.from_pretrained(base).save_pretrained(folder / "wav2vec2")
    return folder


@pytest.fixture
def untrusted(models, tmp_path):
    """A function that copies a model and adds a harmful module to it.

    It returns the folder, and the file that appears when harm is done.
    """

    def copied(kind, name="untrusted"):
        folder = Path(shutil.copytree(models / kind, tmp_path / name))
        (folder / "evil.py").write_text(
            f"open({str(tmp_path / 'was_run')!r}, 'w')\n"
            "from transformers import AudioClassificationPipeline as Pipe\n"
            "from transformers import Wav2Vec2Config as Config\n"
            "from transformers import Wav2Vec2FeatureExtractor as Extractor\n"
            "from transformers import Wav2Vec2ForSequenceClassification as Model\n"
        )
        return folder, tmp_path / "was_run"

    return copied


def change(path, **values):
    """Change keys of a JSON file, which may be missing."""
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | values))


EVIL = {"AutoConfig": "evil.Config", "AutoModelForAudioClassification": "evil.Model"}
OTHER = {
    "feature_extractor": {
        "feature_extractor_type": "Extractor",
        "auto_map": {"AutoFeatureExtractor": "evil.Ex"},
    }
}
VERSIONED = {"config.4.0.0.json": {"model_type": "other", "auto_map": EVIL}}
VERSIONS = {"configuration_files": [*VERSIONED]}
PIPELINE = {
    "audio-classification": {"impl": "evil.Pipe", "pt": ["AutoModelForAudioClassification"]}
}
# A value of another file's key: it does not select the class that ser_hf has installed.
BY_ANOTHER_KEY = {
    "model_type": "evil",
    "feature_extractor_type": "PreparedFeatureExtractor",
    "auto_map": EVIL,
}
# The file that the message names, and what is changed.
CODE = {
    "type of another file": (CONFIG, {CONFIG: BY_ANOTHER_KEY}),
    "nested in the configuration": (CONFIG, {CONFIG: {"encoder": {"auto_map": EVIL}}}),
    "network": (CONFIG, {CONFIG: {"auto_map": EVIL}}),
    "another repository": (
        CONFIG,
        {CONFIG: {"auto_map": {"AutoConfig": "some/body--evil.Config"}}},
    ),
    "nested": (PROCESSOR, {PROCESSOR: {"other": [{"auto_map": "evil.Config"}]}}),
    "feature extractor": (
        EXTRACTOR,
        {EXTRACTOR: {"auto_map": {"AutoFeatureExtractor": "evil.Extractor"}}},
    ),
    "extractor in a processor": (PROCESSOR, {PROCESSOR: OTHER}),
    "processor": (PROCESSOR, {PROCESSOR: {"auto_map": {"AutoProcessor": "evil.Processor"}}}),
    "version": (CONFIG, {CONFIG: VERSIONS} | VERSIONED),
    "version and extractor": (CONFIG, {CONFIG: VERSIONS, PROCESSOR: OTHER} | VERSIONED),
    "pipeline": (CONFIG, {CONFIG: {"custom_pipelines": PIPELINE}}),
    "no extractor": (EXTRACTOR, {EXTRACTOR: {"feature_extractor_type": "RagRetriever"}}),
    "attention": (CONFIG, {CONFIG: {"_attn_implementation": "some/body:kernel"}}),
}


def as_pickle(folder, marker, name="pytorch_model.bin"):
    torch.save(load_file(folder / WEIGHTS) | {"harm": Payload(marker)}, folder / name)
    (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")


def index_of(weight_map):
    """A harm: a pickle, and an index of weights that names other files."""

    def harm(folder, marker):
        as_pickle(folder, marker, "a.bin")
        change(folder / INDEX, metadata={}, weight_map=weight_map)

    return harm


# The file that the message names, and what is done.
WEIGHT_FAULTS = {
    "pickle": (WEIGHTS, as_pickle),
    "index of pickles": (INDEX, index_of({"classifier.weight": "a.bin"})),
    "index to the folder above": (INDEX, index_of({"classifier.weight": "../outside.safetensors"})),
    "index of no table": (INDEX, index_of(3)),
    "empty index": (INDEX, index_of({})),
}


def check(folder, **options):
    return verify(folder, clips=[utterance(1, "happy", 1, 0)], **options)


def predict(folder, **options):
    load_classifier(folder, device="cpu", **options)


TRUSTED = [functools.partial(function, trust_remote_code=True) for function in (check, predict)]


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


@pytest.mark.parametrize("kind", ["crnn", "wav2vec2"])
@pytest.mark.parametrize("attack", CODE)
def test_code_of_others_is_refused(untrusted, forked, attack, kind):
    folder, marker = untrusted(kind)
    named, changes = CODE[attack]
    for name, values in changes.items():
        change(folder / name, **values)
    assert "--trust-remote-code" in refused(check, folder, named, marker)
    for function in (predict, train):
        if kind == "crnn" and named != PROCESSOR and [*changes[named]] == ["auto_map"]:
            function(folder)  # the installed classes load our types, whatever code is named
        else:
            refused(function, folder, named, marker)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["modeling_crnn.py", "layers.py"])
def test_changed_files_of_ours_are_refused_where_they_would_run(untrusted, forked, name):
    """One behind a link, and imported by an unchanged file only.

    Here the installed classes load the network.
    """
    folder, marker = untrusted("crnn")
    (folder / "changed.py").write_text(
        (folder / name).read_text() + (folder / "evil.py").read_text()
    )
    (folder / name).unlink()
    (folder / name).symlink_to("changed.py")
    refused(check, folder, name, marker)
    predict(folder)
    train(folder)
    assert not marker.exists()


@pytest.mark.parametrize("attack", WEIGHT_FAULTS)
def test_pickles_and_indices_that_lead_out_are_refused(untrusted, attack):
    """Also with trust in code: a pickle is no code that one can read."""
    folder, marker = untrusted("wav2vec2")
    named, harm = WEIGHT_FAULTS[attack]
    harm(folder, marker)
    for function in (check, predict, train, *TRUSTED):
        refused(function, folder, named, marker)


def test_an_adapter_never_leads_to_its_base(untrusted):
    folder, marker = untrusted("wav2vec2")
    base, _ = untrusted("wav2vec2", "base")
    change(base / CONFIG, auto_map=EVIL)
    change(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(base))
    torch.save({"harm": Payload(marker)}, folder / "adapter_model.bin")
    for function in (check, predict, train, *TRUSTED):
        refused(function, folder, "adapter_config.json", marker)
    (folder / CONFIG).unlink()
    for function in (check, predict, train, *TRUSTED):
        refused(function, folder, "config.json", marker)


def test_what_a_model_does_not_need_is_left_out(untrusted, forked):
    folder, marker = untrusted("crnn")
    for name in (
        "tokenizer_config.json",
        "generation_config.json",
        "feature_extractor_config.json",
    ):
        change(folder / name, auto_map={"AutoTokenizer": "evil.Tokenizer"})
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        torch.save({"harm": Payload(marker)}, folder / name)
    for name in ("transformers.py", "sitecustomize.py", "layers/__init__.py", "front_end.abi3.so"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / "evil.py", folder / name)
    assert check(folder).good
    predict(folder)
    train(folder)
    assert not marker.exists()


def test_a_dimensional_model_of_unknown_type_is_refused_at_once(untrusted, monkeypatch):
    """Its head is read by ser_hf, and its encoder by transformers, which would ask about code."""
    folder, marker = untrusted("wav2vec2")
    weights = {
        "classifier.dense.weight": torch.zeros(2, 2),
        "classifier.out_proj.weight": torch.zeros(1, 2),
    }
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    labels = {"0": "valence"}
    change(folder / CONFIG, **BY_ANOTHER_KEY, problem_type="regression", id2label=labels)
    monkeypatch.setattr("builtins.input", lambda question: pytest.fail(question))
    for function in (predict, train):
        refused(function, folder, CONFIG, marker)


def test_no_command_reads_standard_input(monkeypatch):
    """Not even a library that a command calls, which would take `yes |` for consent."""
    answers = io.StringIO("y\n" * 9)
    monkeypatch.setattr("sys.stdin", answers)
    read = []
    monkeypatch.setattr(cli, "_invoke", lambda arguments: read.append(sys.stdin.read()))
    assert cli.main(["recipes"]) == 0
    assert read == [""]
    assert sys.stdin is answers


COMMANDS = ["predict {} clip.wav", "evaluate {} --corpus synthetic speakers=3 takes=1"]
COMMANDS += ["export {} --output model.onnx", "verify {}", "demo {}", "train recipe.yaml"]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_refuses_in_one_line(untrusted, monkeypatch, capsys, words):
    folder, marker = untrusted("wav2vec2")
    as_pickle(folder, marker)
    if words.startswith(("demo", "export")):
        pytest.importorskip("gradio" if words.startswith("demo") else "onnx")
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


@pytest.fixture
def pickled_on_the_hub(models, tmp_path, monkeypatch):
    """The Hub's cache with a pickle on main, and safetensors in a pull request."""
    repository = tmp_path / "models--someone--voices"
    for ref, commit in (("main", 40 * "a"), ("refs/pr/3", 40 * "b")):
        (repository / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (repository / "refs" / ref).write_text(commit)
        shutil.copytree(models / "wav2vec2", repository / "snapshots" / commit)
    as_pickle(repository / "snapshots" / (40 * "a"), tmp_path / "was_run")
    for module in (
        "huggingface_hub.constants.HF_HUB_CACHE",
        "transformers.utils.hub.constants.HF_HUB_CACHE",
    ):
        monkeypatch.setattr(module, str(tmp_path))
    return tmp_path / "was_run"


def open_demo(model):
    demo._demo_of(model, revision=None, trust_remote_code=False, label_names=None)


@pytest.mark.parametrize("function", [train, predict, check, open_demo])
def test_a_pickle_of_the_hub_is_loaded_as_the_safetensors_that_the_hub_made_of_it(
    pickled_on_the_hub, monkeypatch, function
):
    """And it is refused without those, with the option that names them."""
    with pytest.raises(UserError, match=r"someone/voices: no model.* pickle.*--revision refs/pr"):
        function("someone/voices")
    monkeypatch.setattr(files, "converted_revision", lambda *_: "refs/pr/3")
    function("someone/voices")
    assert not pickled_on_the_hub.exists()


# Of these, transformers itself would load the revision, with its code or its pickle.
@pytest.mark.parametrize("function", TRUSTED)
def test_weights_of_a_pull_request_are_never_loaded_beside_code(
    pickled_on_the_hub, monkeypatch, function
):
    monkeypatch.setattr(files, "converted_revision", lambda *_: "refs/pr/3")
    with pytest.raises(UserError, match="--revision refs/pr/3"):
        function("someone/voices")
