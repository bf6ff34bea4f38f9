"""Downloads of corpora through the command and recipes: failing servers, bad archives, disks, and the files left."""

import errno
import hashlib
import io
import json
import multiprocessing
import re
import shutil
import stat
import sys
import tarfile
import time
import types
import zipfile

import pytest
from file_server import Release, Server, another, cut, endless, lie, redirect, silent, stall, status, trickle, zipped

from ser_hf import cli
from ser_hf.corpora import download_sources, load_corpus
from ser_hf.corpora import files as manifest
from ser_hf.corpora.download import download, download_missing
from ser_hf.corpora.download_sources import Archive, Companion, Dataverse, Kaggle, LfsStore, SourceError, Staging
from ser_hf.corpora.files import OFFICIAL
from ser_hf.corpora.release_check import check_release, entries_by_clip
from ser_hf.utils.errors import UserError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
BATCH = "/r.git/info/lfs/objects/batch"


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A function that sets how long the command waits. By default that is enough for any server that works."""

    def give(stall_seconds: float) -> None:
        monkeypatch.setattr(download_sources, "_STALL_SECONDS", stall_seconds)

    give(15)
    monkeypatch.setattr(download_sources, "_RETRIES", 2)
    monkeypatch.setattr(download_sources, "_SLOWEST", 1000)
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    return give


@pytest.fixture
def server():
    with Server() as started:
        yield started


@pytest.fixture
def release(monkeypatch):
    """A function from a corpus to a small release of it, which its packaged list then has."""

    def make(name: str = "ravdess") -> Release:
        made = Release(name)
        lists[name] = made.entries
        entries_by_clip.cache_clear()
        return made

    lists = {}
    packaged = manifest._entries
    monkeypatch.setattr(manifest, "_entries", lambda name: lists.get(name) or packaged(name))
    yield make
    entries_by_clip.cache_clear()


@pytest.fixture
def sourced(monkeypatch):
    """A function that gives a corpus other sources, and no companions but those named."""

    def give(name: str, *given, companions=()):
        monkeypatch.setattr(download_sources, "SOURCES", {**download_sources.SOURCES, name: given})
        monkeypatch.setattr(download_sources, "COMPANIONS", {name: companions})

    return give


@pytest.fixture
def ravdess(release, server, sourced):
    """A small release in one archive of the server, with its size and MD5."""
    ours = release()
    content = zipped(ours.files, under="audio_speech/")
    server.files["/a.zip"] = content
    sourced("ravdess", Archive("official", f"{server.url}/a.zip", len(content), hashlib.md5(content).hexdigest()))
    return ours


@pytest.fixture
def command(capsys):
    """Runs ``ser-hf download``; its exit code, and what it printed or its error line."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.main(["download", *map(str, arguments)])
        out, err = capsys.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == (code == 2)
        return code, out.strip().splitlines()[-1] if code == 0 else errors[0]

    return run


def test_each_fault_of_a_folder_is_reported_with_an_example(release, tmp_path):
    ours = release()
    ours.write(tmp_path, under="audio")
    check = check_release("ravdess", tmp_path)
    assert check.summary() == f"{tmp_path}: RAVDESS is complete, 8 files, every byte as released"
    assert "names and sizes" in check_release("ravdess", tmp_path, hashed=False).summary()
    paths = sorted(tmp_path.rglob("*.wav"))
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    paths[1].unlink()
    paths[2].write_bytes(POINTER)
    paths[3].write_bytes(b"")
    paths[4].rename(paths[4].with_suffix(".flac"))
    copy = tmp_path / "again" / paths[5].name
    copy.parent.mkdir()
    copy.write_bytes(b"other content")
    (tmp_path / "03-02-05-01-01-01-01.wav").write_bytes(b"sung")
    (tmp_path / "noise.wav").write_bytes(b"noise")
    check = check_release("ravdess", tmp_path)
    assert set(check.stubs.values()) == set(paths[2:4])
    assert check.copies == [copy]  # the original file is the one that counts
    assert check.summary() == (
        f"{tmp_path}: not RAVDESS as released; of 8 files: "
        "3 missing, 2 of them Git LFS pointers or empty (first Actor_01/03-01-05-01-01-01-01.wav); "
        "1 altered or damaged, which --replace downloads again (first audio/Actor_01/03-01-04-01-01-01-01.wav); "
        "1 converted to another format, which cannot be checked (first audio/Actor_03/03-01-04-01-01-01-03.flac); "
        "1 a second copy (mirrors often hold the whole folder twice), to be deleted "
        "(first again/03-01-05-01-01-01-03.wav)"
    )
    assert check_release("ravdess", tmp_path, hashed=False).altered == []  # sizes do not show a flipped bit


def test_corpora_without_files_or_without_a_list(tmp_path):
    assert len(check_release("ravdess", tmp_path / "nowhere").missing) == OFFICIAL["ravdess"]
    with pytest.raises(UserError, match="no list of its official files"):
        check_release("iemocap", tmp_path)


@pytest.mark.parametrize(
    ("name", "sample", "count"), [("cremad", "CREMA-D-sample", 84), ("ravdess", "RAVDESS-original-sample", 15)]
)
def test_files_of_the_real_release_are_recognized(name, sample, count, real_corpora):
    check = check_release(name, real_corpora(sample))
    assert len(check.missing) == OFFICIAL[name] - count
    assert [check.altered, check.reencoded, check.copies, check.stubs] == [[], [], [], {}]
    check = check_release("emodb", real_corpora("EMO-DB"))  # converted to FLAC
    assert (len(check.reencoded), check.missing) == (OFFICIAL["emodb"], [])


