"""RAVDESS: the grammar of its file names, its quirks, all names of the release, and duplicated
folders.
"""

from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.blank import write_blank

from ser_hf.corpora import corpus_settings, load_corpus, ravdess
from ser_hf.corpora.ravdess import read_name
from ser_hf.corpora.verify import manifest
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return ravdess.parse(corpus_settings("ravdess", root, **keys))


SPEECH = "03-01-05-02-01-02-12"
SONG = "03-02-03-01-01-01-01"
# of names, and what a mirror may add: a foreign digit, a space, a line end
LETTERS = "0123456789-٣ \n"
PAIR = ("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")


def write(root, *stems):
    return write_blank(root, *(f"{stem}.wav" for stem in stems))


def read(stem):
    return read_name(PurePath(f"{stem}.wav"))


def every_name(channel):
    """All names that the grammar's fields can make, the release's or not."""
    for emotion in ravdess.EMOTION_CODES:
        for intensity in ravdess.INTENSITIES:
            for statement in ravdess.STATEMENTS:
                for repetition in ("01", "02"):
                    for actor in range(1, 25):
                        fields = ("03", channel, emotion, intensity, statement, repetition)
                        yield f"{'-'.join(fields)}-{actor:02d}"


def test_a_clip_has_the_fields_of_its_name():
    clip = read_name(PurePath("Actor_12", f"{SPEECH}.wav"))
    assert clip.path == str(PurePath("Actor_12", f"{SPEECH}.wav"))
    assert (clip.id, clip.speaker, clip.sex) == (f"ravdess/{SPEECH}", "ravdess:12", "female")
    assert (clip.emotion, clip.intensity, clip.take) == ("angry", "strong", 2)
    assert (clip.sentence, clip.language, clip.age) == ("Kids are talking by the door", "en", None)


@pytest.mark.parametrize(
    "stem",
    [
        "03-01-01-02-01-01-01",  # neutral is never strong
        "03-02-07-01-01-01-01",  # disgust is not sung
        "03-02-03-01-01-01-18",  # who did not sing at all
        "03-01-05-01-01-01-1٣",  # a digit, but not an ASCII one
        "03-01-05-01-01-01-01-01",
        "03-01-05-01-01-01-01\n",
    ],
)
def test_other_names_are_refused(stem):
    assert read(stem) is None


@given(st.text(LETTERS) | st.from_regex(ravdess.GRAMMAR, fullmatch=True, alphabet=LETTERS))
def test_a_name_is_rebuilt_from_its_clip_or_is_refused(stem):
    clip = read(stem)
    if clip is None:
        return

    def code(codes, word):
        return {meaning: code for code, meaning in codes.items()}[word]

    emotion = code(ravdess.EMOTION_CODES, clip.emotion)
    statement = code(ravdess.STATEMENTS, clip.sentence)
    intensity = code(ravdess.INTENSITIES, clip.intensity)
    actor = clip.speaker.removeprefix("ravdess:")
    assert stem[:6] in {f"0{modality}-0{channel}-" for modality in (1, 2, 3) for channel in (1, 2)}
    assert f"{emotion}-{intensity}-{statement}-{clip.take:02d}-{actor}" == stem[6:]
    assert clip.id == f"ravdess/{stem}"


def test_spoken_names_are_those_of_the_release():
    read_as = {stem for stem in every_name("01") if read(stem) is not None}
    assert read_as == {PurePath(entry.path).stem for entry in manifest("ravdess")}


def test_the_list_of_official_files_covers_the_spoken_part():
    assert not any(
        ravdess.is_sung(read_name(PurePath(entry.path))) for entry in manifest("ravdess")
    )
    assert all(ravdess.is_sung(clip) for clip in map(read, every_name("02")) if clip is not None)


def test_sung_clips_are_listed_as_skipped_or_taken(tmp_path):
    root = write(tmp_path, SPEECH, SONG)
    listing = parse(root)
    assert [clip.id for clip in listing.clips] == [f"ravdess/{SPEECH}"]
    assert listing.skipped == [(str(root / f"{SONG}.wav"), "song (corpus.song is false)")]
    assert len(parse(root, song=True).clips) == 2
    assert not parse(root, song=True).skipped
    (root / f"{SONG}.wav").unlink()
    with pytest.raises(
        UserError, match="corpus.song: no sung clip in .*; unpack Audio_Song_Actors_01-24.zip"
    ):
        parse(root, song=True)


def test_the_second_of_two_identical_files_is_left_out(tmp_path):
    root = write(tmp_path, *PAIR)
    listing = parse(root)
    assert [clip.id for clip in listing.clips] == [f"ravdess/{PAIR[0]}"]
    assert listing.skipped == [(str(root / f"{PAIR[1]}.wav"), ravdess.KNOWN_BAD[PAIR[1]])]
    assert PAIR[0] in ravdess.KNOWN_BAD[PAIR[1]]


def test_the_release_has_that_pair_of_identical_files_alone():
    by_hash = {}
    for entry in manifest("ravdess"):
        by_hash.setdefault(entry.sha256, []).append(PurePath(entry.path).stem)
    assert [tuple(stems) for stems in by_hash.values() if len(stems) > 1] == [PAIR]
    assert set(ravdess.KNOWN_BAD) == {PAIR[1]}


def test_a_doubled_folder_with_other_content_is_refused_naming_both_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # short paths in the message
    first = write(Path("Actor_12"), SPEECH) / f"{SPEECH}.wav"
    second = write(Path("audio_speech_actors_01-24") / "Actor_12", SPEECH) / f"{SPEECH}.wav"
    second.write_bytes(b"another recording")
    with pytest.raises(
        UserError, match=f"{second}: its id ravdess/{SPEECH} is also the id of {first}"
    ):
        load_corpus("ravdess", ".")
