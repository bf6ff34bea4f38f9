"""Counts and statistics against small sums done by hand."""

import pytest

from ser_hf.corpora.schema import Clip
from ser_hf.inspection.measure import Measurement
from ser_hf.inspection.survey import Found
from ser_hf.inspection.tables import Row, by_group, crosstable, describe, explained, ordered_labels, repeated


def clip(emotion, speaker="a", sex=None):
    return Clip(path="x", emotion=emotion, speaker=speaker, id="x", sex=sex)


def row(emotion, duration, speaker="a"):
    return Row(Found("x", "x", "clip", clip(emotion, speaker)), Measurement(duration=duration))


def test_labels_in_canonical_order():
    assert ordered_labels([clip("sad"), clip("angry"), clip("other")]) == ["angry", "sad", "other"]


def test_crosstable_counts_and_keeps_what_is_not_stated():
    clips = [clip("sad", sex="male"), clip("sad", sex="female"), clip("angry", sex="female"), clip("angry")]
    table = crosstable(clips, lambda clip: clip.sex)
    assert table == {
        "labels": ["angry", "sad"],
        "rows": {"female": [1, 1], "male": [0, 1], "not stated": [1, 0]},
        "total": [2, 2],
    }
    levels = iter(["low", "high", "medium"])
    assert list(crosstable(clips[:3], lambda clip: next(levels))["rows"]) == ["low", "medium", "high"]
    assert crosstable([clip("sad")], lambda clip: clip.sex) is None
    assert crosstable([], lambda clip: clip.sex) is None


def test_describe():
    described = describe([row("sad", float(i)) for i in range(101)])
    assert described == {
        "duration": {"clips": 101, "minimum": 0, "p05": 5, "median": 50, "p95": 95, "maximum": 100},
    }


def test_explained_variance():
    def emotion(clip):
        return clip.emotion

    # Within the groups 1, 1 and 1, 1 (squares 4 * 0.25 = 1); in all 4 * 4.25 = 17: 1 - (1 / 2) / (17 / 3).
    rows = [row("sad", 0.0), row("sad", 1.0), row("angry", 4.0), row("angry", 5.0)]
    assert explained(rows, "duration", emotion) == pytest.approx(1 - 0.5 * 3 / 17)
    # Groups of the same mean explain less than nothing, which is nothing.
    assert (
        explained([row("sad", 0.0), row("sad", 2.0), row("angry", 0.0), row("angry", 2.0)], "duration", emotion) == 0
    )
    assert explained(rows[:2], "duration", emotion) is None
    assert explained(rows[1:3], "duration", emotion) is None
    assert explained([row(e, 1.0) for e in ("sad", "sad", "angry")], "duration", emotion) is None
    assert explained(rows, "loudness", emotion) is None


def test_groups():
    rows = [row("sad", 1.0, "b"), row("sad", 2.0, "a"), row("sad", 3.0, "b"), row("sad", None, "c")]
    assert by_group(rows, "duration", lambda clip: clip.speaker) == {"a": [2.0], "b": [1.0, 3.0]}
    assert list(by_group(rows, "duration", lambda clip: clip.speaker)) == ["a", "b"]
    assert repeated(rows, lambda row: row.clip.speaker) == [[rows[0], rows[2]]]
    assert repeated(rows, lambda row: None) == []
