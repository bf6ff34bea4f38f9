"""Where models are found, and what is no model to ask."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ser_hf import UserError
from ser_hf.inference.batches import capture_embeddings
from ser_hf.inference.classifier import load_classifier


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def copy(published, tmp_path):
    """A copy of a wav2vec2 classifier, to be altered."""
    for path in published("wav2vec2").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_run_and_its_model_folder_are_one(run):
    by_run, by_folder = load_classifier(run, device="cpu"), load_classifier(run / "model")
    assert by_run.revision == by_folder.revision
    assert by_run.preparation.trim_silence == 30
    assert not hasattr(by_run.extractor, "trim_silence"), "waveforms would be trimmed twice"
    assert by_run.judged_window == 0.4
    assert by_run.padding_safe
    assert not by_run.model.training
    assert (by_run.window(), by_run.window(0.25)) == (6400, 4000)


def test_the_revision_of_a_folder_follows_its_weights(copy):
    before = load_classifier(copy, device="cpu").revision
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.bias"] += 1
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    assert load_classifier(copy, device="cpu").revision != before


@pytest.mark.parametrize("window", ["[1, 2]", "-1", "soon", "null", ".inf"])
def test_a_recipe_of_another_grammar_has_no_window(window, copy):
    (copy / "recipe.yaml").write_text(f"evaluation: {{window: {window}}}\n")
    assert load_classifier(copy, device="cpu").judged_window is None
    (copy / "recipe.yaml").write_text("evaluation: by hand\n")
    assert load_classifier(copy, device="cpu").judged_window is None
    (copy / "recipe.yaml").write_text("- [")
    assert load_classifier(copy, device="cpu").judged_window is None


def test_a_classifier_that_was_never_trained_is_refused(encoder_folder):
    with pytest.raises(UserError, match=r"has no trained classifier, 4 tensors are missing \(classifier.bias\)"):
        load_classifier(encoder_folder("wav2vec2"), device="cpu")


def test_numbers_in_place_of_labels_are_refused(copy):
    change(copy / "config.json", problem_type="regression")
    with pytest.raises(UserError, match="predicts numbers, not labels"):
        load_classifier(copy, device="cpu")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"torn"), "Error|header|invalid"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor|feature extractor"),
        (lambda folder: change(folder / "config.json", hidden_size=32), "wav2vec2|size"),
        (lambda folder: change(folder / "config.json", model_type="nosuch"), "nosuch"),
        (
            lambda folder: change(folder / "config.json", model_type="nosuch", auto_map={"AutoConfig": "code.Config"}),
            "brings code of its own; --trust-remote-code runs it",
        ),
    ],
)
def test_a_damaged_folder_is_told_in_a_line(spoil, told, copy):
    spoil(copy)
    with pytest.raises(UserError, match=told) as refused:
        load_classifier(copy, device="cpu")
    assert str(refused.value).startswith(f"{copy}: ")
    assert "\n" not in str(refused.value)


def test_what_is_no_model_is_told(tmp_path, copy):
    empty = tmp_path / "empty"
    empty.mkdir()
    for place, told in [
        (copy / "config.json", "a file; name a run's folder, a model folder or a Hub id"),
        (empty, r"holds neither a model \(config.json\) nor a run"),
        ("nobody/nothing-of-the-kind", "no such folder here, and as a model on the Hub: "),
    ]:
        with pytest.raises(UserError, match=told):
            load_classifier(place, device="cpu")
    (empty / "recipe.yaml").touch()
    with pytest.raises(UserError, match="the run in it has no model yet; finish it with --resume"):
        load_classifier(empty)
    (empty / "adapter_config.json").touch()
    with pytest.raises(UserError, match="an adapter alone; name the model folder around it"):
        load_classifier(empty)
    with pytest.raises(UserError, match="--revision: .* is a folder, which has no revisions"):
        load_classifier(copy, revision="main")


def test_labels_have_a_name_and_a_number_each(copy):
    change(copy / "config.json", id2label={"0": "sad", "1": "angry", "2": "sad", "3": "calm"})
    with pytest.raises(UserError, match="several of its labels are called 'sad'; give each a name of its own"):
        load_classifier(copy, device="cpu")
    change(copy / "config.json", id2label={"0": "sad", "2": "angry"})
    with pytest.raises(UserError, match="its labels have the numbers 0, 2, not 0 to 1; mend id2label"):
        load_classifier(copy, device="cpu")
    change(copy / "config.json", id2label={"0": "sad", "1": "angry"}, label2id={"sad": 0, "angry": 1})
    with pytest.raises(UserError, match=r"its weights have other sizes than .* \(as many labels in id2label as"):
        load_classifier(copy, device="cpu")


def test_a_checkpoint_of_a_run_leads_to_the_run(run, tmp_path):
    checkpoint = tmp_path / "own" / "checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (tmp_path / "own" / "recipe.yaml").touch()
    with pytest.raises(
        UserError, match=r"checkpoint-3: a checkpoint of the run in .*/own, .* name .*/own, whose model"
    ):
        load_classifier(checkpoint, device="cpu")


def test_a_device_that_is_not_there_is_told(copy):
    for device in ("nosuch", "cuda:99", "hpu", "xpu"):
        with pytest.raises(UserError, match=f"--device: {device} cannot be used here"):
            load_classifier(copy, device=device)
    with pytest.raises(UserError, match="--device: 1.5 cannot be used here"):
        load_classifier(copy, device=1.5)
    with pytest.raises(UserError, match="--device: meta holds no numbers; choose one that computes"):
        load_classifier(copy, device="meta")


def test_memory_that_runs_out_is_no_mistake_of_the_users(copy, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("full")

    with monkeypatch.context() as patched:
        patched.setattr("ser_hf.inference.classifier.AutoFeatureExtractor.from_pretrained", full)
        with pytest.raises(torch.OutOfMemoryError):
            load_classifier(copy)
    monkeypatch.setattr("transformers.PreTrainedModel.to", full)
    with pytest.raises(torch.OutOfMemoryError):
        load_classifier(copy, device="cpu")


def test_a_model_on_the_hub_is_pinned_to_the_commit_that_its_configuration_had(copy, monkeypatch):
    """As its cache has it: the branch may have moved on."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = copy / "hub"
    place = cache / "models--someone--voices"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    (place / "snapshots" / commit).mkdir(parents=True)
    for path in [path for path in copy.iterdir() if path.is_file()]:
        path.rename(place / "snapshots" / commit / path.name)
    for module in ("huggingface_hub.constants.HF_HUB_CACHE", "transformers.utils.hub.constants.HF_HUB_CACHE"):
        monkeypatch.setattr(module, str(cache))
    classifier = load_classifier("someone/voices", device="cpu")
    assert classifier.revision == commit
    assert classifier.source == "someone/voices"
    assert classifier.judged_window is None


