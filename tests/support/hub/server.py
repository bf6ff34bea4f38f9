"""The loopback Hub as tests use it, with its HTTP server, its routes and its faults."""

import json
import os
import re
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from . import cards, listings, uploads
from .store import Commit, Refused, Repository, Store, User

_TYPE = "(?P<repo_type>models|datasets|spaces)"
_ID = "(?P<repo_id>[^/]+/[^/]+?)"
_API = f"/api/{_TYPE}/{_ID}"
_PAGE = f"/(?:(?P<repo_type>datasets|spaces)/)?{_ID}"
_REVISION = "(?P<revision>[^/]+)"
ROUTES = [
    ("GET", "/", listings.home),
    ("GET", "/api/whoami-v2", listings.whoami),
    ("GET", "/api/agent-harnesses", listings.harnesses),
    ("POST", "/api/validate-yaml", cards.validate_yaml),
    ("POST", "/api/repos/create", uploads.create),
    ("PUT", f"{_API}/settings", uploads.settings),
    ("GET", f"{_API}(?:/revision/{_REVISION})?", listings.describe),
    ("GET", f"{_API}/discussions", listings.discussions),
    ("GET", f"{_API}/tree/{_REVISION}(?:/(?P<path>.*))?", listings.tree),
    ("POST", f"{_API}/paths-info/{_REVISION}", listings.paths_info),
    ("POST", f"{_API}/preupload/{_REVISION}", uploads.preupload),
    ("POST", f"{_API}/commit/{_REVISION}", uploads.commit),
    ("POST", f"{_PAGE}.git/info/lfs/objects/batch", uploads.batch),
    ("POST", f"{_PAGE}.git/info/lfs/objects/verify", uploads.verify),
    ("GET", f"{_PAGE}/resolve/{_REVISION}/(?P<path>.+)", listings.resolve),
    ("PUT", f"/storage/{_TYPE}/{_ID}/(?P<oid>[0-9a-f]{{64}})", uploads.put),
    ("GET", f"/storage/{_TYPE}/{_ID}/(?P<oid>[0-9a-f]{{64}})", listings.stored),
]


class Received(NamedTuple):
    method: str
    path: str


@dataclass
class Fault:
    """What happens to the next request of a method in whose path and query a pattern is found."""

    method: str
    pattern: str
    status: int | None = None
    stall: float = 0.0


