"""What a graph does to waveforms is what the feature extractors do, for clips alone and padded."""

import numpy as np
import pytest
import torch
from models_exported import PREPARATIONS, RATE, clips, write_encoder
from transformers import ASTFeatureExtractor, AutoFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from ser_hf.audio.decode import decode
from ser_hf.errors import UserError
from ser_hf.export.extractors import extractor_module
from ser_hf.export.graph import graph_of
from ser_hf.export.preparation import PreparedInput
from ser_hf.export.session import padded
from ser_hf.models.preparation import prepare_waveform
from ser_hf.prediction.expert import load_expert
from ser_hf.training.encoders import shortest_clip

LENGTHS = (16000, 5601, 9000, 30007, 560)


def batch_of(given):
    batch, mask = padded(given)
    return torch.from_numpy(batch) * torch.from_numpy(mask), torch.from_numpy(mask).sum(dim=1)


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
    module = PreparedInput(preparation, RATE)
    waveforms, lengths = module(*batch_of(given))
    for i, clip in enumerate(given):
        expected = prepare_waveform(clip, RATE, preparation)
        alone, length = module(*batch_of([clip]))
        assert int(length) == int(lengths[i]) == len(expected)
        np.testing.assert_allclose(alone[0, : len(expected)], expected, atol=2e-6)
        np.testing.assert_allclose(waveforms[i, : len(expected)], expected, atol=2e-6)
        assert not waveforms[i, len(expected) :].any()


def test_the_loudness_of_a_rate_without_its_filter_stays():
    module = PreparedInput(PREPARATIONS[2], 6000)
    waveform, lengths = batch_of(clips(3000))
    assert torch.equal(module(waveform, lengths)[0], waveform)


def test_clips_too_short_for_an_encoder_are_heard_with_silence(encoder_folder, tmp_path):
    for kind in ("wav2vec2-layer", "wav2vec2-bert"):
        expert = load_expert(write_encoder(tmp_path / kind, encoder_folder(kind)), device="cpu")
        clip = clips(60)[0]
        heard = np.pad(clip, (0, shortest_clip(expert.model.config) - len(clip)))
        with torch.no_grad():
            expected = expert.model(**expert.extractor(heard, sampling_rate=RATE, return_tensors="pt")).logits
            logits, shares = graph_of(expert.model, expert.extractor)(*_asked(clip))
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(shares, logits.softmax(dim=1))


def test_labels_that_stand_for_themselves_have_probabilities_of_their_own(encoder_folder, tmp_path):
    folder = write_encoder(tmp_path, encoder_folder("wav2vec2-layer"), problem_type="multi_label_classification")
    expert = load_expert(folder, device="cpu")
    logits, shares = graph_of(expert.model, expert.extractor)(*_asked(clips(9000)[0]))
    torch.testing.assert_close(shares, logits.sigmoid())


def test_what_cannot_be_put_into_a_graph_is_told(encoder_folder, tmp_path):
    class Own(Wav2Vec2FeatureExtractor):
        pass

    with pytest.raises(UserError, match="what Own makes of a waveform"):
        extractor_module(Own())
    with pytest.raises(UserError, match="adds noise"):
        extractor_module(WhisperFeatureExtractor(feature_size=16, dither=1e-4))
    assert extractor_module(ASTFeatureExtractor(do_normalize=False)).deviation == 1
    folder = write_encoder(tmp_path, encoder_folder("wav2vec2"), PREPARATIONS[0])
    extractor, model = AutoFeatureExtractor.from_pretrained(folder), load_expert(folder, device="cpu").model
    with pytest.raises(UserError, match=r"knows no mask.*trim_silence 30"):
        graph_of(model, extractor)
    graph_of(model, type(extractor).from_dict(extractor.to_dict() | {"fixed_duration": 1.0}))
    spectrogram = write_encoder(tmp_path / "ast", encoder_folder("audio-spectrogram-transformer"))
    with pytest.raises(UserError, match="name the extractor too"):
        graph_of(load_expert(spectrogram, device="cpu").model)


def _asked(clip):
    return torch.from_numpy(clip)[None], torch.ones(1, len(clip), dtype=torch.long)
