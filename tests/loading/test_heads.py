"""Heads in the forms in which people publish them: twins give the logits of a straight
computation, alone and in a padded batch; every tensor is used or the model is refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.hub_twins import DIMENSIONS, PODCAST, SEVEN, TWINS, write_recognizer, write_twin

import ser_hf
from ser_hf.inference.batches import classify
from ser_hf.inference.load import load_classifier
from ser_hf.utils.errors import UserError

WEIGHTS = "model.safetensors"


@pytest.fixture
def twin(tmp_path, monkeypatch):
    """A function that writes the twin of a form, and returns its folder and its logits."""
    monkeypatch.chdir(tmp_path)

    def written(form):
        folder = tmp_path / "twin"
        return folder, TWINS[form](folder)

    return written


def waveforms():
    return [
        np.random.default_rng(i).normal(0, 0.1, 4000 + 2500 * i).astype(np.float32)
        for i in range(3)
    ]


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("form", TWINS)
def test_logits_are_those_of_a_straight_computation(form, twin):
    folder, logits_of = twin(form)
    classifier = load_classifier(folder, device="cpu")
    clips = waveforms()
    alone = [_logits(classifier, [clip])[0] for clip in clips]
    np.testing.assert_allclose(alone, [logits_of(clip) for clip in clips], atol=1e-5)
    np.testing.assert_allclose(_logits(classifier, clips), alone, atol=1e-5)


def _logits(classifier, clips):
    """The logits; `classify` gives probabilities, or the values of dimensions."""
    names = [str(i) for i in range(len(clips))]
    outputs = classify(classifier, clips, names, progress=False)
    if classifier.task.name == "dimensions":
        return outputs
    model = classifier.model
    lengths = [len(clip) for clip in clips]
    if not classifier.padding_safe:
        return np.concatenate([_batch(model, classifier.extractor, [clip]) for clip in clips])
    logits = _batch(model, classifier.extractor, clips)
    assert len(lengths) == len(logits)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs, shares, atol=1e-5)
    return logits


@torch.no_grad()
def _batch(model, extractor, clips):
    values = [extractor(clip, sampling_rate=16000)["input_values"][0] for clip in clips]
    longest = max(map(len, values))
    padded = np.stack([np.pad(value, (0, longest - len(value))) for value in values])
    mask = np.stack([np.arange(longest) < len(value) for value in values])
    arguments = {"attention_mask": torch.from_numpy(mask).long()} if len(clips) > 1 else {}
    return model(torch.from_numpy(padded), **arguments).logits.numpy()


@pytest.mark.parametrize(
    ("form", "task", "labels"),
    [
        ("Odyssey categorical", "emotions", PODCAST),
        ("Odyssey dimensional", "dimensions", DIMENSIONS),
        ("audEERING", "dimensions", DIMENSIONS),
        ("soxan mean", "emotions", SEVEN),
    ],
)
def test_outputs_are_classes_or_dimensions(form, task, labels, twin):
    folder, _ = twin(form)
    classifier = load_classifier(folder, device="cpu")
    assert classifier.task.name == task
    assert classifier.labels == labels


def test_dimensions_are_evaluated_on_the_ratings_of_a_corpus(twin, tmp_path):
    from support.testing import write_corpus

    write_corpus("csv", tmp_path / "corpus", speakers=3, takes=1)
    more = {
        "settings": {"targets": ["loudness"], "ranges": {"loudness": [-60, 0]}},
        "bootstrap": 20,
    }
    more["loading"] = {"label_map": {"arousal": "loudness", "dominance": "none"}}
    folder, _ = twin("audEERING")
    report = ser_hf.evaluate_model(folder, "csv", tmp_path / "corpus" / "clips.csv", **more)
    assert (report.task, report.labels, report.clips) == ("dimensions", ["loudness"], 18)
    words = [(row.word, row.emotion, row.counted) for row in report.label_words]
    assert words == [
        ("arousal", "loudness", True),
        ("dominance", None, False),
        ("valence", "valence", False),
    ]


def test_the_user_names_the_outputs(twin):
    folder, _ = twin("ehcalabres")
    change(folder, id2label={str(i): f"LABEL_{i}" for i in range(8)})
    assert load_classifier(folder, device="cpu").labels[0] == "LABEL_0"
    classifier = load_classifier(folder, device="cpu", label_names=PODCAST)
    assert classifier.labels == PODCAST
    with pytest.raises(UserError, match=r"--label-names"):
        load_classifier(folder, device="cpu", label_names=SEVEN)
    with pytest.raises(UserError, match=r"--label-names: 'a' occurs twice"):
        load_classifier(folder, device="cpu", label_names=["a"] * 8)


def test_the_user_names_the_outputs_of_a_stock_classifier(twin):
    folder, _ = twin("superb")
    names = ["neutral", "happy", "angry", "sad"]
    assert load_classifier(folder, device="cpu", label_names=names).labels == names
    with pytest.raises(UserError, match=r"--label-names: 7 names, .* 4 outputs"):
        load_classifier(folder, device="cpu", label_names=SEVEN)


def test_a_configuration_without_labels_numbers_them(twin):
    folder, _ = twin("ehcalabres")
    content = json.loads((folder / "config.json").read_text())
    content.pop("id2label")
    content.pop("label2id", None)
    (folder / "config.json").write_text(json.dumps(content))
    assert load_classifier(folder, device="cpu").labels == [f"LABEL_{i}" for i in range(8)]


def test_a_speech_recognizer_is_refused_as_what_it_is(tmp_path):
    write_recognizer(tmp_path / "ctc")
    with pytest.raises(UserError, match=r"speech recognizer \(CTC\): lm_head.weight has 32"):
        load_classifier(tmp_path / "ctc", device="cpu")


@pytest.mark.parametrize("form", ["soxan mean", "superb", "Odyssey categorical"])
def test_a_tensor_without_a_place_is_refused(form, twin):
    folder, _ = twin(form)
    tensors = load_file(folder / WEIGHTS)
    strange = {"classifier.gate.weight": torch.ones(2)}
    save_file(tensors | strange, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(UserError, match=r"gate\.weight"):
        load_classifier(folder, device="cpu")


def test_tensors_of_pretraining_are_left_out(twin):
    folder, logits_of = twin("superb")
    tensors = load_file(folder / WEIGHTS)
    pretraining = {"quantizer.codevectors": torch.ones(2), "project_q.weight": torch.ones(2)}
    save_file(tensors | pretraining, folder / WEIGHTS, {"format": "pt"})
    classifier = load_classifier(folder, device="cpu")
    clip = waveforms()[0]
    np.testing.assert_allclose(_logits(classifier, [clip])[0], logits_of(clip), atol=1e-5)


@pytest.mark.parametrize("form", ["soxan mean", "superb", "Odyssey categorical"])
def test_a_missing_tensor_is_refused(form, twin):
    folder, _ = twin(form)
    tensors = load_file(folder / WEIGHTS)
    last = [name for name in tensors if name.endswith(("out_proj.bias", "classifier.bias"))]
    removed = "ser_model.out.0.bias" if form.startswith("Odyssey") else last[-1]
    save_file(
        {name: tensor for name, tensor in tensors.items() if name != removed},
        folder / WEIGHTS,
        {"format": "pt"},
    )
    with pytest.raises(UserError, match=r"bias"):
        load_classifier(folder, device="cpu")


def test_a_head_of_an_unknown_form_is_refused(twin):
    folder, _ = twin("soxan mean")
    tensors = load_file(folder / WEIGHTS)
    renamed = {name.replace("out_proj.", "last."): value for name, value in tensors.items()}
    renamed |= {name: value for name, value in tensors.items() if "attention.out_proj" in name}
    renamed = {name: value for name, value in renamed.items() if "attention.last" not in name}
    save_file(renamed, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(UserError, match=r"unknown form: its files have classifier\.dense\.bias"):
        load_classifier(folder, device="cpu")


def test_an_encoder_without_a_head_is_refused(twin):
    folder, _ = twin("soxan mean")
    tensors = load_file(folder / WEIGHTS)
    save_file(
        {name: value for name, value in tensors.items() if "classifier" not in name},
        folder / WEIGHTS,
        {"format": "pt"},
    )
    with pytest.raises(UserError, match="without a trained classifier"):
        load_classifier(folder, device="cpu")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 10**7}, "1e.07, at most 1000"),
        ({"id2label": {"0": "a"}}, r"7 outputs, but 1 labels.*--label-names"),
        ({"pooling_mode": "median"}, r"config\.json: pooling_mode: .*'median'"),
        ({"intermediate_size": 7}, "config.json does not describe its tensors: size mismatch"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(values, message, twin):
    folder, _ = twin("soxan mean")
    change(folder, **values)
    with pytest.raises(UserError, match=message):
        load_classifier(folder, device="cpu")


@pytest.mark.parametrize("place", ["../outside/it", "/etc", "no id"])
def test_the_named_encoder_is_a_hub_id(place, twin):
    folder, _ = twin("Odyssey categorical")
    change(folder, ssl_type=place)
    with pytest.raises(UserError, match="ssl_type: "):
        load_classifier(folder, device="cpu")


def test_a_text_model_with_the_same_names_is_refused_by_its_kind(tmp_path):
    tensors = {f"classifier.{name}.weight": torch.ones(3, 3) for name in ("dense", "out_proj")}
    write_twin(tmp_path / "text", {"model_type": "roberta", "problem_type": "regression"}, tensors)
    with pytest.raises(UserError, match="roberta"):
        load_classifier(tmp_path / "text", device="cpu")