@pytest.mark.parametrize(
    ("name", "path"),
    [("cremad", "CREMA-D-metadata/processedResults/tabulatedVotes.csv"), ("emodb", "EMO-DB/erkennung.txt")],
)
def test_the_files_beside_the_audio_are_the_releases_own(name, path, real_corpora):
    (companion,), content = download_sources.COMPANIONS[name], real_corpora(path).read_bytes()
    assert path.endswith(companion.path)
    assert (len(content), hashlib.sha256(content).hexdigest()) == (companion.bytes, companion.sha256)


def test_every_corpus_with_a_list_has_sources_or_a_registration():
    assert set(download_sources.SOURCES) | set(download_sources.REGISTRATION) >= set(OFFICIAL)
    assert not set(download_sources.SOURCES) & set(download_sources.REGISTRATION)
    for sources in download_sources.SOURCES.values():
        assert len({source.name for source in sources}) == len(sources)
        assert [isinstance(source, Kaggle) for source in sources] == [False] * (len(sources) - 1) + [True]
        assert all(source.url.endswith(".git/info/lfs") for source in sources if isinstance(source, LfsStore))


def test_an_archive_becomes_the_release_and_nothing_else(ravdess, server, command, tmp_path, caplog):
    folder = tmp_path / "data" / "RAVDESS"
    assert command("ravdess", folder) == (0, f"{folder}: RAVDESS is complete, 8 files, every byte as released")
    assert ravdess.is_in(folder)
    assert "RAVDESS (licence: cc-by-nc-sa-4.0): 8 of 8 files to download, 0.02 MB; " in caplog.text
    assert "please cite: Livingstone" in caplog.text
    assert command("ravdess", folder)[0] == 0
    assert len(server.requests) == 1  # what is there is not requested


@pytest.mark.parametrize(
    "faults",
    [
        [cut(9000), cut(9000)],
        [lie(100_000)],
        [status(429, Retry_After="0"), status(503)],
        [status(500), status(429, Retry_After="soon")],
        [redirect("/b.zip")],
        [stall(9000)],
        [silent],
    ],
    ids=["breaks off", "announces too much", "busy", "broken", "redirects", "stalls", "silent"],
)
def test_temporary_faults_do_not_stop_a_download(faults, ravdess, server, command, patience, tmp_path):
    if faults[0] is silent or "stall" in faults[0].__qualname__:
        patience(0.4)
    server.files["/b.zip"] = server.files["/a.zip"]
    server.faults["/a.zip"] = list(faults)
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert not server.faults["/a.zip"]


