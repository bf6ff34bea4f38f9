"""Files that come one by one: Git LFS servers and Dataverses, with what they answer when they do not want to."""

import json
import time

import pytest
from loopback import another, silent, status, told, truncate
from small_release import PATIENT

from ser_hf.corpora import CORPORA
from ser_hf.download.line import Line, SourceFailed
from ser_hf.download.objects import fetch_from_dataverse, fetch_from_lfs
from ser_hf.download.shelf import Shelf
from ser_hf.download.sources import Dataverse, LfsStore
from ser_hf.download.standing import by_clip

BATCH = "/r.git/info/lfs/objects/batch"


@pytest.fixture
def cremad(release, tmp_path):
    """A small release, its shelf, and a function that asks a Git LFS server for it."""
    ours = release("cremad")
    shelf = Shelf(tmp_path, ours.entries)

    def run(url, jobs=3):
        with Line(jobs, PATIENT) as line:
            fetch_from_lfs(line, LfsStore("store", url), shelf, jobs)

    return ours, shelf, run


def test_every_content_comes_once_with_the_headers_of_its_answer(cremad, server):
    ours, shelf, run = cremad
    run(server.lfs(ours.objects))
    assert not shelf.open_wants()
    gets = [headers for method, _, headers in server.asked if method == "GET"]
    assert len(gets) == len(ours.objects) == len(ours.files) - 1
    assert {headers["Authorization"] for headers in gets} == {"RemoteAuth of-this-object"}
    (post,) = [headers for method, _, headers in server.asked if method == "POST"]
    assert post["Accept"] == post["Content-Type"] == "application/vnd.git-lfs+json"


def test_questions_are_asked_in_batches(cremad, server, monkeypatch):
    monkeypatch.setattr("ser_hf.download.objects._BATCH", 2)
    ours, shelf, run = cremad
    run(server.lfs(ours.objects))
    assert not shelf.open_wants()
    assert [method for method, _, _ in server.asked].count("POST") == 3


def test_what_is_there_is_not_asked_for(cremad, server):
    ours, shelf, run = cremad
    sha256 = shelf.open_wants()[0].sha256
    shelf.path(sha256).write_bytes(ours.objects[sha256])
    run(server.lfs(ours.objects))
    assert f"/objects/{sha256}" not in [path for _, path, _ in server.asked]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            told(403, "This repository exceeded its LFS budget. The account should increase it."),
            "HTTP 403 Forbidden: This repository exceeded its LFS budget",
        ),
        (status(404), "HTTP 404 Not Found"),
        (status(429, Retry_After="99"), "HTTP 429 Too Many Requests, and asks to wait 99 s"),
        (lambda handler, _: handler.send(200, b"<html>"), "answers with something that is not JSON"),
        (lambda handler, _: handler.send(200, b"[]"), "does not answer as a Git LFS server"),
        (lambda handler, _: handler.send(200, b'{"objects": [1]}'), "does not answer as a Git LFS server"),
    ],
)
def test_a_server_that_refuses_says_why(fault, reason, cremad, server):
    ours, shelf, run = cremad
    url = server.lfs(ours.objects)
    server.faults[BATCH] = [fault]
    with pytest.raises(SourceFailed, match=reason):
        run(url)
    assert len(shelf.open_wants()) == len(ours.objects)


def test_objects_that_a_server_has_not_got_are_told_and_the_rest_is_kept(cremad, server):
    ours, shelf, run = cremad
    (lost, first), *others = ((item.sha256, item.path) for item in shelf.open_wants())
    objects = {sha256: content for sha256, content in ours.objects.items() if sha256 != others[0][0]}
    url = server.lfs(objects, errors={lost: (410, "Object removed by the owner")})
    with pytest.raises(SourceFailed, match=f"store: 2 not to be had, {first}: 410 Object removed"):
        run(url)
    assert [item.sha256 for item in shelf.open_wants()] == [lost, others[0][0]]


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({"header": {"X-A": "€"}}, r"the server names a header that is none \(X-A: €\)"),
        ({"header": {"X-A": "a\nb"}}, r"names a header that is none \(X-A: a b\)"),
        ({"header": {"X A": "a"}}, r"names a header that is none \(X A: a\)"),
        ({"href": "x" * 70_000}, "names an address of 70,000 letters"),
    ],
    ids=["letter", "line", "name", "address"],
)
def test_what_no_request_can_be_made_of_is_told(action, reason, cremad, server):
    ours, shelf, run = cremad
    url = server.lfs(ours.objects)
    good = server.answers[BATCH]

    def answer(question):
        answered = good(question)
        for each in answered["objects"]:
            each["actions"]["download"] |= action
        return answered

    server.answers[BATCH] = answer
    with pytest.raises(SourceFailed, match=f"store: 5 not to be had, AudioWAV/.*: .*{reason}"):
        run(url)
    assert not [path for _, path, _ in server.asked if path.startswith("/objects")]


