"""One address into one file, against a server that does everything wrong: what comes of it, and what stays on disk."""

import dataclasses
import hashlib
import json
import sys
import threading
import time
from email.utils import formatdate

import numpy as np
import pytest
from loopback import another, chunked, endless, lie, redirect, silent, stall, status, told, trickle, truncate
from small_release import HASTY, PATIENT, patience_for

from ser_hf.download import client
from ser_hf.download.fetch import Expected, fetch
from ser_hf.download.line import Interrupted, Line, SourceFailed, Stopped, host, told_time
from ser_hf.errors import UserError

CONTENT = np.random.default_rng(1).bytes(200_000)
OTHER = np.random.default_rng(2).bytes(200_000)
MD5 = ("md5", hashlib.md5(CONTENT).hexdigest())
KNOWN = Expected(len(CONTENT), MD5)
UNKNOWN = Expected(most=1_000_000)


@pytest.fixture
def get(server, tmp_path):
    """Downloads ``/file`` of the server to ``file``; the counter of bytes ends at what is there."""
    server.files["/file"] = CONTENT

    def run(expected=KNOWN, url=None, patience=PATIENT, headers=None):
        counted = []
        with Line(2, patience, counted.append) as line:
            fetch(line, url or f"{server.url}/file", tmp_path / "file", expected, headers)
        assert sum(counted) == (tmp_path / "file").stat().st_size
        return (tmp_path / "file").read_bytes()

    return run


def on_disk(folder) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


@pytest.mark.parametrize("expected", [KNOWN, UNKNOWN], ids=["published", "unpublished"])
@pytest.mark.parametrize(
    "faults",
    [
        [],
        [truncate(150_000)],
        [truncate(70_000), truncate(70_000)],
        [truncate(0), truncate(0)],
        [stall(100_000)],
        [lie(len(CONTENT) + 50)],
        [status(500), status(502)],
        [status(503, Retry_After="0")],
        [status(429)],
        [chunked],
        [redirect("/elsewhere")],
    ],
    ids=lambda faults: "-".join(fault.__qualname__.partition(".")[0] for fault in faults) or "well",
)
def test_what_passes_does_not_keep_a_file_from_arriving(faults, expected, get, server, tmp_path):
    server.files["/elsewhere"] = CONTENT
    server.faults["/file"] = list(faults)
    if faults and faults[0].__qualname__.startswith("lie"):
        expected = Expected(digest=MD5)  # a size that is published is another test
    assert get(expected, patience=patience_for(*faults)) == CONTENT
    assert on_disk(tmp_path) == {"file": len(CONTENT)}
    assert not server.faults["/file"]


def test_a_download_goes_on_where_it_broke_off(get, server):
    server.faults["/file"] = [truncate(150_000)]
    assert get() == CONTENT
    (_, _, first), (_, _, second) = server.asked
    assert "Range" not in first
    assert second["Range"] == "bytes=150000-"
    assert second["If-Range"] == f'"{MD5[1]}"'


@pytest.mark.parametrize(
    ("always", "reason"),
    [
        (truncate(0), r"the connection broke off after 0 of 200,000 bytes \(tried 3 times\)"),
        (silent, r"nothing came for 0.4 s \(tried 3 times\)"),
        (stall(0), r"stalled after 0 of 200,000 bytes \(tried 3 times\)"),
        (status(500), r"HTTP 500 Internal Server Error \(tried 3 times\)"),
        (status(503), r"HTTP 503 Service Unavailable \(tried 3 times\)"),
        (status(429, Retry_After="3600"), "HTTP 429 Too Many Requests, and asks to wait 60 min"),
        (status(404), "HTTP 404 Not Found"),
        (told(403, "This repository exceeded\nits budget"), "HTTP 403 Forbidden: This repository exceeded its budget"),
        (redirect("/file"), "redirects more than 10 times"),
        (redirect("ftp://127.0.0.1/file"), "ftp"),
        (lie(150_000), "announces 150,000 bytes, 200,000 are published"),
        (another(OTHER), f"sends another file: its md5 is {hashlib.md5(OTHER).hexdigest()}, not {MD5[1]}"),
        (another(CONTENT[:-1]), "announces 199,999 bytes, 200,000 are published"),
    ],
    ids=lambda value: getattr(value, "__qualname__", "").partition(".")[0] or None,
)
def test_what_does_not_pass_is_told_and_leaves_nothing_that_looks_whole(always, reason, get, server, tmp_path):
    server.always["/file"] = always
    with pytest.raises(SourceFailed, match=f"^127.0.0.1: .*{reason}"):
        get(patience=patience_for(always))
    assert not (tmp_path / "file").exists()


