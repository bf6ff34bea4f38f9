"""Emotion over time: the places of windows, their predictions, and their mean."""

import json

import numpy as np
import pyarrow as pa
import pytest
from tiny_models import RATE
from transformers import AutoModelForAudioClassification

from ser_hf import UserError, cli, predict
from ser_hf.inference import inputs
from ser_hf.inference.inputs import Grid, sliding
from ser_hf.inference.outputs import (
    Facts,
    matrix,
    of_lists,
    segments,
    smooth,
    timeline_figure,
    to_terminal,
    whole_recordings,
)
from ser_hf.models import PreparedFeatureExtractor


def windows(spans, shares, multi_label=False, name="x.wav", embeddings=None):
    """A table of the windows of one recording, of labels a, b, ..."""
    shares = np.array(shares)
    labels = [chr(ord("a") + i) for i in range(shares.shape[1])]
    logits = np.log(shares) - (np.log(1 - shares) if multi_label else 0)
    columns = {
        **{key: pa.array([name] * len(spans)) for key in ("id", "path")},
        **{key: pa.nulls(len(spans), pa.string()) for key in ("speaker", "label")},
        "window": pa.array(range(len(spans)), pa.int32()),
        "windows": pa.array([len(spans)] * len(spans), pa.int32()),
        "start": pa.array([float(start) for start, _ in spans]),
        "end": pa.array([float(end) for _, end in spans]),
        "predicted": pa.array([labels[i] for i in shares.argmax(axis=1)]),
        "probabilities": of_lists(shares),
        "logits": of_lists(logits),
    }
    if embeddings is not None:
        columns["embedding"] = of_lists(np.array(embeddings))
    facts = Facts("model", None, RATE, labels, 2.0, 1.0, multi_label, None)
    return pa.table(columns).replace_schema_metadata(facts.to_metadata())


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
    assert sliding(samples, grid) == places


@pytest.mark.parametrize("kind", ["crnn", "wav2vec2", "trimmed"])
def test_a_window_has_the_predictions_of_that_segment_of_the_file(kind, published, run, recordings, tmp_path):
    model, file = run if kind == "trimmed" else published(kind), recordings / "a" / "long.flac"
    asked = {"embeddings": True, "device": "cpu"}
    answers = predict(model, file, timeline=True, window=0.3, hop=0.2, batch_size=3, **asked)
    places = [(0.0, 0.3), (0.2, 0.5), (0.4, 0.7), (0.6, 0.9)]
    assert spans(answers.table) == [pytest.approx(place) for place in places]
    assert answers.table["window"].to_pylist() == [0, 1, 2, 3]
    assert answers.table["windows"].to_pylist() == [4] * 4
    assert (answers.facts.window, answers.facts.hop) == (0.3, 0.2)
    (tmp_path / "list.csv").write_text("path,start,end\n" + "".join(f"{file},{a},{b}\n" for a, b in places))
    alone = predict(model, tmp_path / "list.csv", window=1, **asked)
    np.testing.assert_allclose(answers.logits, alone.logits, atol=1e-5)
    np.testing.assert_allclose(answers.embeddings, alone.embeddings, atol=1e-5)
    (tmp_path / "part.csv").write_text(f"path,start,end\n{file},0.2,0.9\n")
    part = predict(model, tmp_path / "part.csv", timeline=True, window=0.3, hop=0.2, **asked)
    assert spans(part.table) == [pytest.approx(place) for place in places[1:]], "times are those of the file"
    np.testing.assert_allclose(part.logits, answers.logits[1:], atol=1e-5)


def test_windows_are_as_long_as_in_the_evaluation_or_four_seconds(published, run, recordings):
    assert predict(run, recordings / "e.wav", timeline=True).facts.window == 0.4
    facts = predict(published("crnn"), recordings / "e.wav", timeline=True).facts
    assert (facts.window, facts.hop) == (4.0, 2.0)
    assert predict(published("whisper"), recordings / "e.wav", timeline=True).facts.window == 1.0