def test_interrupted_nobody_waits_for_servers_that_say_nothing(cremad, server, monkeypatch, caplog):
    ours, shelf, _ = cremad
    url = server.lfs(ours.objects)
    server.always |= {f"/objects/{sha256}": silent for sha256 in ours.objects}
    caplog.set_level("INFO", logger="ser_hf")

    def interrupted(running):
        while sum(path.startswith("/objects") for _, path, _ in server.asked) < 3:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("ser_hf.download.objects.as_completed", interrupted)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Line(3, PATIENT) as line:
        fetch_from_lfs(line, LfsStore("store", url), shelf, 3)
    assert time.monotonic() - began < 8
    assert "stopping" in caplog.text
    assert "trying again" not in caplog.text


def test_an_address_that_expired_is_asked_for_again(cremad, server):
    ours, shelf, run = cremad
    url = server.lfs(ours.objects)
    server.faults[f"/objects/{shelf.open_wants()[0].sha256}"] = [status(403)]
    run(url)
    assert not shelf.open_wants()
    assert [method for method, _, _ in server.asked].count("POST") == 2


def test_an_object_that_is_another_is_never_kept(cremad, server, tmp_path):
    ours, shelf, run = cremad
    wanted = shelf.open_wants()[0]
    server.always[f"/objects/{wanted.sha256}"] = another(bytes(wanted.bytes))
    with pytest.raises(SourceFailed, match=f"1 not to be had, {wanted.path}: 127.0.0.1: sends another file"):
        run(server.lfs(ours.objects))
    assert shelf.open_wants() == [wanted]
    assert not list(shelf.folder.glob("*.part"))


def test_a_server_that_fails_everywhere_is_given_up(cremad, server, monkeypatch):
    monkeypatch.setattr("ser_hf.download.objects._ENOUGH", 2)
    ours, shelf, run = cremad
    for sha256 in ours.objects:
        server.always[f"/objects/{sha256}"] = status(404)
    with pytest.raises(SourceFailed, match="store: most not to be had, AudioWAV/.*HTTP 404"):
        run(server.lfs(ours.objects), jobs=1)
    assert len([path for _, path, _ in server.asked if path.startswith("/objects")]) < len(ours.objects)


def test_after_too_many_failures_no_more_batches_are_asked_for(cremad, server, monkeypatch):
    monkeypatch.setattr("ser_hf.download.objects._ENOUGH", 2)
    monkeypatch.setattr("ser_hf.download.objects._BATCH", 2)
    ours, _, run = cremad
    with pytest.raises(SourceFailed, match="store: most not to be had, .*: the server has no such object"):
        run(server.lfs({}))
    assert len(server.asked) == 1


def test_a_full_disk_ends_it_at_once(cremad, server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ser_hf.download.objects.fetch", full)
    ours, _, run = cremad
    with pytest.raises(OSError, match="No space left"):
        run(server.lfs(ours.objects))


@pytest.fixture
def tess(release, tmp_path, server):
    """A small release on a Dataverse, and a function that asks it."""
    ours = release("tess")
    shelf = Shelf(tmp_path, ours.entries)
    clips, read_name = by_clip("tess"), CORPORA["tess"].read_name

    def find(path):
        clip = read_name(path)
        return clips.get(clip.id) if clip else None

    files = [
        {"label": path, "dataFile": {"id": number, "filename": path.rpartition("/")[2]}}
        for number, path in enumerate(["readme.txt", "YAF_foreign_sad.wav", *ours.files], start=70)
    ]
    answer = {"status": "OK", "data": {"latestVersion": {"files": files}}}
    server.files["/api/datasets/:persistentId/"] = json.dumps(answer).encode()
    contents = [b"read me", b"not of the release", *ours.files.values()]
    server.files |= {f"/api/access/datafile/{70 + place}": content for place, content in enumerate(contents)}

    def run():
        with Line(2, PATIENT) as line:
            fetch_from_dataverse(line, Dataverse("verse", server.url, "doi:10.1/X Y"), shelf, 2, find)

    return ours, shelf, run


def test_the_files_of_a_dataverse_are_found_by_name_and_checked_by_content(tess, server):
    ours, shelf, run = tess
    server.faults["/api/access/datafile/73"] = [truncate(100), status(503)]
    run()
    assert not shelf.open_wants()
    asked = [path for _, path, _ in server.asked]
    assert asked[0] == "/api/datasets/:persistentId/?persistentId=doi:10.1/X%20Y"
    assert not {"/api/access/datafile/70", "/api/access/datafile/71"} & set(asked)


def test_what_a_dataverse_lacks_is_told(tess, server):
    ours, shelf, run = tess
    server.files["/api/datasets/:persistentId/"] = json.dumps({"data": {"latestVersion": {"files": []}}}).encode()
    with pytest.raises(SourceFailed, match="verse: 4 not to be had, OAF_angry/OAF_back_angry.wav: not in"):
        run()


@pytest.mark.parametrize("answer", [b"[]", b'{"data": 1}', b'{"data": {"latestVersion": {"files": [{}]}}}'])
def test_a_dataverse_that_answers_otherwise(answer, tess, server):
    _, _, run = tess
    server.files["/api/datasets/:persistentId/"] = answer
    with pytest.raises(SourceFailed, match="verse: 127.0.0.1 answers with no list of files"):
        run()
