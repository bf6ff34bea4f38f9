"""A pipeline prepares waveforms as training did, also on a machine without ser_hf."""

import json

import numpy as np
import pytest
import torch
from built import built, probabilities_without_ser_hf, trained
from signals import noise
from support.close import assert_near
from support.isolated import run_without_ser_hf
from support.testing import write_checkpoint
from transformers import AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

from ser_hf.models import PreparedFeatureExtractor
from ser_hf.models.preparation import Preparation, prepare_waveform

TRIMMED = Preparation(trim_silence=30, level="loudness", target_level=-20)
FIXED = Preparation(trim_silence=30, level="peak", fixed_duration=0.8)
# Both of transformers' habits: with a mask and without one, normalized and not.
STOCK = {
    "crnn": Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True),
    "layer": Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True),
    "group": Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False),
}
NAMES = [f"{network}-{kind}" for network in STOCK for kind in ("trimmed", "fixed")]


def clip(samples, seed=0, silence=(3000, 5000)):
    """float32 noise between two stretches of silence."""
    return np.pad(noise(samples, seed=seed)[0].numpy(), silence)


CLIPS = [clip(9000), clip(16000, 1, (0, 9000)), clip(5000, 2, (200, 0))]


def network(name, folder):
    if name == "crnn":
        return trained(built(name))
    torch.manual_seed(0)
    checkpoint = write_checkpoint(folder / f"tiny-{name}", "wav2vec2", name)
    return AutoModelForAudioClassification.from_pretrained(checkpoint, num_labels=4).eval()


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """By saved model: the probabilities of its network for prepared clips, one by one; those of
    `pipeline` for raw clips, single and in a batch, without ser_hf; and the folder of the models.
    """
    folder = tmp_path_factory.mktemp("hub")
    expected = {}
    for name in NAMES:
        kind, _, what = name.partition("-")
        model = network(kind, folder)
        stock = STOCK[kind]
        preparation = {"trimmed": TRIMMED, "fixed": FIXED}[what]
        model.save_pretrained(folder / name)
        PreparedFeatureExtractor.from_stock(stock, preparation).save_pretrained(folder / name)
        expected[name] = []
        for samples in CLIPS:
            inputs = stock(
                prepare_waveform(samples, 16000, preparation),
                sampling_rate=16000,
                return_tensors="pt",
            )
            with torch.no_grad():
                expected[name].append(model(**inputs).logits.softmax(dim=1)[0].tolist())
    return (
        expected,
        probabilities_without_ser_hf(folder, CLIPS, dict.fromkeys(NAMES, len(CLIPS))),
        folder,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_prepares_clips_as_training_did(name, predictions):
    expected, (alone, together) = predictions[0][name], predictions[1][name]
    assert_near(alone, expected)
    if name != "group-trimmed":  # a model without a mask sees the padding of a batch
        assert_near(together, expected)


@pytest.mark.slow
def test_loading_without_trust_fails(predictions):
    code = """
import transformers
try:
    transformers.pipeline("audio-classification", model="layer-fixed", trust_remote_code=False)
except ValueError as error:
    print(error)
"""
    assert "trust_remote_code=True" in run_without_ser_hf(code, predictions[2])


def test_the_folder_has_the_settings_and_the_code(tmp_path):
    PreparedFeatureExtractor.from_stock(STOCK["layer"], TRIMMED).save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "preparation.py",
        "preprocessor_config.json",
    }
    described = json.loads((tmp_path / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert described["feature_extractor_type"] == "PreparedFeatureExtractor"
    assert described["auto_map"] == {"AutoFeatureExtractor": "preparation.PreparedFeatureExtractor"}
    fields = ("trim_silence", "level", "target_level", "fixed_duration")
    assert [described[field] for field in fields] == [30, "loudness", -20, None]


@pytest.mark.parametrize("name", STOCK)
def test_to_prepared_and_back_loses_no_setting(name):
    stock = STOCK[name]
    prepared = PreparedFeatureExtractor.from_stock(stock, FIXED)
    assert prepared.preparation == FIXED
    assert prepared.stock().to_dict() == stock.to_dict()
    assert type(prepared.stock()) is Wav2Vec2FeatureExtractor
    kept = {key: value for key, value in stock.to_dict().items() if key != "feature_extractor_type"}
    assert kept.items() <= prepared.to_dict().items()


@pytest.mark.parametrize("name", STOCK)
def test_all_input_forms_of_the_stock_class_are_accepted(name):
    prepared = PreparedFeatureExtractor.from_stock(STOCK[name], TRIMMED)
    settings = {"sampling_rate": 16000, "padding": True, "return_tensors": "np"}

    def same(given, clips):
        got = prepared(given, **settings)
        wanted = STOCK[name](
            [prepare_waveform(samples, 16000, TRIMMED) for samples in clips], **settings
        )
        assert got.keys() == wanted.keys()
        for key in wanted:
            np.testing.assert_array_equal(got[key], wanted[key])
            assert got[key].dtype == wanted[key].dtype

    first = CLIPS[0]
    same(first, [first])
    same(first.astype(np.float64), [first])
    same(first.tolist(), [first])
    same([first], [first])
    same(CLIPS, CLIPS)
    same(tuple(CLIPS), CLIPS)
    same([samples.tolist() for samples in CLIPS], CLIPS)
    same(np.stack([first, first[::-1]]), [first, first[::-1]])


def test_cutting_comes_after_the_preparation():
    prepared = PreparedFeatureExtractor.from_stock(STOCK["crnn"], TRIMMED)
    cut = prepared(CLIPS[0], sampling_rate=16000, truncation=True, max_length=2000, padding=True)[
        "input_values"
    ][0]
    np.testing.assert_array_equal(cut, prepare_waveform(CLIPS[0], 16000, TRIMMED)[:2000])


@pytest.mark.parametrize(
    "given", [np.zeros((2, 2, 800)), [np.zeros((2, 800))]], ids=["array", "list"]
)
def test_several_channels_are_refused(given):
    with pytest.raises(ValueError, match="expected mono clips"):
        PreparedFeatureExtractor(sampling_rate=16000)(given, sampling_rate=16000)