class LoopbackHub:
    """A Hugging Face Hub on 127.0.0.1, for tests of what is published and loaded again.

    The unmodified clients (huggingface_hub, transformers, datasets) use it in processes that are
    started with `environment`, because they read the address when they are imported. It has models,
    datasets and Spaces, private and gated repositories, and Git LFS; no Xet, no branches but
    ``main``, no pull requests. The context fails if a request had an address that this Hub does not
    know.

    Args:
        organizations: namespaces in which the user ``tester`` may write, too.

    Attributes:
        token: of ``tester``; `read_token` may only read.
        requests: all that were received.
        mistakes: the requests that no correct client sends, each with the reason of the refusal.
    """

    def __init__(self, organizations: Sequence[str] = ()):
        self.token = "hf_" + 34 * "w"
        self.read_token = "hf_" + 34 * "r"
        namespaces = ("tester", *organizations)
        tokens = {self.token: "write", self.read_token: "read"}
        self._store = Store(
            {token: User("tester", role, namespaces) for token, role in tokens.items()}
        )
        self._faults: list[Fault] = []
        self.requests: list[Received] = []
        self.mistakes: list[str] = []
        self.failures: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.url = self._store.url = f"http://127.0.0.1:{self._server.server_port}"
        # Clients follow a redirection themselves if it leads to the same host, and expect the Hub's
        # headers there.
        self._store.storage = f"http://localhost:{self._server.server_port}/storage"

    def __enter__(self) -> "LoopbackHub":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        if kind is None and self.failures:
            raise AssertionError("\n".join(["the loopback Hub failed:", *self.failures]))

    def environment(self, home: str | os.PathLike[str]) -> dict[str, str]:
        """Variables of a process whose clients know this Hub only, and keep their downloads in
        `home`.
        """
        offline = dict.fromkeys(
            ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"), "0"
        )
        silent = ("XET", "TELEMETRY", "UPDATE_CHECK", "PROGRESS_BARS")
        return {
            **{"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_TOKEN": self.token, **offline},
            **{f"HF_HUB_DISABLE_{name}": "1" for name in silent},
            **{"HF_UPDATE_DOWNLOAD_COUNTS": "0", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"},
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
        }

    def commits(self, repo_id: str, repo_type: str = "model") -> list[Commit]:
        """Newest first; the last one is made with the repository."""
        return self._repository(repo_id, repo_type).commits[::-1]

    def files(self, repo_id: str, repo_type: str = "model") -> dict[str, bytes]:
        """Contents by path; .gitattributes is made with the repository."""
        tree = self._repository(repo_id, repo_type).commit().tree
        return {path: file.content for path, file in tree.items()}

    def large_files(self, repo_id: str, repo_type: str = "model") -> list[str]:
        """The paths of the files in Git LFS."""
        return [
            path
            for path, file in self._repository(repo_id, repo_type).commit().tree.items()
            if file.lfs
        ]

    def private(self, repo_id: str, repo_type: str = "model") -> bool:
        return self._repository(repo_id, repo_type).private

    def repositories(self, repo_type: str = "model") -> list[str]:
        return sorted(repo_id for kind, repo_id in self._store.repositories if kind == repo_type)

    def fail(self, method: str, pattern: str, status: int) -> None:
        """The next request gets this status."""
        self._faults.append(Fault(method, pattern, status=status))

    def stall(self, method: str, pattern: str, seconds: float) -> None:
        """The response to the next request comes so much later."""
        self._faults.append(Fault(method, pattern, stall=seconds))

    def take_fault(self, method: str, target: str) -> Fault:
        with self._store.lock:
            for fault in self._faults:
                if fault.method == method and re.search(fault.pattern, target):
                    self._faults.remove(fault)
                    return fault
        return Fault(method, "")

    def respond(self, request: "Request") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        try:
            for method, pattern, endpoint in ROUTES:
                match = re.fullmatch(pattern, request.path)
                if match and method == request.method.replace("HEAD", "GET"):
                    named = {
                        name: unquote(value)
                        for name, value in match.groupdict().items()
                        if value is not None
                    }
                    if "repo_id" in named:
                        named["repo_type"] = named.get("repo_type", "models").removesuffix("s")
                    with self._store.lock:
                        answer = endpoint(self._store, request, **named)
                    if isinstance(answer, tuple):
                        return answer
                    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()
            self.failures.append(f"it does not know {request.method} {request.path}")
            raise Refused(404, "Sorry, we can't find the page you are looking for.", mistake=True)
        except Refused as refused:
            if refused.mistake:
                self.mistakes.append(
                    f"{request.method} {request.path}: {refused.status} {refused.message}"
                )
            return refused.status, refused.headers, json.dumps(refused.content).encode()
        except Exception:
            self.failures.append(f"{request.method} {request.path}:\n{traceback.format_exc()}")
            return 500, {}, b""

    def _repository(self, repo_id: str, repo_type: str) -> Repository:
        return self._store.repositories[repo_type, repo_id]


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    hub: LoopbackHub

    def handle_error(self, request, client_address):
        """Clients may hang up; `respond` keeps all other errors."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self):
        hub = self.server.hub
        length = int(self.headers.get("Content-Length", 0))
        fault = hub.take_fault(self.command, self.path)
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        body = self.rfile.read(length)
        if len(body) < length:
            return  # the client was killed
        if fault.status:
            status = fault.status
            headers = {}
            content = b"{}"
        else:
            last = {key: values[-1] for key, values in query.items()}
            status, headers, content = hub.respond(
                Request(self.command, path, last, self.headers, body)
            )
        if status == 200 and (
            expected := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        ):
            start = int(expected[1])
            end = min(int(expected[2] or len(content)) + 1, len(content))
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
            content = content[start:end]
        hub.requests.append(Received(self.command, path))
        time.sleep(fault.stall)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *_):
        pass
