"""Downloads of corpora through the command and recipes: failing servers, bad archives, and the
files that are left.
"""

import dataclasses
import errno
import hashlib
import re
import stat
import time
import types

import pytest
from file_server import (
    Release,
    Server,
    announce,
    another,
    cut,
    endless,
    redirect,
    reset,
    silent,
    slow_header,
    stall,
    status,
    trickle,
    zipped,
)
from support.processes import started

from ser_hf import cli
from ser_hf.corpora import connection, corpus_settings, load_corpus, verify
from ser_hf.corpora import download as downloads
from ser_hf.corpora.connection import SourceError
from ser_hf.corpora.download import Staging, download, download_missing, downloadable
from ser_hf.corpora.registry import OWN_CORPORA
from ser_hf.corpora.release import Archive, Entry, LfsStore, Table
from ser_hf.corpora.release import Release as PublishedRelease
from ser_hf.corpora.verify import check_release, release_of
from ser_hf.utils.errors import UserError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
BATCH = "/r.git/info/lfs/objects/batch"


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A function that sets how long the command waits. By default that is enough for any server
    that works.
    """

    def give(stall_seconds: float) -> None:
        monkeypatch.setattr(connection, "_STALL_SECONDS", stall_seconds)

    give(15)
    monkeypatch.setattr(connection, "_RETRIES", 2)
    monkeypatch.setattr(connection, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(connection, "_SLOWEST", 1000)
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    return give


@pytest.fixture
def server():
    with Server() as started:
        yield started


@pytest.fixture
def release(monkeypatch):
    """A function from a corpus to a small release of it, which replaces its packaged list."""

    def make(name: str = "ravdess") -> Release:
        small_release = Release(name)
        lists[name] = small_release.entries
        return small_release

    lists = {}
    packaged = verify._entries
    monkeypatch.setattr(verify, "_entries", lambda name: lists.get(name) or packaged(name))
    return make


@pytest.fixture
def sourced(monkeypatch):
    """A function that gives a corpus other sources, and other tables: none by default."""

    def give(name, *sources, tables=()):
        release = dataclasses.replace(release_of(name), sources=sources, tables=tables)
        monkeypatch.setattr(OWN_CORPORA[name], "RELEASE", release)

    return give


@pytest.fixture
def ravdess(release, server, sourced):
    """A small release in one archive of the server, with its size and MD5."""
    small_release = release()
    content = zipped(small_release.files, under="audio_speech/")
    server.files["/a.zip"] = content
    sourced(
        "ravdess",
        Archive("official", f"{server.url}/a.zip", len(content), hashlib.md5(content).hexdigest()),
    )
    return small_release


@pytest.fixture
def command(capsys):
    """Run ``ser-hf download``; return its exit code, and its output or its error line."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.main(["download", *map(str, arguments)])
        out, err = capsys.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == (code == 2)
        return code, out.strip().splitlines()[-1] if code == 0 else errors[0]

    return run


def test_each_difference_of_a_folder_is_reported_with_an_example(release, tmp_path):
    release().write(tmp_path, under="audio")
    assert (
        check_release("ravdess", tmp_path).summary()
        == f"{tmp_path}: RAVDESS is complete, 8 files as released"
    )
    paths = sorted(tmp_path.rglob("*.wav"))
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    paths[1].unlink()
    paths[2].write_bytes(POINTER)
    paths[3].write_bytes(b"")
    paths[4].rename(paths[4].with_suffix(".flac")).write_bytes(b"converted")
    copy = tmp_path / "again" / paths[5].name
    copy.parent.mkdir()
    copy.write_bytes(b"other content")
    (tmp_path / "03-02-05-01-01-01-01.wav").write_bytes(b"sung")
    (tmp_path / "noise.wav").write_bytes(b"noise")
    check = check_release("ravdess", tmp_path)
    # not the clip that has an original as well
    assert check.altered == [paths[0], paths[4].with_suffix(".flac")]
    assert check.summary() == (
        f"{tmp_path}: not RAVDESS as released; of 8 files: "
        "3 missing (first Actor_01/03-01-05-01-01-01-01.wav); "
        f"2 altered, damaged or converted (first {paths[0]}); delete what is altered"
    )
    # A flipped bit is no new size.
    assert check_release("ravdess", tmp_path, hashed=False).altered == check.altered[1:]


