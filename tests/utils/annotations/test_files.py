"""Every written file of annotations is read again with equal content; bad files are one line."""

import pytest

from ser_hf.utils.annotations import WRITTEN_SUFFIXES, Turn, read_turns, write_turns
from ser_hf.utils.errors import UserError
from ser_hf.utils.segments import Segment

pytest.importorskip("praatio")

TURNS = [
    Turn(Segment(0.5, 1.25), "angry", "anna", recording="call"),
    Turn(Segment(1.5, 2.0), "sad", "ben", recording="call"),
    Turn(Segment(2.0, 3.125), "neutral", "anna", recording="call"),
    Turn(Segment(3.0, 4.0), "happy", "ben", recording="call"),
]


def content(turns, recordings=False):
    """The turns without their places."""
    rows = []
    for turn in turns:
        row = (round(turn.segment.start, 3), round(turn.segment.end, 3), turn.label, turn.speaker)
        rows.append((*row, turn.recording) if recordings else row)
    return sorted(rows)


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
@pytest.mark.parametrize("with_speakers", [True, False])
def test_a_written_file_is_read_again(tmp_path, suffix, with_speakers):
    turns = TURNS
    if not with_speakers:
        turns = [Turn(turn.segment, turn.label, None, recording="call") for turn in TURNS[:3]]
    path = tmp_path / f"call{suffix}"
    write_turns(path, turns, duration=5.0)
    assert content(read_turns(path)) == content(turns)


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_some_turns_without_a_speaker_are_read_again(tmp_path, suffix):
    turns = [*TURNS, Turn(Segment(4.0, 4.5), "fear", None, recording="call")]
    path = tmp_path / f"call{suffix}"
    write_turns(path, turns, duration=5.0)
    read = content(read_turns(path))
    assert read[:-1] == content(TURNS)
    assert read[-1][:3] == (4.0, 4.5, "fear")
    # The tiers of a TextGrid have the names of speakers.
    assert read[-1][3] == ("unknown" if suffix == ".textgrid" else None)


def test_a_tier_of_speakers_alone_has_turns_without_emotions(tmp_path):
    path = tmp_path / "call.TextGrid"
    write_turns(path, [Turn(Segment(1.0, 2.0), "anna", "speaker")], duration=5.0)
    assert content(read_turns(path)) == [(1.0, 2.0, None, "anna")]


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_no_turns_are_a_file_too(tmp_path, suffix):
    path = tmp_path / f"call{suffix}"
    write_turns(path, [], duration=5.0)
    assert read_turns(path) == []


def test_rttm_names_the_recording_of_each_turn(tmp_path):
    turns = [*TURNS, Turn(Segment(0.0, 1.0), "sad", None, recording="other")]
    write_turns(tmp_path / "all.rttm", turns, duration=5.0)
    assert content(read_turns(tmp_path / "all.rttm"), recordings=True) == content(
        turns, recordings=True
    )


def test_the_lines_of_a_diarizer_have_speakers_without_labels(tmp_path):
    path = tmp_path / "a.rttm"
    path.write_text(
        ";; a comment\n"
        "SPKR-INFO call 1 <NA> <NA> <NA> unknown SPEAKER_00 <NA> <NA>\n"
        "SPEAKER call 1 0.50 1.25 <NA> <NA> SPEAKER_00 <NA> <NA>\n"
    )
    assert content(read_turns(path)) == [(0.5, 1.75, None, "SPEAKER_00")]


def test_overlapping_turns_of_a_speaker_are_cut_in_a_textgrid(tmp_path):
    turns = [
        Turn(Segment(0.0, 2.0), "angry", "anna"),
        Turn(Segment(1.5, 3.0), "sad", "anna"),
    ]
    write_turns(tmp_path / "a.TextGrid", turns, duration=2.5)
    assert content(read_turns(tmp_path / "a.TextGrid")) == [
        (0.0, 1.5, "angry", "anna"),
        (1.5, 2.5, "sad", "anna"),
    ]


