"""The modules of a graph compute what preparation and feature extractors compute, for clips alone and padded."""

import numpy as np
import pytest
import torch
from models_exported import PREPARATIONS, RATE, clips, write_encoder
from transformers import ASTFeatureExtractor, AutoFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from ser_hf.audio.decode import decode
from ser_hf.export.graph import PrepareWaveform, WaveformClassifier, extractor_module
from ser_hf.inference.classifier import load_classifier
from ser_hf.models.preparation import prepare_waveform
from ser_hf.training.encoders import shortest_clip
from ser_hf.utils.errors import UserError

LENGTHS = (16000, 5601, 9000, 30007, 560)


def batch_of(given):
    waveforms = [torch.from_numpy(clip) for clip in given]
    return torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True), torch.tensor([len(clip) for clip in given])


@pytest.mark.parametrize(
    "kind", ["wav2vec2", "wav2vec2-layer", "whisper", "audio-spectrogram-transformer", "wav2vec2-bert"]
)
def test_the_extractors_of_transformers(kind, encoder_folder):
    extractor = AutoFeatureExtractor.from_pretrained(encoder_folder(kind))
    if kind == "whisper":
        extractor.return_attention_mask = True
    module, given = extractor_module(extractor), clips(*LENGTHS)
    together = module(*batch_of(given))
    for i, clip in enumerate(given):
        expected = extractor(clip, sampling_rate=RATE, return_tensors="pt")
        alone = module(*batch_of([clip]))
        assert set(alone) == set(together) == set(expected)
        for name, values in expected.items():
            assert alone[name].shape == values.shape
            torch.testing.assert_close(alone[name].to(values.dtype), values, atol=1e-4, rtol=0)
            own = together[name][i : i + 1, : values.shape[1]]
            torch.testing.assert_close(own.to(values.dtype), values, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["whisper", "wav2vec2-bert", "audio-spectrogram-transformer"])
def test_features_of_real_speech(kind, encoder_folder, real_corpora):
    files = sorted(real_corpora("RAVDESS").rglob("*.flac"))[:1200:400]
    extractor = AutoFeatureExtractor.from_pretrained(encoder_folder(kind))
    given = [decode(str(path), None, RATE).samples for path in files]
    together = extractor_module(extractor)(*batch_of(given))[extractor.model_input_names[0]]
    for i, clip in enumerate(given):
        (expected,) = extractor(clip, sampling_rate=RATE, return_tensors="np")[extractor.model_input_names[0]]
        np.testing.assert_allclose(together[i, : len(expected)].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("preparation", PREPARATIONS, ids=str)
def test_preparations(preparation):
    quiet = [np.zeros(5000, np.float32), np.concatenate([np.zeros(8000, np.float32), clips(900)[0]])]
    given = [*clips(*LENGTHS), *clips(300, 6401), *quiet]  # of less than a frame, and of a block of loudness
    module = PrepareWaveform(preparation, RATE)
    waveforms, lengths = module(*batch_of(given))
    for i, clip in enumerate(given):
        expected = prepare_waveform(clip, RATE, preparation)
        alone, length = module(*batch_of([clip]))
        assert int(length) == int(lengths[i]) == len(expected)
        np.testing.assert_allclose(alone[0, : len(expected)], expected, atol=2e-6)
        np.testing.assert_allclose(waveforms[i, : len(expected)], expected, atol=2e-6)
        assert not waveforms[i, len(expected) :].any()


def test_the_loudness_of_a_rate_without_its_filter_stays():
    module = PrepareWaveform(PREPARATIONS[2], 6000)
    waveform, lengths = batch_of(clips(3000))
    assert torch.equal(module(waveform, lengths)[0], waveform)


def test_clips_too_short_for_an_encoder_are_padded(encoder_folder, tmp_path):
    for kind in ("wav2vec2-layer", "wav2vec2-bert"):
        classifier = load_classifier(write_encoder(tmp_path / kind, encoder_folder(kind)), device="cpu")
        clip = clips(60)[0]
        padded = np.pad(clip, (0, shortest_clip(classifier.model.config) - len(clip)))
        with torch.no_grad():
            expected = classifier.model(**classifier.extractor(padded, sampling_rate=RATE, return_tensors="pt")).logits
            logits, shares = outputs(classifier, clip)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(shares, logits.softmax(dim=1))


def test_multi_label_models_have_a_probability_for_each_label(encoder_folder, tmp_path):
    folder = write_encoder(tmp_path, encoder_folder("wav2vec2-layer"), problem_type="multi_label_classification")
    logits, shares = outputs(load_classifier(folder, device="cpu"), clips(9000)[0])
    torch.testing.assert_close(shares, logits.sigmoid())


def test_what_cannot_be_exported_is_refused(encoder_folder, tmp_path):
    class Own(Wav2Vec2FeatureExtractor):
        pass

    with pytest.raises(UserError, match="cannot convert Own; it converts Wav2Vec2FeatureExtractor, AST"):
        extractor_module(Own())
    with pytest.raises(UserError, match="adds random noise"):
        extractor_module(WhisperFeatureExtractor(feature_size=16, dither=1e-4))
    assert extractor_module(ASTFeatureExtractor(do_normalize=False)).deviation == 1
    folder = write_encoder(tmp_path, encoder_folder("wav2vec2"), PREPARATIONS[0])
    extractor, model = AutoFeatureExtractor.from_pretrained(folder), load_classifier(folder, device="cpu").model
    with pytest.raises(UserError, match=r"uses no attention mask.*trim_silence 30"):
        WaveformClassifier(model, extractor)
    WaveformClassifier(model, type(extractor).from_dict(extractor.to_dict() | {"fixed_duration": 1.0}))
    spectrogram = write_encoder(tmp_path / "ast", encoder_folder("audio-spectrogram-transformer"))
    with pytest.raises(UserError, match="pass the extractor as well"):
        WaveformClassifier(load_classifier(spectrogram, device="cpu").model)


def outputs(classifier, clip):
    graph = WaveformClassifier(classifier.model, classifier.extractor)
    return graph(torch.from_numpy(clip)[None], torch.ones(1, len(clip), dtype=torch.long))
