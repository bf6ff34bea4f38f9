"""The loopback Hub as tests use it."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from . import routes
from .faults import Cut, Failure, Faults, Stall
from .server import Asked, Memory, Server
from .site import Person, Site
from .store import Repository


class Pushed(NamedTuple):
    """A commit; `files` are the paths that it wrote or deleted."""

    oid: str
    title: str
    files: tuple[str, ...]


class LoopbackHub:
    """A Hugging Face Hub on 127.0.0.1, for tests of what is published and loaded again.

    The unmodified clients (huggingface_hub, transformers, datasets) work against it, in processes that are started
    with `environment`, since they read its address when they are imported. It knows models, data sets and Spaces,
    branches and tags, private and gated repositories, Git LFS with a storage of its own address; no Xet, no pull
    requests. It is strict: a request that the clients would not send is refused and kept in `mistakes`, and if one
    went to an address that this Hub does not know, leaving the context fails.

    ```python
    with LoopbackHub(tmp_path / "hub") as hub:
        environment = {**os.environ, **hub.environment(tmp_path / "home")}
        subprocess.run([sys.executable, "push.py"], env=environment, check=True)
        assert hub.files("tester/model")["config.json"]
    ```

    Args:
        folder: where its repositories are; a later Hub on the same folder goes on with them.
        user: whose `token` and `read_token` there are; `stranger_token` is of another user, ``stranger``.
        organizations: whose repositories that user may write, too.
        page_size: of lists that come in pages, as trees and histories do.
        part_size: bytes above which a file of Git LFS is uploaded in parts.

    Attributes:
        url: what clients know as ``HF_ENDPOINT``.
    """

    def __init__(
        self,
        folder: str | Path,
        user: str = "tester",
        organizations: Sequence[str] = (),
        page_size: int = 1000,
        part_size: int = 5 * 2**30,
    ):
        self.user = user
        self.token, self.read_token = _token(f"{user} write"), _token(f"{user} read")
        self.stranger_token = _token("stranger write")
        people = {
            self.token: Person(user, "write", tuple(organizations)),
            self.read_token: Person(user, "read", tuple(organizations)),
            self.stranger_token: Person("stranger", "write"),
        }
        self._site = Site(Path(folder), people, page_size, part_size)
        self._faults, self._memory = Faults(), Memory()
        self._servers = [
            Server(self._site, table, self._faults, self._memory) for table in (routes.HUB, routes.STORAGE)
        ]
        self.url, self._site.storage_url = (server.url for server in self._servers)
        self._site.url = self.url

    def __enter__(self) -> "LoopbackHub":
        for server in self._servers:
            server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Raises:
        AssertionError: somebody asked for what this Hub does not know, or it failed itself.
        """
        for server in self._servers:
            server.stop()
        if kind is None and self._memory.broken:
            raise AssertionError("the loopback Hub failed:\n" + "\n".join(self._memory.broken))
        if kind is None and self._memory.unknown:
            lines = [f"the loopback Hub does not know {request}" for request in self._memory.unknown]
            raise AssertionError("\n".join([*lines, "all mistakes:", *self.mistakes]))

    @property
    def requests(self) -> list[Asked]:
        """All so far: method, path without its query, status; those to its storage are below ``/repos/``."""
        return list(self._memory.asked)

    @property
    def mistakes(self) -> list[str]:
        """What was asked and why it was refused, of the requests that were wrong in themselves or unauthorised."""
        return list(self._memory.mistakes)

    def environment(self, home: str | Path, token: str | None = None) -> dict[str, str]:
        """Variables of a process whose clients know this Hub only, and keep what they download in `home`.

        Args:
            token: by default `token`; ``""`` for a process that has none.
        """
        proxies = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
        direct = ",".join(filter(None, [proxies, "127.0.0.1"]))
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": self.token if token is None else token,
            "HF_HUB_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": direct,
            "no_proxy": direct,
        }

    def commits(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> list[Pushed]:
        """Newest first; the last one is the Hub's own, made with the repository."""
        with self._site.lock:
            repository = self._find(repo_id, repo_type)
            history = self._site.store.history(repository, _resolved(repository, revision))
            return [Pushed(commit.oid, commit.title, commit.changed) for commit in history]

    def files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> dict[str, bytes]:
        """Contents by path, those in Git LFS as well as all others; .gitattributes is the Hub's own."""
        with self._site.lock:
            repository = self._find(repo_id, repo_type)
            commit = self._site.store.commit(repository, _resolved(repository, revision))
            return {path: self._site.store.blob(entry.sha256).read_bytes() for path, entry in commit.files.items()}

    def large_files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> list[str]:
        """The paths that are in Git LFS."""
        with self._site.lock:
            repository = self._find(repo_id, repo_type)
            commit = self._site.store.commit(repository, _resolved(repository, revision))
            return [path for path, entry in commit.files.items() if entry.lfs]

    def private(self, repo_id: str, repo_type: str = "model") -> bool:
        with self._site.lock:
            return self._find(repo_id, repo_type).private

    def repositories(self, repo_type: str = "model") -> list[str]:
        with self._site.lock:
            return [repository.id for repository in self._site.store.all(repo_type)]

    def fail(
        self, method: str, pattern: str, status: int, times: int = 1, headers: dict[str, str] | None = None
    ) -> None:
        """The next requests of a method whose path or query a regular expression is found in get this status.

        Args:
            headers: by default ``Retry-After: 0`` with 429 (clients wait a second more), and none with others.
        """
        if headers is None:
            headers = {"Retry-After": "0"} if status == 429 else {}
        self._faults.add(Failure(method, pattern, times, status, headers))

    def cut(self, method: str, pattern: str, after_bytes: int, times: int = 1, in_answer: bool | None = None) -> None:
        """The connection ends after so many bytes of a request's body, which is not acted on, or of an answer's.

        Args:
            in_answer: by default for methods without a body. A POST that is cut in its answer has been acted on.
        """
        if in_answer is None:
            in_answer = method in ("GET", "HEAD", "DELETE")
        self._faults.add(Cut(method, pattern, times, after_bytes, in_answer))

    def stall(self, method: str, pattern: str, seconds: float, after_bytes: int = 0, times: int = 1) -> None:
        """The answer waits so long, or its body does after so many bytes."""
        self._faults.add(Stall(method, pattern, times, seconds, after_bytes))

    def _find(self, repo_id: str, repo_type: str) -> Repository:
        repository = self._site.store.find(repo_type, repo_id)
        if repository is None:
            raise KeyError(f"no {repo_type} {repo_id} on this Hub; there are {self._site.store.all(repo_type)}")
        return repository


def _resolved(repository: Repository, revision: str) -> str:
    oid = repository.resolve(revision)
    if oid is None:
        raise KeyError(f"{repository.id} has no revision {revision}")
    return oid


def _token(name: str) -> str:
    """The same in every Hub, so that a home can be used with the next one."""
    return f"hf_{hashlib.sha256(name.encode()).hexdigest()[:34]}"
