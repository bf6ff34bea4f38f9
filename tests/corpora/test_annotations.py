"""Recordings with annotation files beside them are segments with labels and speakers."""

import numpy as np
import pytest
import soundfile

from ser_hf import load_corpus, prepare
from ser_hf.utils.annotations import Turn, write_turns
from ser_hf.utils.errors import UserError
from ser_hf.utils.segments import Segment

pytest.importorskip("praatio")

RATE = 16000


@pytest.fixture
def recordings(tmp_path):
    """Three recordings of 4 s, of which two are annotated, in two formats."""
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 4 * RATE).astype(np.float32)
    for name in ("one", "deep/two", "other"):
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, samples, RATE, subtype="FLOAT")
    turns = [
        Turn(Segment(0.5, 1.5), "anger", "anna"),
        Turn(Segment(2.0, 3.0), "sad", "ben"),
    ]
    write_turns(tmp_path / "one.TextGrid", turns, 4.0)
    write_turns(tmp_path / "deep/two.txt", turns[:1], 4.0)
    return tmp_path


def test_each_annotated_interval_is_a_clip(recordings, tmp_path):
    dataset = load_corpus("annotations", recordings)
    assert dataset["id"][:] == [
        "annotations/deep/two@00000.500-00001.500",
        "annotations/one@00000.500-00001.500",
        "annotations/one@00002.000-00003.000",
    ]
    assert dataset["speaker"][:] == ["annotations:anna", "annotations:anna", "annotations:ben"]
    assert dataset["start"][:] == [0.5, 0.5, 2.0]
    prepared, store = prepare(dataset, RATE, tmp_path / "cache")
    assert prepared["duration"][:] == [1.0, 1.0, 1.0]
    samples, _ = soundfile.read(recordings / "one.wav", dtype="float32")
    np.testing.assert_array_equal(store[2], samples[2 * RATE : 3 * RATE])


def test_one_rttm_file_annotates_several_recordings(recordings):
    (recordings / "one.TextGrid").unlink()
    (recordings / "deep/two.txt").unlink()
    turns = [
        Turn(Segment(0.0, 1.0), "angry", "anna", recording="one"),
        Turn(Segment(0.0, 1.0), "sad", "ben", recording="two"),
    ]
    write_turns(recordings / "all.rttm", turns, 4.0)
    dataset = load_corpus("annotations", recordings)
    assert [name.partition("@")[0] for name in dataset["id"]] == [
        "annotations/deep/two",
        "annotations/one",
    ]


def test_an_annotation_without_its_recording_is_named(recordings):
    (recordings / "one.wav").unlink()
    with pytest.raises(UserError, match=r"one\.TextGrid, tier anna.*: no recording named one"):
        load_corpus("annotations", recordings)


def test_a_folder_without_annotations_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(RATE), RATE)
    with pytest.raises(UserError, match=r"^corpus\.root: .* holds no annotation file"):
        load_corpus("annotations", tmp_path)


def test_a_speaker_pattern_finds_speakers_that_annotations_lack(recordings):
    (recordings / "one.TextGrid").unlink()
    (recordings / "deep/two.txt").write_text("0.5\t1.5\tangry\n2.0\t3.0\tsad\n")
    with pytest.raises(UserError, match=r"two\.txt, line 1: .*corpus\.speaker"):
        load_corpus("annotations", recordings)
    dataset = load_corpus("annotations", recordings, speaker_pattern="[a-z]+$|two")
    assert set(dataset["speaker"]) == {"annotations:two"}
