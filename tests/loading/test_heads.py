"""Dimensional models in the forms in which people publish them: twins with random weights give the
values of the published code's computation, alone and in a padded batch."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.testing import CHECKPOINTS, write_checkpoint
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

import ser_hf
from ser_hf.inference.batches import classify
from ser_hf.inference.load import load_classifier
from ser_hf.utils.errors import UserError

NAMES = {"0": "arousal", "1": "dominance", "2": "valence"}


def encoder(folder, kind):
    """A tiny encoder in a folder, and its tensors under the older names of weight normalization."""
    write_checkpoint(folder, **CHECKPOINTS[kind])
    config = AutoConfig.from_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModel.from_config(config).eval()
    renamed = {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
    }
    tensors = {}
    for name, tensor in model.state_dict().items():
        for new, old in renamed.items():
            name = name.replace(new, old)
        tensors[name] = tensor.clone()
    return model, config, tensors


def write(folder, config, tensors, **more):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "config.json").write_text(json.dumps(config | {"id2label": NAMES} | more))
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def dense(tmp_path):
    """wav2vec2, mean over frames, dense layer and tanh; and a function with the computation of its
    model card.
    """
    model, config, tensors = encoder(tmp_path / "encoder", "wav2vec2-stable")
    size = config.hidden_size
    torch.manual_seed(1)
    first = torch.nn.Linear(size, size)
    last = torch.nn.Linear(size, 3)
    own = {f"wav2vec2.{name}": tensor for name, tensor in tensors.items()}
    for name, layer in (("dense", first), ("out_proj", last)):
        own |= {f"classifier.{name}.{key}": tensor for key, tensor in layer.state_dict().items()}
    architectures = {
        "architectures": ["Wav2Vec2ForSpeechClassification"],
        "problem_type": "regression",
    }
    folder = write(tmp_path / "dense", config.to_dict() | architectures, own)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)

    @torch.no_grad()
    def expected(clip):
        scaled = (clip - clip.mean()) / np.sqrt(clip.var() + 1e-7)
        pooled = model(torch.from_numpy(scaled)[None]).last_hidden_state.mean(dim=1)
        return last(torch.tanh(first(pooled)))[0].numpy()

    return folder, expected


@pytest.fixture
def attentive(tmp_path, monkeypatch):
    """WavLM with attentive statistics, layer norm and ReLU; and a function with the computation of
    its code.
    """
    monkeypatch.chdir(tmp_path)
    model, config, tensors = encoder(tmp_path / "tiny" / "wavlm", "wavlm-large")
    size = config.hidden_size
    generator = torch.Generator().manual_seed(2)

    def random(*shape):
        return torch.randn(*shape, generator=generator) / 4

    own = {f"ssl_model.{name}": tensor for name, tensor in tensors.items()}
    own |= {
        "pool_model.sap_linear.weight": random(size, size),
        "pool_model.sap_linear.bias": random(size),
    }
    own |= {"pool_model.attention": random(size, 1)}
    own |= {"ser_model.fc.0.0.weight": random(8, 2 * size), "ser_model.fc.0.0.bias": random(8)}
    own |= {"ser_model.fc.0.1.weight": random(8), "ser_model.fc.0.1.bias": random(8)}
    own |= {"ser_model.out.0.weight": random(3, 8), "ser_model.out.0.bias": random(3)}
    more = {
        "model_type": "ser",
        "architectures": ["SERModel"],
        "ssl_type": "tiny/wavlm",
        "mean": 0.01,
        "std": 0.2,
    }
    code = {"auto_map": {"AutoModelForAudioClassification": "pipeline_utils.SERModel"}}
    folder = write(tmp_path / "attentive", more | code, own)
    (folder / "pipeline_utils.py").write_text(
        "raise SystemExit('the code of a stranger has run')\n"
    )

    @torch.no_grad()
    def expected(clip):
        frames = model(
            torch.from_numpy((clip - 0.01) / (0.2 + 1e-6))[None].float()
        ).last_hidden_state[0]
        hidden = torch.tanh(
            frames @ own["pool_model.sap_linear.weight"].T + own["pool_model.sap_linear.bias"]
        )
        weights = (hidden @ own["pool_model.attention"]).softmax(dim=0)
        mean = (weights * frames).sum(dim=0)
        deviation = ((weights * frames**2).sum(dim=0) - mean**2).clamp(min=1e-5).sqrt()
        layer = (
            torch.cat([mean, deviation]) @ own["ser_model.fc.0.0.weight"].T
            + own["ser_model.fc.0.0.bias"]
        )
        scale = own["ser_model.fc.0.1.weight"]
        shift = own["ser_model.fc.0.1.bias"]
        layer = torch.relu(torch.nn.functional.layer_norm(layer, (8,), scale, shift))
        return (layer @ own["ser_model.out.0.weight"].T + own["ser_model.out.0.bias"]).numpy()

    return folder, expected


@pytest.mark.parametrize("form", ["dense", "attentive"])
def test_values_are_those_of_the_published_code(form, request):
    folder, expected = request.getfixturevalue(form)
    classifier = load_classifier(folder, device="cpu")
    assert classifier.labels == ["arousal", "dominance", "valence"]
    assert (classifier.task.name, classifier.ranges["valence"]) == ("dimensions", [0.0, 1.0])
    clips = [
        np.random.default_rng(i).normal(0, 0.1, 4000 + 2500 * i).astype(np.float32)
        for i in range(3)
    ]
    alone = [classify(classifier, [clip], ["clip"], progress=False)[0] for clip in clips]
    np.testing.assert_allclose(alone, [expected(clip) for clip in clips], atol=1e-5)
    assert classifier.padding_safe
    together = classify(classifier, clips, ["a", "b", "c"], progress=False)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_they_are_evaluated_on_the_ratings_of_a_corpus(dense, tmp_path):
    from support.testing import write_corpus

    write_corpus("csv", tmp_path / "corpus", speakers=3, takes=1)
    more = {
        "settings": {"targets": ["loudness"], "ranges": {"loudness": [-60, 0]}},
        "bootstrap": 20,
    }
    more["loading"] = {"label_map": {"arousal": "loudness", "dominance": "none"}}
    report = ser_hf.evaluate_model(dense[0], "csv", tmp_path / "corpus" / "clips.csv", **more)
    assert (report.task, report.labels, report.clips) == ("dimensions", ["loudness"], 18)
    words = [(row.word, row.emotion, row.counted) for row in report.label_words]
    assert words == [
        ("arousal", "loudness", True),
        ("dominance", None, False),
        ("valence", "valence", False),
    ]


def test_a_head_that_does_not_fit_and_a_random_one_are_refused(dense, attentive):
    folder, _ = dense
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"classifier.gate.weight": torch.ones(2)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"do not fit wav2vec2 .*head\.gate\.weight"):
        load_classifier(folder, device="cpu")
    save_file(
        {name: own for name, own in tensors.items() if "classifier" not in name},
        folder / "model.safetensors",
    )
    with pytest.raises(UserError, match="without a trained classifier"):
        load_classifier(folder, device="cpu", untrained=True)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"num_hidden_layers": 10**7}, "1e.07, at most 1000"),
        ({"id2label": {0: "a"}}, "1 labels"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=message):
            load_classifier(folder, device="cpu")
    config = json.loads((attentive[0] / "config.json").read_text())
    for place in ("../outside/it", "/etc", "no id"):
        (attentive[0] / "config.json").write_text(json.dumps(config | {"ssl_type": place}))
        with pytest.raises(UserError, match="ssl_type: "):
            load_classifier(attentive[0], device="cpu")


def test_a_text_model_with_the_same_names_is_refused_by_its_kind(tmp_path):
    tensors = {f"classifier.{name}.weight": torch.ones(3, 3) for name in ("dense", "out_proj")}
    folder = write(
        tmp_path / "text", {"model_type": "roberta", "problem_type": "regression"}, tensors
    )
    with pytest.raises(UserError, match="roberta"):
        load_classifier(folder, device="cpu")
