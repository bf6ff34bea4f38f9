"""Blueprints and models: our networks, tiny encoders, and mistakes that are refused before
training.
"""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.testing import CHECKPOINTS, tiny_config, write_checkpoint

from ser_hf import models
from ser_hf.loading import build as building
from ser_hf.loading import checkpoint as checkpoints
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.models import CRNNForAudioClassification, PooledEncoderConfig
from ser_hf.models.preparation import Preparation
from ser_hf.utils.errors import UserError

KINDS = [("wav2vec2", "group"), ("wav2vec2", "layer"), ("hubert", "group"), ("wavlm", "layer")]


def test_the_crnn_follows_recipe_and_rate(labels):
    plan = blueprint("crnn", labels, sampling_rate=8000, normalize=True, options={"lstm_hidden": 7})
    assert plan.config.sampling_rate == plan.extractor.sampling_rate == 8000
    assert plan.config.lstm_hidden == 7
    assert plan.config.id2label == dict(enumerate(labels))
    assert plan.extractor.do_normalize
    assert plan.extractor.return_attention_mask
    assert plan.padding_safe
    assert type(build_model(plan)) is CRNNForAudioClassification


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_encoders_trained_with_a_mask_receive_one(checkpoint, labels, kind):
    plan = blueprint("encoder", labels, checkpoint=checkpoint(*kind))
    assert plan.padding_safe is plan.extractor.return_attention_mask is (kind[1] == "layer")
    assert plan.config.model_type == kind[0]


@pytest.fixture
def kind(tmp_path_factory):
    """Folder of a tiny checkpoint of any kind that `CHECKPOINTS` names."""

    def written(name, **options):
        return str(write_checkpoint(tmp_path_factory.mktemp(name), **CHECKPOINTS[name] | options))

    return written


@pytest.mark.parametrize(
    "settings", [{"pooling": "max"}, {"head_layers": [6]}, {"head_dropout": 0.5}], ids=str
)
def test_any_setting_of_the_head_selects_ours(checkpoint, labels, settings):
    plan = blueprint("encoder", labels, checkpoint=checkpoint("hubert"), **settings)
    fields = {"pooling": "mean", "head_layers": [], "head_dropout": 0.0} | settings
    assert type(plan.config) is PooledEncoderConfig
    assert {key: getattr(plan.config, key) for key in fields} == fields
    assert plan.config.id2label == dict(enumerate(labels))
    assert plan.config.sampling_rate == 16000
    assert plan.encoder_config is plan.config.encoder
    assert plan.encoder_config.model_type == "hubert"
    assert plan.remote_code
    model = build_model(plan)
    assert type(model) is models.PooledEncoderForAudioClassification
    assert model.classifier.out_features == len(labels)


def test_networks_refuse_the_head_of_encoders(labels, tmp_path):
    settings = {"pooling": "max"}
    with pytest.raises(
        UserError, match=r"^model\.pooling: belongs to architecture encoder, not to crnn"
    ):
        blueprint("crnn", labels, **settings)
    CRNNForAudioClassification(tiny_config("crnn")).save_pretrained(tmp_path)
    for setting in (settings, {"weighted_layer_sum": True}):
        key = next(iter(setting))
        with pytest.raises(UserError, match=rf"^model\.{key}: .*ser_crnn"):
            blueprint("encoder", labels, checkpoint=str(tmp_path), **setting)


def test_options_are_the_encoder_s_under_our_head(checkpoint, labels):
    plan = blueprint(
        "encoder", labels, checkpoint=checkpoint(), pooling="mean", options={"mask_time_prob": 0.25}
    )
    assert plan.config.encoder.mask_time_prob == 0.25
    assert build_model(plan).encoder.config.mask_time_prob == 0.25
    with pytest.raises(UserError, match=r"^model\.lstm_hidden: .*wav2vec2"):
        blueprint(
            "encoder", labels, checkpoint=checkpoint(), pooling="mean", options={"lstm_hidden": 3}
        )


