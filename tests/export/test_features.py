"""The features of Whisper, AST and Wav2Vec2-BERT in a graph are those of their extractors."""

import dataclasses

import pytest
import torch
from models_exported import RATE, clips, write_encoder, write_model
from support.close import assert_near

from ser_hf.export.features import feature_input
from ser_hf.export.graph import WaveformClassifier
from ser_hf.export.metadata import metadata_of
from ser_hf.inference.load import load_classifier
from ser_hf.utils.errors import UserError

KINDS = ["whisper", "audio-spectrogram-transformer", "wav2vec2-bert"]


@pytest.fixture
def classifier(encoder_folder, tmp_path):
    """A function from a kind of encoder to a classifier on a tiny checkpoint."""

    def load(kind):
        return load_classifier(write_encoder(tmp_path / kind, encoder_folder(kind)), device="cpu")

    return load


def padded(waveforms):
    batch = torch.nn.utils.rnn.pad_sequence(map(torch.from_numpy, waveforms), batch_first=True)
    return batch, torch.tensor([len(waveform) for waveform in waveforms])


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_a_clip_are_those_of_the_extractor(kind, classifier):
    loaded = classifier(kind)
    module = feature_input(loaded.extractor, loaded.model)
    for clip in clips(16000, 5601, 30007, 700):
        features = module(torch.from_numpy(clip)[None], torch.tensor([len(clip)]))
        expected = loaded.extractor(clip, sampling_rate=RATE, return_tensors="pt")
        for name, value in features.items():
            torch.testing.assert_close(value.float(), expected[name].float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_clips_in_a_batch_have_the_logits_of_the_model_for_each_alone(kind, classifier):
    loaded = classifier(kind)
    waveforms = clips(16000, 5601, 9121)
    batch, lengths = padded(waveforms)
    mask = (torch.arange(batch.shape[1]) < lengths[:, None]).long()
    graph = WaveformClassifier(loaded.model, loaded.extractor)
    with torch.no_grad():
        logits, _ = graph(batch, mask)
        for i, clip in enumerate(waveforms):
            inputs = loaded.extractor(clip, sampling_rate=RATE, return_tensors="pt")
            assert_near(logits[i : i + 1], loaded.model(**inputs).logits)


def test_metadata_say_where_clips_are_cut_off(classifier):
    for kind, samples in (("whisper", 16000), ("wav2vec2-bert", None)):
        loaded = classifier(kind)
        metadata = metadata_of(WaveformClassifier(loaded.model, loaded.extractor))
        assert metadata.longest_samples == samples
        assert metadata.padding_safe
        assert metadata.precision == "float32"


def test_an_unknown_extractor_is_refused_by_name(classifier):
    loaded = classifier("wav2vec2-bert")
    changed = dataclasses.replace(loaded, extractor=type("Other", (), {})())
    with pytest.raises(UserError, match=r"wav2vec2-bert cannot be exported: .* Other"):
        WaveformClassifier(changed.model, changed.extractor)


@pytest.mark.parametrize("kind", ["whisper", "wav2vec2-bert", "emotion2vec", "crnn"])
def test_half_precision_changes_logits_little_and_keeps_features_exact(kind, classifier, tmp_path):
    if kind == "crnn":
        loaded = load_classifier(write_model(tmp_path / kind), device="cpu")
    else:
        loaded = classifier(kind)
    graph = WaveformClassifier(loaded.model, loaded.extractor)
    half = WaveformClassifier(loaded.model, loaded.extractor, half=True)
    batch, lengths = padded(clips(16000, 9121, 700))
    mask = (torch.arange(batch.shape[1]) < lengths[:, None]).long()
    with torch.no_grad():
        expected, _ = graph(batch, mask)
        logits, probabilities = half(batch, mask)
    assert logits.dtype == probabilities.dtype == torch.float32
    difference = (logits - expected).abs().max()
    assert 0 < difference < 0.05
    assert next(loaded.model.parameters()).dtype == torch.float32, "the model itself changed"
