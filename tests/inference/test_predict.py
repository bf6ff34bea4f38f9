"""Predictions equal those of the model's run and of its pipeline; embeddings are the input of its
last layer.
"""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from datasets import Audio, Dataset, DatasetDict
from scipy.special import logit, softmax
from support.close import assert_near
from tiny_models import LABELS, RATE, RECIPE
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

import ser_hf
from ser_hf import UserError, predict
from ser_hf.audio import decode
from ser_hf.evaluation.probabilities import activated
from ser_hf.inference import chunks as reading
from ser_hf.inference import predict as predictions
from ser_hf.inference.batches import capture_embeddings, run_batches
from ser_hf.inference.load import load_classifier
from ser_hf.inference.recordings import from_paths
from ser_hf.loading.batches import batches

# With a mask and without, one that padding harms all the same, features of the extractor's making,
# one fixed length, our head, our networks, and one of them that scikit-learn fits.
KINDS = [
    *(
        "wav2vec2",
        "wav2vec2-layer",
        "wavlm-large",
        "sew",
        "wav2vec2-bert",
        "whisper",
        "audio-spectrogram-transformer",
    ),
    *("pooled", "crnn", "forest"),
]
FILES = ["a/long.flac", "a/short.wav", "b.wav", "c.wav", "d.ogg", "e.wav"]


def corpus():
    options = {key: value for key, value in RECIPE["corpus"].items() if key != "name"}
    return ser_hf.load_corpus("synthetic", **options)


def waveforms(folder):
    return [decode(str(folder / name), sampling_rate=RATE).samples for name in FILES]


def test_predictions_are_those_of_the_run(run):
    results = predict(run, corpus(), batch_size=5)
    saved = pq.read_table(run / "report" / "predictions.parquet").to_pylist()
    own = {row["id"]: row for row in results.table.to_pylist()}
    assert len(saved) > 4
    assert results.labels == LABELS
    assert {own[row["id"]]["windows"] for row in saved} >= {3, 4}, "the test is one of windows"
    for row in saved:
        mine = own[row["id"]]
        assert (mine["label"], mine["predicted"]) == (row["label"], row["predicted"])
        assert mine["speaker"] == row["speaker"]
        assert_near(mine["probabilities"], [row[f"p_{name}"] for name in LABELS])
    assert results.metadata.window == 0.4
    assert results.metadata.revision.startswith("sha256:")


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_the_pipeline(kind, published, recordings):
    folder = published(kind)
    classifier = pipeline("audio-classification", model=str(folder), device="cpu")
    results = predict(folder, recordings, device="cpu", batch_size=4, embeddings=True)
    assert results.ids == [(recordings / name).as_posix() for name in FILES]
    for row, waveform in zip(results.table.to_pylist(), waveforms(recordings), strict=True):
        expected = {one["label"]: one["score"] for one in classifier(waveform, top_k=None)}
        assert_near(row["probabilities"], [expected[name] for name in LABELS])
        assert row["predicted"] == max(expected, key=expected.get)
        assert (row["window"], row["windows"], row["start"]) == (0, 1, 0.0)
        assert row["end"] == len(waveform) / RATE
        assert row["label"] is None
        assert row["speaker"] is None
    assert_near(results.probabilities, softmax(results.logits, axis=1))
    assert np.ptp(results.probabilities, axis=0).max() > 1e-4 or kind == "forest", (
        "results that are all alike"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_the_input_of_the_last_layer(kind, published, recordings):
    results = predict(published(kind), recordings, device="cpu", batch_size=4, embeddings=True)
    model = AutoModelForAudioClassification.from_pretrained(published(kind)).eval()
    head = model.classifier.dense if kind == "audio-spectrogram-transformer" else model.classifier
    assert results.embeddings.dtype == np.float32
    assert len(results.embeddings) == len(FILES)
    with torch.inference_mode():
        logits = head(torch.tensor(results.embeddings)).numpy()
    assert_near(results.logits, logits)
    assert results.metadata.embedding == "input of the classifier's last layer"


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
        own = windows.rows == number
        assert windows.starts[own].tolist() == [0, *np.cumsum(windows.lengths[own])[:-1]]
        assert sum(windows.lengths[own]) / RATE == clip["end"]
        for column, values in {
            "probabilities": activated(windows.logits, classifier.problem_type),
            "embedding": windows.vectors,
        }.items():
            assert_near(clip[column], np.average(values[own], axis=0, weights=windows.lengths[own]))
        expected = logit(clip["probabilities"]) if multi_label else np.log(clip["probabilities"])
        if clip["windows"] > 1:
            np.testing.assert_allclose(clip["logits"], expected, atol=1e-4)
    if multi_label:
        assert sum(clips[0]["probabilities"]) != pytest.approx(1, abs=1e-3)


def test_clips_too_long_for_a_model_are_processed_in_windows(published, recordings):
    results = predict(published("whisper"), recordings, window=30)
    assert results.metadata.window == 1.0
    short = predict(published("wav2vec2"), recordings / "a" / "long.flac", window=0.5)
    assert short.metadata.window == 0.5
    assert short.table["windows"].to_pylist() == [2]
    assert predict(published("wav2vec2"), recordings / "c.wav").metadata.window is None


def test_the_size_of_chunks_changes_no_prediction(published, recordings, monkeypatch):
    whole = predict(published("crnn"), recordings, embeddings=True)
    monkeypatch.setattr(reading, "CHUNK_SAMPLES", 1)
    pieces = predict(published("crnn"), recordings, embeddings=True)
    assert pieces.ids == whole.ids
    assert whole.table["id"].num_chunks == 1
    assert pieces.table["id"].num_chunks == len(FILES)
    assert_near(pieces.logits, whole.logits)
    assert_near(pieces.embeddings, whole.embeddings)


def test_a_clip_too_short_for_a_frame_is_padded(published):
    clip = {"audio": [{"path": None, "bytes": _wav(50)}], "id": ["one"], "label": ["joyful"]}
    dataset = Dataset.from_dict(clip).cast_column("audio", Audio())
    for kind in ("wav2vec2", "whisper", "audio-spectrogram-transformer", "wav2vec2-bert"):
        results = predict(published(kind), dataset, embeddings=True)
        assert np.isfinite(results.embeddings).all()
    row = results.table.to_pylist()[0]
    assert (row["id"], row["path"], row["label"]) == ("one", "row 0", "joyful")
    assert len(results) == 1


def _wav(samples):
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.ones(samples), RATE, format="WAV")
    return file.getvalue()


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