def test_a_trickle_is_a_stall(get, server, tmp_path):
    server.always["/file"] = trickle(0.05)
    with pytest.raises(SourceFailed, match=r"stalled after \d+ of 200,000 bytes \(tried 3 times\)"):
        get(patience=HASTY)
    assert not (tmp_path / "file").exists()


def test_slow_is_not_stalled(get, server):
    def slow(handler, content):
        handler.send(200, b"", {}, len(content))
        for start in range(0, len(content), 40_000):
            time.sleep(0.3)
            handler.wfile.write(content[start : start + 40_000])

    server.faults["/file"] = [slow]
    assert get(patience=dataclasses.replace(HASTY, stall=1.0)) == CONTENT  # which takes longer than that in all
    assert len(server.asked) == 1


def test_what_broke_off_for_good_is_gone_on_with_by_the_next_call(get, server, tmp_path):
    server.faults["/file"] = [truncate(100_000), *[status(500)] * 3]
    with pytest.raises(SourceFailed, match="HTTP 500"):
        get()
    assert on_disk(tmp_path)["file.part"] == 100_000
    assert get() == CONTENT
    assert server.asked[-1][2]["Range"] == "bytes=100000-"
    assert on_disk(tmp_path) == {"file": len(CONTENT)}


def begin(server, get, tmp_path):
    """A file of which 100,000 bytes have come."""
    server.faults["/file"] = [truncate(100_000), *[status(404)]]
    with pytest.raises(SourceFailed):
        get()
    assert on_disk(tmp_path)["file.part"] == 100_000


@pytest.mark.parametrize("ignores", [False, True], ids=["If-Range known", "If-Range ignored"])
def test_a_file_that_has_changed_is_downloaded_from_its_start(ignores, get, server, tmp_path):
    begin(server, get, tmp_path)
    server.files["/file"] = OTHER
    expected = Expected(most=1_000_000)
    if ignores:

        def fault(handler, content):
            ranged = {"Content-Range": f"bytes 100000-199999/{len(content)}", "ETag": '"other"'}
            handler.send(206, content[100_000:], ranged)

        server.faults["/file"] = [fault]
    assert get(expected) == OTHER


@pytest.mark.parametrize("version", [None, 'W/"weak"'])
def test_without_a_version_only_a_checksum_allows_to_resume(version, get, server, tmp_path):
    server.versions["/file"] = version
    (tmp_path / "file.part").write_bytes(CONTENT[:50_000])
    assert get(KNOWN) == CONTENT
    assert server.asked[-1][2]["Range"] == "bytes=50000-"
    assert "If-Range" not in server.asked[-1][2]
    (tmp_path / "file").unlink()
    (tmp_path / "file.part").write_bytes(CONTENT[:50_000])
    assert get(UNKNOWN) == CONTENT
    assert "Range" not in server.asked[-1][2]


