"""Folders that appear complete, and only then replace the old one."""

import errno

import pytest

from ser_hf.utils.errors import UserError
from ser_hf.utils.files import atomic_folder


def _filled(folder, text):
    with atomic_folder(folder) as partial:
        (partial / "a.txt").write_text(text)


def test_a_folder_appears_complete_and_replaces_the_old_one(tmp_path):
    folder = tmp_path / "deep" / "out"
    _filled(folder, "one")
    _filled(folder, "two")
    assert (folder / "a.txt").read_text() == "two"
    assert [child.name for child in folder.parent.iterdir()] == ["out"]


def _interrupted(folder):
    with atomic_folder(folder) as partial:
        (partial / "a.txt").write_text("half")
        raise KeyError


def test_a_failure_leaves_the_old_one(tmp_path):
    folder = tmp_path / "out"
    _filled(folder, "one")
    with pytest.raises(KeyError):
        _interrupted(folder)
    assert (folder / "a.txt").read_text() == "one"
    assert [child.name for child in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_created_names_its_key(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output_dir: .*file/out cannot be written: .*File exists"):
        _filled(tmp_path / "file" / "out", "one")


def test_a_new_folder_that_cannot_be_renamed_is_kept(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    _filled(folder, "one")

    def refuse(self, target):
        raise OSError(errno.ENOTEMPTY, "Directory not empty", str(self))

    monkeypatch.setattr(type(folder), "rename", refuse)
    with pytest.raises(
        UserError, match="cannot be written: .*Directory not empty; see .*out.partial"
    ):
        _filled(folder, "two")
    assert (tmp_path / "out.partial" / "a.txt").read_text() == "two"
    assert (folder / "a.txt").read_text() == "one"


def test_two_processes_do_not_fill_one_folder_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("ser_hf.utils.files._PATIENCE", 0)
    folder = tmp_path / "out"
    with atomic_folder(folder) as partial:
        with pytest.raises(
            UserError, match="output_dir: .*/out is in use by process .*; wait, or name another"
        ):
            _filled(folder, "second")
        (partial / "a.txt").write_text("first")
    assert (folder / "a.txt").read_text() == "first"
    assert [child.name for child in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_an_error(tmp_path):
    def fill(partial):
        (partial / "weights").write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    message = rf"^--output: {tmp_path}/a cannot be written: No space left .*; make room there"
    with (
        pytest.raises(UserError, match=message),
        atomic_folder(tmp_path / "a", "--output") as partial,
    ):
        fill(partial)
    assert list(tmp_path.iterdir()) == []