def test_batches_hold_similar_lengths_within_their_limits():
    lengths = [1, 1, 2, 3, 3, 3, 9, 20]
    assert list(batches(lengths, 3, True, 100)) == [(0, 3), (3, 6), (6, 8)]
    assert list(batches(lengths, 3, True, 8)) == [(0, 3), (3, 5), (5, 6), (6, 7), (7, 8)]
    assert list(batches(lengths, 2, False, 100)) == [(0, 2), (2, 3), (3, 5), (5, 6), (6, 7), (7, 8)]
    assert list(batches([], 2, True, 100)) == []


def test_long_clips_have_one_warning(published, recordings, monkeypatch, caplog):
    monkeypatch.setattr(predictions, "_LONG_SECONDS", 0.3)
    monkeypatch.setattr(reading, "CHUNK_SAMPLES", 1)
    predict(
        published("crnn"),
        [recordings / "a" / "short.wav", recordings / "e.wav", recordings / "b.wav"],
    )
    (message,) = [
        record.getMessage() for record in caplog.records if "one label" in record.getMessage()
    ]
    assert "e.wav gets one label; --timeline predicts its course, and --window 30" in message


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0.0}, r"^--window: expected .* at least 0\.1 .*got .*0\.0"),
        ({"batch_size": 0}, "^--batch-size: expected .* at least 1"),
        ({"on_error": "ignore"}, "^--on-error: expected"),
    ],
)
def test_wrong_settings_are_refused(settings, message, published, recordings):
    with pytest.raises(UserError, match=message):
        predict(published("wav2vec2"), recordings, **settings)


def test_a_table_has_metadata(published, recordings):
    results = predict(published("crnn"), recordings / "e.wav")
    message = json.loads(results.table.schema.metadata[b"ser_hf"])
    assert message["model"] == str(published("crnn"))
    assert message["sampling_rate"] == RATE
    assert message["labels"] == results.labels == LABELS
    assert (message["embedding"], results.embeddings) == (None, None)
    assert message["version"] == ser_hf.__version__
    assert results.predicted == [LABELS[results.logits[0].argmax()]]


def test_wrong_inputs_are_refused(published, recordings, tmp_path):
    dataset = Dataset.from_dict({"audio": [str(recordings / "e.wav")]})
    for inputs, message in [
        (
            DatasetDict({"dev": dataset}),
            r"inputs: expected a Dataset, got a DatasetDict; select a split: \['dev'\]",
        ),
        (np.zeros(9), "inputs: expected paths .* got ndarray; put samples in memory"),
        (None, "inputs: expected paths .* got NoneType"),
        (7, "inputs: expected paths .* got int"),
        ({"a.wav": 1}, "inputs: expected paths .* got dict"),
        ([recordings, 1.5], "inputs: expected paths .* got float"),
        ([], "inputs: empty"),
        (dataset.add_column("id", ["x"]).select([0, 0]), "2 rows of the dataset have the id 'x'"),
    ]:
        with pytest.raises(UserError, match=message):
            predict(published("crnn"), inputs)
    assert len(predict(published("crnn"), iter([recordings / "e.wav"]))) == 1
