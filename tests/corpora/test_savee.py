"""SAVEE: the release's layout and the mirrors', one id for both, speakers that folder and name
agree on.
"""

from pathlib import PurePath

import pytest

from ser_hf.corpora.savee import read_name
from ser_hf.utils.errors import UserError


@pytest.mark.parametrize(
    "path",
    [
        "AudioData/DC/sa01.wav",
        "ALL/DC_sa01.wav",
        "DC/DC_sa01.flac",
        "dc/sa01.wav",
        "all/dc_SA01.WAV",
    ],
)
def test_every_layout_gives_the_same_clip(path):
    clip = read_name(PurePath(path))
    assert (clip.path, clip.id, clip.speaker) == (path, "savee/DC_sa01", "savee:DC")
    assert (clip.emotion, clip.sex, clip.language) == ("sad", "male", "en")
    assert (clip.age, clip.sentence) == (None, None)


@pytest.mark.parametrize("stem", ["DC_n16", "DC_n20", "DC_n30", "DC_a09"])
def test_numbers_of_the_release(stem):
    assert read_name(PurePath(f"{stem}.wav")).id == f"savee/{stem}"


OTHERS = [
    "a01",
    "AB/a01",
    "DC_a00",
    "DC_a16",
    "DC_su16",
    "DC_n31",
    "DC_s01",
    "DC_a1",
    "DC_a0١",
    "AB_a01",
    "DC_a01_2",
]


@pytest.mark.parametrize("stem", OTHERS)
def test_other_names_are_refused(stem):
    assert read_name(PurePath(f"{stem}.wav")) is None


def test_a_folder_that_contradicts_the_name_is_an_error():
    with pytest.raises(
        UserError, match="JK/DC_a01.wav: the file name says DC, but the folder says JK"
    ):
        read_name(PurePath("JK/DC_a01.wav"))
