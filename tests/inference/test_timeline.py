"""Emotion over time: the places of windows, their predictions, and their mean."""

import json

import pytest
import soundfile
from support.close import assert_near
from transformers import AutoModelForAudioClassification

from ser_hf import UserError, cli, predict
from ser_hf.inference import chunks
from ser_hf.inference.timeline import Grid
from ser_hf.models import PreparedFeatureExtractor


def spans(table):
    return list(zip(table["start"].to_pylist(), table["end"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("samples", "grid", "places"),
    [
        (10, Grid(4, 2), [(0, 4), (2, 4), (4, 4), (6, 4)]),
        (11, Grid(4, 3), [(0, 4), (3, 4), (6, 4), (7, 4)]),
        (8, Grid(4, 4), [(0, 4), (4, 4)]),
        (5, Grid(4, 4), [(0, 4), (1, 4)]),
        (4, Grid(4, 1), [(0, 4)]),
        (3, Grid(4, 1), [(0, 3)]),
    ],
)
def test_windows_are_whole_and_reach_the_end(samples, grid, places):
    assert grid.windows(samples) == places


@pytest.mark.parametrize("kind", ["crnn", "wav2vec2", "trimmed"])
def test_a_window_has_the_predictions_of_that_segment_of_the_file(
    kind, published, run, recordings, tmp_path
):
    model = run if kind == "trimmed" else published(kind)
    file = recordings / "a" / "long.flac"
    settings = {"embeddings": True, "device": "cpu"}
    results = predict(
        model, file, segments="windows", window=0.3, hop=0.2, batch_size=3, **settings
    )
    places = [(0.0, 0.3), (0.2, 0.5), (0.4, 0.7), (0.6, 0.9)]
    assert spans(results.table) == [pytest.approx(place) for place in places]
    assert results.table["window"].to_pylist() == [0, 1, 2, 3]
    assert results.table["windows"].to_pylist() == [4] * 4
    assert (results.metadata.window, results.metadata.hop) == (0.3, 0.2)
    samples, rate = soundfile.read(file, dtype="int16")
    for number, (start, end) in enumerate(places):
        soundfile.write(
            tmp_path / f"{number}.wav", samples[round(start * rate) : round(end * rate)], rate
        )
    alone = predict(model, tmp_path, window=1, **settings)
    assert_near(results.logits, alone.logits)
    assert_near(results.embeddings, alone.embeddings)


def test_windows_are_as_long_as_in_the_evaluation_or_four_seconds(published, run, recordings):
    assert predict(run, recordings / "e.wav", segments="windows").metadata.window == 0.4
    metadata = predict(published("crnn"), recordings / "e.wav", segments="windows").metadata
    assert (metadata.window, metadata.hop) == (4.0, 2.0)
    assert (
        predict(published("whisper"), recordings / "e.wav", segments="windows").metadata.window
        == 1.0
    )


def test_windows_have_the_fixed_duration_of_a_model(published, recordings, tmp_path):
    model = AutoModelForAudioClassification.from_pretrained(published("crnn"))
    model.save_pretrained(tmp_path)
    PreparedFeatureExtractor(
        do_normalize=False, return_attention_mask=True, fixed_duration=0.25
    ).save_pretrained(tmp_path)
    results = predict(tmp_path, recordings / "e.wav", segments="windows")
    assert spans(results.table) == [(0.0, 0.25), (0.125, 0.375), (0.25, 0.5)]
    with pytest.raises(UserError, match=r"^--window: .* 0\.25 s "):
        predict(tmp_path, recordings / "e.wav", segments="windows", window=0.3)


def test_chunks_that_end_within_a_recording_change_no_prediction(
    published, recordings, monkeypatch
):
    settings = {
        "segments": "windows",
        "window": 0.2,
        "hop": 0.15,
        "embeddings": True,
        "device": "cpu",
    }
    whole = predict(published("crnn"), recordings, **settings)
    monkeypatch.setattr(chunks, "CHUNK_SAMPLES", 1)
    pieces = predict(published("crnn"), recordings, **settings)
    assert pieces.table["id"].num_chunks > whole.table["id"].num_chunks
    assert spans(pieces.table) == spans(whole.table)
    assert_near(pieces.logits, whole.logits)
    assert_near(pieces.embeddings, whole.embeddings)


def test_the_command_writes_windows(published, recordings, tmp_path, capsys):
    model = published("crnn")
    file = recordings / "a" / "long.flac"
    command = [
        "predict",
        str(model),
        str(file),
        "--segments",
        "windows",
        "--window",
        "0.3",
        "--hop",
        "0.15",
        "--device",
        "cpu",
    ]
    assert cli.main([*command, "--output", str(tmp_path / "x.csv")]) == 0
    assert capsys.readouterr().out.splitlines() == ["5 windows", f"  output: {tmp_path / 'x.csv'}"]
    results = predict(model, file, segments="windows", window=0.3, hop=0.15, device="cpu")
    assert cli.main([*command, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["start"], row["end"]) for row in rows] == spans(results.table)
    assert [row["predicted"] for row in rows] == results.predicted
    assert cli.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == results.predicted
    assert lines[1].endswith("(0.15-0.45 s)")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segments": "windows", "hop": 0.0}, r"^--hop: expected .* at least 0\.1 .*got .*0\.0"),
        ({"segments": "windows", "hop": 2.0, "window": 1.0}, "^--hop: 2 s .* 1 s; use less"),
    ],
)
def test_wrong_settings_of_a_timeline_are_refused(settings, message, published, recordings):
    with pytest.raises(UserError, match=message):
        predict(published("crnn"), recordings, **settings)
