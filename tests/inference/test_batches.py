"""Batches of windows: embeddings, means over windows, and refused logits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import logit
from support.close import assert_near
from support.live import CountedWaveforms
from tiny_models import LABELS, RATE
from torch import nn
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from ser_hf import UserError, predict
from ser_hf.audio import decode
from ser_hf.evaluation.probabilities import activated
from ser_hf.inference import batches
from ser_hf.inference import chunks as reading
from ser_hf.inference.batches import capture_embeddings, classify, run_batches
from ser_hf.inference.load import load_classifier
from ser_hf.inference.recordings import from_paths

FILES = ["a/long.flac", "a/short.wav", "b.wav"]


class OtherHead(nn.Module):
    """A network whose head is not called classifier."""

    def __init__(self, last):
        super().__init__()
        self.config = type("Config", (), {"num_labels": 4, "model_type": "other"})
        self.below = nn.Linear(3, 5)
        self.last = last

    def forward(self, values):
        return self.last(self.below(values))


def test_embeddings_of_other_networks_are_the_input_of_the_layer_that_makes_the_logits(copy):
    classifier = load_classifier(copy, device="cpu")
    other = OtherHead(nn.Linear(5, 4))
    object.__setattr__(classifier, "model", other)
    assert not classifier.padding_safe
    with capture_embeddings(classifier) as take:
        other(torch.ones(2, 3))
        assert_near(take(2), other.below(torch.ones(2, 3)))
        other(torch.ones(2, 7, 3))
        with pytest.raises(UserError, match="has no last layer with one input vector per clip"):
            take(2)
    object.__setattr__(classifier, "model", OtherHead(nn.Linear(5, 7)))
    message = "does not end with a linear layer of 4 labels"
    with pytest.raises(UserError, match=message), capture_embeddings(classifier):
        pass


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_row_of_a_clip_is_the_mean_of_its_windows_by_duration(
    multi_label, published, recordings, tmp_path
):
    folder = published("crnn")
    if multi_label:
        model = AutoModelForAudioClassification.from_pretrained(folder)
        model.config.problem_type = "multi_label_classification"
        model.save_pretrained(tmp_path)
        AutoFeatureExtractor.from_pretrained(folder).save_pretrained(tmp_path)
        folder = tmp_path
    clips = predict(folder, recordings, embeddings=True, window=0.3, batch_size=3).table.to_pylist()
    classifier = load_classifier(folder)
    (chunk,) = reading.read_chunks(from_paths([recordings]), RATE, classifier.preparation)
    with capture_embeddings(classifier) as take:
        windows = run_batches(classifier, chunk, classifier.window(0.3), 3, take)
    assert [row["windows"] for row in clips] == [3, 1, 3, 2, 3, 2]
    assert [row["window"] for row in clips] == [None, 0, None, None, None, None]
    for number, clip in enumerate(clips):
        of_clip = windows.rows == number
        assert windows.starts[of_clip].tolist() == [0, *np.cumsum(windows.lengths[of_clip])[:-1]]
        assert sum(windows.lengths[of_clip]) / RATE == clip["end"]
        for column, values in {
            "probabilities": activated(windows.logits, classifier.problem_type),
            "embedding": windows.vectors,
        }.items():
            assert_near(
                clip[column], np.average(values[of_clip], axis=0, weights=windows.lengths[of_clip])
            )
        expected = logit(clip["probabilities"]) if multi_label else np.log(clip["probabilities"])
        if clip["windows"] > 1:
            np.testing.assert_allclose(clip["logits"], expected, atol=1e-4)
    if multi_label:
        assert sum(clips[0]["probabilities"]) != pytest.approx(1, abs=1e-3)


def test_models_without_a_mask_get_no_padding(published, recordings, tmp_path):
    """`pipeline`, which such models are published for, does not pad single clips."""
    model = AutoModelForAudioClassification.from_pretrained(published("wav2vec2-layer"))
    extractor = AutoFeatureExtractor.from_pretrained(published("wav2vec2-layer"))
    extractor.return_attention_mask = False
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    together = predict(tmp_path, recordings)
    alone = [predict(tmp_path, recordings / name).logits[0] for name in FILES[:3]]
    assert_near(together.logits[:3], alone)


def test_more_logits_than_labels_are_refused(published, recordings, monkeypatch):
    monkeypatch.setattr("ser_hf.inference.classifier.Classifier.labels", LABELS[:3])
    with pytest.raises(
        UserError, match="makes 4 logits for 3 labels; correct id2label in its config.json"
    ):
        predict(published("crnn"), recordings / "e.wav")


def test_logits_that_are_not_finite_are_refused(published, recordings, tmp_path):
    model = AutoModelForAudioClassification.from_pretrained(published("crnn"))
    with torch.no_grad():
        model.classifier.bias[1] = torch.nan
    model.save_pretrained(tmp_path)
    AutoFeatureExtractor.from_pretrained(published("crnn")).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"its logits of .*short.wav are not finite"):
        predict(tmp_path, recordings)


@pytest.mark.parametrize("most_samples", [1, 10_000, 2**23])
def test_prepared_clips_are_classified_in_their_order(
    published, recordings, monkeypatch, most_samples
):
    """However many clips are processed together."""
    monkeypatch.setattr(batches, "_CHUNK_SAMPLES", most_samples)
    classifier = load_classifier(published("crnn"), device="cpu")
    waveforms = [decode(str(recordings / name), sampling_rate=RATE).samples for name in FILES]
    probabilities = classify(classifier, waveforms, FILES, window=0.3, progress=False)
    paths = [recordings / name for name in FILES]
    assert_near(probabilities, predict(published("crnn"), paths, window=0.3).probabilities)


def test_a_logit_that_is_not_finite_names_its_clip(published, monkeypatch):
    classifier = load_classifier(published("crnn"), device="cpu")

    def output_of_batch(classifier, collator, batch):
        # The shortest clip, the second one, comes first.
        logits = torch.zeros(len(batch), len(LABELS))
        logits[0, 0] = torch.inf
        return SimpleNamespace(logits=logits)

    monkeypatch.setattr(batches, "_output_of_batch", output_of_batch)
    waveforms = [np.ones(9000, np.float32), np.ones(8000, np.float32)]
    with pytest.raises(UserError, match="logits of second are not finite"):
        classify(classifier, waveforms, ["first", "second"], progress=False)


def test_waveforms_are_held_for_one_chunk_only(published, monkeypatch):
    monkeypatch.setattr(batches, "_CHUNK_SAMPLES", 2 * RATE)
    noise = np.random.default_rng(0).normal(size=(12, RATE)).astype(np.float32)
    waveforms = CountedWaveforms(noise)
    names = [str(i) for i in range(len(noise))]
    predicted = classify(load_classifier(published("crnn")), waveforms, names, progress=False)
    assert len(predicted) == 12
    # Two chunks of two clips: the last chunk is freed after the next one is read.
    assert waveforms.count.most <= 4
