"""CREMA-D: the grammar of its file names, the whole release by name, its actors as its own table has them."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.corpora import load_corpus
from ser_hf.corpora.cremad import EMOTION_CODES, GRAMMAR, parse, parse_stem
from ser_hf.errors import UserError

STEM = "1001_IEO_ANG_HI"
LETTERS = "0123456789_ADEFGHIMNOSX٣ \n"  # of names, and what a mirror may add: a foreign digit, a space, a line end


def write(root, *stems):
    root.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        (root / f"{stem}.wav").write_bytes(b"not decoded here")
    return root


def test_the_fields_of_a_name():
    assert parse_stem(STEM) == {"actor": "1001", "sentence": "IEO", "emotion": "ANG", "level": "HI"}


@pytest.mark.parametrize(
    "stem",
    [
        "1000_IEO_ANG_HI",
        "1092_IEO_ANG_HI",
        "1100_IEO_ANG_HI",
        "100٣_IEO_ANG_HI",  # a digit, but not an ASCII one
        "101_IEO_ANG_HI",
        "1001_XYZ_ANG_HI",
        "1001_IEO_SUR_HI",
        "1001_IEO_ANG_X",
        "1001_IEO_ANG",
        "1001_ieo_ang_hi",
        "1001_IEO_ANG_HI_2",
        "1001_IEO_ANG_HI\n",
        "1001-IEO-ANG-HI",
        "",
    ],
)
def test_other_names_are_refused(stem):
    assert parse_stem(stem) is None


@pytest.mark.parametrize("actor", ["1001", "1009", "1010", "1089", "1090", "1091"])
def test_every_actor_is_known(actor):
    assert parse_stem(f"{actor}_IEO_ANG_HI")["actor"] == actor


@given(st.text(LETTERS) | st.from_regex(GRAMMAR, fullmatch=True, alphabet=LETTERS))
def test_a_name_is_rebuilt_from_its_fields_or_none_of_the_corpus(stem):
    fields = parse_stem(stem)
    assert fields is None or ("_".join(fields.values()) == stem and stem.isascii())


@pytest.mark.parametrize(("level", "intensity"), [("LO", "low"), ("MD", "medium"), ("HI", "high"), ("XX", None)])
def test_a_clip_tells_what_its_name_says(tmp_path, level, intensity):
    (clip,) = parse(write(tmp_path, f"1002_IEO_FEA_{level}")).clips
    assert (clip.id, clip.speaker) == (f"cremad/1002_IEO_FEA_{level}", "cremad:1002")
    assert (clip.emotion, clip.intensity, clip.take) == ("fear", intensity, None)
    assert (clip.sex, clip.age, clip.language, clip.sentence) == ("female", 21, "en", "It's eleven o'clock")


def test_the_release_by_name(real_corpora, tmp_path):
    rows = real_corpora("manifests/cremad.tsv").read_text().splitlines()[1:]
    for path in (Path(row.split("\t")[0]) for row in rows):
        write(tmp_path / path.parent, path.stem)
    listing = parse(tmp_path)
    assert len(listing.clips) == 7442
    assert not listing.skipped
    emotions = Counter(clip.emotion for clip in listing.clips)
    assert emotions == {emotion: 1087 if emotion == "neutral" else 1271 for emotion in EMOTION_CODES.values()}
    assert len({clip.speaker for clip in listing.clips}) == 91
    assert len({clip.id for clip in listing.clips}) == 7442


def test_the_actors_are_those_of_the_release(real_corpora, tmp_path):
    with real_corpora("CREMA-D-metadata/VideoDemographics.csv").open(newline="") as file:
        wanted = {row["ActorID"]: (row["Sex"].lower(), int(row["Age"])) for row in csv.DictReader(file)}
    clips = parse(write(tmp_path, *(f"{actor}_IEO_ANG_HI" for actor in range(1001, 1092)))).clips
    assert {clip.speaker.removeprefix("cremad:"): (clip.sex, clip.age) for clip in clips} == wanted
    assert Counter(clip.sex for clip in clips) == {"male": 48, "female": 43}


def test_an_unknown_name_is_an_error_or_skipped(tmp_path):
    root = write(tmp_path, STEM, "take 1")
    with pytest.raises(UserError, match="take 1.wav: not a CREMA-D file name"):
        parse(root)
    listing = parse(root, on_unknown="skip")
    assert len(listing.clips) == 1
    assert listing.skipped == [(str(root / "take 1.wav"), "not a CREMA-D file name")]


def test_a_folder_of_unknown_names_alone_is_named(tmp_path):
    with pytest.raises(UserError, match="corpus.root.*cremad"):
        load_corpus("cremad", write(tmp_path, "take 1"), on_unknown="skip")


def test_a_doubled_folder_is_refused_naming_both_copies(tmp_path):
    first = write(tmp_path / "AudioWAV", STEM) / f"{STEM}.wav"
    second = write(tmp_path / "AudioWAV" / "AudioWAV", STEM) / f"{STEM}.wav"
    with pytest.raises(UserError) as error:
        load_corpus("cremad", tmp_path)
    assert str(first) in str(error.value)
    assert str(second) in str(error.value)