@pytest.mark.parametrize(
    "options", [{"num_attention_heads": 3}, {"add_adapter": True, "hidden_act": "gelo"}], ids=str
)
def test_impossible_options_are_refused_before_any_weights(checkpoint, labels, options):
    with pytest.raises(UserError, match="^model: "):
        blueprint("encoder", labels, options=options, checkpoint=checkpoint())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mask_time_prob", 5),
        ("to_dict", 1),
        ("_name_or_path", "x"),
        ("use_weighted_layer_sum", True),
        ("num_labels", 2),
    ],
)
def test_a_wrong_option_of_an_encoder_is_named(checkpoint, labels, key, value):
    with pytest.raises(UserError, match=rf"^model\.{key}: "):
        blueprint("encoder", labels, checkpoint=checkpoint(), pooling="mean", options={key: value})


def test_an_option_that_the_toolkit_sets_is_refused(checkpoint, labels):
    with pytest.raises(UserError, match=r"^model\.dtype: weights are in float32"):
        blueprint("encoder", labels, checkpoint=checkpoint(), options={"dtype": 2})


def test_a_wrong_option_of_a_network_is_named(labels):
    with pytest.raises(UserError, match=r"^model\.channels: "):
        blueprint("crnn", labels, options={"channels": [4]})


EXTRACTORS = ["wav2vec2", "wav2vec2-bert", "whisper", "audio-spectrogram-transformer"]


@pytest.mark.parametrize("name", EXTRACTORS)
def test_another_kind_s_extractor_is_refused(kind, labels, name):
    folder = Path(kind(name))
    for other in EXTRACTORS:
        shutil.copy(Path(kind(other)) / "preprocessor_config.json", folder)
        if other == name:
            blueprint("encoder", labels, checkpoint=str(folder))
            continue
        message = rf"^model\.checkpoint: .* and {name} needs \w+;"
        with pytest.raises(UserError, match=message):
            blueprint("encoder", labels, checkpoint=str(folder))


def test_a_stock_classifier_without_a_sum_of_layers_is_refused(kind, labels):
    folder = kind("audio-spectrogram-transformer")
    with pytest.raises(UserError, match=r"^model\.weighted_layer_sum: for .* set model.pooling"):
        blueprint("encoder", labels, checkpoint=folder, weighted_layer_sum=True)
    ours = blueprint("encoder", labels, checkpoint=folder, weighted_layer_sum=True, pooling="mean")
    assert len(build_model(ours).layer_sum.weight) == 3


@pytest.mark.parametrize("name", ["hubert", "wav2vec2-stable"])
def test_a_stock_sum_of_layers_is_switched_on_and_off(kind, labels, name):
    """Encoders with a norm after the last layer, which versions of transformers sum or do not, need
    our head.
    """
    folder = kind(name, use_weighted_layer_sum=True, problem_type="regression")
    config = blueprint("encoder", labels, checkpoint=folder).config
    assert not config.use_weighted_layer_sum
    assert config.problem_type is None  # pipeline would give logits
    if name == "hubert":
        summed = blueprint("encoder", labels, checkpoint=folder, weighted_layer_sum=True)
        assert summed.config.use_weighted_layer_sum
    else:
        with pytest.raises(UserError, match=r"^model\.weighted_layer_sum: "):
            blueprint("encoder", labels, checkpoint=folder, weighted_layer_sum=True)


@pytest.mark.parametrize("head", [{}, {"pooling": "mean"}], ids=["stock", "ours"])
@pytest.mark.parametrize(
    ("name", "key"), [("hubert", "layerdrop"), ("whisper", "encoder_layerdrop")]
)
def test_layerdrop_is_off_where_layers_are_summed(kind, labels, caplog, name, key, head):
    plan = {"checkpoint": kind(name, **{key: 0.9}), "weighted_layer_sum": True, **head}
    with caplog.at_level(logging.INFO, "ser_hf"):
        planned = blueprint("encoder", labels, **plan)
    assert f"{key} (0.9)" in caplog.text
    assert getattr(planned.encoder_config, key) == 0
    batch = planned.extractor(
        np.ones((2, 8000), dtype=np.float32), sampling_rate=16000, return_tensors="pt"
    )
    build_model(planned).train()(**batch)
    with pytest.raises(UserError, match=rf"^model\.{key}: .*weighted_layer_sum"):
        blueprint("encoder", labels, options={key: 0.2}, **plan)
    assert (
        getattr(blueprint("encoder", labels, options={key: 0.0}, **plan).encoder_config, key) == 0
    )


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """Our head on an encoder, saved with its extractor, as a run saves it."""
    folder = write_checkpoint(tmp_path_factory.mktemp("pushed"), **CHECKPOINTS["wav2vec2"])
    settings = {
        "pooling": "attention",
        "head_layers": [6],
        "head_dropout": 0.25,
        "weighted_layer_sum": True,
    }
    plan = blueprint(
        "encoder", ["a", "b"], checkpoint=str(folder), options={"mask_time_prob": 0.25}, **settings
    )
    build_model(plan).save_pretrained(folder)
    plan.published_extractor.save_pretrained(folder)
    return str(folder)


