"""EMO-DB: the grammar of its file names, the whole release by name, the listeners' shares beside the clips."""

from collections import Counter
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.corpora import load_corpus
from ser_hf.corpora.emodb import GRAMMAR, parse, read_name
from ser_hf.utils.errors import UserError

LETTERS = "0123456789abfFWN٣ \n"
TABLE = "Nr.\tSatz\terkannt\tnatuerlich\n1\xa0\t03a01Fa.wav\t90,00\xa0\xa0\t75,50\xa0\n2\t09b10Wd.wav\t5,00\t0,00\n\n"


def write(root, *names):
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).write_bytes(b"not decoded here")
    return root


def test_a_clip_tells_what_its_name_says():
    clip = read_name(PurePath("wav/09b10Wd.flac"))
    assert (clip.path, clip.id, clip.speaker) == ("wav/09b10Wd.flac", "emodb/09b10Wd", "emodb:09")
    assert (clip.emotion, clip.sex, clip.age, clip.language, clip.take) == ("angry", "female", 21, "de", 4)
    assert clip.sentence == "Die wird auf dem Platz sein, wo wir sie immer hinlegen."


@pytest.mark.parametrize(
    ("letter", "emotion"),
    [
        ("W", "angry"),
        ("L", "boredom"),
        ("E", "disgust"),
        ("A", "fear"),
        ("F", "happy"),
        ("T", "sad"),
        ("N", "neutral"),
    ],
)
def test_emotions_are_the_initials_of_their_german_names(letter, emotion):
    assert read_name(PurePath(f"03a01{letter}a.wav")).emotion == emotion


@pytest.mark.parametrize(
    "stem", ["01a01Fa", "03a03Fa", "03a01Xa", "03a01Fg", "03a01fa", "03a01F", "03a01Fa1", "٠3a01Fa", "03a01Fa\n", ""]
)
def test_other_names_are_refused(stem):
    assert read_name(PurePath(f"{stem}.wav")) is None


@given(st.text(LETTERS) | st.from_regex(GRAMMAR, fullmatch=True, alphabet=LETTERS))
def test_an_id_is_the_name_or_the_name_is_none_of_the_corpus(stem):
    clip = read_name(PurePath("wav", f"{stem}.wav"))
    assert clip is None or (clip.id == f"emodb/{stem}" and stem.isascii())


def test_the_release_by_name(real_corpora):
    rows = real_corpora("manifests/emodb.tsv").read_text().splitlines()[1:]
    clips = [read_name(PurePath(row.split("\t")[0])) for row in rows]
    assert Counter(clip.emotion for clip in clips) == {
        "angry": 127,
        "boredom": 81,
        "neutral": 79,
        "happy": 71,
        "fear": 69,
        "sad": 62,
        "disgust": 46,
    }
    assert len({clip.id for clip in clips}) == 535
    assert Counter(sex for _, sex in {(clip.speaker, clip.sex) for clip in clips}) == {"female": 5, "male": 5}


def test_an_unknown_name_is_an_error_or_skipped(tmp_path):
    root = write(tmp_path, "03a01Fa.wav", "take1.wav")
    with pytest.raises(UserError, match=r"take1.wav: not a file name of EMO-DB \(such as 03a01Fa.wav\)"):
        parse(root)
    assert len(parse(root, on_unknown="skip").clips) == 1


@pytest.mark.parametrize("place", ["wav", "."])
def test_the_listeners_shares_become_columns(tmp_path, place):
    write(tmp_path / "wav", "03a01Fa.wav", "09b10Wd.wav")
    (tmp_path / place / "erkennung.txt").write_bytes(TABLE.encode("latin-1"))
    dataset = load_corpus("emodb", tmp_path / "wav", perception=True)
    assert dataset["recognised"][:] == [90.0, 5.0]
    assert dataset["natural"][:] == [75.5, 0.0]
    assert "natural" not in load_corpus("emodb", tmp_path / "wav").features


def test_a_missing_table_or_line_of_the_listeners_is_told(tmp_path):
    root = write(tmp_path / "wav", "03a01Fa.wav", "03a01Na.wav")
    with pytest.raises(UserError, match="corpus.perception: neither .*erkennung.txt"):
        parse(root, perception=True)
    (root / "erkennung.txt").write_bytes(TABLE.encode("latin-1"))
    with pytest.raises(UserError, match=r"erkennung.txt: no line for 03a01Na.wav"):
        parse(root, perception=True)


@pytest.mark.parametrize(
    "line",
    [
        "3\t09b10Wd.wav\t5,00",
        "3\t09b10Wd.wav\t5,00\t0,00\t1",
        "3\t09b10Wd.wav\t\t0,00",
        "3\t09b10Wd.wav\t5,00\tnan",
        "3\t09b10Wd.wav\t5.00\t0.00",
        "3 09b10Wd.wav 5,00 0,00",
    ],
)
def test_a_line_of_the_listeners_that_cannot_be_read_is_named(tmp_path, line):
    root = write(tmp_path, "03a01Fa.wav")
    (root / "erkennung.txt").write_bytes(f"{TABLE}{line}\n".encode("latin-1"))
    with pytest.raises(UserError) as error:
        parse(root, perception=True)
    assert str(error.value).startswith(
        f"{root / 'erkennung.txt'}, line 5: expected number, file, recognised and natural"
    )
    assert str(error.value).endswith(f"got {line!r}")


def test_the_release_has_shares_for_every_clip(real_corpora):
    root = real_corpora("EMO-DB")
    clips = parse(root, perception=True).clips
    assert len(clips) == 535
    assert all(50 <= clip.extra["recognised"] <= 100 and 0 <= clip.extra["natural"] <= 100 for clip in clips)
