"""A server on this machine that serves files as a good one does, or does to a request whatever a test asks for."""

import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[["Handler", bytes], None]

# The faults of this module after which nothing comes for a while, or hardly anything.
SILENT = {"stall", "silent", "trickle"}


class _Threaded(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients hang up, as they are tested to: no fault to print. Others are."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Server:
    """`files` by path (``/a.zip``); `faults` by path, each for one request, after which the file is served well.

    `always` are faults that never end. `asked` is every request: method, path and headers. `versions` are entity tags,
    by default of the content; None for a server that names no version. `ranges` is whether it knows `Range`.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.answers: dict[str, Callable[[dict], dict]] = {}
        self.versions: dict[str, str | None] = {}
        self.ranges = True
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.released = threading.Event()
        self._http = _Threaded(("127.0.0.1", 0), Handler)
        self._http.ours = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def lfs(self, objects: dict[str, bytes], errors: dict[str, tuple[int, str]] | None = None) -> str:
        """Makes it a Git LFS server of these objects, some of which it answers with an error; returns its address."""

        def batch(question: dict) -> dict:
            return {"transfer": "basic", "objects": [one(wanted["oid"]) for wanted in question["objects"]]}

        def one(oid: str) -> dict:
            if oid in (errors or {}):
                code, message = errors[oid]
                return {"oid": oid, "error": {"code": code, "message": message}}
            action = {"href": f"{self.url}/objects/{oid}", "header": {"Authorization": "RemoteAuth of-this-object"}}
            return {"oid": oid, "actions": {"download": action}} if oid in objects else {"oid": oid}

        self.answers["/r.git/info/lfs/objects/batch"] = batch
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
        ours, path = self.server.ours, self.path.partition("?")[0]
        ours.asked.append(("GET", self.path, dict(self.headers)))
        content = ours.files.get(path)
        faults = ours.faults.get(path)
        fault = faults.pop(0) if faults else ours.always.get(path)
        if fault is not None:
            fault(self, content)
        elif content is None:
            status(404)(self, b"")
        else:
            self.serve(content)

    def do_POST(self):
        ours = self.server.ours
        ours.asked.append(("POST", self.path, dict(self.headers)))
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        faults = ours.faults.get(self.path)
        if faults:
            faults.pop(0)(self, b"")
            return
        self.send(200, json.dumps(ours.answers[self.path](question)).encode())

    def serve(self, content: bytes):
        """As RFC 9110 has it: whole, or from where the client asks if that is the beginning of this content."""
        ours = self.server.ours
        version = ours.versions.get(self.path, f'"{hashlib.md5(content).hexdigest()}"')
        headers = {"ETag": version} if version else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not asked or not ours.ranges or (condition and condition != version):
            self.send(200, content, headers)
        elif int(asked[1]) >= len(content):
            self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            start = int(asked[1])
            ranged = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send(206, content[start:], {**headers, "Content-Range": ranged})

    def send(self, code: int, body: bytes, headers: dict[str, str] | None = None, announced: int | None = None):
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True

    def log_message(self, *_):
        pass


def status(code: int, **headers: str) -> Fault:
    """Answers with a status; `Retry_After="1"` becomes the header."""

    def fault(handler: Handler, _: bytes):
        handler.send(code, b"", {name.replace("_", "-"): value for name, value in headers.items()})

    return fault


def told(code: int, message: str) -> Fault:
    """Answers with a status and the JSON of a Git LFS server."""
    return lambda handler, _: handler.send(code, json.dumps({"message": message}).encode())


def truncate(after: int) -> Fault:
    """Announces all of the file, sends so many bytes of what was asked for and hangs up."""

    def fault(handler: Handler, content: bytes):
        start = int(re.sub(r"\D", "", handler.headers.get("Range", "0")))
        headers = {"ETag": f'"{hashlib.md5(content).hexdigest()}"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.send(206 if start else 200, content[start : start + after], headers, len(content) - start)
        handler.hang_up()

    return fault


def stall(after: int) -> Fault:
    """Announces all of the file, sends so many bytes and then nothing, with the connection open."""

    def fault(handler: Handler, content: bytes):
        version = {"ETag": f'"{hashlib.md5(content).hexdigest()}"'}
        handler.send(200, content[:after], version, len(content))
        handler.wfile.flush()
        handler.server.ours.released.wait(20)
        handler.hang_up()

    return fault


def silent(handler: Handler, content: bytes):
    """Takes the request and never answers."""
    handler.server.ours.released.wait(20)
    handler.hang_up()


def trickle(pause: float) -> Fault:
    """A byte now and then."""

    def fault(handler: Handler, content: bytes):
        handler.send(200, b"", {}, len(content))
        for position in range(len(content)):
            try:
                handler.wfile.write(content[position : position + 1])
                handler.wfile.flush()
            except OSError:
                break
            if handler.server.ours.released.wait(pause):
                break
        handler.hang_up()

    return fault


def lie(announced: int) -> Fault:
    """Announces so many bytes, whatever the file has, and hangs up behind it."""

    def fault(handler: Handler, content: bytes):
        handler.send(200, content, {}, announced)
        handler.hang_up()

    return fault


def endless(handler: Handler, content: bytes):
    """Never says how much there is, and never ends."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    try:
        while not handler.server.ours.released.is_set():
            handler.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
    except OSError:
        pass
    handler.hang_up()


def chunked(handler: Handler, content: bytes):
    """The whole file, without saying how much that is."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))


def redirect(path: str) -> Fault:
    return lambda handler, _: handler.send(302, b"", {"Location": path})


def another(content: bytes) -> Fault:
    """Sends other content than the file's."""
    return lambda handler, _: handler.serve(content)


@contextmanager
def serving():
    with Server() as server:
        yield server
