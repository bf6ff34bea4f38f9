"""A folder of the cache: whole or not there, taken without writing anything, and every refusal of the disk told."""

import contextlib
import logging
import os
import re
import threading
import time

import numpy as np
import pytest
from filelock import FileLock

from ser_hf.utils import cache
from ser_hf.utils.cache import built_once, format_size
from ser_hf.utils.errors import UserError

ROOM = "make room there, or set audio.cache_dir, or the environment's SER_HF_CACHE, to another folder"
REMEDY = "make it writable, or set audio.cache_dir, or the environment's SER_HF_CACHE, to another folder"


def build(folder, check=None):
    """Whether it had to be built."""
    with built_once(folder, check) as fresh:
        if fresh is not None:
            (fresh / "content").write_text("whole")
    return fresh is not None


def readable(folder):
    if (folder / "content").read_text() != "whole":
        raise ValueError("content is\nanother")


def never(*given, **named):
    raise PermissionError(13, "Permission denied")


def test_what_stands_is_taken_from_a_cache_that_cannot_be_written_to(tmp_path, monkeypatch):
    assert build(tmp_path / "a")
    monkeypatch.setattr(cache, "FileLock", never)
    assert not build(tmp_path / "a")
    assert not build(tmp_path / "a", readable)
    with pytest.raises(UserError) as error:
        build(tmp_path / "b")
    assert str(error.value) == f"{tmp_path}: cannot be written to (Permission denied); {REMEDY}"


