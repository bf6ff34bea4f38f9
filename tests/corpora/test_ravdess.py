"""RAVDESS: the grammar of its file names, the whole release by name, and folders that only look like it."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.corpora import load_corpus
from ser_hf.corpora.ravdess import EMOTION_CODES, GRAMMAR, parse, parse_stem
from ser_hf.errors import UserError

SPEECH = "03-01-05-02-01-02-12"
SONG = "03-02-03-01-01-01-01"
LETTERS = "0123456789-٣ \n"  # of names, and what a mirror may add: a foreign digit, a space, a line end


def write(root, *stems, suffix=".wav", content=b"not decoded here"):
    root.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        (root / f"{stem}{suffix}").write_bytes(content)
    return root


def test_the_fields_of_a_name():
    assert parse_stem(SPEECH) == {
        "modality": "03",
        "channel": "01",
        "emotion": "05",
        "intensity": "02",
        "statement": "01",
        "repetition": "02",
        "actor": "12",
    }


@pytest.mark.parametrize(
    "stem",
    [
        "03-01-01-02-01-01-01",  # neutral is never strong
        "03-01-09-01-01-01-01",
        "03-01-00-01-01-01-01",
        "04-01-05-01-01-01-01",
        "03-03-05-01-01-01-01",
        "03-01-05-03-01-01-01",
        "03-01-05-01-03-01-01",
        "03-01-05-01-01-03-01",
        "03-01-05-01-01-01-00",
        "03-01-05-01-01-01-25",
        "03-01-05-01-01-01-1",
        "03-01-05-01-01-01-1٣",  # a digit, but not an ASCII one
        "03-01-05-01-01-01-01-01",
        "03-01-05-01-01-01-01 (1)",
        "03-01-05-01-01-01-01\n",
        "03_01_05_01_01_01_01",
        "",
    ],
)
def test_other_names_are_refused(stem):
    assert parse_stem(stem) is None


@given(st.text(LETTERS) | st.from_regex(GRAMMAR, fullmatch=True, alphabet=LETTERS))
def test_a_name_is_rebuilt_from_its_fields_or_none_of_the_corpus(stem):
    fields = parse_stem(stem)
    assert fields is None or ("-".join(fields.values()) == stem and stem.isascii())


def test_a_clip_tells_what_its_name_says(tmp_path):
    (clip,) = parse(write(tmp_path, SPEECH)).clips
    assert clip.path == str(tmp_path / f"{SPEECH}.wav")
    assert (clip.id, clip.speaker, clip.sex) == (f"ravdess/{SPEECH}", "ravdess:12", "female")
    assert (clip.emotion, clip.intensity, clip.take) == ("angry", "strong", 2)
    assert (clip.sentence, clip.language, clip.age) == ("Kids are talking by the door", "en", None)


def test_the_release_by_name(real_corpora, tmp_path):
    rows = real_corpora("manifests/ravdess.tsv").read_text().splitlines()[1:]
    for path in (Path(row.split("\t")[0]) for row in rows):
        write(tmp_path / path.parent, path.stem)
    listing = parse(tmp_path)
    assert len(listing.clips) == 1440
    assert not listing.skipped
    emotions = Counter(clip.emotion for clip in listing.clips)
    assert emotions == {emotion: 96 if emotion == "neutral" else 192 for emotion in EMOTION_CODES.values()}
    assert Counter(clip.speaker for clip in listing.clips) == {f"ravdess:{n:02d}": 60 for n in range(1, 25)}
    assert Counter(clip.sex for clip in listing.clips) == {"male": 720, "female": 720}
    assert len({clip.id for clip in listing.clips}) == 1440


def test_sung_clips_are_listed_as_skipped_or_taken(tmp_path):
    root = write(tmp_path, SPEECH, SONG)
    listing = parse(root)
    assert [clip.id for clip in listing.clips] == [f"ravdess/{SPEECH}"]
    assert listing.skipped == [(str(root / f"{SONG}.wav"), "song (corpus.song is false)")]
    assert len(parse(root, song=True).clips) == 2
    assert not parse(root, song=True).skipped


def test_a_folder_of_songs_alone_is_named(tmp_path):
    with pytest.raises(UserError, match="corpus.root.*ravdess"):
        load_corpus("ravdess", write(tmp_path, SONG))


def test_an_unknown_name_is_an_error_or_skipped(tmp_path):
    root = write(tmp_path, SPEECH, "take 1")
    with pytest.raises(UserError, match="take 1.wav: not a RAVDESS file name"):
        parse(root)
    listing = parse(root, on_unknown="skip")
    assert len(listing.clips) == 1
    assert listing.skipped == [(str(root / "take 1.wav"), "not a RAVDESS file name")]


def test_files_that_are_no_audio_and_hidden_files_are_passed_over(tmp_path):
    root = write(tmp_path, SPEECH, suffix=".WAV")
    write(root, f"._{SPEECH}")
    write(root, "README", suffix=".txt")
    assert len(parse(root).clips) == 1


def test_a_missing_root_is_told():
    with pytest.raises(UserError, match="corpus.root: missing; RAVDESS needs"):
        parse(None)


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(UserError, match=f"corpus.root: {tmp_path}/nowhere is not a folder"):
        parse(tmp_path / "nowhere")


def test_a_folder_without_audio_is_named(tmp_path):
    with pytest.raises(UserError, match=f"corpus.root: {tmp_path} holds no audio file"):
        parse(write(tmp_path, "README", suffix=".txt"))


def test_git_lfs_pointers_are_told_from_audio(tmp_path):
    write(tmp_path, SPEECH)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 375720\n"
    write(tmp_path, "03-01-05-02-01-02-11", content=pointer)
    with pytest.raises(UserError, match=r"03-01-05-02-01-02-11\.wav: a Git LFS pointer.* \(1 of 2 files\)"):
        parse(tmp_path)


def test_a_doubled_folder_is_refused_naming_both_copies(tmp_path):
    first = write(tmp_path / "Actor_12", SPEECH) / f"{SPEECH}.wav"
    second = write(tmp_path / "audio_speech" / "Actor_12", SPEECH) / f"{SPEECH}.wav"
    with pytest.raises(UserError, match=f"{second}: the same clip stands at {first} too"):
        load_corpus("ravdess", tmp_path)
