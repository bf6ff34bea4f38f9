"""Folders of recordings to mix clips with: links are followed, and what cannot be looked at is told with its key."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_hf.audio.prepare import open_audio_folder
from ser_hf.utils.errors import UserError

KEY = "augment.background_noise.folder"


@pytest.fixture
def write(tmp_path):
    """A function that writes a recording of so many samples below `tmp_path`."""

    def written(name, length=100):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(length, length / 1000), 16000)
        return path

    return written


@pytest.fixture
def opened(tmp_path):
    """The lengths of the recordings in a folder, in order."""
    return lambda folder: open_audio_folder(folder, 16000, KEY, tmp_path / "cache").lengths.tolist()


@pytest.fixture
def complaint(opened):
    def told(folder):
        with pytest.raises(UserError) as error:
            opened(folder)
        (line,) = str(error.value).splitlines()
        line.encode()
        assert line.startswith(f"{KEY}: ")
        return line.removeprefix(f"{KEY}: ")

    return told


@pytest.fixture
def closed(monkeypatch):
    """A function after which a path cannot be read, whoever runs the tests."""

    def close(path, name):
        whole = getattr(os, name)

        def denied(asked=".", *rest, **more):
            if str(asked) == str(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(asked))
            return whole(asked, *rest, **more)

        monkeypatch.setattr(os, name, denied)

    return close


def test_a_link_to_a_folder_is_followed(write, opened, tmp_path):
    write("elsewhere/musan/b.wav", 200)
    write("noises/a.wav", 100)
    write("noises/z.wav", 300)
    (tmp_path / "noises" / "musan").symlink_to(tmp_path / "elsewhere" / "musan")
    (tmp_path / "noises" / "y.wav").symlink_to(tmp_path / "noises" / "z.wav")
    assert opened(tmp_path / "noises") == [100, 200, 300, 300]
    (tmp_path / "link").symlink_to(tmp_path / "noises")
    assert opened(tmp_path / "link") == [100, 200, 300, 300]


def test_links_in_a_circle_and_folders_met_again_count_once(write, opened, tmp_path):
    write("noises/b/a.wav", 100)
    (tmp_path / "noises" / "b" / "up").symlink_to(tmp_path / "noises")
    (tmp_path / "noises" / "a").symlink_to(tmp_path / "noises" / "b")
    (tmp_path / "noises" / "c").symlink_to(tmp_path / "noises" / "b")
    assert opened(tmp_path / "noises") == [100]


def test_a_link_that_leads_nowhere_is_told(write, complaint, opened, tmp_path):
    write("noises/a.wav")
    (tmp_path / "noises" / ".#lock").symlink_to("nobody@host")
    assert opened(tmp_path / "noises") == [100], "hidden files are nobody's recordings"
    lost = tmp_path / "noises" / "musan"
    lost.symlink_to(tmp_path / "unmounted")
    assert complaint(tmp_path / "noises") == f"{lost}: cannot be read (No such file or directory)"
    lost.unlink()
    lost.symlink_to(lost)
    assert complaint(tmp_path / "noises").startswith(f"{lost}: cannot be read (Too many levels")


def test_what_cannot_be_read_is_told(write, complaint, closed, tmp_path):
    write("noises/a.wav")
    inside, file = tmp_path / "noises" / "inside", write("noises/inside/b.wav")
    closed(inside, "scandir")
    assert complaint(tmp_path / "noises") == f"{inside}: cannot be read (Permission denied)"
    closed(tmp_path / "noises", "scandir")
    assert complaint(tmp_path / "noises") == f"{tmp_path / 'noises'}: cannot be read (Permission denied)"
    closed(file, "stat")
    assert complaint(inside).endswith("(Permission denied)")


def test_what_is_no_folder_is_told(write, complaint, tmp_path, monkeypatch):
    file = write("a.wav")
    assert complaint(file) == f"{file}: a file; name the folder that holds it"
    assert complaint(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no such folder"
    assert complaint("~nobodyxx/x").startswith("~nobodyxx/x: no such user's home")
    monkeypatch.chdir(tmp_path)
    for nothing in ("", " ", "a\0b"):
        assert complaint(nothing) == f"{nothing!r} is not a folder; give its path, or remove the key"


@pytest.mark.parametrize("name", [b"b\xe9bble.wav", b"\xe9/a.wav"])
def test_a_name_that_is_not_utf8_is_told(name, write, complaint, tmp_path):
    (tmp_path / "noises").mkdir()
    path = Path(os.fsdecode(os.fsencode(tmp_path / "noises") + b"/" + name))
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(write("a.wav").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    shown = name.replace(b"\xe9", rb"\xe9").decode()
    assert complaint(tmp_path / "noises") == f"{tmp_path / 'noises'}/{shown}: its name is not UTF-8; rename it"
