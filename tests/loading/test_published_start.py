"""Trainings start from classifiers whose heads transformers does not have."""

import logging

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.hub_twins import DIMENSIONS, TWINS, challenge_twin, dense_twin

from ser_hf.evaluation.tasks import DIMENSIONS as DIMENSIONS_TASK
from ser_hf.loading.build import build_model
from ser_hf.loading.heads import load_published_classifier
from ser_hf.loading.plan import blueprint
from ser_hf.models import PooledEncoderForAudioClassification
from ser_hf.utils.errors import UserError

LABELS = ["neutral", "angry", "boredom", "happy"]
WEIGHTS = "model.safetensors"


@pytest.fixture
def twin(tmp_path, monkeypatch):
    """A function that writes the twin of a form, and returns its folder."""
    monkeypatch.chdir(tmp_path)

    def written(form):
        TWINS[form](tmp_path / "twin")
        return str(tmp_path / "twin")

    return written


def planned(folder, labels, **settings):
    """The plan of a training on the labels, and the model that it starts from."""
    plan = blueprint("encoder", labels, checkpoint=folder, **settings)
    transformers.set_seed(0)
    return plan, build_model(plan).eval()


def published_model(folder):
    """The classifier as `predict` loads it."""
    model, _ = load_published_classifier(folder, folder, None)
    return model.eval()


@torch.no_grad()
def logits_of(model, published):
    """Logits of two clips of different length, in the published scale of their waveforms."""
    torch.manual_seed(1)
    values = torch.randn(2, 5000)
    mask = torch.ones(2, 5000, dtype=torch.long)
    mask[1, 3000:] = 0
    theirs = published(values, attention_mask=mask).logits
    scaled = (values - published.mean) / published.deviation * mask
    return model(scaled, attention_mask=mask).logits, theirs


@pytest.mark.parametrize(
    "form",
    [
        "soxan mean",
        "soxan max",
        "soxan HuBERT",
        "ehcalabres",
        "Odyssey categorical",
        "Odyssey mean",
    ],
)
def test_the_classifier_is_kept_for_labels_in_common(form, twin, caplog):
    folder = twin(form)
    with caplog.at_level(logging.INFO, "ser_hf"):
        plan, model = planned(folder, LABELS)
    assert type(model) is PooledEncoderForAudioClassification
    assert plan.labels is None, "it is no model of ser_hf"
    published = published_model(folder)
    names = [name.lower() for name in published.config.id2label.values()]
    ours, theirs = logits_of(model, published)
    for label in ("neutral", "angry", "happy"):
        column = theirs[:, names.index(label)]
        torch.testing.assert_close(ours[:, LABELS.index(label)], column, rtol=1e-4, atol=1e-4)
    assert "last layer kept for neutral, angry, happy" in caplog.messages[-1]
    assert "new, random rows of the last layer: boredom" in caplog.messages[-1]


@pytest.mark.parametrize("form", ["audEERING", "Odyssey dimensional"])
def test_dimensions_are_kept_by_name(form, twin):
    folder = twin(form)
    ranges = {"valence": [1, 7], "activation": [1, 7]}
    _, model = planned(
        folder, list(ranges), problem_type=DIMENSIONS_TASK.problem_type, ranges=ranges
    )
    published = published_model(folder)
    ours, theirs = logits_of(model, published)
    columns = [DIMENSIONS.index("valence"), DIMENSIONS.index("arousal")]
    torch.testing.assert_close(ours, theirs[:, columns], rtol=1e-4, atol=1e-4)


def encoder_tensors(folder, prefix):
    """The published tensors of the encoder, in the order of their names."""
    tensors = load_file(f"{folder}/{WEIGHTS}")
    return [tensors[name] for name in sorted(tensors) if name.startswith(prefix)]


def assert_has_encoder(encoder, folder, prefix):
    """Every tensor of the published encoder is in the model; none other is."""
    expected = sorted(encoder_tensors(folder, prefix), key=_fingerprint)
    actual = sorted(encoder.state_dict().values(), key=_fingerprint)
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert torch.equal(ours, theirs)


