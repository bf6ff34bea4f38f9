"""Turns on the page of a Space, which cannot import ser_hf: they are those of ser-hf predict."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_hf.hub.space import PAGE_FILES
from ser_hf.inference.recordings import Recording
from ser_hf.inference.segmenting import fitted, read_turn_file, speech_of
from ser_hf.utils.annotations import Turn, write_turns
from ser_hf.utils.segments import Segment

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpora" / "RAVDESS"
TURNS = [
    Turn(Segment(0.25, 1.5), "angry", "anna", recording="call"),
    Turn(Segment(1.75, 2.0), "happy", "ben", recording="call"),
    Turn(Segment(2.5, 9.125), "neutral", "anna", recording="call"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The modules turns and picture of a Space."""
    folder = tmp_path_factory.mktemp("space")
    for name, source in PAGE_FILES.items():
        (folder / name).write_bytes((ROOT / "hub_cards" / source).read_bytes())
    sys.path.insert(0, str(folder))
    try:
        yield {name: importlib.import_module(name) for name in ("turns", "picture")}
    finally:
        sys.path.remove(str(folder))
        for name in ("turns", "picture"):
            sys.modules.pop(name, None)


def test_speech_is_fitted_as_in_predictions(page):
    generator = np.random.default_rng(0)
    for _ in range(200):
        borders = np.sort(generator.uniform(0, 40, 2 * generator.integers(1, 12)))
        spans = list(zip(borders[::2].tolist(), borders[1::2].tolist(), strict=True))
        limits = (float(generator.uniform(0.1, 3)), 40.0, 41.0)
        segments = fitted([Segment(*span) for span in spans], *limits)
        turns = page["turns"].fitted([page["turns"].Turn(*span) for span in spans], *limits)
        assert [turn[:2] for turn in turns] == [tuple(segment) for segment in segments]


def test_speech_is_found_as_in_predictions(page, tmp_path):
    pytest.importorskip("silero_vad")
    clips = sorted(CORPUS.glob("Actor_01/*.flac"))[:6]
    if not clips:
        pytest.skip("needs RAVDESS")
    samples = [soundfile.read(clip, dtype="float32", always_2d=True)[0][:, 0] for clip in clips]
    path = tmp_path / "call.wav"
    soundfile.write(path, np.concatenate(samples), 16000, subtype="FLOAT")
    lengths = (1.0, 8.0)

    recordings = speech_of([Recording("call", str(path))], lengths)
    shares = []
    turns = page["turns"].find_speech(np.concatenate(samples), 16000, lengths, shares.append)

    assert len(turns) >= 5
    assert [turn[:2] for turn in turns] == [tuple(one.segment) for one in recordings]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


@pytest.mark.parametrize("suffix", [".rttm", ".txt", ".csv"])
def test_files_are_read_as_in_predictions(page, tmp_path, suffix):
    path = tmp_path / f"turns{suffix}"
    if suffix == ".csv":
        rows = [f"{turn.segment.start},{turn.segment.end},{turn.speaker}\n" for turn in TURNS]
        path.write_text("start,end,speaker\n" + "".join(rows))
    else:
        write_turns(path, TURNS, 10.0)
    turns = page["turns"].read_turns(str(path), "uploads/call.wav", 10.0)
    expected = [(*turn.segment, turn.speaker) for turn in read_turn_file(path)]
    assert [tuple(turn) for turn in turns] == [pytest.approx(turn) for turn in expected]
    assert len(turns) == 3


def test_a_textgrid_has_a_tier_for_each_speaker(page, tmp_path):
    pytest.importorskip("praatio")
    path = tmp_path / "turns.TextGrid"
    write_turns(path, TURNS, 10.0)
    turns = page["turns"].read_turns(str(path), "call.wav", 10.0)
    assert [tuple(turn) for turn in turns] == [(*turn.segment, turn.speaker) for turn in TURNS]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.rttm", "SPEAKER call 1 0.5 1 <NA>\n", "line 1: 6 fields"),
        ("a.rttm", "SPEAKER call 1 x 1 <NA> <NA> a <NA> <NA>\n", "line 1: 'x' is no number"),
        ("a.rttm", "SPEAKER call 1 1 0 <NA> <NA> a <NA> <NA>\n", "from 1 to 1 s"),
        ("a.rttm", "", "has no turn"),
        (
            "a.rttm",
            "SPEAKER x 1 1 1 <NA> <NA> a\nSPEAKER y 1 1 1 <NA> <NA> a\n",
            "turns of 2 recordings, and none is named call",
        ),
        ("a.csv", "from,to\n1,2\n", "without the columns start and end"),
        ("a.csv", "start,end\n1,\n", "line 2: '' is no number"),
        ("a.csv", "start,end\n1,nan\n", "from 1 to nan s"),
        ("a.csv", "start,end\n-1,2\n", "from -1 to 2 s"),
        ("a.tsv", "start\tend\n9\t11\n", "the recording ends at 10.00 s"),
        ("a.txt", "some words\n", "line 1: 'some words' has no start and end"),
        ("a.txt", b"\xff\xfe\x00", "cannot be read as text"),
        ("a.TextGrid", "no grid", "cannot be read as a TextGrid"),
    ],
)
def test_a_wrong_file_has_one_message(page, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(page["turns"].PageError) as caught:
        page["turns"].read_turns(str(path), "call.wav", 10.0)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_speakers_are_text(page):
    turns = [page["turns"].Turn(0.0, 2.0, "<b>anna</b>"), page["turns"].Turn(3.0, 4.5)]
    labels = ["angry", "unknown"]
    shown = page["picture"].lanes(turns, labels, {"angry": "#d55e00"}, 10.0)
    shown += page["picture"].seconds_table(turns, labels, ["angry", "sad"])
    shown += page["picture"].turn_list(turns, labels, ["0.900", "0.300"])
    assert "<b>" not in shown
    assert shown.count("&lt;b&gt;anna&lt;/b&gt;") == 3
    assert "<td>0.0</td><td>1.5</td><td>1.5</td>" in shown


def test_a_single_turn_is_counted_in_the_singular(page):
    counted = page["picture"].counted
    assert counted(1, "turns of speech") == "1 turn of speech"
    assert counted(2, "turns of speech") == "2 turns of speech"
    assert counted(1, "turns") == "1 turn"
    assert counted(1200, "windows of 4 s") == "1,200 windows of 4 s"


def test_a_short_waveform_and_a_long_list_are_drawn(page):
    turn = page["turns"].Turn
    assert page["picture"].waveform(np.array([0.1, -0.2], np.float32)).count("L") == 3
    turns = [turn(i, i + 0.5) for i in range(2500)]
    shown = page["picture"].turn_list(turns, ["sad"] * 2500, ["0.5"] * 2500)
    assert "<summary>2,500 turns (the first 2,000)" in shown
    assert shown.count("<tr>") == 2001