def test_the_date_of_the_last_change_is_a_version(get, server):
    def dated(handler, content):
        handler.send(200, content[:9], {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, len(content))
        handler.hang_up()

    server.faults["/file"] = [dated]
    assert get(UNKNOWN) == CONTENT
    assert server.asked[-1][2]["If-Range"] == "Mon, 01 Jan 2024 00:00:00 GMT"


def test_a_beginning_of_something_else_is_noticed_and_downloaded_again(get, server, tmp_path):
    (tmp_path / "file.part").write_bytes(OTHER[:50_000])
    assert get() == CONTENT
    assert [asked[2].get("Range") for asked in server.asked] == ["bytes=50000-", None]


@pytest.mark.parametrize("size", [200_000, 200_001, 250_000])
def test_a_beginning_as_long_as_the_file_or_longer(size, get, server, tmp_path):
    (tmp_path / "file.part").write_bytes((CONTENT + OTHER)[:size])
    assert get() == CONTENT
    assert len(server.asked) == (0 if size == 200_000 else 1)


def test_a_whole_beginning_of_unpublished_size_is_recognised_by_the_servers_answer(get, server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert get(Expected(digest=MD5)) == CONTENT  # HTTP 416 with the size
    (tmp_path / "file").unlink()
    (tmp_path / "file.part").write_bytes(CONTENT + b"x")
    assert get(Expected(digest=MD5)) == CONTENT
    (tmp_path / "file").unlink()
    server.faults["/file"] = [status(416)]
    (tmp_path / "file.part").write_bytes(CONTENT[:5])
    assert get(Expected(digest=MD5)) == CONTENT
    assert len(server.asked) == 1 + 2 + 2


def test_what_is_whole_already_is_not_asked_for(get, server, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    assert get() == CONTENT
    assert not server.asked
    (tmp_path / "file").write_bytes(OTHER)
    assert get() == CONTENT
    assert len(server.asked) == 1


def test_a_range_that_nobody_asked_for_is_a_refusal(get, server):
    server.always["/file"] = status(416)
    with pytest.raises(SourceFailed, match=r"127.0.0.1: HTTP 416 [^()]*$"):  # not tried again
        get()


@pytest.mark.parametrize(
    ("always", "reason"),
    [
        (lambda handler, _: handler.send(404, b"[" * 4090), "HTTP 404 Not Found$"),
        (told(403, "\x1b[2J\x1b[31mgone" + "x" * 4000), r"Forbidden: \\x1b\[2J\\x1b\[31mgonex{187}\.\.\.$"),
        (redirect("http://127.0.0.1/" + "x" * 60_000 + "\x01"), r"^.{,300}$"),
    ],
    ids=["nested", "steering", "long"],
)
def test_what_a_hostile_server_says_is_cut_and_shown_as_it_is(always, reason, get, server):
    server.always["/file"] = always
    with pytest.raises(SourceFailed, match=reason) as error:
        get()
    assert str(error.value).isprintable()


def test_sizes_that_no_number_holds(get, server, tmp_path):
    begin(server, get, tmp_path)
    ranged = {"ETag": f'"{MD5[1]}"', "Content-Range": "bytes 100000-9/" + "9" * 5000}
    server.always["/file"] = lambda handler, content: handler.send(206, content, ranged)
    with pytest.raises(SourceFailed, match=r"asked from byte 100,000 on, answers bytes 100000-9/9{185}\.\.\.$"):
        get()


@pytest.mark.parametrize("code", [404, 503])
def test_what_a_server_says_of_its_fault_may_not_trickle(code, get, server):
    def fault(handler, _):
        handler.send(code, b"", {}, 4000)
        for _ in range(150):
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                break
            if server.released.wait(0.1):
                break
        handler.hang_up()

    server.always["/file"] = fault
    began = time.monotonic()
    with pytest.raises(SourceFailed, match=f"HTTP {code}"):
        get(patience=dataclasses.replace(HASTY, tries=1))
    assert time.monotonic() - began < 10  # of 15 s that it would take


def test_an_answer_in_json_may_not_trickle_or_be_nested_without_end(server):
    server.files["/answer"] = b" " * 400
    server.always["/answer"] = trickle(0.1)
    server.files["/nested"] = b"[" * 100_000
    with Line(1, dataclasses.replace(HASTY, tries=1, longest=0.5)) as line:
        with pytest.raises(SourceFailed, match="nothing came for 0.4 s"):
            line.json("GET", f"{server.url}/answer", {})
        with pytest.raises(SourceFailed, match="answers with something that is not JSON"):
            line.json("GET", f"{server.url}/nested", {})


def test_a_line_that_is_stopped_wakes_who_waits(get, server, tmp_path):
    server.always |= {"/silent": silent, "/stalled": stall(9)}
    server.files["/stalled"] = CONTENT
    ended = {}
    with Line(2, PATIENT) as line:

        def work(path):
            try:
                fetch(line, f"{server.url}{path}", tmp_path / path[1:], KNOWN)
            except Stopped:
                ended[path] = time.monotonic()

        threads = [threading.Thread(target=work, args=(path,)) for path in ("/silent", "/stalled")]
        for thread in threads:
            thread.start()
        while len(server.asked) < 2 or not (tmp_path / "stalled.part").exists():
            time.sleep(0.01)
        stopped = time.monotonic()
        line.stop()
        for thread in threads:
            thread.join(20)
    assert set(ended) == {"/silent", "/stalled"}
    assert max(ended.values()) - stopped < 5


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ALL_PROXY", "socks5://me:secret@127.0.0.1:1", "a SOCKS proxy needs a package; pip install socksio"),
        ("HTTPS_PROXY", "foo://127.0.0.1", "Unknown scheme .*; give the address of a proxy"),
    ],
)
def test_a_proxy_that_is_of_no_use(variable, value, told, get, monkeypatch):
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=f"^{variable}=.*127.0.0.1.*: {told}") as error:
        get()
    assert "secret" not in str(error.value)


