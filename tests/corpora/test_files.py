"""Finding the files of a corpus: recordings, links, Git LFS pointers, unfinished downloads."""

import os
from pathlib import Path

import pytest
from support.blank import write_blank
from support.layouts import write_layout
from support.testing import write_corpus

from ser_hf.corpora import load_corpus
from ser_hf.corpora.files import audio_files, audio_paths, parse_files
from ser_hf.corpora.schema import Clip
from ser_hf.corpora.settings import CorpusSettings
from ser_hf.utils.errors import UserError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 375720\n"


def read_name(path):
    """A corpus whose file names are an emotion and a number."""
    emotion, _, number = path.stem.partition("_")
    return Clip(str(path), emotion, "toy:1", f"toy/{path.stem}") if number.isdecimal() else None


def read(root, **keys):
    settings = CorpusSettings(name="toy", root=root, **keys)
    return parse_files(settings, "TOY", "sad_1.wav", read_name)


def test_audio_is_found_at_any_depth_in_the_order_of_names(tmp_path):
    write_blank(
        tmp_path, "b/sad_2.wav", "b/a/sad_1.FLAC", "a.ogg", "z.mp3", "c/d.aiff", "c/e.aif", "c/f.au"
    )
    paths = [path.relative_to(tmp_path).as_posix() for path in audio_files(tmp_path, "TOY")]
    assert paths == [
        "a.ogg",
        "b/a/sad_1.FLAC",
        "b/sad_2.wav",
        "c/d.aiff",
        "c/e.aif",
        "c/f.au",
        "z.mp3",
    ]
    assert audio_files(str(tmp_path), "TOY") == audio_files(tmp_path, "TOY")


@pytest.mark.parametrize("name", ["ravdess", "emodb", "csv", "hub"])
def test_a_path_that_is_not_utf8_is_named(tmp_path, name):
    """Neither tables of clips nor Arrow can hold such a path."""
    (write_layout if name == "hub" else write_corpus)(name, tmp_path / "copy", speakers=3, takes=1)
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    try:
        os.rename(tmp_path / "copy", folder)
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    root = Path(os.fsdecode(folder))
    options = {"label": "emotion", "speaker": "speaker_id"} if name == "hub" else {}
    with pytest.raises(UserError) as error:
        load_corpus(name, root / "clips.csv" if name == "csv" else root, **options)
    assert f"{tmp_path}/caf\\xe9" in str(error.value)
    assert "its path is not UTF-8, which tables of clips cannot hold; rename it" in str(error.value)
    if name == "ravdess":
        with pytest.raises(UserError, match="caf.*xe9.*is not UTF-8"):
            load_corpus(name, tmp_path)


def test_other_files_hidden_files_and_folders_are_ignored(tmp_path):
    write_blank(tmp_path, "sad_1.wav", "._sad_1.wav", ".sad_2.wav", "README.txt", "votes.csv")
    (tmp_path / "folder.wav").mkdir()
    assert audio_files(tmp_path, "TOY") == [tmp_path / "sad_1.wav"]


def test_links_to_folders_are_followed_and_each_folder_is_read_once(tmp_path):
    elsewhere = write_blank(tmp_path / "elsewhere", "b/sad_1.wav", "a/sad_2.wav")
    root = write_blank(tmp_path / "root", "sad_3.wav", "x/sad_4.wav")
    (root / "y").symlink_to(elsewhere, target_is_directory=True)
    (root / "z").symlink_to(elsewhere / "b", target_is_directory=True)
    (elsewhere / "a" / "loop").symlink_to(root, target_is_directory=True)
    (root / "sad_5.wav").symlink_to(elsewhere / "b" / "sad_1.wav")
    paths = [path.relative_to(root).as_posix() for path in audio_files(root, "TOY")]
    assert paths == ["sad_3.wav", "sad_5.wav", "x/sad_4.wav", "y/a/sad_2.wav", "y/b/sad_1.wav"]
    assert audio_paths(root) == audio_files(root, "TOY")


@pytest.mark.parametrize("name", ["sad_2.wav", "Actor_02"])
def test_a_broken_link_is_named(tmp_path, name):
    write_blank(tmp_path, "sad_1.wav", "LICENSE")
    (tmp_path / "notes.txt").symlink_to("nowhere.txt")
    assert audio_files(tmp_path, "TOY") == [tmp_path / "sad_1.wav"]
    (tmp_path / name).symlink_to(f".git/annex/{name}")
    with pytest.raises(
        UserError,
        match=f"{tmp_path / name}: a broken link to .git/annex/{name}; restore its target",
    ):
        audio_files(tmp_path, "TOY")
    assert audio_paths(tmp_path) == [tmp_path / "sad_1.wav"]


@pytest.mark.parametrize("name", ["nowhere", "sad_1.wav"])
def test_a_root_that_is_not_a_folder_is_named(tmp_path, name):
    write_blank(tmp_path, "sad_1.wav")
    message = f"corpus.root: {tmp_path / name}; name the folder that holds the audio of TOY"
    with pytest.raises(UserError, match=message):
        audio_files(tmp_path / name, "TOY")


def test_a_folder_without_audio_is_named(tmp_path):
    with pytest.raises(UserError, match=f"corpus.root: {tmp_path} holds no audio file .*.wav"):
        audio_files(write_blank(tmp_path, "README.txt"), "TOY")


def test_git_lfs_pointers_are_named(tmp_path):
    write_blank(tmp_path, "sad_1.wav")
    write_blank(tmp_path, "sad_2.wav", "sad_3.wav", content=POINTER)
    with pytest.raises(
        UserError, match=r"sad_2\.wav: a Git LFS pointer, not audio; run `git lfs pull`"
    ):
        audio_files(tmp_path, "TOY")


def test_unknown_names_are_an_error_or_skipped_with_the_reason(tmp_path):
    write_blank(tmp_path, "take 1.wav", "sad_1.wav", "angry_2.wav")
    message = (
        r"not a file name of TOY \(such as sad_1.wav\); remove it, or set corpus.on_unknown: skip"
    )
    with pytest.raises(UserError, match=message):
        read(tmp_path)
    listing = read(tmp_path, on_unknown="skip")
    assert listing.corpus == "toy"
    assert [clip.id for clip in listing.clips] == ["toy/angry_2", "toy/sad_1"]
    assert listing.skipped == [(str(tmp_path / "take 1.wav"), "not a file name of TOY")]


@pytest.mark.parametrize("root", ["", "data"], ids=["itself", "a folder above"])
def test_an_unfinished_download_is_not_read(root, tmp_path):
    folder = tmp_path / "data" / "RAVDESS" if root else tmp_path
    write_blank(folder, "a.wav")
    (folder / ".download").mkdir()
    assert audio_files(tmp_path, "RAVDESS") == [folder / "a.wav"]  # nothing is lost of an empty one
    write_blank(folder, ".download/0123")
    with pytest.raises(
        UserError, match=rf"^{folder}/\.download: unfinished; rerun `ser-hf download`"
    ):
        audio_files(tmp_path, "RAVDESS")
    assert audio_paths(tmp_path) == [folder / "a.wav"]


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_blank(tmp_path, "sad_1.wav")

    def closed(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(tmp_path), "open", closed)
    with pytest.raises(UserError, match=r"sad_1\.wav: cannot be read \(Permission denied\)"):
        audio_files(tmp_path, "TOY")


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_blank(tmp_path, "a/sad_1.wav", "b/sad_2.wav")
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    message = rf"^{tmp_path}/b: cannot be read \(Permission denied\); make corpus.root readable"
    with pytest.raises(UserError, match=message):
        audio_files(tmp_path, "TOY")
