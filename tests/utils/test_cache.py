"""Folders of the cache: complete or absent, readable on a read-only disk; clear messages."""

import contextlib
import logging
import os
import pickle
import re
import threading
import time
from unittest.mock import Mock

import numpy as np
import pytest

from ser_hf.utils import cache
from ser_hf.utils.cache import MappedFile, built_once, format_size, key_of
from ser_hf.utils.errors import UserError

REMEDY = (
    "make room or make it writable, or set audio.cache_dir, or the environment's SER_HF_CACHE, "
    "to another folder"
)


def build(folder, check=None):
    """Whether it had to be built."""
    with built_once(folder, check) as partial:
        if partial is not None:
            (partial / "content").write_text("complete")
    return partial is not None


def readable(folder):
    if (folder / "content").read_text() != "complete":
        raise ValueError("content is\nanother")


def test_an_existing_folder_is_read_from_a_read_only_cache(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    assert build(tmp_path / "a")
    monkeypatch.setattr(cache, "FileLock", refuse)
    assert not build(tmp_path / "a")
    assert not build(tmp_path / "a", readable)
    with pytest.raises(UserError) as error:
        build(tmp_path / "b")
    assert str(error.value) == f"{tmp_path}: cannot be written to (Permission denied); {REMEDY}"


def test_the_date_of_a_folder_is_that_of_its_last_use(tmp_path):
    build(tmp_path / "a")
    os.utime(tmp_path / "a", (0, 0))
    assert not build(tmp_path / "a")
    assert time.time() - (tmp_path / "a").stat().st_mtime < 3600


@pytest.mark.parametrize("in_the_way", ["parent", "parent/a.partial"])
def test_a_folder_that_cannot_be_created_is_an_error(tmp_path, in_the_way):
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_text("a file")
    with pytest.raises(UserError, match=rf"parent: cannot be written to \(File exists\); {REMEDY}"):
        build(tmp_path / "parent" / "a")


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    def fill(partial):
        (partial / "half").write_text("half")
        raise OSError(28, "No space left on device")

    message = rf"{tmp_path}: cannot be written to \(No space left on device\); make room"
    with pytest.raises(UserError, match=message), built_once(tmp_path / "a") as partial:
        fill(partial)
    with pytest.raises(KeyError), built_once(tmp_path / "a"):
        raise KeyError("the builder's own")
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("content", "message"),
    [("other", "content is another"), (None, "No such file or directory: '.*content'")],
)
def test_a_damaged_folder_is_built_again_with_a_warning(tmp_path, caplog, content, message):
    build(tmp_path / "a", readable)
    path = tmp_path / "a" / "content"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    (tmp_path / "a" / "stale").touch()
    assert build(tmp_path / "a", readable)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert re.match(
        rf"{tmp_path}/a is damaged \(.*{message}\): deleted, and built again$", record.getMessage()
    )
    caplog.clear()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["content"]
    assert not build(tmp_path / "a", readable)
    assert not caplog.records


def test_any_damaged_byte_of_an_index_is_found(tmp_path):
    """zipfile and numpy raise errors of many classes, depending on the byte."""
    build(tmp_path / "a")
    np.savez(tmp_path / "index.npz", a=np.arange(3))
    original = (tmp_path / "index.npz").read_bytes()

    def check(folder):
        with np.load(tmp_path / "index.npz", allow_pickle=False) as index:
            assert index["a"].tolist() == [0, 1, 2]

    for i in range(len(original)):
        (tmp_path / "index.npz").write_bytes(
            original[:i] + bytes([original[i] ^ 0xFF]) + original[i + 1 :]
        )
        build(tmp_path / "a", check)  # a byte that no reader reads may have changed


def test_a_folder_that_another_process_has_repaired_is_used(tmp_path, caplog, monkeypatch):
    class Waited:
        def __init__(self, path):
            pass

        def acquire(self, timeout):
            (tmp_path / "a" / "content").write_text("complete")
            return contextlib.nullcontext()

    build(tmp_path / "a", readable)
    (tmp_path / "a" / "content").write_text("other")
    monkeypatch.setattr(cache, "FileLock", Waited)
    assert not build(tmp_path / "a", readable)
    assert not caplog.records


