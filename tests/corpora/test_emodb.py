"""EMO-DB: the grammar of its file names, and all names of the release."""

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.corpora.emodb import GRAMMAR, read_name

LETTERS = "0123456789abfFWN٣ \n"


def test_a_clip_has_the_fields_of_its_name():
    clip = read_name(PurePath("wav/09b10Wd.flac"))
    assert (clip.path, clip.id, clip.speaker) == ("wav/09b10Wd.flac", "emodb/09b10Wd", "emodb:09")
    assert (clip.emotion, clip.sex, clip.age, clip.language, clip.take) == (
        "angry",
        "female",
        21,
        "de",
        4,
    )
    assert clip.sentence == "Die wird auf dem Platz sein, wo wir sie immer hinlegen."


@pytest.mark.parametrize(
    "stem",
    [
        "01a01Fa",
        "03a03Fa",
        "03a01Xa",
        "03a01Fg",
        "03a01F",
        "03a01Fa1",
        "٠3a01Fa",
        "03a01Fa\n",
        "",
    ],
)
def test_other_names_are_refused(stem):
    assert read_name(PurePath(f"{stem}.wav")) is None


@given(st.text(LETTERS) | st.from_regex(GRAMMAR, fullmatch=True, alphabet=LETTERS))
def test_an_id_is_the_name_in_the_case_of_the_release_or_the_name_is_refused(stem):
    clip = read_name(PurePath("wav", f"{stem}.wav"))
    if clip is not None:
        assert stem.isascii()
        assert clip.id == f"emodb/{stem[:2]}{stem[2:5].lower()}{stem[5].upper()}{stem[6].lower()}"
        assert read_name(PurePath(f"{clip.name}.wav")).id == clip.id
