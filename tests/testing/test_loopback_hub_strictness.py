"""What the loopback Hub refuses, answers in part and remembers, asked by plain HTTP without any client's help."""

import base64
import hashlib
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from support.hub import LoopbackHub

NDJSON = "application/x-ndjson"
LFS = "application/vnd.git-lfs+json"
CONTENT = bytes(range(256)) * 4
OID, SIZE = hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)


@pytest.fixture
def hub(tmp_path):
    """With a model ``tester/m`` that holds `CONTENT` in Git LFS as ``w.bin`` and a text ``a.txt``."""
    with LoopbackHub(tmp_path / "hub") as started:
        asked(started, "POST", CREATE, {"name": "m"})
        upload(started)
        sent = commit(started, [lfs_file("w.bin"), file("a.txt", b"0123456789")])
        assert sent[0] == 200, sent
        yield started


def asked(hub, method, path, body=b"", content_type="application/json", token=None, **headers):
    """Status, headers and body of an answer; `path` may be a whole address, and a body that is not bytes is JSON."""
    where = urlsplit(path if "://" in path else hub.url + path)
    connection = http.client.HTTPConnection(where.netloc, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type and method in ("POST", "PUT"):
        headers["Content-Type"] = content_type
    if token != "":
        headers["Authorization"] = f"Bearer {token or hub.token}"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, where._replace(scheme="", netloc="").geturl(), content, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def batch(hub, oid=OID, size=SIZE, **more):
    body = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": size}], **more}
    return asked(hub, "POST", "/tester/m.git/info/lfs/objects/batch", body, LFS)


def upload(hub, content=CONTENT):
    _, _, body = batch(hub, hashlib.sha256(content).hexdigest(), len(content))
    address = json.loads(body)["objects"][0]["actions"]["upload"]["href"]
    return asked(hub, "PUT", address, content, content_type=None, token="")


def file(path, content, encoded=None, **more):
    encoded = encoded or _base64(content)
    return {"key": "file", "value": {"path": path, "content": encoded, "encoding": "base64", **more}}


def lfs_file(path, **changed):
    return {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": OID, "size": SIZE, **changed}}


def _base64(content):
    return base64.b64encode(content).decode()


def commit(hub, lines, header=None, content_type=NDJSON, **more):
    lines = [{"key": "header", "value": header or {"summary": "Change", "description": ""}}, *lines]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return asked(hub, "POST", COMMIT, body, content_type, **more)


CREATE = "/api/repos/create"
COMMIT = "/api/models/tester/m/commit/main"
MALFORMED = {
    "no content type": (415, lambda hub: commit(hub, [file("b", b"x")], content_type=None)),
    "JSON for NDJSON": (415, lambda hub: commit(hub, [file("b", b"x")], content_type="application/json")),
    "no JSON": (400, lambda hub: asked(hub, "POST", COMMIT, b"{not json\n", NDJSON)),
    "no lines": (400, lambda hub: asked(hub, "POST", COMMIT, b"\n", NDJSON)),
    "no header": (
        400,
        lambda hub: asked(hub, "POST", COMMIT, file("b", b"x"), NDJSON),
    ),
    "no summary": (400, lambda hub: commit(hub, [file("b", b"x")], {"summary": " "})),
    "an unknown key of the header": (400, lambda hub: commit(hub, [], {"summary": "x", "author": "me"})),
    "an unknown key": (400, lambda hub: commit(hub, [file("b", b"x", mode="100755")])),
    "an unknown operation": (400, lambda hub: commit(hub, [{"key": "rename", "value": {"path": "a"}}])),
    "wrong base64": (400, lambda hub: commit(hub, [file("b", b"x", encoded="####")])),
    "base64 with a hole": (400, lambda hub: commit(hub, [file("b", b"x", encoded="YWJj ZGVm")])),
    "an unsafe path": (400, lambda hub: commit(hub, [file("../../etc/passwd", b"x")])),
    "an absolute path": (400, lambda hub: commit(hub, [file("/etc/passwd", b"x")])),
    "a path into .git": (400, lambda hub: commit(hub, [file("a/.git/config", b"x")])),
    "a file below a file": (400, lambda hub: commit(hub, [file("a.txt/b", b"x")])),
    "a binary file": (400, lambda hub: commit(hub, [file("b.dat", CONTENT)])),
    "a large file": (400, lambda hub: commit(hub, [file("b.txt", b"x" * (10 * 2**20 + 1))])),
    "a bad card": (400, lambda hub: commit(hub, [file("README.md", b"---\nlicense: none of them\n---\n")])),
    "an object never uploaded": (400, lambda hub: commit(hub, [lfs_file("b", oid="0" * 64)])),
    "an object of another size": (400, lambda hub: commit(hub, [lfs_file("b", size=1)])),
    "a parent that is no commit": (400, lambda hub: commit(hub, [], {"summary": "x", "parentCommit": "HEAD"})),
    "nobody's commit": (401, lambda hub: commit(hub, [file("b", b"x")], token="")),
    "a reader's commit": (403, lambda hub: commit(hub, [file("b", b"x")], token=hub.read_token)),
    "a stranger's commit": (403, lambda hub: commit(hub, [file("b", b"x")], token=hub.stranger_token)),
    "a repository of others": (
        403,
        lambda hub: asked(hub, "POST", CREATE, {"name": "x", "organization": "o"}),
    ),
    "a bad name": (400, lambda hub: asked(hub, "POST", CREATE, {"name": "a--b"})),
    "a name with a slash": (400, lambda hub: asked(hub, "POST", CREATE, {"name": "a/b"})),
    "a Space without SDK": (400, lambda hub: asked(hub, "POST", CREATE, {"name": "s", "type": "space"})),
    "an unknown type": (400, lambda hub: asked(hub, "POST", CREATE, {"name": "s", "type": "kernel"})),
    "a name that is no text": (400, lambda hub: asked(hub, "POST", CREATE, {"name": 3})),
    "a key nobody knows": (400, lambda hub: asked(hub, "POST", CREATE, {"name": "s", "colour": "red"})),
    "a query nobody knows": (400, lambda hub: asked(hub, "GET", "/api/models/tester/m?colour=red")),
    "a pull request": (
        400,
        lambda hub: asked(hub, "POST", f"{COMMIT}?create_pr=1", {}, NDJSON),
    ),
    "a sample too short": (400, lambda hub: preupload(hub, {"path": "b", "sample": _base64(b"x"), "size": 2})),
    "a file without sample": (400, lambda hub: preupload(hub, {"path": "b", "size": 2})),
    "a form as JSON": (415, lambda hub: asked(hub, "POST", "/api/models/tester/m/paths-info/main", {"paths": ["a"]})),
    "LFS as plain JSON": (415, lambda hub: asked(hub, "POST", "/tester/m.git/info/lfs/objects/batch", {})),
    "LFS by MD5": (422, lambda hub: batch(hub, hash_algo="md5")),
    "LFS of no sha256": (422, lambda hub: batch(hub, oid="abc")),
    "a branch with a space": (400, lambda hub: asked(hub, "POST", "/api/models/tester/m/branch/a%20b", {})),
}


def preupload(hub, *files, **more):
    return asked(hub, "POST", "/api/models/tester/m/preupload/main", {"files": files, **more})


@pytest.mark.parametrize("name", MALFORMED)
def test_what_no_client_sends_is_refused_and_remembered(name, hub):
    status, send = MALFORMED[name]
    before = hub.files("tester/m")
    assert hub.mistakes == []
    got, headers, body = send(hub)
    assert got == status, body
    assert json.loads(body)["error"]
    assert headers["X-Error-Message"]
    assert len(hub.mistakes) == 1
    assert f": {status} " in hub.mistakes[0]
    assert hub.files("tester/m") == before
    assert hub.requests[-1].status == status
    assert hub.repositories() == ["tester/m"]


def test_a_body_without_length_and_a_commit_that_is_only_announced(hub):
    where = urlsplit(hub.url)
    connection = http.client.HTTPConnection(where.netloc, timeout=10)
    headers = {"Authorization": f"Bearer {hub.token}", "Content-Type": NDJSON}
    # Headers alone: who is refused at them may find the connection closed while sending more.
    connection.putrequest("POST", COMMIT)
    for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection = http.client.HTTPConnection(where.netloc, timeout=10)
    connection.request("POST", COMMIT, b"{}\n", {**headers, "Content-Length": "100"})
    connection.sock.shutdown(1)
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    assert hub.requests[-1] == ("POST", COMMIT, 0)
    assert len(hub.commits("tester/m")) == 2


def test_an_address_that_it_does_not_know_is_noticed(tmp_path):
    def wanders(failing):
        with LoopbackHub(tmp_path) as hub:
            assert asked(hub, "GET", "/api/models/tester/m/discussions")[0] == 404
            assert asked(hub, "GET", "/api/models/tester/m", token="")[0] == 401  # that one it knows
            if failing:
                raise ZeroDivisionError

    with pytest.raises(AssertionError, match=r"does not know GET /api/models/tester/m/discussions\nall mistakes"):
        wanders(failing=False)
    with pytest.raises(ZeroDivisionError):  # a test's own failure is the one to see
        wanders(failing=True)


def test_a_fault_of_its_own_is_noticed(tmp_path):
    def breaks():
        with LoopbackHub(tmp_path) as hub:
            asked(hub, "POST", CREATE, {"name": "m"})
            (tmp_path / "repositories/models/tester/m/repository.json").write_text("{")
            assert asked(hub, "GET", "/api/models/tester/m")[0] == 500

    with pytest.raises(AssertionError, match="the loopback Hub failed:(.|\n)*JSONDecodeError"):
        breaks()


@pytest.mark.parametrize("path", ["a.txt", "w.bin"])
@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (None, slice(None)),
        ("bytes=2-5", slice(2, 6)),
        ("bytes=4-", slice(4, None)),
        ("bytes=-3", slice(-3, None)),
        ("bytes=0-999999", slice(0, None)),
        ("bytes=5-5", slice(5, 6)),
        ("bytes=999999-", None),
        ("bytes=1-2,4-5", slice(None)),  # several at once, which a server may decline
        ("lines=1-2", slice(None)),
    ],
)
def test_ranges(path, wanted, part, hub):
    whole = hub.files("tester/m")[path]
    ranged = {"Range": wanted} if wanted else {}
    status, headers, body = asked(hub, "GET", f"/tester/m/resolve/main/{path}", **ranged)
    if path == "w.bin":
        assert (status, headers["X-Linked-ETag"], headers["X-Linked-Size"]) == (302, f'"{OID}"', str(len(CONTENT)))
        assert headers["X-Repo-Commit"] == hub.commits("tester/m")[0].oid
        status, headers, body = asked(hub, "GET", headers["Location"], token="", **ranged)
    if part is None:
        assert (status, headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
        return
    assert body == whole[part]
    assert int(headers["Content-Length"]) == len(body)
    assert status == (200 if body == whole and part == slice(None) or len(body) == len(whole) else 206)
    if status == 206:
        start = part.indices(len(whole))[0]
        assert headers["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/{len(whole)}"


def test_a_range_of_another_version_is_the_whole_file(hub):
    _, headers, _ = asked(hub, "HEAD", "/tester/m/resolve/main/a.txt")
    for version, body in ((headers["ETag"], b"45"), ('"another"', b"0123456789")):
        found = asked(hub, "GET", "/tester/m/resolve/main/a.txt", Range="bytes=4-5", If_Range=version)
        assert found[2] == body


def test_the_storage_gives_and_takes_by_signature_alone(hub):
    _, headers, _ = asked(hub, "GET", "/tester/m/resolve/main/w.bin")
    address = headers["Location"]
    assert urlsplit(address).netloc != urlsplit(hub.url).netloc
    assert asked(hub, "GET", address, token="")[0::2] == (200, CONTENT)
    assert hub.mistakes == []
    assert asked(hub, "GET", address)[0] == 400  # with a token, which the Hub's own storage minds as well
    assert asked(hub, "GET", address[:-1] + ("0" if address[-1] != "0" else "1"), token="")[0] == 403
    assert asked(hub, "GET", address.replace(OID, "0" * 64), token="")[0] == 403
    assert len(hub.mistakes) == 3


def test_the_storage_takes_what_was_announced_and_nothing_else(hub, tmp_path):
    content = b"\0" * 1000
    address = json.loads(batch(hub, hashlib.sha256(content).hexdigest(), 1000)[2])["objects"][0]["actions"]["upload"]
    for wrong in (b"\0" * 999, b"\1" * 1000):
        assert asked(hub, "PUT", address["href"], wrong, content_type=None, token="")[0] == 400
    verify = {"oid": hashlib.sha256(content).hexdigest(), "size": 1000}
    assert asked(hub, "POST", "/tester/m.git/info/lfs/objects/verify", verify)[0] == 422
    assert asked(hub, "PUT", address["href"], content, content_type=None, token="")[0] == 200
    assert asked(hub, "POST", "/tester/m.git/info/lfs/objects/verify", verify)[0] == 200
    assert not list((tmp_path / "hub" / "incoming").iterdir())
    # What one repository has, another cannot refer to.
    asked(hub, "POST", CREATE, {"name": "other"})
    lines = [{"key": "header", "value": {"summary": "x"}}, lfs_file("w.bin")]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert asked(hub, "POST", "/api/models/tester/other/commit/main", body, NDJSON)[0] == 400


def test_what_becomes_of_each_file(hub):
    def modes(*files, **more):
        told = [{"path": path, "sample": _base64(content[:512]), "size": size} for path, content, size in files]
        status, _, body = preupload(hub, *told, **more)
        assert status == 200, body
        return [(one["uploadMode"], one["shouldIgnore"], one["oid"]) for one in json.loads(body)["files"]]

    umlauts = "ü".encode() * 600
    assert modes(
        ("model.safetensors", b"{}", 2),
        ("empty.safetensors", b"", 0),
        ("notes.txt", b"text", 4),
        ("umlauts.txt", b"x" + umlauts, 1201),  # the sample's last letter is cut in half
        ("latin.txt", b"\xfcber", 4),
        ("large.txt", b"x" * 512, 10 * 2**20 + 1),
        ("w.bin", CONTENT, len(CONTENT)),
        ("a.txt", b"0123456789", 10),
        gitIgnore="notes.*\n",
    ) == [
        ("lfs", False, None),
        ("regular", False, None),
        ("regular", True, None),
        ("regular", False, None),
        ("lfs", False, None),
        ("lfs", False, None),
        ("lfs", False, OID),
        ("regular", False, hashlib.sha1(b"blob 10\0" + b"0123456789").hexdigest()),
    ]
    commit(hub, [file(".gitattributes", b"*.txt filter=lfs diff=lfs merge=lfs -text\n")])
    assert modes(("notes.txt", b"text", 4), ("model.safetensors", b"{}", 2)) == [
        ("lfs", False, None),
        ("regular", False, None),
    ]


def test_commits_that_come_at_once_all_count(hub):
    with ThreadPoolExecutor(8) as threads:
        sent = threads.map(lambda number: commit(hub, [file(f"{number}.txt", b"x")])[0], range(24))
        assert set(sent) == {200}
    assert {f"{number}.txt" for number in range(24)} < set(hub.files("tester/m"))
    assert len({made.oid for made in hub.commits("tester/m")}) == 2 + 24


def test_an_answer_that_waits_and_one_that_is_lost(hub):
    hub.stall("GET", "a.txt", seconds=0.3)
    hub.stall("GET", "a.txt", seconds=0.3, after_bytes=4)
    for _ in range(2):
        start = time.perf_counter()
        assert asked(hub, "GET", "/tester/m/resolve/main/a.txt")[2] == b"0123456789"
        assert time.perf_counter() - start >= 0.3
    hub.cut("POST", "/commit/", after_bytes=3, in_answer=True)
    with pytest.raises(http.client.IncompleteRead):
        commit(hub, [file("b.txt", b"x")])
    assert hub.files("tester/m")["b.txt"] == b"x"  # acted on: the client only never heard of it
    hub.fail("GET", r"/api/models/tester/m$", 503, times=2, headers={"Retry-After": "7"})
    found = [asked(hub, "GET", "/api/models/tester/m") for _ in range(3)]
    assert [(status, headers["Retry-After"]) for status, headers, _ in found] == [(503, "7"), (503, "7"), (200, None)]
