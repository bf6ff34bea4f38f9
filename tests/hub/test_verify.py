"""What is said of a model is what its users meet: good ones are found good, and each fault by its name."""

import json
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from support.hub import LoopbackHub
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

from ser_hf import cli
from ser_hf.corpora.synthetic import utterance
from ser_hf.hub import verify as verify_module
from ser_hf.hub.verify import Question, verify, verify_several
from ser_hf.inference.reference import write_reference
from ser_hf.models import ARCHITECTURES, PooledEncoderConfig, PooledEncoderForAudioClassification
from ser_hf.models.preparation import Preparation, PreparedFeatureExtractor
from ser_hf.testing import tiny_config
from ser_hf.utils.errors import UserError

LABELS = ["angry", "happy", "neutral", "sad"]
NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
CLIPS = [utterance(speaker, "happy", speaker, 0) for speaker in (1, 2)]
TRIMMED = Preparation(trim_silence=30.0, level="peak")
CARD = "---\npipeline_tag: audio-classification\n---\n\n# A model\n"
OURS = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)


PUSH = """
import sys
from huggingface_hub import HfApi

api = HfApi()
for name, folder in (("public", "crnn"), ("private", "mfcc_linear"), ("tagless", "tagless")):
    api.create_repo(f"tester/{name}", private=name == "private")
    api.upload_folder(repo_id=f"tester/{name}", folder_path=f"{sys.argv[1]}/{folder}")
api.create_repo("tester/gated")
api.upload_folder(repo_id="tester/gated", folder_path=f"{sys.argv[1]}/stock")
api.update_repo_settings("tester/gated", gated="auto")
"""


def network(architecture, **settings):
    torch.manual_seed(0)
    return ARCHITECTURES[architecture](tiny_config(architecture, **settings, **NAMES)).eval()


class Shelf:
    """Folders of models, and the question about each."""

    def __init__(self, folder):
        self.folder, self.questions = folder, {}

    def write(self, name, model, extractor, preparation=None):
        place = self.folder / name
        model.save_pretrained(place)
        if preparation is None:
            extractor.save_pretrained(place)
        else:
            PreparedFeatureExtractor.from_stock(extractor, preparation).save_pretrained(place)
        (place / "README.md").write_text(CARD)
        write_reference(self.folder / f"{name}.npz", model, extractor, preparation or Preparation(), CLIPS)
        logits = np.load(self.folder / f"{name}.npz")["logits"]
        self.questions[name] = Question(str(place), clips=CLIPS, logits=logits)

    def copy(self, name, source, trust=None, logits=None):
        place = shutil.copytree(self.folder / source, self.folder / name)
        self.questions[name] = Question(str(place), clips=CLIPS, logits=logits, trust_remote_code=trust)
        return place


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def reweighted(place, change):
    """Replaces the weights file's tensors by what `change` makes of them."""
    path = place / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    save_file(change(tensors), path, {"format": "pt"})


def write_good(shelf, encoder_folder):
    shelf.write("crnn", network("crnn"), OURS)
    shelf.write("mfcc_linear", network("mfcc_linear"), OURS)
    shelf.write("prepared", network("cnn2d"), OURS, TRIMMED)
    extractor = AutoFeatureExtractor.from_pretrained(encoder_folder("wav2vec2-layer"))
    config = AutoConfig.from_pretrained(encoder_folder("wav2vec2-layer"))
    torch.manual_seed(0)
    pooled = PooledEncoderForAudioClassification(PooledEncoderConfig(encoder=config, head_layers=[8], **NAMES))
    shelf.write("pooled", pooled.eval(), extractor)
    torch.manual_seed(0)
    stock = AutoModelForAudioClassification.from_pretrained(encoder_folder("wav2vec2-layer"), **NAMES)
    shelf.write("stock", stock.eval(), extractor)