def test_every_corpus_with_a_list_has_sources_or_a_registration():
    assert downloadable() == ["cremad", "emodb", "ravdess", "tess"]
    for name in OWN_CORPORA:
        stated = release_of(name)
        assert not (stated.sources and stated.registration)
        if stated.files is not None:
            assert stated.sources or stated.registration
        assert len({source.name for source in stated.sources}) == len(stated.sources)
        for source in stated.sources:
            assert isinstance(source, Archive) or source.url.endswith(".git/info/lfs")


def test_an_archive_becomes_the_release_and_nothing_else(
    ravdess, server, command, tmp_path, caplog
):
    folder = tmp_path / "data" / "RAVDESS"
    assert command("ravdess", folder) == (0, f"{folder}: RAVDESS is complete, 8 files as released")
    assert ravdess.is_in(folder)
    assert "RAVDESS (license: cc-by-nc-sa-4.0), 0.02 MB; please cite: Livingstone" in caplog.text
    assert command("ravdess", folder)[0] == 0
    assert len(server.requests) == 1  # existing files are not requested


@pytest.mark.parametrize(
    "faults",
    [
        *(
            [cut(9000), cut(9000)],
            [status(429), status(503)],
            [redirect("/b.zip")],
            [stall(9000)],
            [silent],
            [reset],
        ),
        [cut(9000), another(bytes(range(256)) * 50)],
    ],
    ids=["breaks off", "busy", "redirects", "stalls", "silent", "resets", "changes"],
)
def test_temporary_faults_do_not_stop_a_download(
    faults, ravdess, server, command, patience, tmp_path
):
    if faults[0] is silent or "stall" in faults[0].__qualname__:
        patience(1.5)
    server.files["/b.zip"] = server.files["/a.zip"]
    server.faults["/a.zip"] = list(faults)
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert not server.faults["/a.zip"]