def test_windows_have_the_fixed_duration_of_a_model(published, recordings, tmp_path):
    model = AutoModelForAudioClassification.from_pretrained(published("crnn"))
    model.save_pretrained(tmp_path)
    PreparedFeatureExtractor(do_normalize=False, return_attention_mask=True, fixed_duration=0.25).save_pretrained(
        tmp_path
    )
    answers = predict(tmp_path, recordings / "e.wav", timeline=True)
    assert spans(answers.table) == [(0.0, 0.25), (0.125, 0.375), (0.25, 0.5)]
    with pytest.raises(UserError, match=r"^--window: .* processes the first 0.25 s of a clip; use that or less"):
        predict(tmp_path, recordings / "e.wav", timeline=True, window=0.3)


def test_chunks_that_end_within_a_recording_change_no_prediction(published, recordings, monkeypatch):
    asked = {"timeline": True, "window": 0.2, "hop": 0.15, "embeddings": True, "device": "cpu"}
    whole = [predict(published("crnn"), recordings, smooth=smoothed, **asked) for smoothed in (False, True)]
    monkeypatch.setattr(inputs, "CHUNK_SAMPLES", 1)
    for before, smoothed in zip(whole, (False, True), strict=True):
        pieces = predict(published("crnn"), recordings, smooth=smoothed, **asked)
        assert pieces.table["id"].num_chunks > before.table["id"].num_chunks
        assert spans(pieces.table) == spans(before.table)
        np.testing.assert_allclose(pieces.logits, before.logits, atol=1e-5)
        np.testing.assert_allclose(pieces.embeddings, before.embeddings, atol=1e-5)


def test_where_windows_overlap_their_mean_counts():
    table = windows([(0, 2), (1, 3)], [[0.8, 0.2], [0.4, 0.6]], embeddings=[[1.0], [3.0]])
    merged = smooth(table)
    assert spans(merged) == [(0, 1), (1, 2), (2, 3)]
    np.testing.assert_allclose(matrix(merged, "probabilities"), [[0.8, 0.2], [0.6, 0.4], [0.4, 0.6]], atol=1e-6)
    np.testing.assert_allclose(np.exp(matrix(merged, "logits")), [[0.8, 0.2], [0.6, 0.4], [0.4, 0.6]], atol=1e-6)
    assert merged["predicted"].to_pylist() == ["a", "a", "b"]
    assert matrix(merged, "embedding").ravel().tolist() == [1, 2, 3]
    assert merged.schema == table.schema
    assert merged["window"].to_pylist() == [None] * 3
    assert merged["windows"].to_pylist() == [2] * 3
    assert smooth(merged).equals(merged)