@pytest.mark.parametrize(
    ("always", "reason", "requests"),
    [
        (stall(0), r"stalled after 0 bytes \(tried 3 times\)", 3),
        (trickle, r"stalled after \d+ bytes \(tried 3 times\)", 3),
        (silent, r"no answer within 0.4 s \(tried 3 times\)", 3),
        (cut(0), r"the connection broke off after 0 bytes \(tried 3 times\)", 3),
        (lie(100), "sends another file than the published one", 2),
        (endless, r"does not end after [\d,]+ bytes", 1),
        (redirect("/a.zip"), "30 redirects", 31),
        (redirect("ftp://127.0.0.1/a.zip"), "ftp://127.0.0.1/a.zip", 1),
        (status(429, Retry_After="3600"), "HTTP 429 Too Many Requests, and asks to wait 3600 s", 1),
        (status(503), r"HTTP 503 Service Unavailable \(tried 3 times\)", 3),
        (status(404), "HTTP 404 Not Found", 1),
        (status(403, "\x1b[2J\x1b[31mgone" + "x" * 4000), r"HTTP 403 Forbidden", 1),
        (status(403, "used\nup \x1b[2J"), r"HTTP 403 Forbidden: used up \\x1b\[2J", 1),
        (status(416), "HTTP 416", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_fails_is_one_line(always, reason, requests, ravdess, server, command, patience, tmp_path):
    if "stalled" in reason or "no answer" in reason:
        patience(0.4)
    server.always["/a.zip"] = always
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert line.startswith("error: ravdess: 8 of 8 files could not be downloaded (127.0.0.1: ")
    assert re.search(reason, line)
    assert line.isprintable()
    assert len(server.requests) == requests
    assert not list(tmp_path.rglob("*.wav"))
    if always is not trickle:
        assert line.endswith("; the same command tries again")
        assert not (tmp_path / ".download").exists()
    patience(15)
    server.always.clear()
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)


def test_no_server_no_url_and_no_certificates(ravdess, command, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    for url, reason in (
        ("http://127.0.0.1:9/file", "Connection refused"),
        ("http://", "Invalid URL"),
        ("http://a:b/", "Failed to parse"),
        ("https://127.0.0.1:9/file", "/nowhere.pem"),
    ):
        code, line = command("ravdess", tmp_path, "--source", url)
        assert (code, "files could not be downloaded (" in line, reason in line) == (2, True, True)


def test_a_slow_server_is_not_a_stalled_one(ravdess, server, command, patience, tmp_path):
    def slow(handler, content):
        handler.send(200, b"", {}, len(content))
        for start in range(0, len(content), 6000):
            time.sleep(0.3)
            handler.wfile.write(content[start : start + 6000])

    patience(1.0)  # less than it takes as a whole
    server.faults["/a.zip"] = [slow]
    assert command("ravdess", tmp_path)[0] == 0
    assert len(server.requests) == 1


def interrupted(server, command, tmp_path, sent=9000):
    """A download that has stopped after some bytes of its archive."""
    server.faults["/a.zip"] = [cut(sent), status(404)]
    code, line = command("ravdess", tmp_path)
    assert (code, line.endswith(f"; the same command continues from {tmp_path}/.download")) == (2, True)
    with pytest.raises(UserError, match="is not finished; run it again"):
        load_corpus("ravdess", tmp_path)
    return next((tmp_path / ".download").glob("archive-*.part"))


def test_the_next_command_continues_a_partial_archive(ravdess, server, command, tmp_path):
    assert interrupted(server, command, tmp_path).stat().st_size == 9000
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert server.requests[-1][2]["Range"] == "bytes=9000-"
    assert server.requests[-1][2]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "fault",
    [
        None,
        lambda handler, content: handler.send(200, content),
        lambda handler, content: handler.send(206, content, {"Content-Range": "bytes 0-9/10"}),
        lambda handler, content: handler.send(206, content),
        status(416),
    ],
    ids=["another file", "no ranges", "another range", "no range named", "refused"],
)
def test_what_cannot_be_continued_is_downloaded_again(fault, ravdess, server, command, tmp_path):
    part = interrupted(server, command, tmp_path)
    if fault is None:
        part.write_bytes(bytes(9000))
    server.faults["/a.zip"] = [fault] if fault else []
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_archive_that_has_arrived_is_not_requested_again(error, ravdess, server, command, tmp_path, monkeypatch):
    take, taken = Staging.take, []

    def interrupt(self, content):
        taken.append(content)
        if len(taken) == 4:
            raise error
        return take(self, content)

    monkeypatch.setattr(Staging, "take", interrupt)
    if isinstance(error, OSError):
        line = command("ravdess", tmp_path)[1]
        assert line.endswith(": cannot be written (No space left on device); make room, or name another folder")
    else:
        with pytest.raises(KeyboardInterrupt):
            download("ravdess", tmp_path)
    with pytest.raises(UserError, match="is not finished; run it again"):
        load_corpus("ravdess", tmp_path)
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert len(server.requests) == 1


def test_what_one_source_lacks_the_next_one_provides(ravdess, server, sourced, command, tmp_path, caplog):
    paths = list(ravdess.files)
    server.files["/half.zip"] = zipped({path: ravdess.files[path] for path in paths[:3]})
    half, kaggle = Archive("half", f"{server.url}/half.zip"), Kaggle("kaggle", "nobody/asks")
    sourced("ravdess", half, kaggle)
    code, line = command("ravdess", tmp_path)
    assert code == 2
    assert f"(half does not have {paths[3]} and 3 more as released)" in line
    assert line.endswith(", and --source kaggle uses another mirror")
    assert not list(tmp_path.rglob("*.wav"))
    gone = Archive("gone", f"{server.url}/gone.zip")
    sourced("ravdess", half, gone, LfsStore("objects", server.lfs(ravdess.objects)), kaggle)
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)
    assert "3 of them have arrived in an earlier download" in caplog.text
    assert "127.0.0.1: HTTP 404 Not Found" in caplog.text
    assert len([path for _, path, _ in server.requests if path.startswith("/objects")]) == 7 - 3


def test_urls_of_mirrors(ravdess, server, command, tmp_path):
    url = server.url.replace("http", "HTTP")
    assert command("ravdess", tmp_path / "one", "--source", f"{url}/a.zip")[0] == 0
    assert command("ravdess", tmp_path / "two", "--source", f"{server.lfs(ravdess.objects)}/", "--jobs", "2")[0] == 0
    assert ravdess.is_in(tmp_path / "one")
    assert ravdess.is_in(tmp_path / "two")


@pytest.fixture
def cremad(release, server, sourced):
    """A small release, and a function that makes the server a Git LFS server of it."""
    ours = release("cremad")

    def serve(objects=ours.objects, errors=None):
        sourced("cremad", LfsStore("store", server.lfs(objects, errors)))
        return ours

    return serve


def test_each_object_is_downloaded_once_with_the_headers_of_its_answer(cremad, server, command, tmp_path, monkeypatch):
    monkeypatch.setattr(download_sources, "_BATCH", 2)
    ours = cremad()
    assert command("cremad", tmp_path)[0] == 0
    assert ours.is_in(tmp_path)
    gets = [headers for method, _, headers in server.requests if method == "GET"]
    assert len(gets) == len(ours.objects) == len(ours.files) - 1
    assert {headers["Authorization"] for headers in gets} == {"RemoteAuth of-this-object"}
    posts = [headers for method, _, headers in server.requests if method == "POST"]
    assert {headers["Content-Type"] for headers in posts} == {"application/vnd.git-lfs+json"}
    assert len(posts) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(403, "Exceeded its LFS budget."), "HTTP 403 Forbidden: Exceeded its LFS budget."),
        (status(404), "HTTP 404 Not Found"),
        (lambda handler, _: handler.send(200, b"<html>"), "the answer is not JSON"),
        (lambda handler, _: handler.send(200, b"[" * 100_000), "the answer is not JSON"),
        (lambda handler, _: handler.send(200, b"[]"), "does not answer as a Git LFS server"),
        (lambda handler, _: handler.send(200, b'{"objects": [1]}'), "does not answer as a Git LFS server"),
        (lambda handler, _: handler.send(200, bytes(3 << 20)), "does not end after 1,048,576 bytes"),
    ],
)
def test_a_git_lfs_server_that_refuses_is_one_line(fault, reason, cremad, server, command, tmp_path, monkeypatch):
    monkeypatch.setattr(download_sources, "_ANSWER_BYTES", 1 << 20)
    cremad()
    server.faults[BATCH] = [fault]
    assert reason in command("cremad", tmp_path)[1]
    assert not (tmp_path / ".download").exists()
    server.faults[BATCH] = [status(503)]
    assert command("cremad", tmp_path)[0] == 0


