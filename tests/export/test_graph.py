"""The modules of a graph have the outputs of preparation and feature extractors, for single and
padded clips.
"""

import numpy as np
import pytest
import torch
from models_exported import PREPARATIONS, RATE, clips, write_encoder
from support.close import assert_near
from transformers import AutoFeatureExtractor, Wav2Vec2FeatureExtractor

from ser_hf.export.graph import PrepareWaveform, ProductLogMel, WaveformClassifier, WaveformInput
from ser_hf.inference.load import load_classifier
from ser_hf.loading.encoders import shortest_clip
from ser_hf.models import ARCHITECTURES
from ser_hf.models.configuration import AcousticConfig
from ser_hf.models.preparation import prepare_waveform
from ser_hf.models.spectra import LogMel

LENGTHS = (16000, 5601, 9000, 30007, 560)


def batch_of(given):
    waveforms = [torch.from_numpy(clip) for clip in given]
    return torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True), torch.tensor(
        [len(clip) for clip in given]
    )


def masked(given):
    waveforms, lengths = batch_of(given)
    return waveforms, (torch.arange(waveforms.shape[1]) < lengths[:, None]).long()


@pytest.mark.parametrize("kind", ["wav2vec2", "wav2vec2-layer"])
def test_waveforms_are_normalized_and_masked_as_by_the_extractor(kind, encoder_folder):
    extractor = AutoFeatureExtractor.from_pretrained(encoder_folder(kind))
    module = WaveformInput(extractor)
    given = clips(*LENGTHS)
    together = module(*batch_of(given))
    for i, clip in enumerate(given):
        expected = extractor(clip, sampling_rate=RATE, return_tensors="pt")
        assert set(together) == set(expected)
        for name, values in expected.items():
            found = together[name][i : i + 1, : values.shape[1]]
            torch.testing.assert_close(found.to(values.dtype), values, atol=1e-4, rtol=0)


@pytest.mark.parametrize("preparation", PREPARATIONS, ids=str)
def test_preparations(preparation):
    quiet = [
        np.zeros(5000, np.float32),
        np.concatenate([np.zeros(8000, np.float32), clips(900)[0]]),
    ]
    # of less than a frame, and of a block of loudness
    given = [*clips(*LENGTHS), *clips(300, 6401), *quiet]
    module = PrepareWaveform(preparation, RATE)
    waveforms, mask = module(*masked(given))
    assert waveforms.shape == mask.shape
    assert mask.any(dim=0).all(), "as long as the longest clip that remains"
    for i, clip in enumerate(given):
        expected = prepare_waveform(clip, RATE, preparation)
        alone, own = module(*masked([clip]))
        assert int(own.sum()) == int(mask[i].sum()) == len(expected)
        assert_near(alone[0, : len(expected)], expected)
        assert_near(waveforms[i, : len(expected)], expected)
        assert not waveforms[i, len(expected) :].any()


def test_the_loudness_of_a_rate_without_its_filter_stays():
    module = PrepareWaveform(PREPARATIONS[2], 6000)
    waveform, mask = masked(clips(3000))
    assert torch.equal(module(waveform, mask)[0], waveform)


def test_clips_too_short_for_an_encoder_are_padded(encoder_folder, tmp_path):
    classifier = load_classifier(
        write_encoder(tmp_path, encoder_folder("wav2vec2-layer")), device="cpu"
    )
    clip = clips(60)[0]
    padded = np.pad(clip, (0, shortest_clip(classifier.model.config) - len(clip)))
    with torch.no_grad():
        expected = classifier.model(
            **classifier.extractor(padded, sampling_rate=RATE, return_tensors="pt")
        ).logits
        logits, shares = outputs(classifier, clip)
    assert_near(logits, expected)
    assert_near(shares, logits.softmax(dim=1))


def test_multi_label_models_have_a_probability_for_each_label(encoder_folder, tmp_path):
    folder = write_encoder(
        tmp_path, encoder_folder("wav2vec2-layer"), problem_type="multi_label_classification"
    )
    logits, shares = outputs(load_classifier(folder, device="cpu"), clips(9000)[0])
    assert_near(shares, logits.sigmoid())


@torch.no_grad()
@pytest.mark.parametrize("name", ["se_resnet", "separable_resnet", "cnn1d", "cnn2d"])
@pytest.mark.parametrize("normalizes", [False, True])
def test_layers_without_a_mask_leave_padding_without_effect(name, normalizes):
    network = ARCHITECTURES[name]
    model = network(network.config_class(num_labels=3)).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            # as after training: zeros of the padding do not stay zero
            module.running_mean.normal_()
            module.bias.normal_()
    extractor = Wav2Vec2FeatureExtractor(do_normalize=normalizes, return_attention_mask=True)
    graph = WaveformClassifier(model, extractor)
    given = clips(16000, 9000, 12345)
    waveforms, mask = masked(given)
    logits, _ = graph(torch.where(mask > 0, waveforms, 0.5), mask)
    for i, clip in enumerate(given):
        inputs = extractor(clip, sampling_rate=RATE, return_tensors="pt")
        assert_near(logits[i], model(**inputs).logits[0])


def outputs(classifier, clip):
    graph = WaveformClassifier(classifier.model, classifier.extractor)
    return graph(torch.from_numpy(clip)[None], torch.ones(1, len(clip), dtype=torch.long))


@pytest.mark.parametrize(
    "size", [(512, 400, 160), (1024, 1024, 256), (922, 922, 154), (461, 400, 101)]
)
@pytest.mark.parametrize("compression", [{"compression": "log"}, {"compression": "db"}])
def test_mel_bands_by_matrix_products_are_those_of_the_fourier_transform(size, compression):
    n_fft, win_length, hop_length = size
    settings = {"n_fft": n_fft, "win_length": win_length, "hop_length": hop_length}
    mel = LogMel(AcousticConfig(**settings, **compression)).eval()
    waveforms, lengths = batch_of(clips(*LENGTHS))
    expected, expected_mask = mel(waveforms, lengths)
    found, mask = ProductLogMel(mel)(waveforms, lengths)
    assert torch.equal(mask, expected_mask)
    torch.testing.assert_close(found[mask], expected[mask], atol=2e-3, rtol=1e-3)


def test_trimmed_clips_of_an_encoder_without_mask_are_exact_alone(encoder_folder, tmp_path):
    classifier = load_classifier(
        write_encoder(tmp_path, encoder_folder("wav2vec2"), PREPARATIONS[0]), device="cpu"
    )
    clip = np.pad(clips(9000)[0], 4000)
    with torch.no_grad():
        expected = classifier.model(
            **classifier.extractor(clip, sampling_rate=RATE, return_tensors="pt")
        ).logits
        logits, _ = outputs(classifier, clip)
    assert_near(logits, expected)
