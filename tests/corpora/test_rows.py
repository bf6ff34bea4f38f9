"""The way from a row of a table to a clip: labels, speakers, and what is missing."""

import pytest
from support.blank import write_blank

from ser_hf.corpora import corpus_settings
from ser_hf.corpora.rows import Row, RowParser, absent
from ser_hf.utils.errors import UserError


@pytest.fixture
def row(tmp_path):
    """A function that makes a row of a table over a file that is there."""
    path = write_blank(tmp_path, "a.wav") / "a.wav"

    def make(**fields):
        usual = {
            "where": "t.csv, line 2",
            "path": path,
            "name": "a",
            "searched_path": "anna_07/a.wav",
            "label": "joy",
        }
        return Row(**{**usual, "speaker": "anna", **fields})

    return make


def parser(**keys):
    return RowParser("calls", corpus_settings("csv", corpus_name="calls", **keys))


def read(row, on_unknown="error", **keys):
    listing = parser(on_unknown=on_unknown, **keys).listing([row])
    return listing.clips, listing.skipped


def test_a_row_becomes_a_clip(row):
    cells = {
        "gender": "F",
        "age": 31.0,
        "take": "2",
        "text": "Nein",
        "mood": "strong",
        "language": "de",
        "key": 7,
    }
    names = {"sex": "gender", "sentence": "text", "intensity": "mood", "id": "key"}
    ((clip,), skipped) = read(
        row(cells=cells, extra={"split": "test"}), columns=names, language="en"
    )
    assert (clip.id, clip.speaker, clip.emotion) == ("calls/7", "calls:anna", "happy")
    assert (clip.sex, clip.age, clip.take, clip.language) == ("female", 31, 2, "de")
    assert (clip.sentence, clip.intensity, clip.extra) == ("Nein", "strong", {"split": "test"})
    assert skipped == []


@pytest.mark.parametrize(
    ("pattern", "speaker"),
    [("(?P<speaker>[a-z]+)_([0-9]+)", "anna"), ("[a-z]+_([0-9]+)", "07"), ("^[a-z]+", "anna")],
)
def test_a_pattern_finds_the_speaker_in_the_path(row, pattern, speaker):
    ((clip,), _) = read(row(speaker="somebody"), speaker_pattern=pattern)
    assert clip.speaker == f"calls:{speaker}"


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        (
            {"speaker": None},
            {},
            "no speaker is given, and a speaker-independent split needs one; name the ",
        ),
        ({}, {"speaker_pattern": "([0-9]{3})"}, "corpus.speaker_pattern finds no speaker in anna"),
        ({}, {"speaker_pattern": "anna(x?)"}, "finds no speaker in anna_07/a.wav; name the column"),
    ],
)
def test_speakers_are_never_guessed(row, fields, options, message):
    with pytest.raises(UserError, match=f"^t.csv, line 2: .*{message}"):
        read(row(**fields), **options)
    assert read(row(**fields), no_speaker="skip", **options) == (
        [],
        [("t.csv, line 2", "unknown speaker")],
    )
    ((clip,), _) = read(row(**fields), no_speaker="one", **options)
    assert clip.speaker == "calls:unknown"


@pytest.mark.parametrize(
    ("fields", "error", "skipped"),
    [
        (
            {"label": "jolly"},
            "'jolly' is not a known emotion; .*as in {jolly: EMOTION}",
            "label 'jolly' is not an emotion",
        ),
        ({"label": None}, "no label; fill it in, or set corpus.on_unknown: skip", "no label"),
        ({"missing": "no file a.wav"}, "no file a.wav", "no such file"),
    ],
)
def test_rows_without_label_or_audio_are_an_error_or_skipped(row, fields, error, skipped):
    with pytest.raises(UserError, match=f"^t.csv, line 2: {error}"):
        read(row(**fields))
    assert read(row(**fields), "skip") == ([], [("t.csv, line 2", skipped)])


def test_absent_audio_and_git_lfs_pointers_have_a_reason(tmp_path):
    path = tmp_path / "a.wav"
    assert absent(path).startswith(
        f"no file {path}; correct the path, or set corpus.on_unknown: skip"
    )
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "a.wav is a Git LFS pointer" in absent(path)
    write_blank(tmp_path, "a.wav")
    assert absent(path) is None


@pytest.mark.parametrize("age", ["old", "20-30", -3, 31.5, 10**12])
def test_an_age_that_is_not_an_integer_is_kept_as_text(row, age):
    rows = [
        row(cells={"years": 23.0}),
        row(cells={"years": age, "take": "a"}, extra={"split": "test"}),
    ]
    clips = parser(columns={"age": "years"}).listing(rows).clips
    assert [(clip.age, clip.take) for clip in clips] == [(23, None), (None, None)]
    assert [clip.extra for clip in clips] == [
        {},
        {"own_age": str(age), "own_take": "a", "split": "test"},
    ]


@pytest.mark.parametrize("speaker", [float("nan"), "nan", "Unknown", "-1", -1, -1.0, "<NA>", ""])
def test_spellings_of_an_unknown_speaker(row, speaker):
    with pytest.raises(
        UserError, match="line 2: no speaker (is given|in 1 row: .* is read as missing)"
    ):
        read(row(speaker=speaker))
    ((clip,), _) = read(row(speaker=speaker), no_speaker="one")
    assert clip.speaker == "calls:unknown"


def test_a_list_is_not_a_speaker(row):
    message = r"^t.csv, line 2: expected one speaker name \(corpus.speaker\), got \['s0', 'q'\]"
    with pytest.raises(UserError, match=message):
        read(row(speaker=["s0", "q"]), no_speaker="one")


def test_a_pattern_needs_a_file_name_and_finds_no_speaker_named_unknown(row):
    with pytest.raises(
        UserError, match="line 2: .* finds no speaker in audio without a file name; name the column"
    ):
        read(row(searched_path=None, name="train/0000007"), speaker_pattern="([0-9]+)")
    with pytest.raises(UserError, match="finds no speaker in unknown_1.wav"):
        read(row(searched_path="unknown_1.wav"), speaker_pattern="^([a-z]+)_")
    with pytest.raises(UserError, match="finds no speaker in nan_1.wav"):
        read(row(searched_path="nan_1.wav"), speaker_pattern="^([a-z]+)_")


@pytest.mark.parametrize(
    ("label", "emotion"), [(" Happy ", "happy"), (1, "sad"), (1.0, "sad"), (True, "fear")]
)
def test_labels_are_text_in_any_table(row, label, emotion):
    ((clip,), _) = read(row(label=label), label_map={"1": "sad", "true": "fear"})
    assert clip.emotion == emotion
    assert isinstance(clip.original_label, str)


@pytest.mark.parametrize("name", ["", " ", "a:b", "a/b", "x\ny", "a|b", "a`b", "<b>"])
def test_a_name_of_a_corpus_that_ids_cannot_begin_with_is_refused(name):
    with pytest.raises(
        UserError, match="^corpus.corpus_name: .* cannot be the prefix of ids and speakers"
    ):
        corpus_settings("csv", corpus_name=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"label_map": {"Wut": "anger"}},
            "corpus.label_map.Wut: unknown emotion 'anger'; choose one of ",
        ),
        ({"columns": {"gender": "sex"}}, "corpus.columns.gender: choose one of id, sex, age, "),
        ({"speaker_pattern": "(a"}, "corpus.speaker_pattern: not a regular expression: missing"),
    ],
)
def test_invalid_options_are_named(options, message):
    with pytest.raises(UserError, match=f"^{message}"):
        corpus_settings("csv", **options)