def test_waiting_for_another_process_gives_a_message(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_PATIENCE", 0.01)
    begun = threading.Event()
    waiting = threading.Event()
    messages = []

    def other():
        with built_once(tmp_path / "a") as partial:
            (partial / "content").write_text("complete")
            begun.set()
            waiting.wait(60)

    def warn(*words):
        messages.append(words[0] % words[1:])
        waiting.set()

    monkeypatch.setattr(cache.logger, "warning", warn)
    building = threading.Thread(target=other)
    building.start()
    assert begun.wait(60)
    assert not build(tmp_path / "a")
    building.join()
    assert messages == [f"waiting for the process that builds {tmp_path / 'a'}"]


def resume(folder, fault=None):
    """The names of the files that the builder gets; it adds one, and then raises `fault`."""
    with built_once(folder, resumed=True) as partial:
        names = sorted(path.name for path in partial.iterdir())
        (partial / str(len(names))).touch()
        if fault is not None:
            raise fault
    return names


def test_an_interrupted_build_is_resumed(tmp_path):
    for interruption in (KeyboardInterrupt(), SystemExit(1)):
        with pytest.raises(type(interruption)):
            resume(tmp_path / "a", interruption)
    assert not (tmp_path / "a").exists()
    assert resume(tmp_path / "a") == ["0", "1"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["0", "1", "2"]


def test_a_failed_build_or_one_that_does_not_resume_starts_again(tmp_path):
    with pytest.raises(KeyError):
        resume(tmp_path / "a", KeyError("the builder's own"))
    assert resume(tmp_path / "a") == []
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "stale").touch()
    assert build(tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["content"]


@pytest.mark.parametrize("fault", ["cut", "removed"])
def test_a_mapped_file_that_becomes_shorter_does_not_kill_the_process(fault, tmp_path):
    path = tmp_path / "values"
    np.arange(5000, dtype=np.float32).tofile(path)
    mapped = MappedFile(path, np.float32)
    unread = MappedFile(path, np.float32)
    assert mapped[4998:5000].tolist() == [4998, 4999]
    if fault == "cut":
        os.truncate(path, 8)
        damaged = [unread, mapped]
    else:
        path.unlink()
        damaged = [unread]  # a file that is mapped stays readable after its removal
    for file in damaged:
        with pytest.raises(
            UserError, match=f"{path}: cut short or removed while in use; the next run builds"
        ):
            file[4998:5000]


def test_a_user_without_a_home_folder_names_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("SER_HF_CACHE", raising=False)
    monkeypatch.setattr(
        cache.Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory."))
    )
    with pytest.raises(UserError, match="SER_HF_CACHE: missing, and this user has no home folder"):
        cache.cache_root()
    assert cache.cache_root(tmp_path) == tmp_path


def test_sizes_have_units():
    assert format_size(11.3e9) == "11.3 GB"
    assert format_size(4.2e6) == "4.20 MB"
    assert format_size(1234e9) == "1,234.0 GB"


def test_a_mapped_file_notices_that_it_was_written_to(tmp_path):
    path = tmp_path / "values"
    np.arange(10, dtype=np.float32).tofile(path)
    mapped = MappedFile(path, np.float32)
    assert mapped[:2].tolist() == [0, 1]
    assert not mapped.changed
    os.utime(path, (0, 0))
    mapped[:2]
    assert mapped.changed


def test_a_mapped_file_is_mapped_again_in_another_process(tmp_path):
    path = tmp_path / "values"
    np.arange(10, dtype=np.float32).tofile(path)
    mapped = MappedFile(path, np.float32)
    assert mapped[8:].tolist() == [8, 9]
    copy = pickle.loads(pickle.dumps(mapped))
    assert copy[8:].tolist() == [8, 9]


def test_equal_descriptions_have_one_key():
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