def test_our_own_checkpoint_keeps_its_head(pushed, labels):
    without = blueprint("encoder", labels, checkpoint=pushed)
    assert not hasattr(build_model(without), "layer_sum")
    for settings in (
        {},
        {"pooling": "attention"},
        {"head_layers": [6]},
        {"weighted_layer_sum": True},
    ):
        plan = blueprint("encoder", labels, checkpoint=pushed, **settings)
        config = plan.config
        assert (config.pooling, config.head_layers, config.head_dropout) == ("attention", [6], 0.25)
        assert config.weighted_layer_sum == ("weighted_layer_sum" in settings)
        assert config.encoder.mask_time_prob == 0.25
        assert config.id2label == dict(enumerate(labels))
        assert plan.extractor.return_attention_mask
    plan = blueprint(
        "encoder", labels, checkpoint=pushed, head_dropout=0.5, options={"mask_time_prob": 0.125}
    )
    assert plan.config.head_dropout == build_model(plan).head[0].p == 0.5
    assert plan.config.encoder.mask_time_prob == 0.125
    for settings in ({"pooling": "mean"}, {"head_layers": [6, 6]}):
        message = rf"^model\.{next(iter(settings))}: "
        with pytest.raises(UserError, match=message):
            blueprint("encoder", labels, checkpoint=pushed, **settings)


def test_a_transferred_network_starts_from_its_published_file(labels, tmp_path, monkeypatch):
    settings = []
    monkeypatch.setattr(
        building, "load_published", lambda model, path: settings.append((type(model), path))
    )
    file = tmp_path / "weights.pth"
    file.touch()
    plan = blueprint("byols", labels, checkpoint=str(file))
    assert plan.checkpoint == str(file)
    assert not plan.random_init
    build_model(plan)
    assert settings == [(models.TRANSFERRED["byols"], str(file))]
    build_model(blueprint("byols", labels, checkpoint=str(file), random_init=True))
    assert len(settings) == 1


def test_another_preparation_than_the_checkpoint_s_is_a_warning(
    checkpoint, labels, tmp_path, caplog
):
    first = blueprint(
        "encoder", labels, checkpoint=checkpoint(), preparation=Preparation(trim_silence=30.0)
    )
    build_model(first).save_pretrained(tmp_path)
    first.published_extractor.save_pretrained(tmp_path)
    blueprint("encoder", labels, checkpoint=str(tmp_path), preparation=first.preparation)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    plan = blueprint("encoder", labels, checkpoint=str(tmp_path))
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.getMessage().startswith(f"{tmp_path} was trained on waveforms prepared ")
    assert type(plan.extractor) is type(first.extractor)


def test_an_unreadable_extractor_is_refused(kind, labels, monkeypatch):
    folder = kind("hubert")
    (Path(folder) / "preprocessor_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"preprocessor_config\.json: "):
        blueprint("encoder", labels, checkpoint=folder)
    (Path(folder) / "preprocessor_config.json").write_text("{}", encoding="utf-8")

    def unreachable(*_, **__):
        raise OSError("no route to the Hub")

    monkeypatch.setattr(checkpoints.AutoFeatureExtractor, "from_pretrained", unreachable)
    with pytest.raises(UserError, match=r"^model\.checkpoint: .*: no route to the Hub"):
        blueprint("encoder", labels, checkpoint=folder)


def test_extractors_of_features_take_no_preparation(kind, labels):
    with pytest.raises(UserError, match=r"^audio: WhisperFeatureExtractor "):
        blueprint(
            "encoder",
            labels,
            checkpoint=kind("whisper"),
            preparation=Preparation(trim_silence=30.0),
        )