def test_objects_that_a_server_does_not_have_are_reported_and_the_rest_is_kept(cremad, server, command, tmp_path):
    ours = cremad()
    lost, absent, altered, *_ = (entry.sha256 for entry in ours.entries)
    first = ours.entries[0].path
    objects = {sha256: content for sha256, content in ours.objects.items() if sha256 not in (lost, absent)}
    cremad(objects, {lost: {"code": 410, "message": "Object removed by the owner"}})
    server.always[f"/objects/{altered}"] = another(bytes(len(ours.objects[altered])))
    line = command("cremad", tmp_path)[1]
    assert f"(store: 3 not available, {first}: 410 Object removed by the owner)" in line
    assert {path.name for path in (tmp_path / ".download").iterdir()} == set(objects) - {altered}
    server.always.clear()
    cremad()
    assert command("cremad", tmp_path)[0] == 0
    assert ours.is_in(tmp_path)
    assert len([path for _, path, _ in server.requests if path.startswith("/objects")]) == 2 + 2 + 3


@pytest.mark.parametrize(
    "action", [{"header": {"X-A": "€"}}, {"header": {"X-A": "a\nb"}}, {"header": {"X A": 1}}, {"href": None}]
)
def test_answers_that_are_no_requests_are_one_line(action, cremad, server, command, tmp_path):
    cremad()
    batch = server.answers[BATCH]

    def answer(question):
        answered = batch(question)
        for each in answered["objects"]:
            each["actions"]["download"] |= action
        return answered

    server.answers[BATCH] = answer
    assert "store: 5 not available, AudioWAV/" in command("cremad", tmp_path)[1]


def test_a_server_that_fails_for_every_object_is_given_up(cremad, server, command, tmp_path, monkeypatch):
    monkeypatch.setattr(download_sources, "_MOST_FAILURES", 2)
    ours = cremad()
    server.always |= {f"/objects/{sha256}": status(404) for sha256 in ours.objects}
    assert "store: most not available, AudioWAV/" in command("cremad", tmp_path, "--jobs", "1")[1]
    assert len([path for _, path, _ in server.requests if path.startswith("/objects")]) < len(ours.objects)


def test_an_interruption_ends_downloads_side_by_side(cremad, server, patience, tmp_path, monkeypatch):
    ours = cremad()
    patience(1.0)
    server.always |= {f"/objects/{sha256}": silent for sha256 in ours.objects}

    def interrupt(_):
        while sum(path.startswith("/objects") for _, path, _ in server.requests) < 3:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(download_sources, "as_completed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download("cremad", tmp_path, jobs=3)
    assert len(server.requests) == 1 + 3  # neither retried nor gone on with


@pytest.fixture
def tess(release, sourced, server):
    """A small release on a Dataverse, under other paths and beside other files."""
    ours = release("tess")
    names = ["notes.pdf", "YAF_foreign_sad.wav", *(path.rpartition("/")[2].upper() for path in ours.files)]
    files = [{"dataFile": {"id": number, "filename": name}} for number, name in enumerate(names)]
    server.files["/api/datasets/:persistentId/"] = json.dumps({"data": {"latestVersion": {"files": files}}}).encode()
    server.files |= {f"/api/access/datafile/{n}": content for n, content in enumerate(ours.files.values(), start=2)}
    sourced("tess", Dataverse("verse", server.url, "doi:10.1/X Y"))
    return ours


def test_the_files_of_a_dataverse_are_found_by_name_and_checked_by_content(tess, server, command, tmp_path):
    server.faults["/api/access/datafile/3"] = [cut(100), status(503)]
    assert command("tess", tmp_path)[0] == 0
    assert tess.is_in(tmp_path)
    requests = [path for _, path, _ in server.requests]
    assert requests[0] == "/api/datasets/:persistentId/?persistentId=doi:10.1/X%20Y"
    assert not {"/api/access/datafile/0", "/api/access/datafile/1"} & set(requests)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([], "verse: 127.0.0.1 does not answer with a list of files"),
        ({"data": {"latestVersion": {"files": [{}]}}}, "verse: 127.0.0.1 does not answer with a list of files"),
        ({"data": {"latestVersion": {"files": []}}}, "verse: 4 not available, OAF_angry/OAF_back_angry.wav: not"),
    ],
)
def test_a_dataverse_without_the_files_is_one_line(answer, reason, tess, server, command, tmp_path):
    server.files["/api/datasets/:persistentId/"] = json.dumps(answer).encode()
    assert reason in command("tess", tmp_path)[1]


def tarred(files: dict[str, bytes], mode: str = "w", infos=()) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for kind in infos:
            info = tarfile.TarInfo("x.wav")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return stream.getvalue()