def _fingerprint(tensor):
    return tensor.numel(), tensor.double().sum().item(), tensor.double().square().sum().item()


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        (["boredom", "calm"], {}),
        (LABELS, {"pooling": "attentive_stats"}),
        (LABELS, {"pooling": "mean", "head_layers": [8]}),
        (["boredom", "calm"], {"pooling": "mean", "weighted_layer_sum": True}),
    ],
    ids=str,
)
def test_a_baseline_of_the_challenges_gives_its_encoder(labels, settings, twin, caplog):
    folder = twin("Odyssey categorical")
    with caplog.at_level(logging.INFO, "ser_hf"):
        plan, model = planned(folder, labels, **settings)
    encoder = model.encoder if settings else model.wavlm
    assert_has_encoder(encoder, folder, "ssl_model.")
    assert f"{folder}: only the encoder is loaded; left out: pool_model, ser_model" in "\n".join(
        caplog.messages
    )
    assert "new, random head: classifier" in caplog.messages[-1]
    assert plan.config.id2label == dict(enumerate(labels))
    assert plan.extractor.do_normalize, "as the encoder was pretrained"


def test_a_pooling_that_ser_hf_does_not_have_leaves_the_encoder(twin, caplog):
    folder = twin("Odyssey categorical")
    tensors = load_file(f"{folder}/{WEIGHTS}")
    tensors["pool_model.gate"] = torch.ones(2)
    save_file(tensors, f"{folder}/{WEIGHTS}", {"format": "pt"})
    with caplog.at_level(logging.INFO, "ser_hf"):
        _, model = planned(folder, LABELS)
    assert_has_encoder(model.wavlm, folder, "ssl_model.")
    assert f"{folder}: ser_hf has no head with the pooling of this classifier" in "\n".join(
        caplog.messages
    )


def test_a_sum_over_frames_leaves_the_encoder(twin):
    _, model = planned(twin("soxan sum"), LABELS)
    assert type(model) is transformers.Wav2Vec2ForSequenceClassification


def test_the_classifier_is_kept_beside_ratings(twin):
    """The heads of further targets are new; those of ser_hf keep their pooling, too."""
    folder = twin("Odyssey categorical")
    settings = {"dimensions": ["arousal"], "ranges": {"arousal": [1, 7]}}
    plan, model = planned(folder, LABELS, **settings)
    assert plan.config.pooling == "attentive_frame_stats"
    assert model.rating_head.out_features == 1
    model.save_pretrained(f"{folder}-child")
    plan.published_extractor.save_pretrained(f"{folder}-child")
    child, _ = planned(f"{folder}-child", LABELS, **settings)
    assert child.config.pooling == "attentive_frame_stats"


def test_random_weights_of_the_named_encoder(twin):
    plan, model = planned(twin("Odyssey categorical"), LABELS, random_init=True)
    assert plan.config.model_type == model.config.model_type == "wavlm"


def test_a_recipe_names_the_outputs_of_a_baseline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"LABEL_{i}" for i in range(3)]
    challenge_twin(tmp_path / "twin", names, encoder_id="tiny/wavlm")
    folder = str(tmp_path / "twin")
    _, model = planned(folder, LABELS, label_names=["happy", "fear", "neutral"])
    published = published_model(folder)
    ours, theirs = logits_of(model, published)
    torch.testing.assert_close(ours[:, [3, 0]], theirs[:, [0, 2]], rtol=1e-4, atol=1e-4)


def test_a_baseline_of_an_unknown_form_is_refused_with_its_encoder(twin):
    folder = twin("Odyssey categorical")
    tensors = load_file(f"{folder}/{WEIGHTS}")
    tensors["ser_model.last.weight"] = tensors.pop("ser_model.out.0.weight")
    save_file(tensors, f"{folder}/{WEIGHTS}", {"format": "pt"})
    with pytest.raises(UserError, match=r"^model\.checkpoint: .*checkpoint=tiny/wavlm$"):
        planned(folder, LABELS)


def test_a_damaged_tensor_of_the_head_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dense_twin(tmp_path / "twin", ["angry", "happy"])
    file = tmp_path / "twin" / WEIGHTS
    tensors = load_file(file)
    tensors["classifier.dense.bias"][0] = float("nan")
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"^model\.checkpoint: .*head\.1\.bias"):
        planned(str(tmp_path / "twin"), LABELS)
