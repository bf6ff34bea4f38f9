"""From a table's row to a clip: who speaks is told or refused, words are emotions, columns keep their kind."""

from pathlib import Path

import pytest

from ser_hf.corpora.table_rows import Reading, Row, carried, clips_of
from ser_hf.errors import UserError


@pytest.fixture
def row(tmp_path):
    """A function that makes a row of a table over a file that is there."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"not decoded here")

    def make(**fields):
        told = {"where": "t.csv, line 2", "path": path, "name": "a", "place": "anna_07/a.wav", "label": "joy"}
        return Row(**{**told, "speaker": "anna", **fields})

    return make


def read(row, on_unknown="error", **options):
    return clips_of([row], Reading("calls", **options), on_unknown)


def test_a_row_becomes_a_clip(row):
    cells = {"gender": "F", "age": 31.0, "take": "2", "text": "Nein", "mood": "strong", "language": "de", "key": 7}
    names = {"sex": "gender", "sentence": "text", "intensity": "mood", "id": "key"}
    ((clip,), skipped) = read(row(cells=cells, extra={"split": "test"}), columns=names, language="en")
    assert (clip.id, clip.speaker, clip.emotion) == ("calls/7", "calls:anna", "happy")
    assert (clip.sex, clip.age, clip.take, clip.language) == ("female", 31, 2, "de")
    assert (clip.sentence, clip.intensity, clip.extra) == ("Nein", "strong", {"split": "test"})
    assert skipped == []


def test_missing_cells_are_null(row):
    ((clip,), _) = read(row(cells={"sex": None, "age": float("nan"), "take": ""}), language="en")
    assert (clip.id, clip.sex, clip.age, clip.take, clip.language) == ("calls/a", None, None, None, "en")


@pytest.mark.parametrize(
    ("pattern", "speaker"),
    [("(?P<speaker>[a-z]+)_([0-9]+)", "anna"), ("[a-z]+_([0-9]+)", "07"), ("^[a-z]+", "anna")],
)
def test_a_pattern_over_the_path_tells_the_speaker(row, pattern, speaker):
    ((clip,), _) = read(row(speaker="somebody"), speaker_pattern=pattern)
    assert clip.speaker == f"calls:{speaker}"


@pytest.mark.parametrize(
    ("fields", "options", "told"),
    [
        ({"speaker": None}, {}, "it is not told who speaks, and a speaker-independent split needs to know; name the "),
        (
            {},
            {"speaker_pattern": "([0-9]{3})"},
            r"corpus.speaker_pattern \(\(\[0-9\]\{3\}\)\) finds no speaker in anna",
        ),
        ({}, {"speaker_pattern": "anna(x?)"}, "finds no speaker in anna_07/a.wav; name the column"),
    ],
)
def test_speakers_are_never_guessed(row, fields, options, told):
    with pytest.raises(UserError, match=f"^t.csv, line 2: .*{told}"):
        read(row(**fields), **options)
    assert read(row(**fields), no_speaker="skip", **options) == ([], [("t.csv, line 2", "its speaker is not told")])
    ((clip,), _) = read(row(**fields), no_speaker="one", **options)
    assert clip.speaker == "calls:unknown"


@pytest.mark.parametrize(
    ("fields", "error", "skipped"),
    [
        (
            {"label": "jolly"},
            "'jolly' is not an emotion known here; .*such as {jolly: ",
            "label 'jolly' is not an emotion",
        ),
        ({"label": None}, "no label; fill it in, or set corpus.on_unknown: skip", "no label"),
        ({"absent": "no file a.wav"}, "no file a.wav", "no such file"),
    ],
)
def test_what_cannot_be_learnt_from_is_an_error_or_skipped(row, fields, error, skipped):
    with pytest.raises(UserError, match=f"^t.csv, line 2: {error}"):
        read(row(**fields))
    assert read(row(**fields), "skip") == ([], [("t.csv, line 2", skipped)])


def test_a_git_lfs_pointer_is_no_audio(row, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match="^t.csv, line 2: .*a.wav is a Git LFS pointer"):
        read(row())


@pytest.mark.parametrize("age", ["old", -3, 31.5])
def test_a_number_that_is_none_is_refused(row, age):
    with pytest.raises(UserError, match="line 2: years should be a whole number or empty, got"):
        read(row(cells={"years": age}), columns={"age": "years"})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"label_map": {"Wut": "anger"}}, "corpus.label_map.Wut: 'anger' is none of angry, "),
        ({"columns": {"gender": "sex"}}, "corpus.columns.gender: none of id, sex, age, "),
        ({"speaker_pattern": "(a"}, "corpus.speaker_pattern: not a regular expression: missing"),
    ],
)
def test_options_that_cannot_be_are_named(options, told):
    with pytest.raises(UserError, match=f"^{told}"):
        Reading("calls", **options)


def test_columns_are_carried_in_the_kind_that_fits_all_cells():
    cells = [
        {"n": 1, "x": 1, "s": "1", "b": True, "mixed": 1, "session": 3, "list": [1], "bytes": b"", "day": Path("d")},
        {"n": 2, "x": 0.5, "s": "2", "b": False, "mixed": "a", "session": None, "list": [2], "none": None},
    ]
    typed = {"n": 1, "x": 1.0, "s": "1", "b": True, "mixed": "1", "session": "3", "day": "d"}
    assert carried(cells, (), guess=False)[0] == typed
    assert carried(cells, ("n", "x", "b", "mixed", "session"))[0] == {"s": 1, "day": "d"}
    assert carried(cells, ("s",))[1] == {"n": 2, "x": 0.5, "b": False, "mixed": "a", "session": None, "day": None}


def test_a_column_of_one_of_our_names_may_be_renamed():
    assert carried([{"duration": 1.5, "corpus": "x"}], (), rename=True) == [{"own_duration": 1.5, "own_corpus": "x"}]
    assert carried([{"duration": 1.5}], ()) == [{"duration": 1.5}]