def test_certificates_that_are_not_there(get, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    client._trusted.cache_clear()
    with pytest.raises(UserError, match="^SSL_CERT_FILE=/nowhere.pem.*: cannot be read as certificates"):
        get()


@pytest.mark.parametrize("note", ["", "[1]", "{}", '{"url": "http://other/", "version": "1"}'])
def test_a_note_that_says_nothing_is_no_version(note, get, server, tmp_path):
    (tmp_path / "file.part").write_bytes(OTHER[:50_000])
    (tmp_path / "file.part.json").write_text(note)
    assert get(UNKNOWN) == CONTENT
    assert "Range" not in server.asked[-1][2]


def test_a_server_without_ranges_sends_all_of_it_again(get, server, tmp_path):
    begin(server, get, tmp_path)
    server.ranges = False
    assert get() == CONTENT


@pytest.mark.parametrize("ranged", ["bytes 0-199999/200000", "nonsense", None])
def test_an_answer_from_another_place_than_asked_for_is_refused(ranged, get, server, tmp_path):
    begin(server, get, tmp_path)
    headers = {"ETag": f'"{MD5[1]}"'} | ({"Content-Range": ranged} if ranged else {})
    server.always["/file"] = lambda handler, content: handler.send(206, content, headers)
    with pytest.raises(SourceFailed, match=f"asked from byte 100,000 on, answers {ranged or 'a part'}"):
        get()
    assert not (tmp_path / "file").exists()


def test_a_part_whose_whole_is_not_announced(get, server, tmp_path):
    begin(server, get, tmp_path)
    headers = {"ETag": f'"{MD5[1]}"', "Content-Range": "bytes 100000-199999/*"}
    server.faults["/file"] = [lambda handler, content: handler.send(206, content[100_000:], headers)]
    assert get() == CONTENT


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (Expected(most=1_000_000), "does not end after 1,000,000 bytes"),
        (Expected(len(CONTENT)), "does not end after 200,000 bytes"),
    ],
)
def test_a_body_without_end_is_cut_off(expected, reason, get, server, tmp_path):
    server.always["/file"] = endless
    with pytest.raises(SourceFailed, match=reason):
        get(expected)
    assert not (tmp_path / "file").exists()