@pytest.mark.parametrize(
    ("always", "reason", "requests"),
    [
        (stall(0), "Read timed out|stalled after 0 bytes", 1),
        (trickle, r"stalled after \d+ bytes", 1),
        (slow_header, "stalled after 0 bytes", 1),
        (silent, "Read timed out|stalled after 0 bytes", 1),
        (reset, r"Connection.* after [\d,]+ bytes", 3),
        (announce(10**15), "announces 1,000,000,000,000,000 bytes, more than", 1),
        (announce(9000), "hash", 3),
        (cut(0), r"Incomplete.* after 0 bytes", 3),
        (another(bytes(9000)), "hash", 3),
        (endless, r"does not end after [\d,]+ bytes", 1),
        (redirect("/a.zip"), "30 redirects", 93),
        (redirect("ftp://127.0.0.1/a.zip"), "ftp://127.0.0.1/a.zip", 3),
        (status(503), "HTTP 503 Service Unavailable", 3),
        (status(404), "HTTP 404 Not Found", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_fails_prints_one_line(
    always, reason, requests, ravdess, server, command, patience, tmp_path, monkeypatch
):
    if "stalled" in reason or "timed out" in reason:
        patience(1.5)
        monkeypatch.setattr(connection, "_RETRIES", 0)
    server.always["/a.zip"] = always
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert line.startswith("error: ravdess: 7 files could not be downloaded (official: ")
    assert re.search(reason, line)
    assert line.isprintable()
    assert len(server.requests) == requests
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".download.lock"
    ]
    patience(15)
    server.always.clear()
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_complete_archive_is_not_requested_again(
    error, ravdess, server, command, tmp_path, monkeypatch
):
    take = Staging.take
    taken = []

    def interrupt(self, content):
        taken.append(content)
        if len(taken) == 4:
            raise error
        return take(self, content)

    monkeypatch.setattr(Staging, "take", interrupt)
    if isinstance(error, OSError):
        line = command("ravdess", tmp_path)[1]
        assert "error: No space left on device; make room there" in line
    else:
        with pytest.raises(KeyboardInterrupt):
            download("ravdess", tmp_path)
    with pytest.raises(UserError, match="unfinished; rerun `ser-hf download`"):
        load_corpus("ravdess", tmp_path)
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert len(server.requests) == 1


def test_files_missing_in_one_source_come_from_the_next(
    ravdess, server, sourced, command, tmp_path, caplog
):
    paths = list(ravdess.files)
    server.files["/half.zip"] = zipped({path: ravdess.files[path] for path in paths[:3]})
    half = Archive("half", f"{server.url}/half.zip")
    sourced("ravdess", half)
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert f"4 files could not be downloaded (half does not have {paths[3]} as released)" in line
    assert not list(tmp_path.rglob("*.wav"))
    gone = Archive("gone", f"{server.url}/gone.zip")
    sourced("ravdess", half, gone, LfsStore("objects", server.lfs(ravdess.objects)))
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert "gone: HTTP 404 Not Found" in caplog.text
    assert len([path for _, path, _ in server.requests if path.startswith("/objects")]) == 7 - 3


@pytest.fixture
def cremad(release, server, sourced):
    """A small release, and a function that makes the server a Git LFS server of it."""
    small_release = release("cremad")

    def serve(objects=small_release.objects, errors=None):
        sourced("cremad", LfsStore("store", server.lfs(objects, errors)))
        return small_release

    return serve


def test_each_object_is_downloaded_once_with_the_headers_of_its_response(
    cremad, server, command, tmp_path, monkeypatch
):
    monkeypatch.setattr(downloads, "_LFS_BATCH", 2)
    small_release = cremad()
    assert command("cremad", tmp_path)[0] == 0
    assert small_release.is_in(tmp_path)
    gets = [headers for method, _, headers in server.requests if method == "GET"]
    assert len(gets) == len(small_release.objects) == len(small_release.files) - 1
    assert {headers["Authorization"] for headers in gets} == {"RemoteAuth of-this-object"}
    posts = [headers for method, _, headers in server.requests if method == "POST"]
    assert {headers["Content-Type"] for headers in posts} == {"application/vnd.git-lfs+json"}
    assert len(posts) == 3


VOTES = b"votes of raters\n"
ENTRY = Entry("processedResults/votes.csv", len(VOTES), hashlib.sha256(VOTES).hexdigest())


@pytest.fixture
def with_table(cremad, server, sourced):
    """A small release with a table, which the second of two addresses has."""
    small_release = cremad()
    urls = (f"{server.url}/absent.csv", f"{server.url}/votes.csv")
    sources = release_of("cremad").sources
    sourced("cremad", *sources, tables=(Table(ENTRY, urls),))
    server.files["/votes.csv"] = VOTES
    return small_release


def test_a_table_is_downloaded_with_the_audio_and_once(with_table, server, command, tmp_path):
    code, text = command("cremad", tmp_path)
    assert code == 0
    assert text.endswith("as released")
    assert (tmp_path / ENTRY.path).read_bytes() == VOTES
    assert sorted(path.name for path in tmp_path.glob(".download*")) == [".download.lock"]
    server.requests.clear()
    assert command("cremad", tmp_path)[0] == 0
    assert not server.requests


def test_a_table_is_fetched_for_complete_audio_and_may_be_beside_it(
    with_table, server, command, tmp_path
):
    folder = tmp_path / "CREMA-D" / "AudioWAV"
    assert command("cremad", folder)[0] == 0
    (folder / ENTRY.path).unlink()
    assert command("cremad", folder, "--verify")[1].endswith(f"; without {ENTRY.path}")
    (folder.parent / "processedResults").mkdir()
    (folder.parent / ENTRY.path).write_bytes(VOTES)
    server.requests.clear()
    assert command("cremad", folder)[1].endswith("as released")
    assert not server.requests


@pytest.mark.parametrize("served", [VOTES.upper(), None])
def test_a_table_that_cannot_be_had_is_a_warning(
    served, with_table, server, command, tmp_path, caplog
):
    del server.files["/votes.csv"]
    if served is not None:
        server.files["/votes.csv"] = served
    code, text = command("cremad", tmp_path)
    assert code == 0
    assert text.endswith(f"as released; without {ENTRY.path}")
    assert with_table.is_in(tmp_path)
    assert not (tmp_path / ENTRY.path).exists()
    assert [path.name for path in tmp_path.glob(".download*")] == [".download.lock"]
    (warning,) = [text for text in caplog.messages if text.startswith(ENTRY.path)]
    assert warning.endswith("the audio does not need this table")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda handler, _: handler.send(200, b"<html>"), "does not respond as a Git LFS server"),
        (
            lambda handler, _: handler.send(200, b"[" * 100_000),
            "does not respond as a Git LFS server",
        ),
        (
            lambda handler, _: handler.send(200, bytes(3 << 20)),
            "announces 3,145,728 bytes, more than 1,048,576",
        ),
    ],
)
def test_a_git_lfs_server_that_refuses_prints_one_line(
    fault, reason, cremad, server, command, tmp_path, monkeypatch
):
    monkeypatch.setattr(downloads, "_RESPONSE_BYTES", 1 << 20)
    cremad()
    server.faults[BATCH] = [fault]
    assert reason in command("cremad", tmp_path)[1]
    server.faults[BATCH] = [status(503)]
    assert command("cremad", tmp_path)[0] == 0


