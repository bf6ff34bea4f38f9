"""Recordings are divided into speech of fitting lengths, or into the turns of a file."""

import pytest

from ser_hf.inference.recordings import Recording
from ser_hf.inference.segmenting import fitted, read_turn_file, turns_of
from ser_hf.utils.annotations import Turn, write_turns
from ser_hf.utils.errors import UserError
from ser_hf.utils.segments import Segment


def test_short_segments_are_joined_with_the_next():
    segments = [Segment(0.0, 0.4), Segment(0.8, 1.5), Segment(4.0, 6.0)]
    assert fitted(segments, 1.0, 5.0, 10.0) == [Segment(0.0, 1.5), Segment(4.0, 6.0)]


def test_joined_segments_are_not_too_long():
    segments = [Segment(0.0, 3.0), Segment(3.2, 3.7)]
    divided = fitted(segments, 1.0, 3.5, 10.0)
    assert divided == [Segment(0.0, 3.0), Segment(3.0, 4.0)] or divided[0] == segments[0]
    assert all(segment.end - segment.start <= 3.5 for segment in divided)


@pytest.mark.parametrize(
    ("segments", "duration", "expected"),
    [
        ([Segment(5.0, 5.4)], 10.0, [Segment(4.7, 5.7)]),
        ([Segment(0.1, 0.5)], 10.0, [Segment(0.0, 1.0)]),
        ([Segment(9.8, 10.0)], 10.0, [Segment(9.0, 10.0)]),
        ([Segment(0.0, 0.2)], 0.4, [Segment(0.0, 0.4)]),
    ],
)
def test_a_short_segment_gets_a_part_of_the_pauses(segments, duration, expected):
    divided = fitted(segments, 1.0, 5.0, duration)
    for segment, wanted in zip(divided, expected, strict=True):
        assert segment == (pytest.approx(wanted.start), pytest.approx(wanted.end))


def test_fitted_segments_do_not_overlap():
    segments = [Segment(0.5, 0.6), Segment(2.0, 2.1), Segment(2.2, 9.9), Segment(9.95, 10.0)]
    divided = fitted(segments, 1.0, 8.0, 10.0)
    for first, second in zip(divided[:-1], divided[1:], strict=True):
        assert first.end <= second.start
    assert divided[0].start >= 0
    assert divided[-1].end <= 10.0


RECORDINGS = [Recording("one.wav", "calls/one.wav"), Recording("two.wav", "calls/two.wav")]


def test_the_turns_of_one_recording_may_have_another_name(tmp_path):
    turns = [Turn(Segment(0.5, 1.0), None, "anna", recording="x")]
    write_turns(tmp_path / "a.rttm", turns, 2.0)
    (divided,) = turns_of(RECORDINGS[:1], tmp_path / "a.rttm")
    assert divided.segment == Segment(0.5, 1.0)
    assert divided.speaker == "anna"
    assert divided.path == "calls/one.wav"


def test_the_turns_of_several_recordings_are_named(tmp_path):
    (tmp_path / "a.csv").write_text(
        "path,start,end,speaker,label\n"
        "two.wav,1,2,ben,sad\ncalls/one.wav,3,4,anna,\ncalls/one.wav,0,1,ben,angry\n"
    )
    divided = turns_of(RECORDINGS, tmp_path / "a.csv")
    rows = [(part.path, part.segment, part.speaker, part.label) for part in divided]
    assert rows == [
        ("calls/one.wav", Segment(0.0, 1.0), "ben", "angry"),
        ("calls/one.wav", Segment(3.0, 4.0), "anna", None),
        ("calls/two.wav", Segment(1.0, 2.0), "ben", "sad"),
    ]


def test_the_name_of_another_recording_is_a_warning(tmp_path, caplog):
    (tmp_path / "turns.csv").write_text("path,start,end\nother.wav,0,1\n")
    assert len(turns_of(RECORDINGS[:1], tmp_path / "turns.csv")) == 1
    assert f"the turns of other.wav are used for {RECORDINGS[0].path}" in caplog.text


def test_paths_of_a_table_start_from_its_folder(tmp_path):
    recordings = [
        Recording(str(tmp_path / name), str(tmp_path / name))
        for name in ("a/call.wav", "b/call.wav")
    ]
    (tmp_path / "turns.csv").write_text("path,start,end\na/call.wav,0,1\nb/call.wav,2,3\n")
    divided = turns_of(recordings, tmp_path / "turns.csv")
    assert [(part.path, part.segment.start) for part in divided] == [
        (recordings[0].path, 0.0),
        (recordings[1].path, 2.0),
    ]


def test_a_folder_has_a_file_for_each_recording(tmp_path):
    for name in ("one", "two"):
        turns = [Turn(Segment(0.0, 1.0), None, name)]
        write_turns(tmp_path / f"{name}.txt", turns, 2.0)
    divided = turns_of(RECORDINGS, tmp_path)
    assert [part.speaker for part in divided] == ["one", "two"]
    (tmp_path / "two.txt").unlink()
    with pytest.raises(UserError, match=r"^--segments: .* has 0 files of turns named two"):
        turns_of(RECORDINGS, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,start,end\ncalls/one.wav,0,1\n", "has no turn of calls/two.wav"),
        (
            "path,start,end\none.wav,0,1\ntwo.wav,0,1\nthree.wav,0,1\n",
            r"a\.csv, line 4: its recording three\.wav is not among",
        ),
        ("path,begin\none.wav,0\n", "needs the columns start and end"),
        ("path,start,end\none.wav,2,1\n", r"a\.csv, line 2: .*ends at 1 s"),
        ("path,start,end\none.wav,,\n", r"a\.csv, line 2: has no start"),
    ],
)
def test_wrong_turns_are_named(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        turns_of(RECORDINGS, tmp_path / "a.csv")


def test_a_table_of_elan_is_read_too(tmp_path):
    (tmp_path / "a.tsv").write_text("anna\t\t0.5\t1.25\tangry\n")
    (turn,) = read_turn_file(tmp_path / "a.tsv")
    assert (turn.speaker, turn.label) == ("anna", "angry")