def test_less_than_published_without_a_size_announced(get, server, tmp_path):
    server.always["/file"] = lambda handler, content: chunked(handler, content[:1000])
    with pytest.raises(SourceFailed, match="sends 1,000 bytes, 200,000 are published"):
        get(Expected(len(CONTENT)))
    assert on_disk(tmp_path) == {}


def test_more_than_can_be_right_is_refused_by_its_announcement(get, tmp_path):
    with pytest.raises(SourceFailed, match="announces 200,000 bytes, more than 199,999 cannot be right"):
        get(Expected(most=199_999))
    assert on_disk(tmp_path) == {}


def test_a_server_that_asks_for_a_pause_gets_it(get, server):
    server.faults["/file"] = [status(429, Retry_After=formatdate(time.time() + 1.5, usegmt=True)), status(503)]
    began = time.monotonic()
    assert get() == CONTENT
    assert time.monotonic() - began > 0.4


@pytest.mark.parametrize("value", ["soon", "Mon, 99 Foo", "Mon, 01 Jan 0001 00:00:00 +2359"])
def test_an_unreadable_pause_is_none(value, get, server):
    server.faults["/file"] = [status(429, Retry_After=value)]
    assert get() == CONTENT


def test_no_server_at_all(get):
    with pytest.raises(SourceFailed, match=r"^127.0.0.1: .*(refused|attempts failed).* \(tried 3 times\)"):
        get(url="http://127.0.0.1:9/file")


@pytest.mark.parametrize("url", ["http://", "http://a:b/", "nonsense"])
def test_what_is_no_address(url, get):
    with pytest.raises(SourceFailed):
        get(url=url)


def test_headers_reach_the_server(get, server):
    get(headers={"Authorization": "Basic x"})
    assert server.asked[0][2]["Authorization"] == "Basic x"
    assert server.asked[0][2]["Accept-Encoding"] == "identity"


def test_json_is_asked_for_as_patiently(server):
    server.files["/answer"] = json.dumps({"a": [1, 2]}).encode()
    server.faults["/answer"] = [status(503), truncate(3)]
    server.files["/page"] = b"<!DOCTYPE html>"
    with Line(1, PATIENT) as line:
        assert line.json("GET", f"{server.url}/answer", {}) == {"a": [1, 2]}
        with pytest.raises(SourceFailed, match="127.0.0.1: answers with something that is not JSON"):
            line.json("GET", f"{server.url}/page", {})


def test_an_answer_in_json_is_bounded(server, monkeypatch):
    monkeypatch.setattr("ser_hf.download.line._ANSWER_BYTES", 20)
    server.files["/answer"] = json.dumps(["long"] * 100).encode()
    with Line(1, PATIENT) as line, pytest.raises(SourceFailed, match="not JSON"):
        line.json("GET", f"{server.url}/answer", {})


def test_a_line_that_is_stopped_ends_waiting_and_receiving(get, server, tmp_path):
    with Line(1, PATIENT) as line:

        def busy():
            line.stop()
            raise Interrupted("busy")

        with pytest.raises(Stopped):
            line.patiently(busy, "it")
        with pytest.raises(Stopped):
            line.require_running()


def test_progress_starts_the_count_of_failures_anew(server):
    brought = iter([1 << 20] * 8)

    def attempt():
        if (now := next(brought, None)) is not None:
            raise Interrupted("broke off", brought=now)
        return "done"

    with Line(1, PATIENT) as line:
        assert line.patiently(attempt, "it") == "done"


def test_messages_are_for_readers():
    assert [told_time(seconds) for seconds in (0.5, 30, 300)] == ["0.5 s", "30 s", "5 min"]
    assert host("https://zenodo.org/records/1") == "zenodo.org"
    assert host("/here") == "/here"
    assert host("http://a:b/") == "http://a:b/"
