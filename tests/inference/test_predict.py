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
from scipy.special import softmax
from support.close import assert_near
from tiny_models import LABELS, RATE, RECIPE
from transformers import AutoModelForAudioClassification, pipeline

import ser_hf
from ser_hf import UserError, predict
from ser_hf.audio import decode
from ser_hf.inference import chunks as reading
from ser_hf.inference import predict as predictions

# With a mask and without, one that padding harms all the same, features of the extractor's making,
# one fixed length, our head, our networks, and one of them that scikit-learn fits.
KINDS = [
    "wav2vec2",
    "wav2vec2-layer",
    "wavlm-large",
    "sew",
    "wav2vec2-bert",
    "whisper",
    "audio-spectrogram-transformer",
    "pooled",
    "crnn",
    "forest",
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
    row_of_clip = {row["id"]: row for row in results.table.to_pylist()}
    assert len(saved) > 4
    assert results.labels == LABELS
    windows = {row_of_clip[row["id"]]["windows"] for row in saved}
    assert windows >= {3, 4}, "the test is one of windows"
    for row in saved:
        predicted = row_of_clip[row["id"]]
        for column in ("label", "predicted", "speaker"):
            assert predicted[column] == row[column]
        assert_near(predicted["probabilities"], [row[f"p_{name}"] for name in LABELS])
    assert results.metadata.window == 0.4
    assert results.metadata.revision.startswith("sha256:")


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_the_pipeline(kind, published, recordings):
    folder = published(kind)
    classifier = pipeline("audio-classification", model=str(folder), device="cpu")
    results = predict(folder, recordings, device="cpu", batch_size=4, embeddings=True)
    assert results.ids == [(recordings / name).as_posix() for name in FILES]
    for row, waveform in zip(results.table.to_pylist(), waveforms(recordings), strict=True):
        scores = classifier(waveform, top_k=None)
        expected = {score["label"]: score["score"] for score in scores}
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


def test_long_clips_have_one_warning(published, recordings, monkeypatch, caplog):
    monkeypatch.setattr(predictions, "_LONG_SECONDS", 0.3)
    monkeypatch.setattr(reading, "CHUNK_SAMPLES", 1)
    predict(
        published("crnn"),
        [recordings / "a" / "short.wav", recordings / "e.wav", recordings / "b.wav"],
    )
    messages = [record.getMessage() for record in caplog.records]
    (message,) = [message for message in messages if "one label" in message]
    assert "e.wav" in message
    assert "--segments speech" in message


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
        (DatasetDict({"dev": dataset}), r"^inputs: .*\['dev'\]"),
        (np.zeros(9), "^inputs: expected paths .* got ndarray; put samples in memory"),
        (None, "^inputs: .* NoneType"),
        (7, "^inputs: .* int"),
        ({"a.wav": 1}, "^inputs: .* dict"),
        ([recordings, 1.5], "^inputs: .* float"),
        ([], "^inputs: "),
        (dataset.add_column("id", ["x"]).select([0, 0]), "'x'"),
    ]:
        with pytest.raises(UserError, match=message):
            predict(published("crnn"), inputs)
    assert len(predict(published("crnn"), iter([recordings / "e.wav"]))) == 1