ELAN = [
    "emotion\tanna\t00:00:00.500\t0.5\t00:00:01.250\t1.25\t00:00:00.750\t0.75\tangry\n",
    "emotion\t\t0.5\t1.25\tangry\n",
    "emotion\t\t500\t1250\t750\tangry\n",
    "emotion\t\t00:00:00.500\t00:00:01.250\tangry\n",
    "Tier\tParticipant\tBegin\tEnd\tValue\nemotion\t\t0.500\t1.250\tangry\n",
]


@pytest.mark.parametrize("text", ELAN)
def test_times_of_elan_are_read_in_each_form(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    (turn,) = read_turns(tmp_path / "a.txt")
    assert (turn.segment, turn.label) == (Segment(0.5, 1.25), "angry")
    assert turn.speaker == ("anna" if "anna" in text else None)


def test_a_tier_of_speakers_names_the_speaker_of_each_emotion(tmp_path):
    (tmp_path / "a.tsv").write_text(
        "emotion\t\t0.0\t2.0\tangry\n"
        "emotion\t\t2.5\t4.0\tsad\n"
        "Speaker\t\t0.0\t1.8\tanna\n"
        "Speaker\t\t1.8\t4.0\tben\n"
    )
    assert content(read_turns(tmp_path / "a.tsv")) == [
        (0.0, 2.0, "angry", "anna"),
        (2.5, 4.0, "sad", "ben"),
    ]


def test_a_tier_is_chosen_by_name(tmp_path):
    (tmp_path / "a.tsv").write_text("words\t\t0.0\t2.0\thello\nFeeling\t\t0.0\t2.0\tangry\n")
    (turn,) = read_turns(tmp_path / "a.tsv", tier="feeling")
    assert turn.label == "angry"
    with pytest.raises(UserError, match=r"^corpus\.tier: .* no tier 'mood'; it has words, Feeling"):
        read_turns(tmp_path / "a.tsv", tier="mood")


def test_frequencies_and_points_of_audacity_are_left_out(tmp_path):
    (tmp_path / "a.txt").write_text("0.5\t1.25\tangry\n\\\t100.0\t200.0\n2.0\t2.0\tclick\n")
    assert content(read_turns(tmp_path / "a.txt")) == [(0.5, 1.25, "angry", None)]


TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 5
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "emotion"
        xmin = 0
        xmax = 5
        intervals: size = 1
        intervals [1]:
            xmin = {start}
            xmax = {end}
            text = "angry"
"""


def test_a_textgrid_is_read_in_each_encoding(tmp_path):
    for encoding in ("utf-8", "utf-16"):
        path = tmp_path / f"{encoding}.TextGrid"
        path.write_text(TEXTGRID.format(start=0.5, end=1.25), encoding=encoding)
        assert content(read_turns(path)) == [(0.5, 1.25, "angry", None)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("none.TextGrid", None),
        ("empty.TextGrid", ""),
        ("words.TextGrid", "hello\n"),
        ("cut.TextGrid", TEXTGRID.format(start=0.5, end=1.25)[:250]),
        ("back.TextGrid", TEXTGRID.format(start=2, end=1)),
        ("number.TextGrid", TEXTGRID.format(start="soon", end=1)),
        ("short.rttm", "SPEAKER call 1 0.5\n"),
        ("word.rttm", "SPEAKER call 1 soon 1 <NA> <NA> anna <NA> <NA>\n"),
        ("negative.rttm", "SPEAKER call 1 -1 2 <NA> <NA> anna <NA> <NA>\n"),
        ("nothing.rttm", "SPEAKER call 1 1 0 <NA> <NA> anna <NA> <NA>\n"),
        ("words.txt", "hello world\n"),
        ("half.txt", "0.5\t1.0\tangry\nhello\n"),
        ("back.txt", "2.0\t1.0\tangry\n"),
        ("negative.txt", "-2.0\t1.0\tangry\n"),
        ("times.tsv", "emotion\t\t0.5\t1.25\tangry\nemotion\t\tangry\n"),
        ("back.tsv", "emotion\t\t2.5\t1.25\tangry\n"),
        ("a.xml", "<a/>"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, name, text):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_turns(path)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 400


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    for suffix in (".TextGrid", ".rttm", ".txt"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(bytes(range(256)))
        with pytest.raises(UserError, match=str(path)):
            read_turns(path)
