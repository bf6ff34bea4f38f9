"""Published checkpoints of emotion2vec: every tensor is converted, listed or refused."""

import json
import pickle

import numpy as np
import pytest
import soundfile
import torch
from support.published_emotion2vec import published_tensors, write_published
from support.testing import tiny_encoder_config
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification

from ser_hf import predict
from ser_hf.loading.emotion2vec import LABELS, convert_emotion2vec
from ser_hf.models import Emotion2vecForAudioClassification
from ser_hf.utils.errors import UserError

# The published stem, and heads of 64 numbers where the bias has none of its own.
PUBLISHED = {
    "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_labels": len(LABELS),
}


@pytest.fixture
def network():
    """A function from settings to a tiny classifier with varied weights."""

    def build(**settings):
        torch.manual_seed(0)
        config = tiny_encoder_config("ser_emotion2vec", **PUBLISHED | settings)
        model = Emotion2vecForAudioClassification(config).eval()
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        return model

    return build


def noise(samples=8000):
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_stable_layer_norm": True},
        {"alibi_scale_per_layer": True},
        {"alibi_scale_per_head": False, "hidden_size": 128},
    ],
    ids=["published", "norm first", "scale per layer", "scale for all heads"],
)
def test_the_converted_model_computes_what_the_network_does(settings, network, tmp_path):
    model = network(**settings)
    file = write_published(tmp_path / "published", model)
    conversion = convert_emotion2vec(file, tmp_path / "converted")
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path / "converted").eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(noise()).logits, model(noise()).logits)
    assert set(conversion.converted) == set(published_tensors(model))
    assert conversion.labels == LABELS
    assert loaded.config.id2label == dict(enumerate(LABELS))
    assert conversion.parameters == model.num_parameters()


def test_an_encoder_without_classifier_is_a_checkpoint_to_train_from(network, tmp_path):
    model = network()
    file = write_published(tmp_path / "published", model, classifier=False, pretraining=True)
    conversion = convert_emotion2vec(file, tmp_path / "converted")
    loaded = AutoModel.from_pretrained(tmp_path / "converted").eval()
    with torch.no_grad():
        ours = loaded(noise(), output_hidden_states=True)
        expected = model.emotion2vec(noise(), output_hidden_states=True)
    for state, other in zip(ours.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(state, other)
    assert conversion.labels == ()
    assert conversion.unused == (
        "modality_encoders.AUDIO.decoder.blocks.0.0.weight",
        "recon_proj.weight",
        "_ema.blocks.0.attn.qkv.weight",
    )
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "converted")
    assert not extractor.do_normalize, "the network standardizes clips itself"
    written = json.loads((tmp_path / "converted" / "conversion.json").read_text())
    assert written["unused"] == list(conversion.unused)
    assert len(written["sha256"]) == 64


def test_the_classifier_predicts_with_the_published_labels(network, tmp_path):
    file = write_published(tmp_path / "published", network(num_labels=4))
    tokens = "生气/angry\nunuse_0\n开心/happy\n<unk>\n"
    file.with_name("tokens.txt").write_text(tokens, encoding="utf-8")
    conversion = convert_emotion2vec(file, tmp_path / "converted")
    assert conversion.labels == ("angry", "happy", "unknown")
    assert conversion.unused_labels == ("unuse_0",)
    soundfile.write(tmp_path / "clip.wav", noise()[0].numpy(), 16000)
    results = predict(tmp_path / "converted", [tmp_path / "clip.wav"])
    assert results.labels == ["angry", "happy", "unknown"]
    assert np.isclose(sum(results.table.to_pylist()[0]["probabilities"]), 1)


def test_published_settings_beside_the_file_are_kept(network, tmp_path):
    file = write_published(tmp_path / "published", network())
    settings = "model_conf:\n  normalize: false\n  attention_dropout: 0.25\n  norm_eps: 1.0e-6\n"
    file.with_name("config.yaml").write_text(settings)
    convert_emotion2vec(file, tmp_path / "converted")
    config = AutoModelForAudioClassification.from_pretrained(tmp_path / "converted").config
    assert not config.standardize
    assert config.attention_dropout == 0.25
    assert config.layer_norm_eps == 1e-6


def _changed(change):
    def write(folder, model):
        file = write_published(folder, model)
        content = torch.load(file, weights_only=True)
        change(content["model"])
        torch.save(content, file)
        return file

    return write


def _pickled(folder, model):
    folder.mkdir()
    file = folder / "model.pt"
    torch.save({"model": {}, "hook": pytest.raises}, file, pickle_module=pickle)
    return file


def _text(folder, model):
    folder.mkdir()
    file = folder / "model.pt"
    file.write_text("version https://git-lfs.github.com/spec/v1")
    return file


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder, model: folder / "model.pt", "no such file"),
        (_pickled, "may run code"),
        (_text, "cannot be read|may run code"),
        (_changed(lambda tensors: tensors.clear()), "not a checkpoint of emotion2vec"),
        (
            _changed(lambda tensors: tensors.update(extra=torch.zeros(1))),
            "1 tensors are not known .* extra",
        ),
        (
            _changed(lambda tensors: tensors.pop("blocks.0.mlp.fc2.bias")),
            "missing or do not fit",
        ),
        (
            _changed(lambda tensors: tensors.pop("modality_encoders.AUDIO.alibi_scale")),
            "no .*alibi_scale",
        ),
    ],
    ids=["none", "objects", "text", "empty", "unknown", "lacks one", "lacks bias"],
)
def test_other_files_are_refused_in_one_line(write, message, network, tmp_path):
    file = write(tmp_path / "published", network())
    with pytest.raises(UserError, match=message) as refused:
        convert_emotion2vec(file, tmp_path / "converted")
    assert str(refused.value).startswith(str(file))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "converted").exists()


def test_labels_that_do_not_fit_are_refused(network, tmp_path):
    file = write_published(tmp_path / "published", network(num_labels=4))
    with pytest.raises(UserError, match=r"tokens\.txt: no such file; it has the 4 labels"):
        convert_emotion2vec(file, tmp_path / "converted")
    tokens = tmp_path / "labels.txt"
    tokens.write_text("a\nb\nc\n")
    with pytest.raises(UserError, match=r"labels\.txt: 3 labels, but the classifier has 4"):
        convert_emotion2vec(file, tmp_path / "converted", tokens)


def test_a_folder_with_files_is_not_overwritten(network, tmp_path):
    file = write_published(tmp_path / "published", network())
    with pytest.raises(UserError, match=r"published: exists already"):
        convert_emotion2vec(file, tmp_path / "published")
