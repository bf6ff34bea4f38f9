"""The leakage audit: told what two parts share, and refused where it is a speaker or a recording."""

import dataclasses

import pytest

from ser_hf.errors import UserError
from ser_hf.protocols import audit, split_by_speakers

SPEAKERS = {"train": ["x:01", "x:02"], "validation": ["x:03"], "test": ["x:04"]}


def with_copies(dataset, copies):
    """The dataset with row `copy` holding the recording of row `original`."""
    hashes = dataset["content_hash"][:]
    for copy, original in copies.items():
        hashes[copy] = hashes[original]
    return dataset.remove_columns("content_hash").add_column("content_hash", hashes)


def test_a_clean_split_shares_sentences_only(make_corpus):
    dataset = make_corpus(4)
    pair = {"speakers": 0, "recordings": 0, "sentences": 2}
    assert audit(split_by_speakers("p", dataset, SPEAKERS), dataset) == {
        "shared": {"train/validation": pair, "train/test": pair, "validation/test": pair},
        "duplicates": 0,
    }


def test_sentences_that_no_other_part_has_are_not_shared(make_corpus):
    dataset = make_corpus(4)
    own = [f"of {speaker}" if speaker == "x:04" else None for speaker in dataset["speaker"]]
    dataset = dataset.remove_columns("sentence").add_column("sentence", own)
    shared = audit(split_by_speakers("p", dataset, SPEAKERS), dataset)["shared"]
    assert {pair: counts["sentences"] for pair, counts in shared.items()} == dict.fromkeys(shared, 0)


@pytest.mark.parametrize(
    ("copy", "original", "one", "other"),
    [(12, 3, "train", "validation"), (20, 3, "train", "test"), (20, 13, "validation", "test")],
)
def test_a_recording_in_two_parts_is_refused_naming_both(make_corpus, copy, original, one, other):
    dataset = with_copies(make_corpus(4), {copy: original})
    split = split_by_speakers("p", dataset, SPEAKERS)
    with pytest.raises(UserError) as error:
        audit(split, dataset)
    ids = dataset["id"][:]
    assert f"{ids[original]} ({one}) and {ids[copy]} ({other}) are the same recording" in str(error.value)
    assert "protocol p: " in str(error.value)


def test_the_recordings_in_two_parts_are_counted(make_corpus):
    dataset = with_copies(make_corpus(4), {20: 3, 21: 4, 22: 4})
    with pytest.raises(UserError, match="2 recordings stand in both parts"):
        audit(split_by_speakers("p", dataset, SPEAKERS), dataset)


def test_a_recording_twice_in_one_part_is_counted(make_corpus):
    dataset = with_copies(make_corpus(4), {1: 0, 2: 0, 20: 19})
    assert audit(split_by_speakers("p", dataset, SPEAKERS), dataset)["duplicates"] == 3


def test_copies_outside_the_split_are_nobodys_concern(make_corpus):
    dataset = with_copies(make_corpus(5), {24: 0})
    assert audit(split_by_speakers("p", dataset, SPEAKERS), dataset)["duplicates"] == 0


def test_a_speaker_in_two_parts_is_refused(make_corpus):
    dataset = make_corpus(4)
    split = split_by_speakers("p", dataset, SPEAKERS)
    leaky = dataclasses.replace(split, speakers={**split.speakers, "test": ["x:02", "x:04"]})
    with pytest.raises(UserError, match="protocol p: speaker x:02 stands in train and in test"):
        audit(leaky, dataset)


def test_clips_that_were_not_prepared_are_not_taken_for_copies(make_corpus):
    """Before decoding no hash is known: that must neither pass as clean nor read as a leak between two clips."""
    dataset = make_corpus(4)
    unknown = dataset.remove_columns("content_hash").add_column("content_hash", [None] * len(dataset))
    with pytest.raises(ValueError, match="content_hash|prepare"):
        audit(split_by_speakers("p", unknown, SPEAKERS), unknown)
