"""Splits: the fingerprint, the table and the file."""

import json

import pytest

from ser_hf.errors import UserError
from ser_hf.protocols import PARTS, audit, save_split, split_by_speakers

SPEAKERS = {"train": ["x:01", "x:02"], "validation": ["x:03"], "test": ["x:04"]}


def test_the_fingerprint_is_of_the_clips_in_each_part_and_not_of_their_order(make_corpus):
    rows = list(range(4 * 6))
    plain, turned = (split_by_speakers("p", make_corpus(4, order=order), SPEAKERS) for order in (rows, rows[::-1]))
    assert plain.ids != turned.ids
    assert plain.sha256 == turned.sha256
    assert len(plain.sha256) == 64
    assert set(plain.sha256) <= set("0123456789abcdef")


def test_the_fingerprint_is_known(make_corpus):
    """Published fingerprints must stay comparable: a change here is a change of every split's name."""
    split = split_by_speakers("p", make_corpus(4), SPEAKERS)
    assert split.sha256 == "780fe63e3ad2f4e2e4b86bdb7461709376df96f8ac264ad05ce8941e93f71109"


def test_other_clips_or_other_parts_have_another_fingerprint(make_corpus):
    swapped = {**SPEAKERS, "validation": ["x:04"], "test": ["x:03"]}
    fewer = make_corpus(4).select(range(1, 24))
    splits = [
        split_by_speakers("p", make_corpus(4), SPEAKERS),
        split_by_speakers("p", make_corpus(4), swapped),
        split_by_speakers("p", fewer, SPEAKERS),
    ]
    assert len({split.sha256 for split in splits}) == 3


def test_the_name_of_the_protocol_is_no_part_of_the_fingerprint(make_corpus):
    one, other = (split_by_speakers(name, make_corpus(4), SPEAKERS) for name in ("p", "q"))
    assert one.sha256 == other.sha256


@pytest.mark.parametrize(("a", "b"), [("train", "validation"), ("train", "test"), ("validation", "test")])
def test_a_speaker_in_two_parts_is_refused(make_corpus, a, b):
    speakers = {**SPEAKERS, b: [*SPEAKERS[b], SPEAKERS[a][0]]}
    with pytest.raises(UserError, match=f"protocol.{b}: speaker {SPEAKERS[a][0]} stands in {a} as well"):
        split_by_speakers("p", make_corpus(4), speakers)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_clips_is_refused(make_corpus, part):
    with pytest.raises(UserError, match=f"protocol.{part}: no clip of angry, happy, sad"):
        split_by_speakers("p", make_corpus(4), {**SPEAKERS, part: []})


def test_the_table_counts_clips_speakers_and_labels(make_corpus):
    dataset = make_corpus(4)
    lines = split_by_speakers("p", dataset, SPEAKERS).table(dataset).splitlines()
    assert lines[0].split() == ["part", "clips", "speakers", "angry", "happy", "sad"]
    assert [line.split() for line in lines[1:4]] == [
        ["train", "12", "2", "4", "4", "4"],
        ["validation", "6", "1", "2", "2", "2"],
        ["test", "6", "1", "2", "2", "2"],
    ]
    assert "test: x:04" in lines


def test_the_file_tells_protocol_fingerprint_audit_speakers_and_ids(make_corpus, tmp_path):
    dataset = make_corpus(4)
    split = split_by_speakers("p", dataset, SPEAKERS)
    audited = audit(split, dataset)
    path = tmp_path / "split.json"
    save_split(split, audited, path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert list(content) == ["protocol", "sha256", "audit", "speakers", "ids"]
    assert content["protocol"] == "p"
    assert content["sha256"] == split.sha256
    assert content["audit"] == audited
    assert content["speakers"] == SPEAKERS
    assert content["ids"] == split.ids
    assert content["ids"]["test"] == [f"x:04/{take}" for take in range(6)]
    assert [file.name for file in tmp_path.iterdir()] == ["split.json"]