def write_others(shelf, encoder_folder):
    """As others publish: names of tensors from before torch's parametrizations, in a pickle; no card."""
    old = shelf.copy("old", "stock", logits=shelf.questions["stock"].logits)
    tensors = load_file(old / "model.safetensors")
    renamed = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, before in renamed.items():
        tensors = {name.replace(new, before): tensor for name, tensor in tensors.items()}
    assert any(name.endswith("weight_g") for name in tensors)
    torch.save(tensors, old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    (old / "README.md").unlink()
    torch.manual_seed(0)
    louder = AutoModelForAudioClassification.from_pretrained(encoder_folder("wav2vec2"), **NAMES)
    louder.projector.weight.data *= 30
    shelf.write("louder", louder.eval(), AutoFeatureExtractor.from_pretrained(encoder_folder("wav2vec2")))


def write_faulty(shelf):
    known = shelf.questions["crnn"].logits
    headless = shelf.copy("random_head", "stock")
    reweighted(headless, lambda tensors: {name: t for name, t in tensors.items() if not name.startswith("classifier")})
    reweighted(
        shelf.copy("renamed_head", "stock"),
        lambda tensors: {name.replace("classifier.", "classifier.dense."): t for name, t in tensors.items()},
    )
    changed(shelf.copy("unnamed", "stock") / "config.json", id2label={i: f"LABEL_{i}" for i in range(4)})
    changed(shelf.copy("twins", "stock") / "config.json", id2label=dict(enumerate(["sad", "happy", "sad", "angry"])))
    changed(
        shelf.copy("more_labels", "stock") / "config.json",
        id2label=dict(enumerate([*LABELS, "fear"])),
        label2id={label: i for i, label in enumerate([*LABELS, "fear"])},
    )
    changed(shelf.copy("rate", "crnn") / "preprocessor_config.json", sampling_rate=32000)
    (shelf.copy("no_code", "crnn") / "front_end.py").unlink()
    (shelf.copy("tagless", "crnn") / "README.md").write_text("---\nlicense: mit\n---\n")
    torn = shelf.copy("torn", "stock") / "model.safetensors"
    torn.write_bytes(torn.read_bytes()[:1000])
    pointer = shelf.copy("pointer", "stock") / "model.safetensors"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1000\n")
    reweighted(
        shelf.copy("not_a_number", "crnn", logits=known),
        lambda tensors: tensors | {"classifier.bias": torch.full_like(tensors["classifier.bias"], float("nan"))},
    )
    reweighted(
        shelf.copy("another", "crnn", logits=known),
        lambda tensors: tensors | {"classifier.weight": 1.01 * tensors["classifier.weight"]},
    )
    for name, line in {
        "needs_ser_hf": "import ser_hf",
        "needs_absent": "import an_absent_package",
        "needs_scipy": "import scipy",  # which is here, and comes with none of the three
    }.items():
        code = shelf.copy(name, "crnn", trust=True) / "modeling_crnn.py"
        code.write_text(f"{code.read_text()}\n{line}\n")
    stranger = shelf.copy("untrusted", "crnn") / "modeling_crnn.py"
    stranger.write_text(f"{stranger.read_text()}\nopen({str(shelf.folder / 'was_run')!r}, 'w')\n")
    # transformers has a model of this kind, which does not fit; the code must not run to find out why.
    sneaky = shelf.copy("sneaky", "more_labels")
    (sneaky / "modeling_own.py").write_text(f"open({str(shelf.folder / 'was_run')!r}, 'w')\n")
    changed(sneaky / "config.json", auto_map={"AutoModelForAudioClassification": "modeling_own.Own"})
    adapter = shelf.folder / "adapter"
    adapter.mkdir()
    base = str(shelf.folder / "stock")
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    shelf.questions["adapter"] = Question(str(adapter), clips=CLIPS)
    recording = shelf.folder / "clip.flac"
    soundfile.write(recording, np.stack([utterance(1, "sad", 0, 0, 22050)] * 2, axis=1), 22050)
    shelf.questions["recorded"] = Question(str(shelf.folder / "crnn"), clips=[recording, str(recording)])
    shelf.questions["no_recording"] = Question(str(shelf.folder / "crnn"), clips=[shelf.folder / "crnn" / "README.md"])
    deadly = shelf.copy("deadly", "crnn", trust=True) / "modeling_crnn.py"
    deadly.write_text("import os\nprint('farewell', flush=True)\nos._exit(7)\n" + deadly.read_text())
    shelf.questions["no_name"] = Question("a/b/c")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, encoder_folder):
    shelf = Shelf(tmp_path_factory.mktemp("models"))
    write_good(shelf, encoder_folder)
    write_others(shelf, encoder_folder)
    write_faulty(shelf)
    return shelf


