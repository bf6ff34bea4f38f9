"""A corpus from its sources into a folder, through the command: every fault, what the user reads, what is on disk."""

import dataclasses
import errno
import hashlib
import io
import json
import multiprocessing
import os
import re
import sys
import threading
import time
import types
from contextlib import nullcontext

import pytest
from filelock import FileLock
from loopback import another, endless, lie, redirect, stall, status, truncate
from small_release import PATIENT, POINTER, patience_for, zipped

from ser_hf import cli
from ser_hf.corpora import load_corpus
from ser_hf.download import complete, download, look
from ser_hf.download.shelf import Shelf
from ser_hf.download.sources import Archive, Companion, Dataverse, Kaggle, LfsStore
from ser_hf.errors import UserError


@pytest.fixture
def command(capsys, caplog):
    """Runs ``ser-hf download``; its exit code, what it printed and its one line of complaint."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.main(["download", *map(str, arguments)])
        out, err = capsys.readouterr()
        complaints = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(complaints) == (code == 2)
        return code, out.strip().splitlines()[-1] if code == 0 else complaints[0]

    return run


@pytest.fixture
def ravdess(release, server, sourced):
    """A small release in one archive of the server, with its MD5."""
    ours = release()
    content = zipped(ours.files, under="audio_speech/")
    server.files["/a.zip"] = content
    sourced("ravdess", Archive("official", f"{server.url}/a.zip", len(content), hashlib.md5(content).hexdigest()))
    return ours


def test_an_archive_becomes_the_release_and_nothing_else(ravdess, server, command, tmp_path, caplog):
    folder = tmp_path / "data" / "RAVDESS"
    code, line = command("ravdess", folder)
    assert (code, line) == (0, f"{folder}: RAVDESS is whole, 8 files, every byte as released")
    assert ravdess.is_in(folder)
    assert "RAVDESS (licence: cc-by-nc-sa-4.0): 8 of 8 files to come, 0.02 MB; " in caplog.text
    assert "please cite: Livingstone" in caplog.text
    asked = len(server.asked)
    assert command("ravdess", folder)[0] == 0
    assert len(server.asked) == asked  # what is there is not asked for


FAULTS = {
    "stalls once": ([stall(9000)], None),
    "breaks off twice": ([truncate(9000), truncate(9000)], None),
    "is busy": ([status(429, Retry_After="0"), status(503), status(500)][:2], None),
    "redirects": ([redirect("/b.zip")], None),
    "always stalls": (stall(0), r"stalled after 0 of [\d,]+ bytes \(tried 3 times\)"),
    "always breaks off": (truncate(0), r"broke off after 0 of [\d,]+ bytes"),
    "announces too little": (lie(100), r"announces 100 bytes, [\d,]+ are published"),
    "announces too much": (lie(1 << 30), r"announces 1,073,741,824 bytes, [\d,]+ are published"),
    "never ends": (endless, r"does not end after [\d,]+ bytes"),
    "redirects in a circle": (redirect("/a.zip"), "redirects more than 10 times"),
    "asks to wait an hour": (status(429, Retry_After="3600"), "HTTP 429 Too Many Requests, and asks to wait 60 min"),
    "is down": (status(503), r"HTTP 503 Service Unavailable \(tried 3 times\)"),
    "is broken": (status(500), r"HTTP 500 Internal Server Error \(tried 3 times\)"),
    "has lost it": (status(404), "HTTP 404 Not Found"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_misbehaves(fault, ravdess, server, command, patience, tmp_path):
    what, reason = FAULTS[fault]
    patience(patience_for(*(what if reason is None else [what])))
    server.files["/b.zip"] = server.files["/a.zip"]
    if reason is None:
        server.faults["/a.zip"] = list(what)
        assert command("ravdess", tmp_path)[0] == 0
        assert ravdess.is_in(tmp_path)
        return
    server.always["/a.zip"] = what
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert line.startswith("error: ravdess: 8 of 8 files did not come (127.0.0.1: ")
    assert line.endswith("; the same command tries again")
    assert not (tmp_path / ".download").exists()  # where nothing has come nothing is left
    assert re.search(reason, line)
    assert not list(tmp_path.rglob("*.wav"))
    with pytest.raises(UserError, match="holds no audio file"):
        load_corpus("ravdess", tmp_path)
    # The same command goes on once the server is well.
    server.always.clear()
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)


def test_a_file_that_changed_while_it_was_downloaded(ravdess, server, command, tmp_path):
    server.faults["/a.zip"] = [truncate(9000), another(server.files["/a.zip"][::-1])]
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert "sends another file: its md5 is" in line
    assert not list(tmp_path.rglob("*.wav"))
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)


def test_an_archive_of_bad_will(ravdess, server, command, sourced, tmp_path):
    server.files["/a.zip"] = zipped(ravdess.files | {"../../evil.wav": b"x"})
    sourced("ravdess", Archive("mirror", f"{server.url}/a.zip"))
    code, line = command("ravdess", tmp_path / "data")
    assert code == 2
    assert "(the archive of 127.0.0.1: refused, its member '../../evil.wav' leaves its folder (..)" in line
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".download.lock"]


def test_what_one_source_lacks_the_next_one_gives(ravdess, server, sourced, command, tmp_path, caplog):
    paths = list(ravdess.files)
    server.files["/half.zip"] = zipped({path: ravdess.files[path] for path in paths[:3]})
    sourced(
        "ravdess",
        Archive("half", f"{server.url}/half.zip"),
        Archive("gone", f"{server.url}/gone.zip"),
        LfsStore("objects", server.lfs(ravdess.objects)),
        Kaggle("kaggle", "nobody/asked"),
    )
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert "127.0.0.1: HTTP 404 Not Found" in caplog.text
    assert len([path for _, path, _ in server.asked if path.startswith("/objects")]) == 7 - 3


def test_what_no_source_has_is_told_with_what_each_said(ravdess, server, sourced, command, tmp_path, caplog):
    paths = list(ravdess.files)
    server.files["/half.zip"] = zipped({path: ravdess.files[path] for path in paths[:3]})
    sourced("ravdess", Archive("half", f"{server.url}/half.zip"), Kaggle("kaggle", "nobody/asked"))
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert f"(half has not got {paths[3]} and 4 more as released)" in line
    assert line.endswith(", and --source kaggle asks another mirror")
    assert not list(tmp_path.rglob("*.wav"))
    server.files["/half.zip"] = zipped({path: ravdess.files[path] for path in paths[3:]})
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert "3 of them are here from a download that did not end" in caplog.text


def test_stubs_are_replaced_where_they_lie_and_other_files_are_left(ravdess, command, tmp_path):
    clone = ravdess.write(tmp_path, under="clone")
    paths = sorted(clone.rglob("*.wav"))
    paths[0].write_bytes(POINTER)
    paths[1].write_bytes(b"")
    paths[2].unlink()
    paths[3].write_bytes(b"edited by somebody")
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert "of 8 files: 1 altered or damaged, which --replace downloads anew (first clone/Actor_02/" in line
    assert paths[3].read_bytes() == b"edited by somebody"
    paths[3].unlink()
    assert command("ravdess", tmp_path)[0] == 0
    assert look("ravdess", tmp_path).whole
    assert paths[0].read_bytes() == ravdess.files[paths[0].relative_to(clone / "clone").as_posix()]
    assert not (tmp_path / ".download").exists()


def test_an_archive_or_a_folder_of_ones_own(ravdess, server, command, tmp_path):
    archive = tmp_path / "mine.zip"
    archive.write_bytes(server.files["/a.zip"])
    assert command("ravdess", tmp_path / "one", "--source", archive)[0] == 0
    assert ravdess.is_in(tmp_path / "one")
    doubled = ravdess.write(ravdess.write(tmp_path / "doubled"), under="audio_speech_actors_01-24")
    assert "8 a second copy (mirrors often hold" in command("ravdess", doubled, "--verify")[1]
    assert command("ravdess", tmp_path / "two", "--source", doubled)[0] == 0
    assert ravdess.is_in(tmp_path / "two")
    assert not server.asked


def test_a_clone_without_its_content_is_recognised(ravdess, command, tmp_path):
    clone = ravdess.write(tmp_path / "clone")
    for path in clone.rglob("*.wav"):
        path.write_bytes(POINTER)
    code, line = command("ravdess", tmp_path / "new", "--source", clone)
    assert code == 2
    assert f"{clone}: 8 Git LFS pointers in place of files (first 03-01-04-01-01-01-01.wav); `git lfs pull`" in line


def test_addresses_of_mirrors(ravdess, server, command, tmp_path):
    assert command("ravdess", tmp_path / "one", "--source", f"{server.url}/a.zip")[0] == 0
    assert command("ravdess", tmp_path / "two", "--source", server.lfs(ravdess.objects), "--jobs", "2")[0] == 0
    assert ravdess.is_in(tmp_path / "one")
    assert ravdess.is_in(tmp_path / "two")


def test_kaggles_doubled_folder_is_one_release(ravdess, sourced, command, tmp_path, monkeypatch):
    mirror = ravdess.write(ravdess.write(tmp_path / "kaggle"), under="audio_speech_actors_01-24")
    handles = []
    kagglehub = types.SimpleNamespace(dataset_download=lambda handle: handles.append(handle) or str(mirror))
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub)
    sourced("ravdess", Kaggle("kaggle", "somebody/ravdess"))
    assert command("ravdess", tmp_path / "new", "--source", "kaggle")[0] == 0
    assert ravdess.is_in(tmp_path / "new")
    assert handles == ["somebody/ravdess"]


def test_kaggle_without_kagglehub_or_without_an_answer(ravdess, sourced, command, tmp_path, monkeypatch):
    sourced("ravdess", Kaggle("kaggle", "somebody/ravdess"))
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    code, line = command("ravdess", tmp_path, "--source", "kaggle")
    assert line == 'error: --source kaggle: needs kagglehub; pip install "ser_hf[kaggle]"'

    def refuse(handle):
        raise RuntimeError("403 you must\naccept the rules")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=refuse))
    code, line = command("ravdess", tmp_path, "--source", "kaggle")
    assert "(kaggle (somebody/ravdess): 403 you must accept the rules)" in line
    assert "another mirror" not in line


def test_dataverse_through_the_command(release, server, sourced, command, tmp_path):
    ours = release("tess")
    files = [
        {"dataFile": {"id": n, "filename": os.path.basename(path)}}
        for n, path in enumerate(["notes.pdf", *ours.files])
    ]
    server.files["/api/datasets/:persistentId/"] = json.dumps({"data": {"latestVersion": {"files": files}}}).encode()
    server.files |= {f"/api/access/datafile/{n}": content for n, content in enumerate(ours.files.values(), start=1)}
    sourced("tess", Dataverse("borealis", server.url, "doi:10.5683/SP2/E8H2MF"))
    assert command("tess", tmp_path)[0] == 0
    assert ours.is_in(tmp_path)


@pytest.fixture
def voted(release, server, sourced):
    """A small CREMA-D with a table beside it."""
    ours, table = release("cremad"), b"votes"
    server.files["/votes.csv"] = table
    companion = Companion(
        "tables/votes.csv", 5, hashlib.sha256(table).hexdigest(), "target", ("voice",), f"{server.url}/votes.csv"
    )
    sourced("cremad", LfsStore("store", server.lfs(ours.objects)), companions=(companion,))
    return ours


def test_files_beside_the_audio_come_too(voted, server, command, tmp_path):
    assert command("cremad", tmp_path)[0] == 0
    assert (tmp_path / "tables" / "votes.csv").read_bytes() == b"votes"
    (tmp_path / "tables" / "votes.csv").unlink()
    objects = len(server.asked)
    assert command("cremad", tmp_path)[0] == 0
    assert (tmp_path / "tables" / "votes.csv").read_bytes() == b"votes"
    assert [path for _, path, _ in server.asked[objects:]] == ["/votes.csv"]


def test_without_them_a_download_is_whole_all_the_same(voted, server, command, tmp_path, caplog):
    server.always["/votes.csv"] = another(b"stove")
    assert command("cremad", tmp_path)[0] == 0
    assert (
        "tables/votes.csv, which corpus.target: voice needs, did not come: 127.0.0.1: sends another file"
        in caplog.text
    )
    assert voted.is_in(tmp_path)


def test_files_beside_the_audio_are_taken_from_the_archive(release, server, sourced, command, tmp_path):
    ours, text = release("emodb"), b"perception"
    server.files["/a.zip"] = zipped(ours.files | {"erkennung.txt": text}, under="download/")
    companion = Companion("erkennung.txt", len(text), hashlib.sha256(text).hexdigest(), "perception", (True,))
    sourced("emodb", Archive("official", f"{server.url}/a.zip"), companions=(companion,))
    assert command("emodb", tmp_path)[0] == 0
    assert (tmp_path / "erkennung.txt").read_bytes() == text
    (tmp_path / "erkennung.txt").unlink()
    asked = len(server.asked)
    assert command("emodb", tmp_path)[0] == 0  # the archive is not downloaded for it
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ravdes", "x"], "corpus: 'ravdes' is none of "),
        (["savee", "x"], "savee: cannot be downloaded: its makers send it after registration at http://kahlan"),
        (["iemocap", "x"], "iemocap: cannot be downloaded: USC sends it on request"),
        (["csv", "x"], "csv: there is nothing known to download"),
        (["csv", "x", "--source", "y"], "--source: no list of the files of csv is known to check them by"),
        (
            ["ravdess", "x", "--source", "zendo"],
            "--source: 'zendo' is none of zenodo, kaggle, a file, a folder, or an",
        ),
        (["savee", "x", "--source", "zendo"], "--source: 'zendo' is none of a file, a folder, or an address"),
        (["ravdess", "x", "--jobs", "0"], "--jobs: expected one or more, got 0"),
        (["iemocap", "x", "--verify"], "iemocap: no list of its files is known to check them by, only of cremad, "),
        (["ravdess", "nowhere", "--verify"], "nowhere: is no folder"),
        (["ravdess", "file"], "file: is no folder"),
    ],
)
def test_mistakes_are_one_line(arguments, complaint, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, line = command(*arguments)
    assert code == 2
    assert line.startswith(f"error: {complaint}")


def test_verify_looks_and_changes_nothing(ravdess, server, command, tmp_path):
    ravdess.write(tmp_path)
    assert command("ravdess", tmp_path, "--verify")[0] == 0
    next(tmp_path.rglob("*.wav")).unlink()
    code, line = command("ravdess", tmp_path, "--verify")
    assert code == 2
    assert "of 8 files: 1 missing (first Actor_" in line
    assert not server.asked
    assert len(list(tmp_path.rglob("*"))) == 4 + 7


@pytest.mark.parametrize("free", [0, 100 << 20, (100 << 20) + 40_000])
def test_a_disk_that_is_too_small_is_told_before_anything_comes(free, ravdess, server, command, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=free))
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert f"error: {tmp_path}: 0.0" in line
    assert " MB are still to come and 104.86 MB stay free, but " in line
    assert not server.asked


def test_a_disk_that_fills_up(ravdess, server, command, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ser_hf.download.asking.fetch", full)
    code, line = command("ravdess", tmp_path)
    assert (
        line == f"error: {tmp_path}: cannot be written to (No space left on device); make room, or name another folder"
    )


def _download(folder, entries, url, waits):
    from ser_hf.corpora import manifest
    from ser_hf.download import alone

    manifest._entries = lambda name: entries
    alone.logger.info = lambda message, *_: waits.set() if message.endswith("waiting") else None
    download("ravdess", folder, url, patience=dataclasses.replace(PATIENT, stall=60))


def test_two_processes_download_once(ravdess, server, tmp_path):
    context = multiprocessing.get_context("fork")
    waits = context.Event()

    def once_the_other_waits(handler, content):
        assert waits.wait(50)
        handler.serve(content)

    server.faults["/a.zip"] = [once_the_other_waits]
    arguments = (tmp_path / "data", ravdess.entries, f"{server.url}/a.zip", waits)
    processes = [context.Process(target=_download, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert ravdess.is_in(tmp_path / "data")
    assert len(server.asked) == 1


def test_who_waits_for_another_process_says_so_and_asks_again_what_is_lacking(ravdess, server, tmp_path, caplog):
    caplog.set_level("INFO", logger="ser_hf")
    with FileLock(tmp_path / ".download.lock"):
        thread = threading.Thread(target=download, args=("ravdess", tmp_path))
        thread.start()
        for _ in range(3000):
            if "another process downloads into it; waiting" in caplog.text:
                break
            time.sleep(0.01)
        else:
            pytest.fail("did not say that it waits")
        ravdess.write(tmp_path)
        assert not (tmp_path / ".download").exists()  # nobody who waits makes it, which would stop who trains already
    thread.join(30)
    assert ravdess.is_in(tmp_path)
    assert not server.asked


def test_what_an_earlier_download_has_left_goes_once_nothing_is_lacking(ravdess, server, command, tmp_path, caplog):
    ravdess.write(tmp_path)
    for act in (lambda: command("ravdess", tmp_path), lambda: complete("ravdess", str(tmp_path), {})):
        (tmp_path / ".download").mkdir()
        (tmp_path / ".download" / "0123").write_bytes(b"left")
        assert command("ravdess", tmp_path, "--verify")[0] == 0
        assert f"{tmp_path / '.download'}: left by a download that has not ended" in caplog.text
        assert (tmp_path / ".download" / "0123").exists()
        act()
        assert ravdess.is_in(tmp_path)
        assert len(load_corpus("ravdess", tmp_path)) == 8
    assert not server.asked


def test_what_cannot_be_removed_is_told(ravdess, command, tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    code, line = command("ravdess", tmp_path)
    # Nothing is in `.download` any more, so that nothing has to go.
    assert code == 0
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download" / "0123").write_bytes(b"left")
    code, line = command("ravdess", tmp_path)
    told = "cannot be written to (Permission denied); name a folder that you may write to"
    assert (code, line) == (2, f"error: {tmp_path / '.download'}: {told}")


def _complete(folder, entries, url, barrier, told):
    from ser_hf.corpora import manifest
    from ser_hf.download import sources

    manifest._entries = lambda name: entries
    sources.SOURCES = {"ravdess": (Archive("official", url),)}
    barrier.wait(60)
    try:
        complete("ravdess", str(folder), {})
        told.put(len(load_corpus("ravdess", folder)))
    except Exception as error:
        told.put(repr(error))


def test_processes_that_complete_one_folder_at_once_all_read_all_of_it(ravdess, server, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, told = context.Barrier(4), context.Queue()
    arguments = (tmp_path / "data", ravdess.entries, f"{server.url}/a.zip", barrier, told)
    processes = [context.Process(target=_complete, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    assert [told.get(timeout=60) for _ in processes] == [8] * 4
    for process in processes:
        process.join(60)
    assert len(server.asked) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_archive_that_has_arrived_is_not_asked_for_again(error, ravdess, server, command, tmp_path, monkeypatch):
    take, taken = Shelf.take, []

    def interrupted(self, stream, size):
        taken.append(size)
        if len(taken) == 4:
            raise error
        return take(self, stream, size)

    monkeypatch.setattr(Shelf, "take", interrupted)
    with pytest.raises(type(error)) if isinstance(error, KeyboardInterrupt) else nullcontext():
        download("ravdess", tmp_path) if isinstance(error, KeyboardInterrupt) else command("ravdess", tmp_path)
    with pytest.raises(UserError, match="has not ended; give its command again"):
        load_corpus("ravdess", tmp_path)
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert len(server.asked) == 1


def test_altered_files_are_listed_and_replaced_where_they_lie(ravdess, server, command, tmp_path, caplog):
    ravdess.write(tmp_path, under="mine")
    paths = sorted(tmp_path.rglob("*.wav"))[1:5]
    for place, path in enumerate(paths):
        path.write_bytes(path.read_bytes()[: -1 - place] + b"?" * (place % 2))
    code, line = command("ravdess", tmp_path, "--verify")
    assert code == 2
    assert "4 altered or damaged, which --replace downloads anew (first mine/Actor_" in line
    for path in paths:
        assert f"altered: {path.relative_to(tmp_path).as_posix()}" in caplog.text
    assert command("ravdess", tmp_path)[0] == 2
    assert not server.asked
    assert command("ravdess", tmp_path, "--verify", "--replace")[1].startswith("error: --replace: changes files")
    assert command("ravdess", tmp_path, "--replace")[0] == 0
    assert look("ravdess", tmp_path).whole
    assert len(list(tmp_path.rglob("*.wav"))) == 8


@pytest.mark.parametrize(
    ("obstacle", "told"),
    [
        (lambda at: (at / "Actor_02/03-01-05-01-01-01-02.wav").mkdir(parents=True), "where a file belongs"),
        (lambda at: (at / "Actor_03").write_text("x"), "Actor_03: stands where a folder belongs; move it away"),
        (lambda at: (at / "Actor_04").symlink_to("/nowhere"), "Actor_04: stands where a folder belongs; move it away"),
        (lambda at: (at / ".download").write_text("x"), r".download: stands in the way \(File exists\); move it"),
        (lambda at: (at / ".download.lock").mkdir(), r"lock: .* \(Is a directory\); move it away"),
    ],
    ids=["folder", "file", "link", "unfinished", "lock"],
)
def test_what_stands_in_the_way_is_named_before_anything_comes(obstacle, told, ravdess, server, command, tmp_path):
    obstacle(tmp_path)
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert line.startswith(f"error: {tmp_path}/")
    assert re.search(told, line)
    assert not server.asked
    assert not [path for path in tmp_path.rglob("*.wav") if path.is_file()]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EROFS, "x: cannot be written to (no); name a folder that you may write to"),
        (errno.ENOTDIR, "x: stands in the way (no); move it away, or name another folder"),
        (errno.EIO, "x: cannot be written to (no); name another folder, or another disk"),
        (errno.EDQUOT, "FOLDER: cannot be written to (no); make room, or name another folder"),
    ],
)
def test_what_the_disk_refuses_is_told_by_its_kind(number, told, ravdess, command, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, "no", "x")

    monkeypatch.setattr(Shelf, "place", refuse)
    assert command("ravdess", tmp_path)[1] == f"error: {told.replace('FOLDER', str(tmp_path))}"


def closed(monkeypatch, name: str):
    """Makes files and folders of that name ones that may not be read."""
    opened, scanned = io.open, os.scandir

    def refuse(act):
        def acting(path, *arguments, **options):
            if str(path).endswith(name):
                raise PermissionError(13, "Permission denied", str(path))
            return act(path, *arguments, **options)

        return acting

    monkeypatch.setattr(io, "open", refuse(opened))
    monkeypatch.setattr(os, "scandir", refuse(scanned))


def test_a_clip_that_cannot_be_read_is_named(ravdess, command, tmp_path, monkeypatch):
    ravdess.write(tmp_path)
    closed(monkeypatch, "03-01-04-01-01-01-02.wav")
    path = tmp_path / "Actor_02" / "03-01-04-01-01-01-02.wav"
    for arguments in (["--verify"], []):
        code, line = command("ravdess", tmp_path, *arguments)
        assert line == f"error: {path}: cannot be read (Permission denied)"


@pytest.mark.parametrize("name", ["Actor_02", "03-01-05-01-01-01-02.wav"])
def test_what_cannot_be_read_of_a_source_is_named_where_it_lacks(name, ravdess, command, tmp_path, monkeypatch):
    source = ravdess.write(tmp_path / "mine")
    closed(monkeypatch, f"mine/Actor_02/{name}" if name.endswith("wav") else f"mine/{name}")
    code, line = command("ravdess", tmp_path / "new", "--source", source)
    assert re.search(rf"files did not come \({source}/Actor_02.*: cannot be read \(Permission denied\)\)", line)
    ravdess.write(tmp_path / "new", only=lambda path: path.startswith("Actor_02"))
    assert command("ravdess", tmp_path / "new", "--source", source)[0] == 0


def test_room_is_asked_for_what_has_not_arrived(ravdess, server, command, tmp_path, monkeypatch):
    size = len(server.files["/a.zip"])
    server.always["/a.zip"] = truncate(0)
    server.faults["/a.zip"] = [truncate(size - 100)]
    assert command("ravdess", tmp_path)[0] == 2
    assert (tmp_path / ".download").exists()
    server.always.clear()
    monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=(100 << 20) + 21_100))
    assert command("ravdess", tmp_path)[1].endswith("make room, or name a folder on another disk")
    monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=(100 << 20) + 21_200))
    assert command("ravdess", tmp_path)[0] == 0


def test_a_table_that_is_lacking_alone_comes_from_the_source_that_is_named(voted, server, command, tmp_path):
    source = voted.write(tmp_path / "mine")
    (source / "votes.csv").write_bytes(b"votes")
    folder = voted.write(tmp_path / "new")
    assert command("cremad", folder, "--source", source)[0] == 0
    assert (folder / "tables" / "votes.csv").read_bytes() == b"votes"
    assert not server.asked


def test_where_a_table_is_that_is_only_in_an_archive(release, server, sourced, command, tmp_path, caplog):
    ours, text = release("emodb"), b"perception"
    server.files["/a.zip"] = zipped(ours.files | {"erkennung.txt": text})
    companion = Companion("erkennung.txt", len(text), hashlib.sha256(text).hexdigest(), "perception", (True,))
    sourced("emodb", Archive("official", f"{server.url}/a.zip"), companions=(companion,))
    ours.write(tmp_path)
    assert command("emodb", tmp_path)[0] == 0
    assert f"erkennung.txt, which corpus.perception: true needs, is not in {tmp_path}; it is in the " in caplog.text
    assert f"ser-hf download emodb {tmp_path} --source official" in caplog.text
    assert command("emodb", tmp_path, "--source", "official")[0] == 0
    assert (tmp_path / "erkennung.txt").read_bytes() == text


def test_a_whole_corpus_needs_neither_a_table_nor_a_disk_to_write_to(voted, server, tmp_path, monkeypatch, caplog):
    voted.write(tmp_path)
    server.always["/votes.csv"] = status(503)
    complete("cremad", str(tmp_path), {})
    complete("cremad", str(tmp_path), {"target": "voice", "tables": "elsewhere"})
    assert not server.asked
    assert not (tmp_path / ".download.lock").exists()
    complete("cremad", str(tmp_path), {"target": "voice"})
    assert len(server.asked) == 1  # nobody waits for what the audio is whole without

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert download("cremad", tmp_path).whole
    assert "tables/votes.csv, which corpus.target: voice needs, was not asked for: " in caplog.text


@pytest.mark.parametrize(
    ("source", "told"),
    [("", "--source: '' is none of"), (" ", "--source: ' ' is none of"), ("a\0b", r"--source: 'a\\x00b' is none of")],
)
def test_a_source_that_is_none(source, told, ravdess, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{told}"):
        download("ravdess", tmp_path / "new", source)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("", "DIR: empty; name the folder that RAVDESS is to lie in"),
        ("x" * 300, "DIR: 'x{200}' cannot be a folder .File name too long."),
        ("a\0b", r"DIR: 'a\\x00b' cannot be a folder .embedded null byte."),
        ("file/below", "DIR: 'file/below' cannot be a folder .Not a directory."),
        ("link", r"link: stands in the way \(File exists\); move it away"),
    ],
)
def test_a_folder_that_cannot_be_one(folder, told, ravdess, server, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("/nowhere/at/all")
    assert re.match(f"error: {told}", command("ravdess", folder)[1])
    if folder != "link":
        assert re.match(f"error: {told}", command("ravdess", folder, "--verify")[1])
    assert not server.asked
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_addresses_as_people_write_them(ravdess, server, command, tmp_path):
    url = server.url.replace("http", "HTTP")
    assert command("ravdess", tmp_path / "one", "--source", f"{url}/a.zip")[0] == 0
    assert command("ravdess", tmp_path / "two", "--source", f"{server.lfs(ravdess.objects)}/")[0] == 0