def test_objects_that_a_server_does_not_have_are_reported_and_the_rest_is_kept(
    cremad, server, command, tmp_path
):
    small_release = cremad()
    lost, absent, altered, *_ = (entry.sha256 for entry in small_release.entries)
    objects = {
        sha256: content
        for sha256, content in small_release.objects.items()
        if sha256 not in (lost, absent)
    }
    cremad(objects, {lost: {"code": 410, "message": "Object removed by the owner"}})
    server.always[f"/objects/{altered}"] = another(bytes(len(small_release.objects[altered])))
    line = command("cremad", tmp_path)[1]
    path = small_release.entries[2].path
    expected = f"3 files could not be downloaded (store: 1 files not available, {path}: "
    assert expected in line
    assert {path.name for path in (tmp_path / ".download").iterdir()} == set(objects) - {altered}
    server.always.clear()
    cremad()
    assert command("cremad", tmp_path)[0] == 0
    assert small_release.is_in(tmp_path)
    assert len([path for _, path, _ in server.requests if path.startswith("/objects")]) == 2 + 3 + 3


def test_a_download_ends_if_the_server_fails_for_every_object(
    cremad, server, command, tmp_path, monkeypatch
):
    monkeypatch.setattr(connection, "_MOST_FAILURES", 2)
    monkeypatch.setattr(connection, "_PARALLEL_FILES", 1)
    small_release = cremad()
    server.always |= {f"/objects/{sha256}": status(404) for sha256 in small_release.objects}
    assert "store: 2 files not available, AudioWAV/" in command("cremad", tmp_path)[1]
    assert len([path for _, path, _ in server.requests if path.startswith("/objects")]) < len(
        small_release.objects
    )


EVIL = {
    "/etc/cron.d/x": b"x",
    "../../x.wav": b"x",
    "..\\x.wav": b"x",
    "C:\\x.wav": b"x",
    "a/../../../x.wav": b"x",
}
PACKINGS = {
    "other names": lambda files: zipped(
        {path.upper(): content for path, content in files.items()}, "some/folder/"
    ),
    "doubled": lambda files: zipped(
        files | {f"again/{path}": content for path, content in files.items()}
    ),
    "links": lambda files: zipped(files, kind=stat.S_IFLNK),
    "devices": lambda files: zipped(files, kind=stat.S_IFCHR),
    "evil zip": lambda files: zipped(
        EVIL | {f"../../../{path}": content for path, content in files.items()}
    ),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_only_the_content_of_an_archive_is_used(
    packing, release, server, sourced, command, tmp_path
):
    small_release = release()
    folder = tmp_path / "deep" / "down" / "corpus"
    server.files["/a"] = PACKINGS[packing](small_release.files)
    sourced("ravdess", Archive("official", f"{server.url}/a"))
    assert command("ravdess", folder)[0] == 0
    assert small_release.is_in(folder)
    assert not [
        path for path in tmp_path.rglob("*") if folder not in path.parents and path.is_file()
    ]
    assert not any(path.is_symlink() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda files: zipped(files)[:-40], "damaged"),
        (lambda files: b"<!DOCTYPE html>\xff<title>Sign in", "no zip archive"),
        (
            lambda files: zipped({"0": bytes(1_000_000)} | files),
            "holds more than the release can have",
        ),
    ],
    ids=["cut", "page", "bomb"],
)
def test_bad_archives_print_one_line(change, reason, ravdess, server, sourced, command, tmp_path):
    good = server.files["/a.zip"]
    server.files["/a.zip"] = change(ravdess.files)
    sourced("ravdess", Archive("mirror", f"{server.url}/a.zip"))
    assert re.search(
        rf"could not be downloaded \(mirror: .*{reason}", command("ravdess", tmp_path)[1]
    )
    assert not list(tmp_path.rglob("*.wav"))
    server.files["/a.zip"] = good
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)


