"""Times of segments in cells of tables, and the columns that have them."""

import datetime

import pytest

from ser_hf.utils.errors import UserError
from ser_hf.utils.segments import (
    Segment,
    SegmentColumns,
    refuse_unread_segments,
    segment_columns,
    segments_of_columns,
)

COLUMNS = SegmentColumns("start", "end")


@pytest.mark.parametrize(
    ("start", "end", "segment"),
    [
        ("12.34", "15.2", Segment(12.34, 15.2)),
        (12, 15.5, Segment(12.0, 15.5)),
        ("12,5", "15,25", Segment(12.5, 15.25)),
        ("0 days 00:00:12.340000", "0 days 00:01:00", Segment(12.34, 60.0)),
        ("0:00:01.5", "00:00:02", Segment(1.5, 2.0)),
        (datetime.timedelta(seconds=1.5), datetime.timedelta(minutes=1), Segment(1.5, 60.0)),
        ("", "2.5", Segment(0.0, 2.5)),
        ("1.5", None, Segment(1.5, None)),
        ("1.5", "NaT", Segment(1.5, None)),
        (None, "", None),
        (float("nan"), float("nan"), None),
    ],
)
def test_times_are_seconds_or_timedeltas(start, end, segment):
    assert COLUMNS.segment({"start": start, "end": end}, "line 2") == segment


def test_a_column_that_ends_with_ms_has_milliseconds():
    columns = SegmentColumns("start_ms", "end_ms")
    segment = columns.segment({"start_ms": "1500", "end_ms": 2250}, "line 2")
    assert segment == Segment(1.5, 2.25)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2", "1", "ends at 1 s, but begins at 2 s"),
        ("2", "2", "ends at 2 s, but begins at 2 s"),
        ("-1", "2", "'-1' in column start is a negative time"),
        ("1", "-0.5", "'-0.5' in column end is a negative time"),
        ("soon", "2", "'soon' in column start is no time"),
        ("1", "inf", "'inf' in column end is no time"),
        ("1", "1:2:3:4", "'1:2:3:4' in column end is no time"),
        ("1", "1e999", "'1e999' in column end is no time"),
    ],
)
def test_a_wrong_time_names_its_row(start, end, message):
    with pytest.raises(UserError, match=f"^a.csv, line 7: .*{message}"):
        COLUMNS.segment({"start": start, "end": end}, "a.csv, line 7")


def test_names_of_segments_have_the_order_of_their_times():
    segments = [Segment(2.0, 3.0), Segment(2.0, 10.0), Segment(10.5, 11.0), Segment(100.0, None)]
    assert sorted(segments, key=lambda segment: segment.name) == segments


def test_both_columns_are_needed():
    assert segments_of_columns(["path", "start", "end"]) == COLUMNS
    assert segments_of_columns(["path", "start"]) is None
    assert segments_of_columns(["start", "end"], None, "end") is None
    assert segments_of_columns(["on", "off"], "on", "off") == SegmentColumns("on", "off")


@pytest.mark.parametrize(
    ("columns", "cells", "names"),
    [
        (["start", "end"], {"start": "0.4", "end": "0.8"}, ("start", "end")),
        (["start", "end"], {"start": "0", "end": "0.8"}, ("start", "end")),
        (["Start (s)", "END_TIME"], {"Start (s)": "1"}, ("Start (s)", "END_TIME")),
        (["onset", "offset"], {"onset": 1.5, "offset": 2}, ("onset", "offset")),
        (["offset", "duration"], {"offset": 1.5, "duration": 2}, ("offset", "duration")),
        (["offset", "duration"], {"offset": 0, "duration": 2}, None),
        (["start", "end"], {"start": None, "end": float("nan")}, None),
        (["start", "end"], {"start": "0 days 00:00:00", "end": "NaT"}, ("start", "end")),
        (["start", "end"], {"start": "0 days 00:00:00", "end": ""}, None),
        (["start"], {"start": "1"}, None),
        (["duration", "path"], {"duration": "1"}, None),
    ],
)
def test_which_columns_mean_segments(columns, cells, names):
    assert segment_columns(columns, [(2, cells)]) == names


def test_unread_times_are_refused_with_the_remedy():
    refuse_unread_segments("a.csv", ["onset", "offset"], [], "rename them")
    row = {"onset": "1", "offset": "2"}
    with pytest.raises(UserError, match="^a.csv: the columns onset and offset .*; rename them"):
        refuse_unread_segments("a.csv", ["onset", "offset"], [(2, row)], "rename them")
