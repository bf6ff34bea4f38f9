"""Folders of recordings to mix clips with: links are followed, and errors name the recipe's key."""

import numpy as np
import pytest
import soundfile

from ser_hf.audio.audio_folder import open_audio_folder
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


def test_links_to_files_and_folders_are_followed(write, opened, tmp_path):
    write("elsewhere/musan/b.wav", 200)
    write("noises/a.wav", 100)
    write("noises/z.wav", 300)
    (tmp_path / "noises" / "notes.txt").write_text("no audio")
    (tmp_path / "noises" / ".#lock").symlink_to("nobody@host")
    (tmp_path / "noises" / "musan").symlink_to(tmp_path / "elsewhere" / "musan")
    (tmp_path / "noises" / "y.wav").symlink_to(tmp_path / "noises" / "z.wav")
    (tmp_path / "link").symlink_to(tmp_path / "noises")
    assert opened(tmp_path / "noises") == opened(tmp_path / "link") == [100, 200, 300, 300]


@pytest.mark.parametrize(
    "bad", ["", " ", "a\0b", "~nobodyxx/x", "nowhere", "a.wav", "empty", "broken link"]
)
def test_a_folder_that_cannot_be_used_is_refused_with_its_key(
    bad, write, opened, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write("a.wav")
    (tmp_path / "empty").mkdir()
    write("broken link/a.wav")
    (tmp_path / "broken link" / "musan").symlink_to(tmp_path / "unmounted")
    with pytest.raises(UserError) as error:
        opened(bad)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{KEY}: ")
    assert repr(bad)[1:-1] in line