def zip_with_link(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO(zipped(files))
    with zipfile.ZipFile(stream, "a") as archive:
        info = zipfile.ZipInfo("x.wav")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


EVIL = {"/etc/cron.d/x": b"x", "../../x.wav": b"x", "..\\x.wav": b"x", "C:\\x.wav": b"x", "a/../../../x.wav": b"x"}
PACKINGS = {
    "zip": zipped,
    "other names": lambda files: zipped({path.upper(): content for path, content in files.items()}, "some/folder/"),
    "doubled": lambda files: zipped(files | {f"again/{path}": content for path, content in files.items()}),
    "evil zip": lambda files: zipped(EVIL | {f"../../../{path}": content for path, content in files.items()}),
    "zip with link": zip_with_link,
    "evil tar": lambda files: tarred(EVIL | {f"/{path}": content for path, content in files.items()}),
    "tar with links": lambda files: tarred(
        files, "w:gz", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
    ),
    "tar.xz": lambda files: tarred(files, "w:xz"),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_archives_give_their_content_and_decide_nothing(packing, release, command, tmp_path):
    ours, archive, folder = release(), tmp_path / "mine", tmp_path / "deep" / "down" / "corpus"
    archive.write_bytes(PACKINGS[packing](ours.files))
    assert command("ravdess", folder, "--source", archive)[0] == 0
    assert ours.is_in(folder)
    outside = [path for path in tmp_path.rglob("*") if folder not in path.parents and path.is_file()]
    assert outside == [archive]  # which is not removed
    assert not any(path.is_symlink() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda files: zipped(files)[:-40], r"damaged, or|no zip or tar archive, or damaged; it begins with 'PK"),
        (lambda files: tarred(files, "w:gz")[:-3000], r"damaged \("),
        (lambda files: tarred(files)[:5500], "damaged"),
        (lambda files: b"", "no zip or tar archive, or damaged; it begins with ''"),
        (lambda files: b"<!DOCTYPE html>\xff<title>Sign in", r"it begins with '<!DOCTYPE html>\\\\xff<title>S'"),
        (lambda files: zipped({"0": bytes(1_000_000)} | files), "refused, it holds more than the release can have"),
        (lambda files: tarred({"0": bytes(1_000_000)} | files, "w:gz"), "refused, it holds more than the release"),
        (lambda files: zipped(dict.fromkeys(map(str, range(101)), b"") | files), "refused, it holds more than"),
    ],
    ids=["zip cut", "gz cut", "tar cut", "empty", "page", "zip bomb", "gz bomb", "members"],
)
def test_bad_archives_are_one_line(change, reason, release, command, tmp_path, monkeypatch):
    monkeypatch.setattr(download_sources, "_ARCHIVE_MEMBERS", 100)
    ours, archive = release(), tmp_path / "mine"
    archive.write_bytes(change(ours.files))
    code, line = command("ravdess", tmp_path / "new", "--source", archive)
    assert code == 2
    assert re.search(rf"could not be downloaded \({archive}: .*({reason})", line)
    assert not list(tmp_path.rglob("*.wav"))


@pytest.mark.parametrize("packing", ["zip", "gz", "xz", "tar"])
def test_whatever_byte_is_altered_nothing_altered_is_kept(packing, release, tmp_path):
    ours, archive = release(), tmp_path / "archive"
    # Compressible, so that the packing itself is altered and not only the check sums.
    files = {str(place): (bytes(range(256)) * 12)[: 3000 + 2 * place] for place in range(3)}
    content = zipped(files) if packing == "zip" else tarred(files, "w" if packing == "tar" else f"w:{packing}")
    staging, failed = Staging("ravdess", tmp_path, list(ours.entries), [], {}), 0
    staging.folder.mkdir()
    end = len(content) - 40
    for place in [*range(0, end, max(1, end // 60)), *range(end, len(content))]:
        archive.write_bytes(content[:place] + bytes([content[place] ^ 129]) + content[place + 1 :])
        try:
            download_sources._unpack(archive, "it", staging)
        except SourceError:
            failed += 1
    assert failed
    assert not any(staging.folder.iterdir())


def test_a_damaged_archive_from_a_server_is_downloaded_again(ravdess, server, sourced, command, tmp_path):
    good = server.files["/a.zip"]
    server.files["/a.zip"] = good[:500] + bytes([good[500] ^ 1]) + good[501:]
    sourced("ravdess", Archive("mirror", f"{server.url}/a.zip"))
    assert "(the archive of 127.0.0.1: damaged (" in command("ravdess", tmp_path)[1]
    server.files["/a.zip"] = good
    assert command("ravdess", tmp_path)[0] == 0
    assert ravdess.is_in(tmp_path)


def test_a_folder_of_the_user_and_kaggles_doubled_one(ravdess, server, sourced, command, tmp_path, monkeypatch):
    doubled = ravdess.write(ravdess.write(tmp_path / "doubled"), under=".git/lfs")
    ravdess.write(doubled, under="audio_speech_actors_01-24")
    assert "8 a second copy (mirrors often hold" in command("ravdess", doubled, "--verify")[1]
    assert command("ravdess", tmp_path / "one", "--source", doubled)[0] == 0
    assert ravdess.is_in(tmp_path / "one")
    handles = []
    kagglehub = types.SimpleNamespace(dataset_download=lambda handle: handles.append(handle) or str(doubled))
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub)
    sourced("ravdess", Kaggle("kaggle", "somebody/ravdess"))
    assert command("ravdess", tmp_path / "two", "--source", "kaggle")[0] == 0
    assert ravdess.is_in(tmp_path / "two")
    assert handles == ["somebody/ravdess"]
    assert not server.requests


def test_kaggle_without_kagglehub_or_without_an_answer(ravdess, sourced, command, tmp_path, monkeypatch):
    sourced("ravdess", Kaggle("kaggle", "somebody/ravdess"))
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    line = command("ravdess", tmp_path, "--source", "kaggle")[1]
    assert line == 'error: --source kaggle: needs kagglehub; pip install "ser_hf[kaggle]"'

    def refuse(handle):
        raise RuntimeError("403 you must\naccept the rules")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=refuse))
    line = command("ravdess", tmp_path, "--source", "kaggle")[1]
    assert "(kaggle (somebody/ravdess): 403 you must accept the rules)" in line


