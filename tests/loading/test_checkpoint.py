"""Checkpoints: configuration and extractor with the settings of a recipe."""

import pytest
from transformers import BertConfig, Wav2Vec2FeatureExtractor

from ser_hf.loading.checkpoint import (
    Head,
    configure_extractor,
    read_checkpoint,
    set_options,
    waveform_extractor,
    with_head,
)
from ser_hf.models import PooledEncoderConfig
from ser_hf.models.preparation import UNPREPARED, Preparation
from ser_hf.utils.errors import UserError

RATE = 16000


@pytest.fixture
def wav2vec2(encoder_folder):
    """A tiny wav2vec 2.0; each test reads it anew, because tests change its configuration."""
    return read_checkpoint(str(encoder_folder("wav2vec2")), revision=None)


def configured(checkpoint, **settings):
    defaults = {
        "sampling_rate": RATE,
        "normalize": None,
        "window": None,
        "preparation": UNPREPARED,
    }
    return configure_extractor(checkpoint, checkpoint.config, **defaults | settings)


def test_a_folder_has_no_revision(encoder_folder):
    folder = str(encoder_folder("wav2vec2"))
    assert read_checkpoint(folder, None).revision is None
    with pytest.raises(UserError) as error:
        read_checkpoint(folder, "main")
    assert str(error.value) == (
        f"model.revision: {folder} is a folder, which has no revisions; leave it out"
    )


@pytest.mark.parametrize("path", ["{folder}/nowhere", "./nowhere", "~/nowhere", "some/where/else"])
def test_a_missing_folder_is_named(path, tmp_path):
    path = path.format(folder=tmp_path)
    with pytest.raises(UserError) as error:
        read_checkpoint(path, None)
    assert str(error.value) == f"model.checkpoint: no such folder: {path}"


def test_a_checkpoint_that_the_hub_lacks_is_refused_in_one_line():
    with pytest.raises(UserError) as error:
        read_checkpoint("some/where", None)
    assert str(error.value).startswith("model.checkpoint: some/where: no such folder here, ")
    assert "\n" not in str(error.value)


def test_a_text_model_is_refused(tmp_path):
    BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1).save_pretrained(tmp_path)
    with pytest.raises(UserError) as error:
        read_checkpoint(str(tmp_path), None)
    assert str(error.value) == (
        f"model.checkpoint: no audio classifier in transformers for bert ({tmp_path})"
    )


def test_settings_of_a_head_are_those_that_select_ours():
    assert Head().settings == {}
    assert Head(weighted_layer_sum=True).settings == {}
    assert Head("max", (8, 4), 0.5).settings == {
        "pooling": "max",
        "head_layers": [8, 4],
        "head_dropout": 0.5,
    }


def test_a_head_of_ser_hf_wraps_the_configuration(wav2vec2):
    config = with_head(wav2vec2, Head(pooling="max", weighted_layer_sum=True), RATE)
    assert isinstance(config, PooledEncoderConfig)
    assert config.encoder is wav2vec2.config
    assert config.pooling == "max"
    assert config.weighted_layer_sum
    assert config.encoder.layerdrop == 0  # the sum needs every layer


def test_the_stock_head_sums_layers_by_itself(wav2vec2):
    config = with_head(wav2vec2, Head(weighted_layer_sum=True), RATE)
    assert config is wav2vec2.config
    assert config.use_weighted_layer_sum


def test_options_are_set_in_the_encoder(wav2vec2):
    set_options(wav2vec2.config, "source", {"hidden_dropout": 0.25})
    assert wav2vec2.config.hidden_dropout == 0.25


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lstm_hidden", 3, "the configuration of source (wav2vec2) has no such key"),
        ("_name_or_path", "x", "the configuration of source (wav2vec2) has no such key"),
        (
            "use_weighted_layer_sum",
            True,
            "use model.weighted_layer_sum instead, which works with every head",
        ),
        ("num_hidden_layers", 101, "expected at most 100, got 101"),
        ("hidden_size", 10**7, "expected at most 1,000,000, got 10000000"),
        ("mask_time_prob", 1.5, "expected a probability, 0 to 1, got 1.5"),
        ("hidden_dropout", -0.1, "expected a probability, 0 to 1, got -0.1"),
    ],
)
def test_an_option_that_no_encoder_can_have_is_named(wav2vec2, key, value, message):
    with pytest.raises(UserError) as error:
        set_options(wav2vec2.config, "source", {key: value})
    assert str(error.value) == f"model.{key}: {message}"


def test_a_waveform_extractor_pads_and_masks():
    extractor = waveform_extractor(8000, normalize=False)
    assert extractor.sampling_rate == 8000
    assert extractor.return_attention_mask
    assert not extractor.do_normalize


def test_the_recipe_may_change_the_normalization(wav2vec2):
    extractor = configured(wav2vec2)
    assert isinstance(extractor, Wav2Vec2FeatureExtractor)
    assert configured(wav2vec2, normalize=not extractor.do_normalize) is extractor
    with pytest.raises(UserError, match=r"^audio\.sampling_rate: "):
        configured(wav2vec2, sampling_rate=8000)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"normalize": True}, "audio.normalize"),
        ({"preparation": Preparation(level="peak")}, "audio"),
    ],
)
def test_an_extractor_of_spectrograms_prepares_waveforms_itself(encoder_folder, settings, key):
    whisper = read_checkpoint(str(encoder_folder("whisper")), revision=None)
    with pytest.raises(UserError) as error:
        configured(whisper, **settings)
    assert str(error.value).startswith(f"{key}: ")
