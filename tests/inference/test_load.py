"""Where models are found, and which are refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.damage import change

from ser_hf import UserError
from ser_hf.inference.load import load_classifier, model_digest


def test_a_run_and_its_model_folder_are_one(run):
    by_run = load_classifier(run, device="cpu")
    by_folder = load_classifier(run / "model")
    assert by_run.revision == by_folder.revision
    assert by_run.preparation.trim_silence == 30
    assert not hasattr(by_run.extractor, "trim_silence"), "waveforms would be trimmed twice"
    assert by_run.evaluation_window == 0.4
    assert by_run.padding_safe
    assert not by_run.model.training
    assert (by_run.window(), by_run.window(0.25)) == (6400, 4000)


def test_the_revision_of_a_folder_follows_its_weights(copy):
    before = load_classifier(copy, device="cpu").revision
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.bias"] += 1
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    assert load_classifier(copy, device="cpu").revision != before


def test_the_digest_follows_all_that_an_evaluation_depends_on(copy):
    digests = [model_digest(str(copy))]
    (copy / "notes.txt").write_text("without effect")
    assert model_digest(str(copy)) == digests[0]
    (copy / "training_clips.txt").write_text("0123456789abcdef\n")
    digests.append(model_digest(str(copy)))
    change(copy / "config.json", id2label={"0": "b", "1": "a"})
    digests.append(model_digest(str(copy)))
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.bias"] += 1
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    digests.append(model_digest(str(copy)))
    assert len(set(digests)) == 4
    with pytest.raises(UserError, match=r"nowhere\.onnx: no such file"):
        model_digest("nowhere.onnx")


@pytest.mark.parametrize("window", ["[1, 2]", "soon", "null"])
def test_a_recipe_of_another_form_has_no_window(window, copy):
    (copy / "recipe.yaml").write_text(f"evaluation: {{window: {window}}}\n")
    assert load_classifier(copy, device="cpu").evaluation_window is None
    (copy / "recipe.yaml").write_text("evaluation: by hand\n")
    assert load_classifier(copy, device="cpu").evaluation_window is None
    (copy / "recipe.yaml").write_text("- [")
    assert load_classifier(copy, device="cpu").evaluation_window is None


def test_a_classifier_that_was_never_trained_is_refused(encoder_folder):
    message = r"a \w+ without a trained classifier, 4 tensors are missing \(classifier.bias\)"
    with pytest.raises(UserError, match=message):
        load_classifier(encoder_folder("wav2vec2"), device="cpu")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"torn"),
            "Error|header|invalid",
        ),
        (
            lambda folder: (folder / "preprocessor_config.json").unlink(),
            "preprocessor|feature extractor",
        ),
        (
            lambda folder: change(folder / "config.json", hidden_size=32),
            "its weights do not fit its config.json",
        ),
        (
            lambda folder: change(
                folder / "config.json", model_type="nosuch", auto_map={"AutoConfig": "code.Config"}
            ),
            "config.json takes code .*; --trust-remote-code",
        ),
    ],
)
def test_a_damaged_folder_prints_one_line(spoil, message, copy):
    spoil(copy)
    with pytest.raises(UserError, match=message) as refused:
        load_classifier(copy, device="cpu")
    assert str(refused.value).startswith(str(copy))
    assert "\n" not in str(refused.value)


def test_a_misspelt_run_is_not_searched_on_the_hub(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").touch()
    message = f"^{tmp_path}/mime: no such run; the nearest is {tmp_path}/mine$"
    with pytest.raises(UserError, match=message):
        load_classifier(tmp_path / "mime")


def test_a_folder_without_a_model_is_refused(tmp_path, copy):
    empty = tmp_path / "empty"
    empty.mkdir()
    for source in (copy / "config.json", empty, "nobody/nothing-of-the-kind"):
        with pytest.raises(UserError, match=f"^{source}: "):
            load_classifier(source, device="cpu")
    (empty / "recipe.yaml").touch()
    with pytest.raises(UserError, match="this run has no model yet; finish it with --resume"):
        load_classifier(empty)
    with pytest.raises(UserError, match=f"^--revision: {copy} "):
        load_classifier(copy, revision="main")


def test_labels_have_a_name_and_a_number_each(copy):
    change(copy / "config.json", id2label={"0": "sad", "1": "angry", "2": "sad", "3": "calm"})
    with pytest.raises(UserError, match=f"^{copy}.* 'sad'"):
        load_classifier(copy, device="cpu")
    change(copy / "config.json", id2label={"0": "sad", "2": "angry"})
    with pytest.raises(UserError, match="its labels have the numbers 0, 2, not 0 to 1"):
        load_classifier(copy, device="cpu")
    change(
        copy / "config.json", id2label={"0": "sad", "1": "angry"}, label2id={"sad": 0, "angry": 1}
    )
    with pytest.raises(UserError, match=r"its weights do not fit its config\.json"):
        load_classifier(copy, device="cpu")


def test_a_checkpoint_of_a_run_leads_to_the_run(run, tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (tmp_path / "run" / "recipe.yaml").touch()
    with pytest.raises(
        UserError, match=r"checkpoint-3: a training checkpoint; name its run .*/run"
    ):
        load_classifier(checkpoint, device="cpu")


def test_a_missing_device_is_refused(copy):
    for device in ("nosuch", "cuda:99", "hpu", "xpu"):
        with pytest.raises(UserError, match=f"--device: {device} cannot be used here"):
            load_classifier(copy, device=device)
    with pytest.raises(UserError, match="--device: 1.5 cannot be used here"):
        load_classifier(copy, device=1.5)


def test_exhausted_memory_is_a_fault(copy, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("full")

    with monkeypatch.context() as patched:
        patched.setattr("ser_hf.inference.load.AutoFeatureExtractor.from_pretrained", full)
        with pytest.raises(torch.OutOfMemoryError):
            load_classifier(copy)
    monkeypatch.setattr("transformers.PreTrainedModel.to", full)
    with pytest.raises(torch.OutOfMemoryError):
        load_classifier(copy, device="cpu")


def test_a_model_on_the_hub_is_pinned_to_the_commit_that_its_configuration_had(copy, monkeypatch):
    """The commit in the cache, since the branch may have changed."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = copy / "hub"
    place = cache / "models--someone--voices"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    (place / "snapshots" / commit).mkdir(parents=True)
    for path in [path for path in copy.iterdir() if path.is_file()]:
        path.rename(place / "snapshots" / commit / path.name)
    for module in (
        "huggingface_hub.constants.HF_HUB_CACHE",
        "transformers.utils.hub.constants.HF_HUB_CACHE",
    ):
        monkeypatch.setattr(module, str(cache))
    classifier = load_classifier("someone/voices", device="cpu")
    assert classifier.revision == commit
    assert classifier.source == "someone/voices"
    assert classifier.evaluation_window is None