def test_a_clone_without_its_content_is_recognized(ravdess, command, tmp_path):
    clone = ravdess.write(tmp_path / "clone")
    for path in clone.rglob("*.wav"):
        path.write_bytes(POINTER)
    line = command("ravdess", tmp_path / "new", "--source", clone)[1]
    assert f"{clone}: 8 Git LFS pointers in place of files (first " in line


@pytest.fixture
def voted(release, server, sourced):
    """A small CREMA-D with a table beside it."""
    ours, sha256 = release("cremad"), hashlib.sha256(b"votes").hexdigest()
    server.files["/votes.csv"] = b"votes"
    companion = Companion("tables/votes.csv", 5, sha256, "target", ("voice",), f"{server.url}/votes.csv")
    sourced("cremad", LfsStore("store", server.lfs(ours.objects)), companions=(companion,))
    return ours


def test_a_table_beside_the_audio_is_downloaded_too(voted, server, command, tmp_path, caplog):
    table = tmp_path / "tables" / "votes.csv"
    server.always["/votes.csv"] = another(b"stove")
    assert command("cremad", tmp_path)[0] == 0  # complete without it
    assert "tables/votes.csv, which corpus.target: voice needs, could not be downloaded: 127.0.0.1" in caplog.text
    assert voted.is_in(tmp_path)
    server.always.clear()
    assert command("cremad", tmp_path)[0] == 0
    assert table.read_bytes() == b"votes"
    table.unlink()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "votes.csv").write_bytes(b"votes")
    requests = len(server.requests)
    assert command("cremad", tmp_path, "--source", tmp_path / "mine")[0] == 0
    assert table.read_bytes() == b"votes"
    assert len(server.requests) == requests


