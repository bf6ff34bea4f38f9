"""CREMA-D: the grammar of its file names, intended and perceived labels, its quirks, its own
tables.
"""

import csv
import shutil
from collections import Counter
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.blank import write_blank

from ser_hf.corpora import corpus_settings, cremad, load_corpus
from ser_hf.corpora.cremad import IDENTICAL, KNOWN_BAD, read_name, read_votes
from ser_hf.corpora.verify import manifest
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return cremad.parse(corpus_settings("cremad", root, **keys))


STEM = "1001_IEO_ANG_HI"
# of names, and what a mirror may add: lower case, a letter that folds to s, a foreign digit, a
# space, a line end
LETTERS = "0123456789_ADEFGHIMNOSXadefghimnosxſ٣ \n"
HEADER = '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"'
CLEAR = "1001_DFA_ANG_XX"
TIED = "1001_DFA_HAP_XX"
TIED_APART = "1001_DFA_SAD_XX"
BARE = "1002_DFA_FEA_XX"
VOICE = {
    CLEAR: (8, 1, 0, 0, 1, 0),
    TIED: (0, 0, 0, 4, 4, 2),  # the intended emotion is among the tied
    TIED_APART: (0, 0, 3, 0, 3, 2),  # and here it is not
    BARE: (3, 2, 2, 0, 2, 1),
}


def write(root, *stems):
    return write_blank(root, *(f"{stem}.wav" for stem in stems))