def test_no_altered_byte_is_kept(release, tmp_path):
    small_release = release()
    archive = tmp_path / "archive"
    # Compressible, so that the packing itself is altered and not only the check sums.
    files = {str(place): (bytes(range(256)) * 12)[: 3000 + 2 * place] for place in range(3)}
    content = zipped(files)
    staging = Staging("ravdess", tmp_path, list(small_release.entries))
    failed = 0
    staging.folder.mkdir()
    end = len(content) - 40
    for place in [*range(0, end, max(1, end // 60)), *range(end, len(content))]:
        archive.write_bytes(content[:place] + bytes([content[place] ^ 129]) + content[place + 1 :])
        try:
            for member in downloads.contents(archive, staging):
                staging.take(member)
        except SourceError:
            failed += 1
    assert failed
    assert not any(staging.folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["ravdes", "x"],
            "ravdes: cannot be downloaded: no source of it is known; choose one of cremad, ",
        ),
        (
            ["savee", "x"],
            "savee: cannot be downloaded: its authors send it after registration at http://kahlan",
        ),
        (
            ["iemocap", ".", "--verify"],
            "iemocap: ser_hf has no list of its official files; it has lists of cremad, ",
        ),
        (["ravdess", "file"], "file: File exists; run the same command again"),
        (["ravdess", ""], "DIR: missing or invalid; name the folder for the corpus"),
    ],
)
def test_mistakes_print_one_line(arguments, error, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, line = command(*arguments)
    assert code == 2
    assert line.startswith(f"error: {error}")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_files_of_the_user_are_not_changed(ravdess, server, command, tmp_path):
    ravdess.write(tmp_path, under="mine")
    assert command("ravdess", tmp_path, "--verify")[0] == 0
    paths = sorted(tmp_path.rglob("*.wav"))[1:5]
    for place, path in enumerate(paths):
        path.write_bytes(path.read_bytes()[: -1 - place] + b"?" * (place % 2))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.wav")}
    for arguments in (["--verify"], []):
        code, line = command("ravdess", tmp_path, *arguments)
        assert code == 2
        assert "of 8 files: 4 altered, damaged or converted (first" in line
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.wav")} == before
    assert not server.requests


def test_stubs_of_a_clone_are_replaced(ravdess, command, tmp_path):
    paths = sorted(ravdess.write(tmp_path).rglob("*.wav"))
    paths[0].write_bytes(POINTER)
    paths[1].write_bytes(b"")
    paths[2].unlink()
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)


@pytest.mark.parametrize(
    "place", ["Actor_04", ".download", ".download.lock", ".download/content.part"]
)
def test_nothing_is_written_through_symbolic_links(place, ravdess, server, command, tmp_path):
    folder = tmp_path / "corpus"
    out = tmp_path / "out"
    for path in (out, (folder / place).parent):
        path.mkdir(parents=True)
    (folder / place).symlink_to(out)
    code, line = command("ravdess", folder)
    assert (
        code,
        f"{folder / place}: a symbolic link; downloads are not written through links" in line,
    ) == (2, True)
    assert not server.requests
    assert not any(out.iterdir())


@pytest.mark.parametrize("place", ["Actor_04", ".download", ".download/content.part"])
def test_a_link_that_appears_during_the_download_is_not_followed(
    place, ravdess, server, command, tmp_path
):
    folder = tmp_path / "corpus"
    out = tmp_path / "out"
    is_file = place.endswith(".part")
    out.mkdir()

    def link(handler, content):
        if (folder / place).is_dir():
            (folder / place).rename(tmp_path / "moved")
        (folder / place).symlink_to(out / "file" if is_file else out)
        handler.serve(content)

    server.faults["/a.zip"] = [link]
    # a link in place of a file is removed
    assert command("ravdess", folder)[0] == (0 if is_file else 2)
    assert not any(out.iterdir())


def test_temporary_files_of_an_earlier_download_are_removed(
    ravdess, server, command, tmp_path, caplog
):
    ravdess.write(tmp_path)
    for act in (
        lambda: command("ravdess", tmp_path),
        lambda: download_missing(corpus_settings("ravdess", tmp_path)),
    ):
        (tmp_path / ".download").mkdir()
        (tmp_path / ".download" / "tmp0123").write_bytes(b"left")
        assert command("ravdess", tmp_path, "--verify")[0] == 0
        assert (
            f"{tmp_path / '.download'}: an unfinished download; run the command without --verify"
            in caplog.text
        )
        assert (tmp_path / ".download" / "tmp0123").exists()
        act()
        assert ravdess.is_in(tmp_path)
        assert len(load_corpus("ravdess", tmp_path)) == 8
    assert not server.requests


def download_and_load(folder, entries, url, number):
    verify._entries = lambda name: entries
    OWN_CORPORA["ravdess"].RELEASE = PublishedRelease(files=8, sources=(Archive("official", url),))
    (folder / f"ready-{number}").touch()
    while len(list(folder.glob("ready-*"))) < 3:
        time.sleep(0.001)
    download_missing(corpus_settings("ravdess", folder / "data"))
    print(len(load_corpus("ravdess", folder / "data")))


@pytest.mark.slow
def test_processes_that_download_into_one_folder_at_once_do_so_once(ravdess, server, tmp_path):
    arguments = download_and_load, tmp_path, ravdess.entries, f"{server.url}/a.zip"
    for process in [started(*arguments, number) for number in range(3)]:
        code, out, err = process.ended()
        assert (code, out) == (0, "8\n"), err
    assert ravdess.is_in(tmp_path / "data")
    assert len(server.requests) == 1


@pytest.fixture
def read():
    """Reads the corpus of a recipe with these settings."""
    from ser_hf.experiment.data import load_recipe_corpus
    from ser_hf.experiment.reading import read_recipe

    def run(name="ravdess", **settings):
        corpus = {"name": name, "download": True, **settings}
        recipe = read_recipe(
            {"name": "x", "corpus": corpus, "model": {"architecture": "crnn"}, "output_dir": "x"}
        )
        assert "download: true" in recipe.to_yaml()
        return load_recipe_corpus(recipe).dataset

    return run


@pytest.mark.parametrize("mixed", [False, True])
def test_a_recipe_downloads_missing_files(mixed, ravdess, server, read, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    item = {"name": "ravdess", "root": "~/RAVDESS"}
    for _ in range(2):
        assert len(read(**({"name": "mixture", "corpora": [item]} if mixed else item))) == 8
    assert ravdess.is_in(tmp_path / "home" / "RAVDESS")
    assert not (tmp_path / "~").exists()
    assert len(server.requests) == 1


def test_the_corpora_of_a_mixture_are_downloaded_or_left_to_their_parsers(ravdess, tmp_path):
    savee = tmp_path / "savee"
    savee.mkdir()
    (savee / "DC_a01.wav").write_bytes(b"audio of the user")
    others = [
        {"name": "hub", "dataset": "a/b"},
        {"name": "csv", "root": "clips.csv"},
        {"name": "synthetic"},
    ]
    items = [
        {"name": "ravdess", "root": str(tmp_path / "r")},
        {"name": "savee", "root": str(savee)},
        *others,
    ]
    download_missing(corpus_settings("mixture", corpora=items))
    assert ravdess.is_in(tmp_path / "r")
    download_missing(corpus_settings("csv", "clips.csv"))


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (
            {"name": "savee", "root": "savee"},
            r"corpus.corpora\[1\].download: savee cannot be downloaded: its",
        ),
        ({"name": "tess"}, r"corpus.corpora\[1\].root: missing or invalid"),
    ],
)
def test_all_of_a_mixture_is_checked_before_anything_is_downloaded(
    other, error, ravdess, server, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    items = [{"name": "ravdess", "root": "r"}, other]
    with pytest.raises(UserError, match=f"^{error}"):
        download_missing(corpus_settings("mixture", corpora=items))
    assert not server.requests


def test_a_complete_corpus_needs_no_disk_to_write_to_and_altered_files_are_reported(
    ravdess, server, tmp_path, caplog
):
    ravdess.write(tmp_path)
    download_missing(corpus_settings("ravdess", tmp_path))
    assert not (tmp_path / ".download.lock").exists()
    next(tmp_path.rglob("*.wav")).write_bytes(b"edited")
    download_missing(corpus_settings("ravdess", tmp_path, song=True))
    assert "of 8 files: 1 altered, damaged or converted" in caplog.text
    assert not server.requests
