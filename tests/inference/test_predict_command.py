"""ser-hf predict: files, folders and tables in, a table and embeddings out."""

import csv
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import soundfile
from support.close import assert_near
from support.commands import complaint
from tiny_models import LABELS

from ser_hf import cli, predict
from ser_hf.experiment.data import load_recipe_corpus
from ser_hf.experiment.reading import read_recipe
from ser_hf.inference import chunks
from ser_hf.utils.annotations import read_turns

# ser_hf.inference.predict is the function
predictions = importlib.import_module("ser_hf.inference.predict")


def ended(*arguments):
    """The exit code."""
    return cli.main(["predict", *map(str, arguments)])


def test_predictions_of_files_and_folders_are_printed(published, recordings, capsys):
    model = published("crnn")
    files = [recordings / "a", recordings / "e.wav"]
    assert (
        cli.main(["predict", *map(str, [model, *files]), "--window", "0.4", "--device", "cpu"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    results = predict(model, files, window=0.4)
    expected = results.predicted, results.probabilities, results.ids
    for line, predicted, probabilities, name in zip(lines, *expected, strict=True):
        probability, label, path, *windows = line.split(maxsplit=3)
        assert (float(probability), label, path) == (
            round(float(probabilities.max()), 3),
            predicted,
            name,
        )
    assert "(3 windows)" in lines[0]
    assert "windows" not in lines[1]


def test_a_table_of_the_runs_clips_to_a_table_and_embeddings(run, tmp_path, capsys):
    clips = load_recipe_corpus(read_recipe(run / "recipe.yaml")).dataset
    names = clips.features["label"].names
    with (tmp_path / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "id", "label"])
        for audio, clip, label in zip(clips["audio"], clips["id"], clips["label"], strict=True):
            writer.writerow([audio["path"], clip, names[label]])
    output = tmp_path / "predictions.csv"
    embeddings = tmp_path / "new" / "embeddings.parquet"
    assert ended(run, tmp_path / "clips.csv", "--output", output, "--embeddings", embeddings) == 0
    message = capsys.readouterr().out.splitlines()
    with output.open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    table = pq.read_table(embeddings)
    metadata = json.loads(table.schema.metadata[b"ser_hf"])
    assert message[-3:] == [
        f"{len(rows)} clips",
        f"  output: {output}",
        f"  embeddings ({metadata['embedding']}): {embeddings}",
    ]
    for row in pq.read_table(run / "report" / "predictions.parquet").to_pylist():
        mine = rows[row["id"]]
        assert (mine["label"], mine["predicted"]) == (row["label"], row["predicted"])
        assert_near([float(mine[f"p_{name}"]) for name in LABELS], [row[f"p_{x}"] for x in LABELS])
    assert table["id"].to_pylist() == list(rows)
    assert metadata["model"] == str(run)


def test_skipped_files_are_counted(published, recordings, tmp_path, capsys):
    (tmp_path / "a.wav").write_bytes((recordings / "e.wav").read_bytes())
    (tmp_path / "b.m4a").touch()
    (tmp_path / "c.wav").symlink_to("gone")
    assert ended(published("crnn"), tmp_path, tmp_path / "d.wav") == 1
    message = capsys.readouterr()
    assert len(message.out.splitlines()) == 1
    assert "1 clip, 3 files left out" in message.err.splitlines()
    assert any(
        line.startswith(f"left out: {tmp_path}/d.wav: ") for line in message.err.splitlines()
    )


def test_on_error_stops_at_the_first_bad_file(published, recordings, tmp_path, capsys):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    arguments = (
        "predict",
        published("crnn"),
        recordings / "e.wav",
        tmp_path / "bad.wav",
        "--on-error",
        "error",
    )
    assert f"{tmp_path / 'bad.wav'}: not readable" in complaint(
        capsys, *arguments, "--output", tmp_path / "x.csv"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["bad.wav"]
    missing = tmp_path / "gone.wav"
    assert f"{missing}: " in complaint(capsys, *arguments[:3], missing, *arguments[4:])


def test_nothing_is_written_if_no_file_can_be_read(published, tmp_path, capsys):
    folder = tmp_path / "calls"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"RIFF")
    (folder / "b.mp3").touch()
    output = tmp_path / "out" / "x.jsonl"
    output.parent.mkdir()
    output.write_text("before")
    model = published("crnn")
    capsys.readouterr()
    assert ended(model, folder, "--output", output, "--format", "jsonl") == 1
    message = capsys.readouterr()
    assert message.out == ""
    assert [line.partition(": ")[0] for line in message.err.splitlines()[1:]] == [
        "left out",
        "left out",
        "error",
    ]
    assert "none of 2 recordings can be read" in message.err
    assert [path.read_text() for path in output.parent.iterdir()] == ["before"]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_standard_output_has_the_content_of_the_file(kind, published, recordings, tmp_path, capsys):
    output = tmp_path / f"x.{kind}"
    assert (
        ended(
            published("crnn"), recordings, "--format", kind, "--output", output, "--device", "cpu"
        )
        == 0
    )
    message = capsys.readouterr()
    assert message.out == output.read_text(encoding="utf-8")
    assert message.err.splitlines()[-2:] == ["6 clips", f"  output: {output}"]
    results = predict(published("crnn"), recordings, device="cpu")
    if kind == "jsonl":
        rows = [json.loads(line) for line in message.out.splitlines()]
        shares = [[row["probabilities"][label] for label in LABELS] for row in rows]
    else:
        rows = list(csv.DictReader(io.StringIO(message.out)))
        shares = [[float(row[f"p_{label}"]) for label in LABELS] for row in rows]
    assert [row["id"] for row in rows] == [row["path"] for row in rows] == results.ids
    assert [row["predicted"] for row in rows] == results.predicted
    assert_near(shares, results.probabilities)


def test_predictions_are_written_as_recordings_are_processed(
    published, recordings, capsys, monkeypatch
):
    seen = []
    plain = predictions.table
    monkeypatch.setattr(chunks, "CHUNK_SAMPLES", 1)
    monkeypatch.setattr(
        predictions, "table", lambda *given: seen.append(capsys.readouterr().out) or plain(*given)
    )
    assert ended(published("crnn"), recordings, "--format", "jsonl") == 0
    assert [out.count("\n") for out in seen] == [0, 1, 1, 1, 1, 1]


@pytest.mark.slow
def test_a_closed_pipe_ends_the_command_without_a_message(published, recordings, tmp_path):
    rows = "".join(f"{recordings / 'e.wav'},{i}\n" for i in range(1000))
    (tmp_path / "list.csv").write_text(f"path,id\n{rows}")
    words = "predict", published("crnn"), tmp_path / "list.csv", "--format", "jsonl"
    program = "from ser_hf.cli import main; from ser_hf.inference import chunks\n"
    # a row is written after each recording
    program += "chunks.CHUNK_SAMPLES = 1; raise SystemExit(main())"
    command = [sys.executable, "-c", program, *map(str, words)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert json.loads(process.stdout.readline())["id"] == "0"
        process.stdout.close()
        assert process.wait() == 128 + signal.SIGPIPE
        (line,) = process.stderr.read().splitlines()
        assert line.endswith("loading libraries")


def test_being_terminated_leaves_no_partial_file(published, recordings, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    def table(*given):
        assert list(tmp_path.iterdir()), "it is being written"
        assert signal.getsignal(signal.SIGTERM) != before, "else the tests themselves would end"
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(predictions, "table", table)
    try:
        with pytest.raises(SystemExit) as stopped:
            cli.main(
                [
                    "predict",
                    str(published("crnn")),
                    str(recordings),
                    "--output",
                    str(tmp_path / "x.csv"),
                ]
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "'INPUT'"),
        (
            ["x.wav", "--output", "x.png"],
            "error: --output: x.png: unknown format; choose one of .csv, .jsonl",
        ),
        (["x.wav", "--embeddings", "x.csv"], "error: --embeddings: x.csv: "),
    ],
)
def test_a_mistake_prints_one_line(words, message, recordings, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(recordings / "e.wav") if word == "x.wav" else word for word in words]
    assert message in complaint(capsys, "predict", "no/model", *words)
    assert not list(tmp_path.iterdir())


TURNS = "start,end,speaker\n0.1,0.3,anna\n0.35,0.6,ben\n0.6,0.9,anna\n"


@pytest.fixture
def turns(tmp_path):
    (tmp_path / "turns.csv").write_text(TURNS)
    return tmp_path / "turns.csv"


def test_turns_of_a_file_are_predicted_as_cut_files(published, recordings, turns, tmp_path):
    model = published("crnn")
    file = recordings / "a" / "long.flac"
    results = predict(model, file, segments=str(turns), device="cpu")
    samples, rate = soundfile.read(file, dtype="float32")
    cut = []
    for row in results.table.to_pylist():
        path = tmp_path / f"{row['start']}.wav"
        part = samples[round(row["start"] * rate) : round(row["end"] * rate)]
        soundfile.write(path, part, rate, subtype="FLOAT")
        cut.append(path)
    assert results.table["speaker"].to_pylist() == ["anna", "ben", "anna"]
    assert results.table["start"].to_pylist() == [0.1, 0.35, 0.6]
    assert_near(results.logits, predict(model, cut, device="cpu").logits)


@pytest.mark.parametrize("suffix", [".TextGrid", ".txt", ".rttm"])
def test_each_format_of_annotations_is_read_again(
    published, recordings, turns, tmp_path, capsys, suffix
):
    pytest.importorskip("praatio")
    file = recordings / "a" / "long.flac"
    output = tmp_path / f"out{suffix}"
    command = [published("crnn"), file, "--segments", turns, "--output", output, "--device", "cpu"]
    assert ended(*command) == 0
    expected = predict(published("crnn"), file, segments=str(turns), device="cpu")
    read = sorted(read_turns(output), key=lambda turn: turn.segment)
    assert [turn.label for turn in read] == expected.predicted
    assert [turn.speaker for turn in read] == ["anna", "ben", "anna"]
    assert [turn.segment.start for turn in read] == pytest.approx([0.1, 0.35, 0.6], abs=1e-3)
    # The seconds of each label by speaker come last.
    table = capsys.readouterr().err.splitlines()[1:]
    assert table[0].startswith("speaker")
    assert [line.split()[0] for line in table[1:3]] == ["anna", "ben"]
    assert not list(tmp_path.glob("*.partial"))


def test_a_line_has_speaker_and_times(published, recordings, turns, capsys):
    file = recordings / "a" / "long.flac"
    assert ended(published("crnn"), file, "--segments", turns, "--device", "cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "anna" in lines[0]
    assert f"0:00.10-0:00.30  {file}" in lines[0]


def test_a_picture_of_the_segments_is_drawn(published, recordings, turns, tmp_path):
    file = recordings / "a" / "long.flac"
    picture = tmp_path / "new" / "out.svg"
    command = [published("crnn"), file, "--segments", turns, "--picture", picture]
    assert ended(*command, "--device", "cpu") == 0
    text = picture.read_text()
    for word in ("long.flac", "anna", "ben", "probability"):
        assert word in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--join"], "join: needs segments"),
        (["--smooth", "3"], "smooth: needs segments"),
        (["--segments", "windows", "--smooth", "2"], "--smooth: expected an odd number"),
        (["--picture", "a.png"], "--picture: needs segments"),
        (["--segments", "windows", "--picture", "a.bmp"], r"--picture: a\.bmp: unknown format"),
        (["--segments", "none.rttm"], r"none\.rttm: no such file"),
        (["--segments", "windows", "--output", "a.TextGrid"], "describes one recording"),
        (["--segments", "windows", "--output", "a.txt"], "describes one recording"),
        (["--segments", "windows", "--picture", "a.png"], "--picture: shows one recording"),
    ],
)
def test_wrong_options_of_segments_are_one_line(
    published, recordings, tmp_path, monkeypatch, capsys, options, message
):
    pytest.importorskip("praatio")
    monkeypatch.chdir(tmp_path)
    files = [recordings / "a" / "long.flac", recordings / "e.wav"]
    assert ended(published("crnn"), *files, *options, "--device", "cpu") == 2
    assert re.search(message, complaint(capsys))
    assert not list(tmp_path.iterdir())


def test_segments_of_a_table_are_not_divided_again(published, recordings, tmp_path, capsys):
    table = tmp_path / "calls.csv"
    table.write_text(f"path,start,end\n{recordings / 'a' / 'long.flac'},0.1,0.5\n")
    assert ended(published("crnn"), table, "--segments", "speech", "--device", "cpu") == 2
    assert "has segments in the table already" in complaint(capsys)
