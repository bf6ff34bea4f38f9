"""ser-hf cache: lists the cache and deletes what no process uses; other files stay."""

import os
import time

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from ser_hf import cli
from ser_hf.audio import open_store
from ser_hf.utils.cache import entries, remove

DAY = 24 * 3600
KEYS = {name: letter * 24 for name, letter in (("old", "a"), ("new", "b"), ("unfinished", "c"))}
FOREIGN = {"not-ours", KEYS["old"]}


@pytest.fixture
def root(tmp_path):
    """A cache with an old folder, a new one, an interrupted build, and foreign files."""
    root = tmp_path / "cache"
    for path, days in (
        (root / "waveforms" / KEYS["old"], 40),
        (root / "unpacked" / f"my-table-{KEYS['new']}", 0),
        (root / "waveforms" / f"{KEYS['unfinished']}.partial", 10),
        (root / "waveforms" / "not-ours", 90),
        (root / "others" / KEYS["old"], 90),
    ):
        path.mkdir(parents=True)
        (path / "content").write_bytes(b"x" * 10_000)
        for changed in (path / "content", path):
            os.utime(changed, (0, time.time() - days * DAY))
    return root


def remaining(root):
    return {path.name for kind in root.iterdir() for path in kind.iterdir() if path.is_dir()}


def command(root, *arguments):
    return cli.main(["cache", "--cache-dir", str(root), *arguments])


def test_it_lists_the_longest_unused_first(root, capsys):
    assert command(root) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{root}: 0.03 MB in 3 folders"
    rows = [line.split() for line in lines[1:]]
    assert [row[3:] for row in rows] == [
        ["waveforms", KEYS["old"]],
        ["waveforms", f"{KEYS['unfinished']}.partial,", "unfinished"],
        ["unpacked", f"my-table-{KEYS['new']}"],
    ]
    assert all(row[:2] == ["0.01", "MB"] for row in rows)


def test_unused_folders_are_deleted_and_foreign_ones_stay(root, capsys):
    assert command(root, "--remove-older-than", "20") == 0
    assert capsys.readouterr().out == f"{root}: deleted 0.01 MB in 1 folder\n"
    assert command(root, "--clear", "--yes") == 0
    assert remaining(root) == FOREIGN
    assert (root / "others" / KEYS["old"] / "content").exists()


def test_clearing_needs_a_confirmation(root, capsys):
    before = remaining(root)
    assert command(root, "--clear") == 2
    assert capsys.readouterr().err == f"error: --clear: deletes all of {root}, 0.03 MB in 3 folders; add --yes\n"
    assert remaining(root) == before


def test_folders_in_use_stay(root, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16000)
    store = open_store([{"path": str(tmp_path / "a.wav"), "bytes": None}], 16000, root)
    with FileLock(root / "waveforms" / f"{KEYS['unfinished']}.lock"):
        assert command(root, "--clear", "--yes") == 0
        assert remaining(root) == {*FOREIGN, store.folder.name, f"{KEYS['unfinished']}.partial"}
        printed = capsys.readouterr().out.splitlines()[-1]
        assert printed.startswith("  kept, because a process uses it: ")
    folder = store.folder
    del store
    assert command(root, "--clear", "--yes") == 0
    assert not folder.exists()


def test_opening_a_store_counts_as_use(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16000)
    sources = [{"path": str(tmp_path / "a.wav"), "bytes": None}]
    folder = open_store(sources, 16000, tmp_path / "cache").folder
    for path in (*folder.iterdir(), folder):
        os.utime(path, (0, time.time() - 40 * DAY))
    (entry,) = entries(tmp_path / "cache")
    assert time.time() - entry.last_used > 39 * DAY
    open_store(sources, 16000, tmp_path / "cache")
    (entry,) = entries(tmp_path / "cache")
    assert time.time() - entry.last_used < DAY


def test_an_interrupted_removal_is_completed(root):
    half = root / "waveforms" / f"{KEYS['old']}.removed"
    half.mkdir()
    (half / "rest").write_text("rest")
    assert [remove(entry) for entry in entries(root)] == [True] * 4
    assert remaining(root) == FOREIGN


def test_a_mistake_prints_one_line(root, capsys):
    assert command(root / "nowhere") == 2
    assert capsys.readouterr().err == f"error: --cache-dir: {root / 'nowhere'} is not a folder\n"
    assert command(root, "--clear", "--remove-older-than", "1") == 2
    assert "contradicts --clear" in capsys.readouterr().err
