"""TESS: names in any capitals, one spelling of ids, the file that lost a letter."""

from pathlib import PurePath

import pytest
from support.blank import write_blank

from ser_hf.corpora import corpus_settings, tess
from ser_hf.corpora.tess import read_name


def parse(root=None, **keys):
    return tess.parse(corpus_settings("tess", root, **keys))


@pytest.mark.parametrize(
    "path",
    [
        "OAF_back_fear.wav",
        "OAF_Fear/OAF_back_fear.wav",
        "oaf_fear/oaf_back_FEAR.WAV",
        "data/OAF_back_Fear.flac",
    ],
)
def test_a_clip_has_the_fields_of_its_name_in_any_capitals(path):
    clip = read_name(PurePath(path))
    assert (clip.path, clip.id, clip.speaker) == (path, "tess/OAF_back_fear", "tess:OAF")
    assert (clip.emotion, clip.sex, clip.age, clip.language) == ("fear", "female", 64, "en")
    assert clip.sentence == "Say the word back"


@pytest.mark.parametrize(
    "folder", ["YAF_pleasant_surprised", "YAF_Pleasant_surprise", "yaf_ps", "all"]
)
def test_ps_is_pleasant_surprise(folder):
    clip = read_name(PurePath(folder, "YAF_dog_ps.wav"))
    assert (clip.emotion, clip.speaker, clip.age) == ("surprise", "tess:YAF", 26)


# The last begins with a letter that folds to s, but is no s.
OTHERS = [
    "OA_back_neutral",
    "OAF_back_surprise",
    "OAF_back",
    "XAF_back_fear",
    "OAF_b4ck_fear",
    "OAF_bäck_fear",
    "OAF_back_1",
    "OAF_back_ſad",
]


@pytest.mark.parametrize("stem", OTHERS)
def test_other_names_are_refused(stem):
    assert read_name(PurePath(f"{stem}.wav")) is None


def test_the_misspelt_file_is_read(tmp_path):
    root = write_blank(
        tmp_path, "OAF_neutral/OA_bite_neutral.wav", "OAF_neutral/OAF_back_neutral.wav"
    )
    clips = parse(root).clips
    assert sorted(clip.id for clip in clips) == ["tess/OAF_back_neutral", "tess/OAF_bite_neutral"]