class Repositories(NamedTuple):
    """What is said of those on the Hub by who may read them all, and by a stranger."""

    found: dict
    strangers: list
    commit: str


@pytest.fixture(scope="module")
def asked(shelf, tmp_path_factory):
    """The verdicts of every model and of every repository, of one process: importing what loads them takes ten
    seconds. The one that needs more than there is in that is asked again where everything is, which is left out here:
    its code is the good model's."""
    known, where = shelf.questions["crnn"], tmp_path_factory.mktemp("hub")
    names = ("tester/public", "tester/private", "tester/tagless", "tester/gated", "tester/none")
    questions = {name: Question(name) for name in names} | {"v9": Question("tester/public", revision="v9")}
    questions["tester/public"] = Question("tester/public", clips=known.clips, logits=known.logits)
    # The repositories first: the last of the shelf's ends the process.
    questions |= shelf.questions
    names, asked, good = list(questions), verify_module._ask, []

    def ask(questions, token, everything=False):
        if everything:
            assert [question.where for question in questions] == [shelf.questions["needs_scipy"].where]
            return good
        answers = asked(questions, token)
        if len(questions) == len(names):
            good.append(answers[names.index("crnn")] | {"code_imports": ["scipy"], "error": None})
        return answers

    with LoopbackHub() as hub, pytest.MonkeyPatch.context() as patched:
        patched.setattr(verify_module, "_ask", ask)
        for key, value in hub.environment(where / "home").items():
            patched.setenv(key, value)
        subprocess.run([sys.executable, "-c", PUSH, str(shelf.folder)], check=True, stdin=subprocess.DEVNULL)
        found = dict(zip(names, verify_several(list(questions.values())), strict=True))
        strangers = verify_several([questions[name] for name in ("tester/private", "tester/gated")], token=False)
        with pytest.raises(UserError, match=r"^tester/public: the Hub refuses the token"):
            verify("tester/public", token="hf_wrong")
        assert hub.mistakes == []
        return Repositories(found, strangers, hub.commits("tester/public")[0].oid)


@pytest.fixture(scope="module")
def verdicts(asked):
    return asked.found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crnn", "mfcc_linear", "prepared", "pooled", "stock"])
def test_a_good_model_is_found_good(verdicts, name):
    verdict = verdicts[name]
    assert verdict.good, str(verdict)
    assert verdict.notes == []
    assert verdict.labels == LABELS
    assert (verdict.sampling_rate, verdict.dtype, verdict.clips) == (16000, "float32", 2)
    assert verdict.remote_code == (name != "stock")
    assert verdict.front_end == ("PreparedFeatureExtractor" if name == "prepared" else "Wav2Vec2FeatureExtractor")
    assert verdict.tensors > 0
    assert verdict.newly_initialised == verdict.unexpected == []
    assert verdict.largest_difference < 1e-4
    assert verdict.versions["torch"] == torch.__version__


@pytest.mark.slow
def test_padding_is_tried(verdicts):
    assert verdicts["crnn"].padding_safe
    assert verdicts["pooled"].padding_safe
    assert not verdicts["louder"].padding_safe  # normalised over the padding too, and no mask tells
    assert verdicts["louder"].good
    assert any("in a batch with a longer one" in note for note in verdicts["louder"].notes)