def test_three_windows_that_end_unevenly_and_two_recordings():
    first = windows([(0, 4), (3, 7), (4, 8)], [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    merged = smooth(pa.concat_tables([first, windows([(0, 1)], [[0.3, 0.7]], name="y.wav")]))
    assert merged["id"].to_pylist() == ["x.wav"] * 4 + ["y.wav"]
    assert spans(merged) == [(0, 3), (3, 4), (4, 7), (7, 8), (0, 1)]
    np.testing.assert_allclose(matrix(merged, "probabilities")[:, 0], [0.9, 0.7, 0.3, 0.1, 0.3], atol=1e-6)


def test_labels_of_a_multi_label_model_are_averaged_separately():
    merged = smooth(windows([(0, 2), (1, 3)], [[0.9, 0.6], [0.5, 0.2]], multi_label=True))
    np.testing.assert_allclose(matrix(merged, "probabilities"), [[0.9, 0.6], [0.7, 0.4], [0.5, 0.2]], atol=1e-6)


def test_extreme_logits_stay_finite():
    table = windows([(0, 2), (1, 3)], [[0.5, 0.5], [0.5, 0.5]])
    logits = of_lists(np.array([[300.0, -300.0], [-300.0, 300.0]]))
    merged = smooth(table.set_column(table.column_names.index("logits"), "logits", logits))
    assert np.isfinite(matrix(merged, "logits")).all()
    np.testing.assert_allclose(matrix(merged, "probabilities"), [[1, 0], [0.5, 0.5], [0, 1]], atol=1e-6)


def test_stretches_with_the_same_prediction_are_one():
    """Of 0 to 3 s the mean probability of a is (1 * 0.9 + 1 * 0.8 + 1 * 0.7) / 3."""
    table = windows([(0, 2), (1, 3), (3, 5)], [[0.9, 0.1], [0.7, 0.3], [0.25, 0.75]])
    own = list(segments(table))
    assert [(one.start, one.end, one.predicted) for one in own] == [(0, 3, "a"), (3, 5, "b")]
    assert [one.probability for one in own] == pytest.approx([0.8, 0.75])


def test_a_table_ends_within_a_recording_until_its_last_window_is_there():
    one, two = windows([(0, 2), (1, 3)], [[0.8, 0.2]] * 2), windows([(0, 2), (1, 3)], [[0.8, 0.2]] * 2, name="y.wav")
    rows = pa.concat_tables([one, two])
    assert [len(part) for part in whole_recordings([rows])] == [4]
    assert [len(part) for part in whole_recordings([rows[:1], rows[1:3], rows[3:]])] == [2, 2]
    assert [len(part) for part in whole_recordings([smooth(rows)])] == [6]


def test_the_terminal_has_a_line_for_each_stretch(capsys):
    table = windows([(0, 80), (40, 120), (80, 160)], [[0.9, 0.1], [0.7, 0.3], [0.24, 0.76]])
    lines = [
        "x.wav",
        "    0:00.00 -   1:20.00  a           0.850",
        "    1:20.00 -   2:40.00  b           0.645",
    ]
    for own in (table, smooth(table)):
        to_terminal("timeline", ["a", "b"])(own)
        assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_picture_shows_the_smoothed_probabilities(multi_label):
    table = windows([(0, 2), (1, 3)], [[0.8, 0.2], [0.4, 0.6]], multi_label=multi_label, name="a $b$.wav")
    axes = timeline_figure(table).axes[0]
    drawn = [patch.get_data() for patch in axes.patches]
    tops = [[0.8, 0.6, 0.4], [0.2, 0.4, 0.6]] if multi_label else [[0.8, 0.6, 0.4], [1, 1, 1]]
    for one, top in zip(drawn, tops, strict=True):
        np.testing.assert_allclose(one.values, top, atol=1e-6)
        assert one.edges.tolist() == [0, 1, 2, 3]
    assert axes.get_title() == "a $b$.wav"
    assert axes.get_legend_handles_labels()[1] == ["a", "b"]


def test_the_command_writes_windows_draws_them_and_shows_stretches(published, recordings, tmp_path, capsys):
    model, file = published("crnn"), recordings / "a" / "long.flac"
    command = ["predict", str(model), str(file), "--timeline", "--window", "0.3", "--hop", "0.15", "--device", "cpu"]
    for name, magic in (("x.png", b"\x89PNG"), ("x.svg", b"<?xml")):
        assert cli.main([*command, "--output", str(tmp_path / name)]) == 0
        assert capsys.readouterr().out.splitlines() == ["5 windows", f"  output: {tmp_path / name}"]
        assert (tmp_path / name).read_bytes().startswith(magic)
    answers = predict(model, file, timeline=True, window=0.3, hop=0.15, device="cpu")
    assert cli.main([*command, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["start"], row["end"]) for row in rows] == spans(answers.table)
    assert [row["predicted"] for row in rows] == answers.predicted
    assert cli.main([*command, "--format", "jsonl", "--smooth"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["start"], row["end"]) for row in rows] == spans(smooth(answers.table))
    np.testing.assert_allclose(
        [list(row["probabilities"].values()) for row in rows],
        matrix(smooth(answers.table), "probabilities"),
        atol=1e-5,
    )
    assert cli.main(command) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == file.as_posix()
    own = list(segments(answers.table))
    assert [line.split()[3:5] for line in shown[1:]] == [[one.predicted, f"{one.probability:.3f}"] for one in own]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"hop": 1.0}, "^--hop: needs overlapping windows; add --timeline"),
        ({"smooth": True}, "^--smooth: needs overlapping windows"),
        (
            {"timeline": True, "by_window": True},
            "^--timeline: has a row for each window already",
        ),
        ({"timeline": True, "hop": 0.0}, "^--hop: expected seconds, 0.1 or more, got 0.0"),
        ({"timeline": True, "hop": "1"}, "^--hop: expected a number or null, got the word '1'"),
        ({"timeline": True, "hop": 2.0, "window": 1.0}, "^--hop: 2 s leaves gaps between windows of 1 s; use less"),
    ],
)
def test_wrong_settings_of_a_timeline_are_refused(asked, message, published, recordings):
    with pytest.raises(UserError, match=message):
        predict(published("crnn"), recordings, **asked)
