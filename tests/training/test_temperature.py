"""A stored temperature divides the logits of every kind of classifier, wherever its weights go."""

import pytest
import torch
from lora_script import stock_classifier
from peft import PeftModel
from support.close import assert_near
from support.testing import tiny_config
from transformers import AutoModelForAudioClassification

from ser_hf.evaluation.sections import RatingCalibration
from ser_hf.models import ARCHITECTURES
from ser_hf.training.lora import Lora, add_lora, merged, save_adapter
from ser_hf.training.temperature import store_rating_scale, store_temperature
from ser_hf.utils.errors import UserError

FITTED = ("mfcc_svm", "mfcc_rbf_svm", "mfcc_forest", "functionals_svm")
STOCK = ["wav2vec2", "sew-d", "wav2vec2-bert", "whisper", "audio-spectrogram-transformer"]


@torch.no_grad()
def logits_of(model):
    config = model.config
    shapes = {
        "whisper": lambda: (config.num_mel_bins, 2 * config.max_source_positions),
        "audio-spectrogram-transformer": lambda: (config.max_length, config.num_mel_bins),
        "ser_functionals_linear": lambda: (88,),
        "wav2vec2-bert": lambda: (40, config.feature_projection_input_dim),
    }
    shape = shapes.get(config.model_type, lambda: (16000,))()
    noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    return model.eval()(**{model.main_input_name: 0.1 * noise}).logits


def assert_divided(model):
    plain = logits_of(model)
    assert plain.abs().max() > 1e-4
    store_temperature(model, 2.5)
    assert_near(logits_of(model), plain / 2.5)
    assert model.config.calibration_temperature == 2.5


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in FITTED])
def test_own_networks(architecture):
    torch.manual_seed(0)
    assert_divided(ARCHITECTURES[architecture](tiny_config(architecture)))


@pytest.mark.parametrize("kind", STOCK)
def test_stock_classifiers(kind, encoder_folder):
    assert_divided(stock_classifier(encoder_folder(kind)))


@pytest.mark.parametrize("architecture", FITTED)
def test_a_classifier_without_a_linear_layer_is_refused_and_left_as_it_is(architecture):
    model = ARCHITECTURES[architecture](tiny_config(architecture))
    with pytest.raises(
        UserError, match=r"evaluation\.temperature: the logits of .* are not of a linear layer"
    ):
        store_temperature(model, 2.0)
    assert not hasattr(model.config, "calibration_temperature")


def test_an_adapted_model_carries_it_in_its_merged_weights_and_in_its_adapter(
    encoder_folder, tmp_path
):
    base = encoder_folder("hubert-large")
    torch.manual_seed(0)
    adapted = add_lora(stock_classifier(base), Lora(2))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    plain = logits_of(merged(adapted))
    store_temperature(adapted, 0.5)
    assert_near(logits_of(merged(adapted)), plain / 0.5)
    assert merged(adapted).config.calibration_temperature == 0.5
    save_adapter(adapted, tmp_path / "adapter", str(base))
    loaded = PeftModel.from_pretrained(stock_classifier(base), tmp_path / "adapter")
    assert_near(logits_of(loaded), plain / 0.5)


def test_it_is_saved_and_removed_by_a_new_training(encoder_folder, tmp_path):
    model = stock_classifier(encoder_folder("wav2vec2-layer"))
    store_temperature(model, 1.7)
    model.save_pretrained(tmp_path / "first")
    again = AutoModelForAudioClassification.from_pretrained(tmp_path / "first")
    assert again.config.calibration_temperature == 1.7
    assert_near(logits_of(again), logits_of(model))
    store_temperature(again, None)
    again.save_pretrained(tmp_path / "second")
    assert "calibration" not in (tmp_path / "second" / "config.json").read_text()
    assert_near(logits_of(again), logits_of(model))


def calibrations(model):
    """A map for each output of a model."""
    maps = {}
    for i, name in model.config.id2label.items():
        maps[name] = RatingCalibration(
            slope=0.5 + i,
            offset=0.1 * i,
            ccc_before=None,
            ccc_after=None,
            outside_before=0,
            outside_after=0,
        )
    return maps


@pytest.mark.parametrize("kind", ["crnn", *STOCK])
def test_the_map_to_the_scale_of_the_ratings_is_in_the_last_layer(kind, encoder_folder):
    torch.manual_seed(0)
    if kind == "crnn":
        model = ARCHITECTURES[kind](tiny_config(kind))
    else:
        model = stock_classifier(encoder_folder(kind))
    plain = logits_of(model)
    number = torch.arange(plain.shape[1])
    store_rating_scale(model, calibrations(model))
    assert_near(logits_of(model), plain * (0.5 + number) + 0.1 * number)
    mapped = logits_of(model)
    store_rating_scale(model, {})
    assert_near(logits_of(model), mapped)


def test_a_map_needs_a_linear_layer():
    model = ARCHITECTURES["mfcc_forest"](tiny_config("mfcc_forest"))
    with pytest.raises(UserError, match=r"^evaluation\.rating_scale:"):
        store_rating_scale(model, calibrations(model))