@pytest.mark.slow
def test_names_of_tensors_from_before_are_known(verdicts):
    verdict = verdicts["old"]
    assert verdict.good
    assert verdict.newly_initialised == verdict.unexpected == []
    assert verdict.largest_difference < 1e-4
    assert [note.partition("(")[2].partition(")")[0] for note in verdict.notes] == ["README.md", "pytorch_model.bin"]


FAULTS = {
    "random_head": "2 tensors of 55 are not in its files and start from random numbers: classifier.bias, "
    "classifier.weight. Its answers are guesses, others each time it is loaded.",
    "renamed_head": "2 tensors of 55 are not in its files and start from random numbers: classifier.bias, "
    "classifier.weight. Its answers are guesses, others each time it is loaded. The file has others, which are not "
    "used: classifier.dense.bias, classifier.dense.weight.",
    "unnamed": "It answers LABEL_0, LABEL_1, LABEL_2, LABEL_3 in place of emotions: name them in id2label of "
    "config.json.",
    "twins": "Several of its classes are called sad: nobody can tell them apart.",
    "rate": "Its feature extractor takes 32000 Hz and its network 16000: every clip is heard 2 times too slow.",
    "another": "Its logits differ from those of the training process by up to ",
    "more_labels": "2 tensors of the file have other shapes than config.json says, the first classifier.bias: [4] in "
    "the file, [5] by config.json; pipeline refuses it.",
    "no_code": "front_end.py is missing, which its configuration or its other code asks for: it loads nowhere without "
    "it.",
    "torn": "Its weights are damaged or cut off, and pipeline does not load them: SafetensorError: ",
    "pointer": "model.safetensors is Git LFS's pointer and holds no weights: clone with Git LFS installed, or run "
    "`git lfs pull` there.",
    "needs_ser_hf": "Its code imports ser_hf, which its users do not have: they get an ImportError.",
    "needs_absent": "Its code imports an_absent_package: who has torch, numpy and transformers alone gets an "
    "ImportError.",
    "needs_scipy": "Its code imports scipy: who has torch, numpy and transformers alone gets an ImportError.",
    "adapter": "It is an adapter alone: pipeline takes configuration, labels and feature extractor from ",
}
UNLOADED = ("more_labels", "no_code", "torn", "pointer", "needs_ser_hf", "needs_absent", "adapter")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_once_by_what_users_meet(verdicts, name):
    verdict = verdicts[name]
    (problem,) = verdict.problems
    assert problem.startswith(FAULTS[name])
    assert verdict.loads == (name not in UNLOADED)
    assert not verdict.good


@pytest.mark.slow
def test_what_is_wrong_is_told_in_numbers_too(verdicts):
    assert verdicts["random_head"].newly_initialised == ["classifier.bias", "classifier.weight"]
    assert verdicts["renamed_head"].unexpected == ["classifier.dense.bias", "classifier.dense.weight"]
    assert 1e-3 < verdicts["another"].largest_difference < 1
    assert "adapter_attn_dim" in verdicts["adapter"].problems[0], "what pipeline itself said"


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_found(verdicts):
    verdict = verdicts["not_a_number"]
    assert verdict.problems == [
        "Weights hold NaN or infinity: classifier.bias.",
        "Clip 1 of 2 is answered with NaN or infinity.",
    ]
    assert verdict.largest_difference is None
    assert json.loads(verdict.to_json())["good"] is False


@pytest.mark.slow
def test_a_card_without_a_task_is_told(verdicts):
    assert verdicts["tagless"].good
    assert verdicts["tagless"].notes == [
        "pipeline_tag in its card is missing: audio-classification is what users and pipeline look for."
    ]


