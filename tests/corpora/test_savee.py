"""SAVEE: the release's layout and the mirrors', one id for both, speakers that folder and name agree on."""

from collections import Counter
from pathlib import PurePath

import pytest

from ser_hf.corpora.savee import read_name
from ser_hf.utils.errors import UserError


@pytest.mark.parametrize("path", ["AudioData/DC/sa01.wav", "ALL/DC_sa01.wav", "DC/DC_sa01.flac"])
def test_every_layout_gives_the_same_clip(path):
    clip = read_name(PurePath(path))
    assert (clip.path, clip.id, clip.speaker) == (path, "savee/DC_sa01", "savee:DC")
    assert (clip.emotion, clip.sex, clip.language) == ("sad", "male", "en")
    assert (clip.age, clip.sentence) == (None, None)


@pytest.mark.parametrize("stem", ["DC_n16", "DC_n20", "DC_n30", "DC_a09"])
def test_numbers_of_the_release(stem):
    assert read_name(PurePath(f"{stem}.wav")).id == f"savee/{stem}"


@pytest.mark.parametrize(
    "path",
    [
        "a01.wav",  # without a speaker
        "AB/a01.wav",
        "DC_a00.wav",
        "DC_a16.wav",
        "DC_su16.wav",
        "DC_n31.wav",
        "DC_s01.wav",
        "DC_a1.wav",
        "DC_a0١.wav",
        "AB_a01.wav",
        "dc_a01.wav",
        "DC_a01_2.wav",
    ],
)
def test_other_names_are_refused(path):
    assert read_name(PurePath(path)) is None


def test_a_folder_that_contradicts_the_name_is_an_error():
    with pytest.raises(UserError, match="JK/DC_a01.wav: the name says DC, but the folder JK"):
        read_name(PurePath("JK/DC_a01.wav"))


def test_the_release_by_name(real_corpora):
    rows = real_corpora("manifests/savee.tsv").read_text().splitlines()[1:]
    clips = [read_name(PurePath(row.split("\t")[0])) for row in rows]
    assert len({clip.id for clip in clips}) == 480
    for (_, emotion), count in Counter((clip.speaker, clip.emotion) for clip in clips).items():
        assert count == (30 if emotion == "neutral" else 15)