def test_a_table_that_is_only_in_the_archive(release, server, sourced, command, tmp_path, caplog):
    ours, text = release("emodb"), b"perception"
    server.files["/a.zip"] = zipped(ours.files | {"erkennung.txt": text}, under="download/")
    companion = Companion("erkennung.txt", len(text), hashlib.sha256(text).hexdigest(), "perception", (True,))
    sourced("emodb", Archive("official", f"{server.url}/a.zip"), companions=(companion,))
    table = tmp_path / "erkennung.txt"
    for arguments in ([], ["--source", "official"]):
        assert command("emodb", tmp_path, *arguments)[0] == 0
        assert table.read_bytes() == text
        table.unlink()
    requests = len(server.requests)
    assert command("emodb", tmp_path)[0] == 0  # the archive is not downloaded for it
    assert len(server.requests) == requests
    assert f"erkennung.txt, which corpus.perception: true needs, is not in {tmp_path}; it is in the " in caplog.text
    assert f"ser-hf download emodb {tmp_path} --source official" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["ravdes", "x"], "corpus: 'ravdes' is unknown; expected one of "),
        (["savee", "x"], "savee: cannot be downloaded: its authors send it after registration at http://kahlan"),
        (["iemocap", "x"], "iemocap: cannot be downloaded: USC sends it on request"),
        (["csv", "x"], "csv: no source is known to download it from"),
        (["csv", "x", "--source", "y"], "--source: no list of the files of csv is known to check them by"),
        (["ravdess", "x", "--source", "zendo"], "--source: 'zendo' is unknown; expected zenodo, kaggle, a file, a "),
        (["savee", "x", "--source", "zendo"], "--source: 'zendo' is unknown; expected a file, a folder, or a URL"),
        (["ravdess", "x", "--source", " "], "--source: ' ' is unknown"),
        (["ravdess", "x", "--source", "a\0b"], r"--source: 'a\x00b' is unknown"),
        (["ravdess", "x", "--jobs", "0"], "--jobs: expected one or more, got 0"),
        (["iemocap", "x", "--verify"], "iemocap: no list of its files is known; choose one of cremad, "),
        (["ravdess", "nowhere", "--verify"], "nowhere: is not a folder"),
        (["ravdess", "x", "--verify", "--replace"], "--replace: changes files, and --verify does not"),
        (["ravdess", "file"], "file: is no folder"),
        (["ravdess", ""], "DIR: empty; name the folder for RAVDESS"),
        (["ravdess", "x" * 300], "DIR: 'xxx"),
        (["ravdess", "a\0b"], r"DIR: 'a\x00b' cannot be a folder (embedded null byte)"),
        (["ravdess", "file/below"], "DIR: 'file/below' cannot be a folder (Not a directory)"),
        (["ravdess", "link"], "link: cannot be written (File exists); move away what is in the way"),
    ],
)
def test_mistakes_are_one_line(arguments, error, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("/nowhere/at/all")
    code, line = command(*arguments)
    assert code == 2
    assert line.startswith(f"error: {error}")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


def test_verify_changes_nothing_and_replace_only_what_is_altered(ravdess, server, command, tmp_path, caplog):
    ravdess.write(tmp_path, under="mine")
    assert command("ravdess", tmp_path, "--verify")[0] == 0
    paths = sorted(tmp_path.rglob("*.wav"))[1:5]
    for place, path in enumerate(paths):
        path.write_bytes(path.read_bytes()[: -1 - place] + b"?" * (place % 2))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.wav")}
    for arguments in (["--verify"], []):
        code, line = command("ravdess", tmp_path, *arguments)
        assert code == 2
        assert "of 8 files: 4 altered or damaged, which --replace downloads again (first mine/Actor_" in line
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.wav")} == before
    assert all(f"altered: {path.relative_to(tmp_path).as_posix()}" in caplog.text for path in paths)
    assert not server.requests
    assert command("ravdess", tmp_path, "--replace")[0] == 0
    assert len(list(tmp_path.rglob("*.wav"))) == 8


def test_stubs_are_replaced_in_their_place(ravdess, command, tmp_path):
    paths = sorted(ravdess.write(tmp_path, under="clone").rglob("*.wav"))
    paths[0].write_bytes(POINTER)
    paths[1].write_bytes(b"")
    paths[2].unlink()
    assert command("ravdess", tmp_path)[0] == 0
    assert paths[0].read_bytes() == ravdess.files[paths[0].relative_to(tmp_path / "clone").as_posix()]
    assert not paths[2].exists()  # is where the release has it
    assert not (tmp_path / ".download").exists()


@pytest.mark.parametrize(
    ("obstacle", "error"),
    [
        (lambda at: (at / "Actor_02/03-01-05-01-01-01-02.wav").mkdir(parents=True), "is in the place of a file"),
        (lambda at: (at / "Actor_03").write_text("x"), "Actor_03: a file is in the place of a folder; move it away"),
        (lambda at: (at / "Actor_04").symlink_to("/nowhere"), "Actor_04: a symbolic link, through which nothing is"),
        (lambda at: (at / "Actor_04").symlink_to(at.parent / "out"), "Actor_04: a symbolic link, through which"),
        (lambda at: (at / ".download").symlink_to(at.parent / "out"), r"\.download: a symbolic link, through which"),
        (lambda at: (at / ".download.lock").symlink_to(at.parent / "out/x"), r"\.download.lock: a symbolic link"),
        (lambda at: (at / ".download").write_text("x"), r"\.download: cannot be written \(File exists\); move away"),
        (lambda at: (at / ".download.lock").mkdir(), r"lock: cannot be written \(Is a directory\); move away"),
    ],
    ids=["folder", "file", "dead link", "link", "staging link", "lock link", "staging", "lock"],
)
def test_what_is_in_the_way_is_named_before_anything_is_downloaded(
    obstacle, error, ravdess, server, command, tmp_path
):
    folder = tmp_path / "corpus"
    for path in (folder, tmp_path / "out"):
        path.mkdir()
    obstacle(folder)
    code, line = command("ravdess", folder)
    assert code == 2
    assert re.search(error, line)
    assert not server.requests
    assert not any((tmp_path / "out").iterdir())


def test_nothing_is_written_through_links_in_the_staging_folder_or_to_a_stub(ravdess, server, command, tmp_path):
    folder, out = tmp_path / "corpus", tmp_path / "out"
    (folder / ".download").mkdir(parents=True)
    out.mkdir()
    (folder / ".download" / "content.part").symlink_to(out / "x")
    assert "content.part: a symbolic link" in command("ravdess", folder)[1]
    shutil.rmtree(folder / ".download")
    (folder / "linked").symlink_to(out)
    (out / "03-01-04-01-01-01-01.wav").write_bytes(POINTER)
    assert "linked: a symbolic link" in command("ravdess", folder)[1]
    assert (out / "03-01-04-01-01-01-01.wav").read_bytes() == POINTER
    assert not server.requests


def test_room_on_the_disk_is_checked_for_what_has_not_arrived(ravdess, server, command, tmp_path, monkeypatch):
    size, unpacked = len(server.files["/a.zip"]), sum(map(len, ravdess.objects.values()))

    def free(size):
        monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=(100 << 20) + size))

    free(unpacked + size - 1)
    line = command("ravdess", tmp_path)[1]
    assert re.search(r"0\.0\d MB are still to be written and 104.86 MB stay free, but its disk has", line)
    assert not server.requests
    free(unpacked + size)
    interrupted(server, command, tmp_path)
    free(unpacked + size - 9001)
    assert line.endswith("make room, or name a folder on another disk")
    assert command("ravdess", tmp_path)[0] == 2
    free(unpacked + size - 9000)
    assert command("ravdess", tmp_path)[0] == 0


def closed(monkeypatch, name: str):
    """Makes a file one that cannot be read."""
    opened = io.open

    def refuse(path, *arguments, **options):
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(io, "open", refuse)


def test_a_file_that_cannot_be_read_is_named(ravdess, command, tmp_path, monkeypatch):
    path = ravdess.write(tmp_path / "mine") / "Actor_02" / "03-01-04-01-01-01-02.wav"
    closed(monkeypatch, path.name)
    for arguments in (["--verify"], []):
        assert (
            command("ravdess", tmp_path / "mine", *arguments)[1]
            == f"error: {path}: cannot be read (Permission denied)"
        )
    line = command("ravdess", tmp_path / "new", "--source", tmp_path / "mine")[1]
    assert f"could not be downloaded ({path}: cannot be read (Permission denied))" in line


def test_a_full_disk_is_no_fault_of_the_source(ravdess, command, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Staging, "take", full)
    line = command("ravdess", tmp_path / "new", "--source", ravdess.write(tmp_path / "mine"))[1]
    assert line.startswith(f"error: {tmp_path / 'new'}: cannot be written (No space left on device); make room")