@pytest.mark.slow
def test_code_of_others_is_not_run_unasked(verdicts, shelf):
    for name, file in {"untrusted": "modeling_crnn.py", "sneaky": "modeling_own.py"}.items():
        refusal = verdicts[name]
        assert isinstance(refusal, UserError)
        assert f"brings code that is not ser_hf's ({file}); --trust-remote-code runs it" in str(refusal)
    assert not (shelf.folder / "was_run").exists()


@pytest.mark.slow
def test_code_that_ends_the_process_ends_nothing_else(verdicts):
    """Those after it are looked at in another process."""
    (problem,) = verdicts["deadly"].problems
    assert problem == "The process that loads it dies with exit code 7; its last words: farewell."
    assert not verdicts["deadly"].loads
    assert list(verdicts)[list(verdicts).index("deadly") + 1 :] == ["no_name"]


@pytest.mark.slow
def test_without_a_network_only_what_is_cached_is_looked_at(verdicts):
    with pytest.raises(UserError, match="^somebody/a-model: no such folder here, and the Hub cannot be reached"):
        verify("somebody/a-model")
    assert "no name that a model on the Hub can have" in str(verdicts["no_name"])


@pytest.mark.slow
def test_repositories_are_looked_at_as_their_users_do(asked):
    names = ["tester/public", "tester/private", "tester/tagless", "tester/gated", "tester/none", "v9"]
    public, private, tagless, gated, absent, unknown = (asked.found[name] for name in names)
    assert public.good
    assert public.notes == []
    assert (public.commit, public.labels, public.clips) == (asked.commit, LABELS, 2)
    assert public.largest_difference < 1e-4
    assert private.good
    assert private.remote_code
    assert gated.good
    (problem,) = tagless.problems
    assert problem.startswith("pipeline(model=...) without a task fails: ")
    assert str(absent).startswith("tester/none: no such folder here; on the Hub no such model, or a private one")
    assert "`hf auth login`" in str(absent)
    assert str(unknown).startswith("tester/public: has no branch, tag or commit v9")
    assert str(asked.strangers[0]).startswith("tester/private: no such folder here; on the Hub no such model")
    assert str(asked.strangers[1]).startswith("tester/gated: gated: ask for access on its page")


@pytest.mark.slow
def test_recordings_are_heard_as_a_card_reads_them(verdicts):
    """Whatever their rate and channels."""
    assert verdicts["recorded"].good
    assert verdicts["recorded"].clips == 2
    assert str(verdicts["no_recording"]).startswith("--clips: ")
    assert "README.md" in str(verdicts["no_recording"])


@pytest.mark.slow
def test_the_command_line_prints_the_verdict(verdicts, monkeypatch, capsys):
    asked = {}

    def found(where, **options):
        asked.update(options)
        return verdicts[where]

    monkeypatch.setattr("ser_hf.hub.verify.verify", found)
    assert cli.main(["verify", "crnn", "--revision", "v1", "--clips", "a.wav", "b.wav"]) == 0
    assert asked == {"revision": "v1", "clips": ["a.wav", "b.wav"], "trust_remote_code": None}
    assert capsys.readouterr().out == f"{verdicts['crnn']}\n"
    assert cli.main(["verify", "unnamed", "--json", "--trust-remote-code"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == verdicts["unnamed"].problems
    assert asked["trust_remote_code"] is True


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{}/recipe.yaml"], "a file; name a run's folder"),
        (["{}"], "the run in it has no model yet"),
        (["{}/empty"], "holds neither a model (config.json) nor a run"),
        (["{}/model", "--revision", "main"], "a folder, which has no revisions"),
        (["{}/model", "--clips", "{}/none.wav"], "--clips: there is no file"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(words, told, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("name: a\n")
    (tmp_path / "empty").mkdir()
    if any("model" in word for word in words):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text("{}")
    assert cli.main(["verify", *(word.format(tmp_path) for word in words)]) == 2
    assert told in capsys.readouterr().err
