"""Measurements against signals with known values; roles of files; tables."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.testing import write_corpus

from ser_hf.audio.remarks import RemarkKind
from ser_hf.corpora import load_corpus
from ser_hf.corpora.schema import Clip
from ser_hf.evaluation.slices import explained_variance
from ser_hf.inspection import inspect_corpus
from ser_hf.inspection import measure as measuring
from ser_hf.utils.errors import UserError

RATE = 16000
TONE = (0.5 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)).astype(np.float32)


def written(path, samples, rate=RATE, **keywords):
    soundfile.write(path, samples, rate, **({"subtype": "PCM_16"} | keywords))
    return measuring.measure(str(path))


# Measurements


def test_a_tone_between_silences(tmp_path):
    measured = written(
        tmp_path / "a.wav", np.concatenate([np.zeros(RATE // 2), TONE, np.zeros(RATE // 4)])
    )
    assert measured.error is None
    assert measured.sampling_rate == RATE
    assert measured.bytes == (tmp_path / "a.wav").stat().st_size
    assert (measured.duration, measured.leading_silence, measured.trailing_silence) == (
        1.75,
        0.5,
        0.25,
    )
    # A sine of amplitude 0.5 is at -9.03 dBFS, for a part of the time.
    assert measured.rms == pytest.approx(-9.03 + 10 * np.log10(1 / 1.75), abs=0.05)
    assert measured.peak == pytest.approx(-6.02, abs=0.01)
    assert measured.floor is None
    assert (measured.clipped_share, measured.silent) == (0, False)
    # A clip that ends within a frame has no trailing silence.
    assert written(tmp_path / "b.wav", TONE[:-50]).trailing_silence == 0


def test_silence_has_no_level(tmp_path):
    measured = written(tmp_path / "a.wav", np.zeros(RATE))
    assert measured.silent
    assert measured.rms is measured.peak is measured.loudness is measured.floor is None
    assert (measured.leading_silence, measured.trailing_silence) == (1.0, 1.0)
    assert written(tmp_path / "b.wav", 0.0015 * TONE).silent
    assert not written(tmp_path / "b.wav", 0.01 * TONE).silent


def test_the_floor(tmp_path):
    measured = written(tmp_path / "a.wav", np.concatenate([0.25 * TONE, 0 * TONE]) + 0.1)
    assert measured.floor == pytest.approx(-20, abs=0.1)


def test_only_runs_at_full_scale_are_clipping():
    samples = np.zeros(1000, np.float32)
    samples[[0, 1, 10, 20, 21, 999]] = 1.0
    assert measuring.clipped_share(samples) == 0
    samples[2] = 1.0
    samples[500:504] = -1.0
    assert measuring.clipped_share(samples) == 7 / 1000


def test_channels_that_cancel_each_other_are_named_and_not_mixed(tmp_path):
    measured = written(tmp_path / "d.wav", np.stack([TONE, -TONE], axis=1))
    assert not measured.silent
    assert [remark.kind for remark in measured.remarks] == [RemarkKind.CANCELLING_CHANNELS]


def test_a_bad_file_is_a_measurement_with_an_error(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    assert (
        measuring.measure(str(tmp_path / "empty.wav")).error
        == "an empty file (0 bytes); restore or remove it"
    )
    assert measuring.measure(str(tmp_path / "empty.wav")).bytes == 0
    assert "No such file" in measuring.measure(str(tmp_path / "missing.wav")).error
    (tmp_path / "text.wav").write_text("not audio")
    assert measuring.measure(str(tmp_path / "text.wav")).error.startswith("not readable as audio")


# Roles of files


def roles(files):
    return {file.shown: file.role for file in files}


def test_roles_of_files(tmp_path):
    paths = write_corpus("ravdess", tmp_path, speakers=1, takes=1)
    paths[0].rename(paths[0].with_name("notes.wav"))
    paths[1].rename(paths[1].with_name("03-02-02-01-01-01-01.wav"))
    found = measuring.find_files("ravdess", tmp_path, {}).files
    assert [file.path for file in found] == sorted(file.path for file in found)
    kinds = roles(found)
    assert kinds.pop("Actor_01/notes.wav") == "unknown name"
    assert kinds.pop("Actor_01/03-02-02-01-01-01-01.wav") == "left out"
    assert set(kinds.values()) == {"clip"}
    copy = paths[2].parent / "again" / paths[2].name
    copy.parent.mkdir()
    copy.write_bytes(paths[2].read_bytes())
    with_copy = measuring.find_files("ravdess", tmp_path, {}).files
    assert roles(with_copy)[f"Actor_01/again/{copy.name}"] == "copy"
    sung = roles(measuring.find_files("ravdess", tmp_path, {"song": True}).files)
    assert sung["Actor_01/03-02-02-01-01-01-01.wav"] == "clip"
    with pytest.raises(UserError, match="name the folder that holds"):
        measuring.find_files("ravdess", tmp_path / "nowhere", {})


def test_a_table_of_the_user(tmp_path):
    (tmp_path / "calls").mkdir()
    lines = ["path,label,speaker,sex"]
    for i in range(4):
        soundfile.write(tmp_path / "calls" / f"{i}.wav", TONE * (i + 1) / 5, RATE)
        lines.append(f"calls/{i}.wav,{('angry', 'sad')[i % 2]},anna,f")
    lines.append("calls/9.wav,sad,anna,f")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    inspection = inspect_corpus("csv", tmp_path / "table.csv", title="Calls")
    assert roles(inspection.files) == {
        **{f"calls/{i}.wav": "clip" for i in range(4)},
        "table.csv, line 6": "absent",
    }
    facts = inspection.to_dict()
    assert facts["tables"]["label_by_intensity"] is None
    assert facts["corpus"]["title"] == "Calls"
    assert facts["counts"]["roles"]["absent"] == 1


def test_an_inspection_of_a_table_says_what_training_says(tmp_path):
    lines = ["path,label,speaker"]
    for i in range(8):
        soundfile.write(tmp_path / f"{i}.wav", TONE * (i + 1) / 10, RATE)
        lines.append(f"{i}.wav,{('angry', 'blip', 'sad', 'sad')[i % 4]},{('a', 'A')[i % 2]}")
    lines += ["", "9.wav,sad,b"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    inspection = inspect_corpus("csv", tmp_path / "table.csv")
    found = {finding.code: finding for finding in inspection.findings}
    assert inspection.to_dict()["verdict"]["level"] == "error"
    with pytest.raises(UserError) as error:
        load_corpus("csv", tmp_path / "table.csv")
    assert found["refused"].text == f"Training stops here: {error.value}."
    assert found["absent"].text == "1 clip without audio."
    assert "2 clips without a known emotion (label 'blip'" in found["unknown-labels"].text
    assert "'a' also as 'A'" in found["reading"].text
    assert found["lines"].text.endswith("table.csv: 11 lines: header, 9 rows, 1 blank.")

    skipping = inspect_corpus("csv", tmp_path / "table.csv", on_unknown="skip")
    assert "refused" not in {finding.code for finding in skipping.findings}
    assert len(load_corpus("csv", tmp_path / "table.csv", on_unknown="skip")) == 6


def test_paths_are_printable(tmp_path):
    assert measuring.printable_path(f"{tmp_path}/a/b.wav", tmp_path) == "a/b.wav"
    assert measuring.printable_path("/elsewhere/b.wav", tmp_path) == "/elsewhere/b.wav"
    assert (
        measuring.printable_path(os.fsdecode(b"/x/\xffb\n\x1b.wav"), Path("/x"))
        == r"\xffb\n\x1b.wav"
    )
    assert measuring.printable_path("/x/jalapeño.wav", Path("/x")) == "jalapeño.wav"
    # Generated clips are shown below their common folder.
    assert (
        measuring.find_files("synthetic", None, {"speakers": 3, "takes": 1}).files[0].shown
        == "s00_angry_000.wav"
    )


# Tables


def table(*clips):
    """Of (label, duration, speaker, sex, intensity) each; the last ones may be missing."""
    files = []
    for label, *more in clips:
        duration, speaker, sex, intensity = [*more, *(1.0, "a", None, None)[len(more) :]]
        clip = Clip(path="x", emotion=label, speaker=speaker, id="x", sex=sex, intensity=intensity)
        files.append(
            measuring.AudioFile(
                "x", "x", "clip", clip, measured=measuring.Measurement(duration=duration)
            )
        )
    return measuring.clip_table(files)


def test_crosstable_includes_clips_without_a_value():
    assert measuring.ordered_labels(["sad", "zeal", "angry", "other", "sad"]) == [
        "angry",
        "sad",
        "other",
        "zeal",
    ]
    sad = [("sad", 1.0, "a", sex) for sex in ("male", "female")]
    angry = ("angry", 1.0, "a", "female")
    clips = table(*sad, angry, ("angry", 1.0))
    assert measuring.crosstable(clips, "sex") == measuring.CrossTable(
        labels=["angry", "sad"],
        rows={"female": [1, 1], "male": [0, 1], "not stated": [1, 0]},
        total=[2, 2],
    )
    assert measuring.crosstable(table(("sad", 1.0)), "sex") is None
    assert measuring.crosstable(table(), "sex") is None


def test_statistics_of_a_measure():
    assert measuring.describe(table(*(("sad", float(i)) for i in range(101)))) == {
        "duration": {"clips": 101, "minimum": 0, "p05": 5, "median": 50, "p95": 95, "maximum": 100}
    }
    clips = table(("sad", 0.0), ("sad", 1.0), ("angry", 4.0), ("angry", 5.0))
    # Sum of squares within the groups 4 * 0.25 = 1, in all 4 * 4.25 = 17: 1 - (1 / 2) / (17 / 3).
    assert explained_variance(clips, "duration", "label") == pytest.approx(1 - 0.5 * 3 / 17)
    assert explained_variance(clips, "loudness", "label") is None
    same_mean = table(("sad", 0.0), ("sad", 2.0), ("angry", 0.0), ("angry", 2.0))
    assert explained_variance(same_mean, "duration", "label") == 0
    assert explained_variance(clips[:2], "duration", "label") is None
    assert explained_variance(clips[1:3], "duration", "label") is None
    assert explained_variance(table(("sad",), ("sad",), ("angry",)), "duration", "label") is None