def write_table(folder, *rows, header=HEADER, end="\r\n", mark=""):
    """The release's vote table cut down to some rows of (number, six counts, clip)."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f'"{number}",{",".join(map(str, counts))},"{stem}",10,0.5,"A"'
        for number, counts, stem in rows
    ]
    table = folder / "tabulatedVotes.csv"
    table.write_bytes((mark + end.join([header, *lines]) + end).encode())
    return table


@pytest.fixture
def release(tmp_path):
    """Four clips in AudioWAV and their votes; the votes for face and multimodal are all disgust."""
    rows = [(f"10000{i}", counts, stem) for i, (stem, counts) in enumerate(VOICE.items(), 1)]
    rows += [
        (f"{mode}0000{i}", (0, 9, 0, 0, 0, 0), stem)
        for mode in (2, 3)
        for i, stem in enumerate(VOICE, 1)
    ]
    write_table(tmp_path / "processedResults", *rows)
    return write(tmp_path / "AudioWAV", *VOICE)


def read(stem):
    return read_name(PurePath(f"{stem}.wav"))


@pytest.mark.parametrize(
    "stem",
    # The second has a digit, but not an ASCII one.
    [
        "1092_IEO_ANG_HI",
        "100٣_IEO_ANG_HI",
        "1001_XYZ_ANG_HI",
        "1001_IEO_ANG_HI_2",
        "1001_IEO_ANG_HI\n",
    ],
)
def test_other_names_are_refused(stem):
    assert read(stem) is None


@given(st.text(LETTERS) | st.from_regex(cremad.GRAMMAR, fullmatch=True, alphabet=LETTERS))
def test_a_name_is_rebuilt_from_its_clip_or_is_refused(stem):
    clip = read(stem)
    if clip is None:
        return

    def code(codes, word):
        return {meaning: code for code, meaning in codes.items()}[word]

    sentence = code(cremad.SENTENCES, clip.sentence)
    emotion = code(cremad.EMOTION_CODES, clip.emotion)
    fields = (
        clip.speaker.removeprefix("cremad:"),
        sentence,
        emotion,
        code(cremad.LEVELS, clip.intensity),
    )
    assert "_".join(fields) == stem.upper()
    assert clip.id == f"cremad/{stem.upper()}"
    assert stem.isascii()


@pytest.mark.parametrize(
    ("level", "intensity"), [("LO", "low"), ("MD", "medium"), ("HI", "high"), ("XX", None)]
)
def test_a_clip_has_the_fields_of_its_name(level, intensity):
    path = PurePath("AudioWAV", f"1002_IEO_FEA_{level}.wav")
    clip = read_name(path)
    assert (clip.path, clip.id, clip.speaker) == (
        str(path),
        f"cremad/1002_IEO_FEA_{level}",
        "cremad:1002",
    )
    assert (clip.emotion, clip.intensity, clip.take) == ("fear", intensity, None)
    assert (clip.sex, clip.age, clip.language, clip.sentence) == (
        "female",
        21,
        "en",
        "It's eleven o'clock",
    )
    assert (clip.votes, dict(clip.extra)) == (None, {})


# Quirks


def test_the_silent_clip_and_the_identical_pairs_are_left_out(tmp_path):
    root = write(tmp_path, STEM, *KNOWN_BAD)
    listing = parse(root)
    assert [clip.id for clip in listing.clips] == [f"cremad/{STEM}"]
    assert {Path(path).stem: reason for path, reason in listing.skipped} == KNOWN_BAD
    assert KNOWN_BAD["1076_MTI_SAD_XX"].startswith("silent")
    for first, second in IDENTICAL:
        assert first in KNOWN_BAD[second]
        assert second in KNOWN_BAD[first]


def test_the_release_has_those_pairs_of_identical_files_alone():
    by_hash = {}
    for entry in manifest("cremad"):
        by_hash.setdefault(entry.sha256, []).append(PurePath(entry.path).stem)
    pairs = [tuple(stems) for stems in by_hash.values() if len(stems) > 1]
    assert sorted(pairs) == sorted(IDENTICAL)
    assert len(KNOWN_BAD) == 7


# Perceived labels


def test_the_most_voted_emotion_is_the_label_and_ties_are_left_out(release):
    listing = parse(release, target="voice")
    perceived = {clip.id.removeprefix("cremad/"): clip for clip in listing.clips}
    assert {stem: clip.emotion for stem, clip in perceived.items()} == {
        CLEAR: "angry",
        BARE: "angry",
    }
    assert dict(perceived[CLEAR].extra) == {"intended": "angry", "agreement": 0.8}
    assert dict(perceived[BARE].extra) == {"intended": "fear", "agreement": 0.3}
    assert all(clip.votes is None for clip in listing.clips)
    reason = "no majority of voice votes"
    assert listing.skipped == [
        (str(release / f"{stem}.wav"), reason) for stem in (TIED, TIED_APART)
    ]


def test_intended_labels_come_with_perceived_ones_where_the_table_exists(release, tmp_path):
    perceived = {
        clip.id.removeprefix("cremad/"): clip.extra["perceived"] for clip in parse(release).clips
    }
    assert perceived == {CLEAR: "angry", BARE: "angry", TIED: None, TIED_APART: None}
    away = tmp_path / "far" / "from" / "tables"
    shutil.copytree(release, away)
    assert all("perceived" not in clip.extra for clip in parse(away).clips)
    with pytest.raises(UserError, match="corpus.tables: no tabulatedVotes.csv"):
        parse(release, tables=str(away))


def test_soft_clips_carry_votes_and_ties_stay(release):
    listing = parse(release, target="voice", soft=True)
    assert not listing.skipped
    clips = {clip.id.removeprefix("cremad/"): clip for clip in listing.clips}
    for stem, counts in VOICE.items():
        assert dict(clips[stem].votes) == dict(
            zip(cremad.EMOTION_CODES.values(), counts, strict=True)
        )
    # The intended emotion where it is among the tied, else the first of the tied in canonical
    # order.
    assert (clips[TIED].emotion, clips[TIED].extra["agreement"]) == ("happy", 0.4)
    assert (clips[TIED_APART].emotion, clips[TIED_APART].extra["intended"]) == ("fear", "sad")
    assert clips[BARE].emotion == "angry"


def test_clips_of_too_little_agreement_are_left_out(release):
    listing = parse(release, target="voice", agreement=0.8)
    assert [clip.id for clip in listing.clips] == [f"cremad/{CLEAR}"]
    reason = "less than 0.8 of the voice votes agree (corpus.agreement)"
    assert (str(release / f"{BARE}.wav"), reason) in listing.skipped
    soft = parse(release, target="voice", agreement=0.4, soft=True)
    assert {clip.id.removeprefix("cremad/") for clip in soft.clips} == {CLEAR, TIED}


def test_options_that_contradict_are_named(release):
    for key, value in (("agreement", 0.5), ("soft", True)):
        with pytest.raises(
            UserError, match=f"corpus.{key}: .*set corpus.target to one of voice, face, multimodal"
        ):
            parse(release, **{key: value})
    for value in (-0.1, 1.1):
        with pytest.raises(UserError, match="corpus.agreement: expected a number from 0 to 1, got"):
            load_corpus("cremad", release, target="voice", agreement=value)


# The table


@pytest.mark.parametrize("place", [".", "audio", "data/audio"])
def test_the_table_is_found_below_the_root_or_up_to_two_folders_above(tmp_path, place, monkeypatch):
    write_table(tmp_path / "processedResults", ("200001", (0, 9, 0, 0, 0, 0), STEM))
    root = write(tmp_path / place, STEM)
    assert [clip.emotion for clip in parse(root, target="face").clips] == ["disgust"]
    monkeypatch.chdir(root)
    assert [clip.emotion for clip in parse(".", target="face").clips] == ["disgust"]


def test_a_clip_without_votes_is_named_with_the_table(release):
    write(release, STEM)
    with pytest.raises(UserError) as error:
        parse(release, target="face")
    table = release.parent / "processedResults" / "tabulatedVotes.csv"
    assert str(error.value).startswith(
        f"{release / STEM}.wav: {table} has no row of face votes for it; "
    )


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\xff\xfe", HEADER.replace('"S"', '"T"').encode(), b"x" * 200_000]
)
def test_a_wrong_table_of_votes_is_named(tmp_path, content):
    table = tmp_path / "tabulatedVotes.csv"
    table.write_bytes(content)
    with pytest.raises(
        UserError, match=rf"^{table}: not the release's table of votes \(.*\); take it from https"
    ):
        read_votes(table, "voice")


@pytest.mark.parametrize(
    "row",
    [
        '"100002",1,0,0,0,x,0,"1001_IEO_ANG_LO"',
        '"100002",0,0,0,0,0,0,"1001_IEO_ANG_LO"',
        '"100002",1,0,0',
        f'"100002",1,0,0,0,0,0,"{STEM}"',
    ],
)
def test_a_table_with_a_row_without_counts_or_a_second_one_is_refused(tmp_path, row):
    table = write_table(tmp_path, ("100001", (1, 2, 3, 4, 5, 6), STEM))
    table.write_text(table.read_text() + row + "\n")
    with pytest.raises(UserError, match="tabulatedVotes.csv: not the release's table of votes"):
        read_votes(table, "voice")


def test_a_missing_table_is_named_with_its_url(release, tmp_path):
    (tmp_path / "processedResults" / "tabulatedVotes.csv").unlink()
    for tables in (None, "nowhere"):
        with pytest.raises(
            UserError, match=rf"no tabulatedVotes.csv in .*{tables or 'processedR'}.*raw"
        ):
            parse(release, target="voice", tables=tables)


# The release's own tables


def test_the_actors_are_those_of_the_release(real_corpora):
    with real_corpora("CREMA-D-metadata/VideoDemographics.csv").open(newline="") as file:
        wanted = {
            row["ActorID"]: (row["Sex"].lower(), int(row["Age"])) for row in csv.DictReader(file)
        }
    clips = [read(f"{actor}_IEO_ANG_HI") for actor in range(1001, 1092)]
    assert {clip.speaker.removeprefix("cremad:"): (clip.sex, clip.age) for clip in clips} == wanted
    assert Counter(clip.sex for clip in clips) == {"male": 48, "female": 43}
    assert (min(clip.age for clip in clips), max(clip.age for clip in clips)) == (20, 74)
