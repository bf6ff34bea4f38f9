"""A small release of a corpus, and a local server that serves files or fails as a test requests."""

import hashlib
import io
import json
import re
import socket
import stat
import struct
import sys
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from ser_hf.corpora.release import Entry

Fault = Callable[["Handler", bytes], None]

CLIPS = {
    "ravdess": [
        f"Actor_{who:02d}/03-01-0{word}-01-01-01-{who:02d}.wav"
        for who in range(1, 5)
        for word in (4, 5)
    ],
    "cremad": [
        f"AudioWAV/{actor}_IEO_{emotion}_HI.wav"
        for actor in range(1001, 1004)
        for emotion in ("ANG", "SAD")
    ],
}


def entries_of(contents: dict[str, bytes]) -> tuple[Entry, ...]:
    """The list of these files of a release: path and content of each."""
    return tuple(
        Entry(path, len(content), hashlib.sha256(content).hexdigest())
        for path, content in sorted(contents.items())
    )


class Release:
    """Some clips of a corpus under their official names, of random bytes; the last two have equal
    content.
    """

    def __init__(self, name: str):
        noise = np.random.default_rng(5)
        self.files = {path: noise.bytes(3000 + 2 * place) for place, path in enumerate(CLIPS[name])}
        self.files[CLIPS[name][-1]] = self.files[CLIPS[name][-2]]
        self.objects = {
            hashlib.sha256(content).hexdigest(): content for content in self.files.values()
        }
        self.entries = entries_of(self.files)

    def write(self, folder, under=""):
        for path, content in self.files.items():
            target = folder / under / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return folder

    def is_in(self, folder) -> bool:
        """Whether the folder holds these files, and nothing else but the lock."""
        files = (
            path
            for path in folder.rglob("*")
            if path.is_file() and path != folder / ".download.lock"
        )
        return {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in files
        } == self.files


def zipped(files: dict[str, bytes], under: str = "", kind: int = stat.S_IFREG) -> bytes:
    """An archive whose members are files, or claim to be of another kind."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, content in files.items():
            member = zipfile.ZipInfo(under + path)
            member.external_attr = (kind | 0o777) << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


class _Threaded(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients close connections, which is no fault to print."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Server:
    """`files` by path (``/a.zip``); `faults` by path, each for one request; `always` are faults
    that never end.

    `requests` is every request: method, path and headers. `responses`: from a POSTed JSON to the
    response.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.responses: dict[str, Callable[[dict], dict]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.has_ranges = True  # whether it sends a part of a file
        self.released = threading.Event()
        self._http = _Threaded(("127.0.0.1", 0), Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def lfs(self, objects: dict[str, bytes], errors: dict[str, dict] | None = None) -> str:
        """Serve these objects as a Git LFS server, some of them as errors; returns its URL."""

        def batch(question: dict) -> dict:
            return {
                "transfer": "basic",
                "objects": [one(expected["oid"]) for expected in question["objects"]],
            }

        def one(oid: str) -> dict:
            if oid in (errors or {}):
                return {"oid": oid, "error": errors[oid]}
            action = {
                "href": f"{self.url}/objects/{oid}",
                "header": {"Authorization": "RemoteAuth of-this-object"},
            }
            return {"oid": oid, "actions": {"download": action}} if oid in objects else {"oid": oid}

        self.responses["/r.git/info/lfs/objects/batch"] = batch
        self.files |= {f"/objects/{oid}": content for oid, content in objects.items()}
        return f"{self.url}/r.git/info/lfs"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self._http.shutdown()
        self._http.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        server = self.server.owner
        path = self.path.partition("?")[0]
        server.requests.append(("GET", self.path, dict(self.headers)))
        content = server.files.get(path)
        faults = server.faults.get(path)
        fault = faults.pop(0) if faults else server.always.get(path)
        if fault is not None:
            fault(self, content)
        elif content is None:
            self.send(404, b"")
        else:
            self.serve(content)

    def do_POST(self):
        server = self.server.owner
        server.requests.append(("POST", self.path, dict(self.headers)))
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if faults := server.faults.get(self.path):
            faults.pop(0)(self, b"")
        else:
            self.send(200, json.dumps(server.responses[self.path](question)).encode())

    def serve(self, content: bytes, sent: int | None = None):
        """Serves the content, from the requested byte on; closes after `sent` bytes of it."""
        code = 200
        first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if first and self.server.owner.has_ranges:
            content = content[int(first[1]) :]
            code = 206 if content else 416
        self.send(code, content if sent is None else content[:sent], {}, len(content))
        self.close_connection = sent is not None

    def send(
        self,
        code: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        announced: int | None = None,
    ):
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def status(code: int) -> Fault:
    return lambda handler, _: handler.send(code, b"")


def cut(sent: int) -> Fault:
    """Announces all of the file, sends so many bytes of what was requested and closes the
    connection.
    """
    return lambda handler, content: handler.serve(content, sent)


def stall(sent: int) -> Fault:
    """As `cut`, but leaves the connection open."""

    def fault(handler: Handler, content: bytes):
        handler.serve(content, sent)
        handler.server.owner.released.wait(20)

    return fault


def silent(handler: Handler, _: bytes):
    """Never responds."""
    handler.server.owner.released.wait(20)
    handler.close_connection = True


def trickle(handler: Handler, content: bytes):
    """Sends a byte now and then."""
    handler.send(200, b"", {}, len(content))
    handler.close_connection = True
    for position in range(len(content)):
        try:
            handler.wfile.write(content[position : position + 1])
        except OSError:
            return
        if handler.server.owner.released.wait(0.05):
            return


def slow_header(handler: Handler, _: bytes):
    """Sends a header now and then, and never a body."""
    handler.send_response(200)
    handler.flush_headers()
    while not handler.server.owner.released.wait(0.05):
        handler.wfile.write(b"X-More: 1\r\n")


def reset(handler: Handler, content: bytes):
    """Resets the connection in the middle of the file."""
    handler.serve(content, 1000)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def announce(size: int) -> Fault:
    """Announces another size than the file has, and sends the file."""
    return lambda handler, content: handler.send(200, content, {}, size)


def endless(handler: Handler, _: bytes):
    """Announces no size, and never ends."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.close_connection = True
    while not handler.server.owner.released.is_set():
        handler.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")


def redirect(path: str) -> Fault:
    return lambda handler, _: handler.send(302, b"", {"Location": path})


def another(content: bytes) -> Fault:
    """Serves other content than the file's."""
    return lambda handler, _: handler.serve(content)
