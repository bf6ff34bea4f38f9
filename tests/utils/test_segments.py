"""Columns of the start and the end of segments are refused, unless the rows are whole files."""

import pytest

from ser_hf.utils.errors import UserError
from ser_hf.utils.segments import refuse_segments, segment_columns


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


def test_segments_are_refused_with_the_remedy():
    refuse_segments("a.csv", ["start", "end"], [])
    with pytest.raises(UserError, match="^a.csv: the columns start and end .*; cut the files"):
        refuse_segments("a.csv", ["start", "end"], [(2, {"start": "1", "end": "2"})])
