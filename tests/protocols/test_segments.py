"""Segments of one recording are kept in one split, unless their speakers differ."""

import pytest

from ser_hf.corpora.schema import Clip, Listing, to_dataset
from ser_hf.protocols import make_split, require_apart, split_corpus
from ser_hf.protocols.segments import of_one_voice, overlapping, recordings
from ser_hf.utils.errors import UserError

LABELS = ("angry", "sad")


def dataset_of(*segments):
    """A corpus of segments: the recording, the start, the end and the speaker of each."""
    clips = []
    for number, (path, start, end, speaker) in enumerate(segments):
        clip = Clip(
            path=f"{path}.wav",
            emotion=LABELS[number % 2],
            speaker=f"csv:{speaker}",
            id=f"csv/{number:03d}",
            start=start,
            end=end,
        )
        clips.append(clip)
    emotions = [clip.emotion for clip in clips]
    dataset = to_dataset(Listing("csv", clips), emotions, LABELS, 16000)
    hashes = [f"{number:032d}" for number in range(len(clips))]
    return dataset.remove_columns("content_hash").add_column("content_hash", hashes)


def split_of(dataset, train, test):
    """A split without conditions on speakers; validation is in the middle."""
    others = sorted(set(range(len(dataset))) - set(train) - set(test))
    rows = {"train": train, "validation": others, "test": test}
    return make_split("made", dataset, rows, test_apart=(), validation_apart=())


def test_overlaps_in_time_are_found():
    dataset = dataset_of(
        ("a", 0.0, 2.0, "x"),
        ("a", 1.5, 3.0, "y"),
        ("a", 3.0, None, "x"),
        ("a", 60.0, 61.0, "y"),
        ("b", 0.0, 2.0, "x"),
        ("b", 1.99, 4.0, "y"),  # rounded times
    )
    assert overlapping(dataset) == [(0, 1), (2, 3)]


def test_whole_recordings_have_no_segments():
    dataset = dataset_of(("a", None, None, "x"), ("a", None, None, "x"), ("b", None, None, "y"))
    assert recordings(dataset) == {}
    assert overlapping(dataset) == []


def test_a_whole_recording_overlaps_its_segments():
    dataset = dataset_of(("a", None, None, "x"), ("a", 1.0, 2.0, "x"))
    assert overlapping(dataset) == [(0, 1)]


def test_segments_that_overlap_are_not_in_two_splits():
    dataset = dataset_of(
        ("a", 0.0, 2.0, "x"),
        ("a", 4.0, 6.0, "x"),
        ("b", 0.0, 1.0, "z"),
        ("b", 1.0, 2.0, "z"),
        ("a", 1.5, 3.0, "y"),
        ("a", 7.0, 8.0, "y"),
    )
    with pytest.raises(UserError, match=r"overlap in time.*csv/000 \(train\) and csv/004 \(test\)"):
        require_apart([split_of(dataset, [0, 1], [4, 5])], dataset)


def test_two_speakers_of_a_recording_may_be_in_two_splits():
    dataset = dataset_of(
        ("a", 0.0, 2.0, "x"),
        ("a", 4.0, 6.0, "x"),
        ("b", 0.0, 1.0, "z"),
        ("b", 1.0, 2.0, "z"),
        ("a", 2.0, 3.0, "y"),
        ("a", 7.0, 8.0, "y"),
    )
    require_apart([split_of(dataset, [0, 1], [4, 5])], dataset)


@pytest.mark.parametrize("speaker", ["x", "unknown"])
def test_a_voice_of_a_recording_is_not_in_two_splits(speaker):
    dataset = dataset_of(
        ("a", 0.0, 2.0, "x"),
        ("a", 4.0, 6.0, "x"),
        ("b", 0.0, 1.0, "z"),
        ("b", 1.0, 2.0, "z"),
        ("a", 2.0, 3.0, speaker),
        ("a", 7.0, 8.0, speaker),
    )
    with pytest.raises(UserError, match=r"by the same or an unknown speaker"):
        require_apart([split_of(dataset, [0, 1], [4, 5])], dataset)


def test_a_voice_is_found_though_its_first_segment_is_in_no_split():
    dataset = dataset_of(
        ("a", 0.0, 1.0, "x"),
        ("a", 2.0, 3.0, "x"),
        ("c", 0.0, 1.0, "w"),
        ("b", 0.0, 1.0, "z"),
        ("b", 1.0, 2.0, "z"),
        ("a", 4.0, 5.0, "x"),
        ("d", 0.0, 1.0, "v"),
    )
    rows = {"train": [1, 2], "validation": [3, 4], "test": [5, 6]}
    split = make_split("made", dataset, rows, test_apart=(), validation_apart=())
    with pytest.raises(UserError, match=r"csv/001 \(train\) and csv/005 \(test\)"):
        require_apart([split], dataset)


def test_a_speaker_of_two_recordings_is_no_voice_of_one():
    dataset = dataset_of(("a", 0.0, 2.0, "x"), ("b", 0.0, 2.0, "x"), ("b", 3.0, 4.0, "y"))
    assert of_one_voice(dataset) == []


@pytest.mark.parametrize("name", ["random", "random_stratified"])
def test_random_splits_keep_recordings_together(name):
    segments = []
    for number in range(24):
        for start in range(4):
            segments.append((f"r{number:02d}", float(start), start + 1.0, f"s{number}"))
    dataset = dataset_of(*segments)
    split = split_corpus(dataset, name)[0]
    require_apart([split], dataset)
    for rows in split.rows.values():
        assert len(rows) % 4 == 0