@pytest.mark.parametrize("in_the_way", ["parent", "parent/a.partial"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path, in_the_way):
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_text("a file")
    with pytest.raises(UserError, match=rf"parent: cannot be written to \(File exists\); {REMEDY}"):
        build(tmp_path / "parent" / "a")


def test_a_disk_that_fills_up_is_told_and_leaves_nothing(tmp_path):
    def fill(fresh):
        (fresh / "half").write_text("half")
        raise OSError(28, "No space left on device")

    told = rf"{tmp_path}: cannot be written to \(No space left on device\): more than 0\.00 MB are needed, .*B free; "
    with pytest.raises(UserError, match=told + ROOM), built_once(tmp_path / "a") as fresh:
        fill(fresh)
    told = r"\(No space left on device\): 3\.0 GB are needed, .*B free; "
    with pytest.raises(UserError, match=told), built_once(tmp_path / "a", needed=lambda: 3e9) as fresh:
        fill(fresh)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    with pytest.raises(KeyError), built_once(tmp_path / "a"):
        raise KeyError("of the builder's own")


@pytest.mark.parametrize(
    ("content", "told"), [("other", "content is another"), (None, "No such file or directory: '.*content'")]
)
def test_a_damaged_folder_is_told_and_built_again(tmp_path, caplog, content, told):
    build(tmp_path / "a", readable)
    path = tmp_path / "a" / "content"
    path.unlink() if content is None else path.write_text(content)
    (tmp_path / "a" / "stale").touch()
    assert build(tmp_path / "a", readable)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert re.match(rf"{tmp_path}/a is damaged \(.*{told}\): deleted, and built again$", record.getMessage())
    caplog.clear()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["content"]
    assert not build(tmp_path / "a", readable)
    assert not caplog.records


def test_a_damaged_folder_that_cannot_be_built_again_is_named(tmp_path, monkeypatch):
    build(tmp_path / "a", readable)
    (tmp_path / "a" / "content").write_text("other")
    monkeypatch.setattr(cache, "FileLock", never)
    with pytest.raises(UserError) as error:
        build(tmp_path / "a", readable)
    assert str(error.value) == (
        f"{tmp_path}/a: damaged (content is another), and cannot be built again, as {tmp_path} cannot be written to "
        f"(Permission denied); {REMEDY}"
    )


def test_what_a_killed_build_left_long_ago_goes_with_the_next_build_beside_it(tmp_path):
    for name, days in (("old", 31), ("new", 1), ("busy", 31)):
        (tmp_path / f"{name}.partial").mkdir()
        (tmp_path / f"{name}.partial" / "half").write_text("half")
        for path in (tmp_path / f"{name}.partial" / "half", tmp_path / f"{name}.partial"):
            os.utime(path, (0, time.time() - days * 24 * 3600))
    with FileLock(tmp_path / "busy.lock"):
        build(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["a", "busy.partial", "new.partial"]


def test_wherever_an_index_is_damaged_it_is_told(tmp_path):
    """zipfile and numpy raise errors of many classes, by which byte it is."""
    build(tmp_path / "a")
    np.savez(tmp_path / "index.npz", a=np.arange(3))
    whole = (tmp_path / "index.npz").read_bytes()

    def check(folder):
        with np.load(tmp_path / "index.npz", allow_pickle=False) as index:
            assert index["a"].tolist() == [0, 1, 2]

    for i in range(len(whole)):
        (tmp_path / "index.npz").write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
        build(tmp_path / "a", check)  # what no reader looks at may have changed


def test_what_another_process_has_mended_meanwhile_is_taken(tmp_path, caplog, monkeypatch):
    class Waited:
        def __init__(self, path):
            pass

        def acquire(self, timeout):
            (tmp_path / "a" / "content").write_text("whole")
            return contextlib.nullcontext()

    build(tmp_path / "a", readable)
    (tmp_path / "a" / "content").write_text("other")
    monkeypatch.setattr(cache, "FileLock", Waited)
    assert not build(tmp_path / "a", readable)
    assert not caplog.records


def test_who_waits_for_another_that_builds_says_so_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_PATIENCE", 0.01)
    monkeypatch.setattr(cache, "_TOLD_AGAIN", 0.01)
    begun, go_on, told = threading.Event(), threading.Event(), []

    def other():
        with built_once(tmp_path / "a") as fresh:
            (fresh / "content").write_text("whole" * 4000)
            begun.set()
            go_on.wait(60)

    def tell(*words):
        told.append(words[0] % words[1:])
        if len(told) == 2:
            go_on.set()

    monkeypatch.setattr(cache.logger, "warning", tell)
    building = threading.Thread(target=other)
    building.start()
    assert begun.wait(60)
    assert not build(tmp_path / "a")
    building.join()
    assert len(told) >= 2
    assert set(told[:2]) == {f"waiting for the process that builds {tmp_path / 'a'} (0.02 MB so far)"}


def test_what_has_no_folder_yet_has_no_size(tmp_path):
    assert cache._bytes_in(tmp_path / "nowhere") == 0


def resume(folder, fault=None):
    """What the builder found there; it leaves one file more, and `fault` befalls it then."""
    with built_once(folder, resumed=True) as fresh:
        found = sorted(path.name for path in fresh.iterdir())
        (fresh / str(len(found))).touch()
        if fault is not None:
            raise fault
    return found


def test_a_build_that_is_cut_off_is_given_what_it_left(tmp_path):
    for cut_off in (KeyboardInterrupt(), SystemExit(1)):
        with pytest.raises(type(cut_off)):
            resume(tmp_path / "a", cut_off)
    assert not (tmp_path / "a").exists()
    assert resume(tmp_path / "a") == ["0", "1"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["0", "1", "2"]


def test_unless_it_failed_or_does_not_ask_for_it(tmp_path):
    with pytest.raises(KeyError):
        resume(tmp_path / "a", KeyError("of the builder's own"))
    assert resume(tmp_path / "a") == []
    with pytest.raises(KeyboardInterrupt), built_once(tmp_path / "b"):
        raise KeyboardInterrupt
    assert not (tmp_path / "b.partial").exists()
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "stale").touch()
    assert build(tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["content"]


def test_sizes_are_told_in_what_people_count_by():
    assert (format_size(11.3e9), format_size(4.2e6), format_size(1234e9)) == ("11.3 GB", "4.20 MB", "1,234.0 GB")