def test_what_an_earlier_download_has_left_is_removed(ravdess, server, command, tmp_path, caplog):
    ravdess.write(tmp_path)
    for act in (lambda: command("ravdess", tmp_path), lambda: download_missing("ravdess", str(tmp_path), {})):
        (tmp_path / ".download").mkdir()
        (tmp_path / ".download" / "0123").write_bytes(b"left")
        assert command("ravdess", tmp_path, "--verify")[0] == 0
        assert f"{tmp_path / '.download'}: a download into it has not ended" in caplog.text
        assert (tmp_path / ".download" / "0123").exists()
        act()
        assert ravdess.is_in(tmp_path)
        assert len(load_corpus("ravdess", tmp_path)) == 8
    assert not server.requests


def _download_and_load(folder, entries, url, barrier, results):
    manifest._entries = lambda name: entries
    download_sources.SOURCES = {"ravdess": (Archive("official", url),)}
    barrier.wait(60)
    try:
        download_missing("ravdess", str(folder), {})
        results.put(len(load_corpus("ravdess", folder)))
    except Exception as error:
        results.put(repr(error))


def test_processes_that_download_into_one_folder_at_once_do_so_once(ravdess, server, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    arguments = (tmp_path / "data", ravdess.entries, f"{server.url}/a.zip", barrier, results)
    processes = [context.Process(target=_download_and_load, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [8] * 4
    for process in processes:
        process.join(60)
    assert ravdess.is_in(tmp_path / "data")
    assert len(server.requests) == 1


@pytest.fixture
def read():
    """Reads the corpus of a recipe with these settings."""
    from ser_hf.experiment.data import load_recipe_corpus
    from ser_hf.experiment.recipe_checks import read_recipe

    def run(name="ravdess", **settings):
        corpus = {"name": name, "download": True, **settings}
        recipe = read_recipe({"name": "x", "corpus": corpus, "model": {"architecture": "crnn"}, "output_dir": "x"})
        assert "download: true" in recipe.to_yaml()
        return load_recipe_corpus(recipe).dataset

    return run


@pytest.mark.parametrize("mixed", [False, True])
def test_a_recipe_downloads_what_is_missing(mixed, ravdess, server, read, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    one = {"name": "ravdess", "root": "~/RAVDESS"}
    for _ in range(2):
        assert len(read(**({"name": "mixture", "corpora": [one]} if mixed else one))) == 8
    assert ravdess.is_in(tmp_path / "home" / "RAVDESS")
    assert not (tmp_path / "~").exists()
    assert len(server.requests) == 1


def test_the_corpora_of_a_mixture_are_downloaded_or_left_to_their_parsers(ravdess, tmp_path):
    savee = tmp_path / "savee"
    savee.mkdir()
    (savee / "DC_a01.wav").write_bytes(b"audio of the user")
    others = [{"name": "hub", "dataset": "a/b"}, {"name": "csv", "root": "clips.csv"}, {"name": "synthetic"}]
    items = [{"name": "ravdess", "root": str(tmp_path / "r")}, {"name": "savee", "root": str(savee)}, *others]
    download_missing("mixture", None, {"corpora": items})
    assert ravdess.is_in(tmp_path / "r")
    download_missing("csv", "clips.csv", {})


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"name": "savee", "root": "savee"}, r"corpus.corpora\[1\].download: savee: cannot be downloaded: its"),
        ({"name": "tess"}, r"corpus.corpora\[1\].root: missing; name the folder to download TESS into"),
        ({"name": "tess", "root": ""}, r"corpus.corpora\[1\].root: empty"),
        ({"name": "tess", "root": "x", "typo": 1}, r"corpus.corpora\[1\].typo"),
    ],
)
def test_all_of_a_mixture_is_checked_before_anything_is_downloaded(
    other, error, ravdess, server, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{error}"):
        download_missing("mixture", None, {"corpora": [{"name": "ravdess", "root": "r"}, other]})
    assert not server.requests


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"labels": ["angry", "angryy"]}, "corpus.labels: 'angryy' is not a canonical emotion"),
        ({"merge": {"clam": "neutral"}}, "corpus.merge: 'clam' is not a canonical emotion"),
        ({"song": True}, "corpus.download: brings the spoken part, and corpus.song is true; unpack Audio_Song"),
    ],
)
def test_mistakes_in_a_recipe_are_found_before_anything_is_downloaded(setting, error, ravdess, server, read, tmp_path):
    with pytest.raises(UserError, match=f"^{error}"):
        read(root=str(tmp_path), **setting)
    assert not server.requests


def test_sung_clips_and_altered_files_are_left_to_the_user(ravdess, tmp_path, caplog):
    ravdess.write(tmp_path)
    next(tmp_path.rglob("*.wav")).write_bytes(b"edited")
    (tmp_path / "03-02-05-01-01-01-01.wav").write_bytes(b"sung")
    download_missing("ravdess", str(tmp_path), {"song": True})
    assert "of 8 files: 1 altered or damaged" in caplog.text


def test_a_complete_corpus_needs_neither_a_table_nor_a_disk_to_write_to(voted, server, tmp_path):
    voted.write(tmp_path)
    download_missing("cremad", str(tmp_path), {})
    download_missing("cremad", str(tmp_path), {"target": "voice", "tables": "elsewhere"})
    assert not server.requests
    assert not (tmp_path / ".download.lock").exists()
    download_missing("cremad", str(tmp_path), {"target": "voice"})
    assert (tmp_path / "tables" / "votes.csv").read_bytes() == b"votes"