class Stranger(nn.Module):
    """A head as others make them, which is not called classifier."""

    def __init__(self, last):
        super().__init__()
        self.config = type("Config", (), {"num_labels": 4, "model_type": "stranger"})
        self.below, self.last = nn.Linear(3, 5), last

    def forward(self, values):
        return self.last(self.below(values))


def test_the_last_layer_of_others_is_the_one_that_makes_their_labels(copy):
    classifier = load_classifier(copy, device="cpu")
    stranger = Stranger(nn.Linear(5, 4))
    object.__setattr__(classifier, "model", stranger)
    assert not classifier.padding_safe
    with capture_embeddings(classifier, None) as vectors:
        stranger(torch.ones(2, 3))
        kept = vectors.take({}, torch.tensor([3, 3]))
        torch.testing.assert_close(kept, stranger.below(torch.ones(2, 3)))
        stranger(torch.ones(2, 7, 3))
        with pytest.raises(UserError, match="has no layer at its end that is given one vector a clip"):
            vectors.take({}, torch.tensor([3, 3]))
    object.__setattr__(classifier, "model", Stranger(nn.Linear(5, 7)))
    with (
        pytest.raises(UserError, match="has no linear layer of 4 labels at its end"),
        capture_embeddings(classifier, None),
    ):
        pass
