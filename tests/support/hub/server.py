"""The HTTP of the loopback Hub: requests read, faults done, answers sent, all of it remembered."""

import os
import re
import socket
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from . import routes
from .answers import Answer, Refused, malformed
from .faults import Cut, Failure, Faults, Stall
from .request import Request
from .site import Site

_CHUNK = 1 << 16


class Asked(NamedTuple):
    """A request; `path` is without its query, `status` 0 where the connection ended before the answer."""

    method: str
    path: str
    status: int


class Memory:
    """What came of all requests: `asked`; `mistakes`, a line each; `unknown`, those at addresses that there are not;
    `broken`, faults of this Hub's own."""

    def __init__(self):
        self.asked: list[Asked] = []
        self.mistakes: list[str] = []
        self.unknown: list[str] = []
        self.broken: list[str] = []


class Server(ThreadingHTTPServer):
    """Serves one list of routes of a site on a free port of 127.0.0.1."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, site: Site, table: list[routes.Route], faults: Faults, memory: Memory):
        super().__init__(("127.0.0.1", 0), Handler)
        self.site, self.table, self.faults, self.memory = site, table, faults, memory
        self.signed = table is routes.STORAGE
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends all connections too: a client that kept one must not reach a Hub that is over."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            _hang_up(connection)

    def process_request(self, request, client_address):
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Clients hang up: no fault to print. Others are."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self):
        """Every method comes here."""
        server, memory = self.server, self.server.memory
        fault = server.faults.take(self.command, self.path)
        if isinstance(fault, Cut) and not fault.in_answer:
            self.rfile.read(min(fault.after_bytes, int(self.headers.get("Content-Length", 0))))
            self._remember(0)
            self._hang_up()
            return
        found = routes.find(server.table, self.command, self.path if server.signed else self.path.partition("?")[0])
        body: bytes | Path = b""
        try:
            body = self._body(to_file=found is not None and found[0].to_file)
            answer = fault.answer() if isinstance(fault, Failure) else self._answer(found, body)
        except _HungUp:
            self._remember(0)
            self._hang_up()
            return
        except Refused as refused:
            if refused.mistake:
                memory.mistakes.append(f"{self.command} {self.path}: {refused.status} {refused.message}")
            answer = refused.answer()
        except (UnicodeError, RecursionError) as error:
            memory.mistakes.append(f"{self.command} {self.path}: 400 {error}")
            answer = Refused(400, f"Invalid request: {error}").answer()
        except Exception:
            memory.broken.append(f"{self.command} {self.path}:\n{traceback.format_exc()}")
            answer = Refused(500, "Internal Server Error: the loopback Hub itself is at fault").answer()
        finally:
            if isinstance(body, Path):
                body.unlink(missing_ok=True)
        self._send(answer, fault if isinstance(fault, Cut | Stall) else None)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _answer(self, found: tuple[routes.Route, dict[str, str | None]] | None, body: bytes | Path) -> Answer:
        server = self.server
        if found is None:
            server.memory.unknown.append(f"{self.command} {self.path}")
            raise Refused(404, "Sorry, we can't find the page you are looking for.", mistake=True)
        if server.signed and "Authorization" in self.headers:
            raise malformed("InvalidArgument: a signed address and a token, where only one of them is allowed")
        if server.signed and not server.site.is_signed(self.path):
            raise malformed("SignatureDoesNotMatch", 403)
        route, named = found
        request = Request(self.command, self.path, self.headers, body)
        with server.site.lock:
            return route.endpoint(server.site, request, **named)

    def _body(self, to_file: bool) -> bytes | Path:
        """In a file of `incoming` where an endpoint wants that.

        Raises:
            _HungUp: the client announced more than it sent.
        """
        announced = self.headers.get("Content-Length")
        if announced is None and self.command in ("POST", "PUT", "PATCH"):
            self.close_connection = True
            raise malformed("Length Required: the body came without Content-Length", 501 if to_file else 411)
        if not (announced or "0").isdecimal():
            self.close_connection = True
            raise malformed(f"Content-Length must be a number, not {announced}")
        length = int(announced or 0)
        if not to_file:
            content = self.rfile.read(length)
            if len(content) < length:
                raise _HungUp
            return content
        handle, name = tempfile.mkstemp(dir=self.server.site.store.incoming)
        with os.fdopen(handle, "wb") as file:
            complete = _copy(self.rfile, file, length)
        if not complete:
            os.unlink(name)
            raise _HungUp
        return Path(name)

    def _send(self, answer: Answer, fault: Cut | Stall | None) -> None:
        """Whole, or the range that was asked for; cut or paused where a fault says so."""
        size = len(answer.body) if isinstance(answer.body, bytes) else answer.body.stat().st_size
        status, headers, start, end = answer.status, dict(answer.headers), 0, size
        if answer.ranged:
            headers["Accept-Ranges"] = "bytes"
            asked = self._range(size, headers.get("ETag"))
            if asked is None:
                status, end, headers["Content-Range"] = 416, 0, f"bytes */{size}"
            elif asked != (0, size):
                start, end = asked
                status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{size}"
        # Before the client can go on and a test look at what was asked.
        self._remember(status)
        if isinstance(fault, Stall) and not fault.after_bytes:
            self.server.closing.wait(fault.seconds)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(end - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with BytesIO(answer.body) if isinstance(answer.body, bytes) else answer.body.open("rb") as source:
            source.seek(start)
            if fault is not None:
                _copy(source, self.wfile, min(fault.after_bytes, end - start))
            if isinstance(fault, Cut):
                self._hang_up()
                return
            if isinstance(fault, Stall) and fault.after_bytes:
                self.server.closing.wait(fault.seconds)
            _copy(source, self.wfile, end - source.tell())

    def _range(self, size: int, version: str | None) -> tuple[int, int] | None:
        """First byte and the one behind the last, as RFC 9110 has it; None where there are no such bytes."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked or not any(asked.groups()) or self.headers.get("If-Range", version) != version:
            return 0, size
        first, last = asked.groups()
        if not first:
            start, end = max(size - int(last), 0), size
        else:
            start, end = int(first), min(int(last) + 1, size) if last else size
        return (start, end) if start < end else None

    def _remember(self, status: int) -> None:
        self.server.memory.asked.append(Asked(self.command, self.path.partition("?")[0], status))

    def _hang_up(self) -> None:
        self.close_connection = True
        _hang_up(self.connection)

    def log_message(self, *_):
        pass


class _HungUp(Exception):
    pass


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> bool:
    """Whether there was as much as was wanted."""
    while length > 0:
        chunk = source.read(min(_CHUNK, length))
        if not chunk:
            return False
        target.write(chunk)
        length -= len(chunk)
    return True


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
