"""The contents of the loopback Hub, in memory: users, repositories, commits and files."""

import hashlib
import re
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

TYPES = ("model", "dataset", "space")
_NAME = re.compile(r"\w([\w.-]*\w)?", re.ASCII)


class Refused(Exception):
    """A response of 4xx. By `code`, the header `X-Error-Code`, huggingface_hub chooses its
    exception; a `mistake` is a request that no correct client sends."""

    def __init__(
        self, status: int, message: str, code: str | None = None, mistake: bool = False, **more: Any
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.mistake = mistake
        self.content = {"error": message, **more}
        line = " ".join(message.split()).encode("latin-1", "replace").decode("latin-1")
        self.headers = {"X-Error-Message": line} | ({"X-Error-Code": code} if code else {})


class User(NamedTuple):
    """The owner of a token; `role` is ``"write"`` or ``"read"``, `namespaces` are the user and the
    organizations.
    """

    name: str
    role: str
    namespaces: tuple[str, ...]


@dataclass(frozen=True)
class File:
    """A file of a commit; with `lfs`, git holds a pointer to it."""

    content: bytes
    lfs: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        size = len(self.content)
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {size}\n"
        ).encode()

    @cached_property
    def oid(self) -> str:
        """The id that git gives to the content, or to the pointer."""
        blob = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()


class Commit(NamedTuple):
    """`files` are the paths that the commit wrote or deleted, `tree` all that it holds."""

    oid: str
    title: str
    files: tuple[str, ...]
    tree: dict[str, File]
    date: str


@dataclass
class Repository:
    """One branch, ``main``. `gated` is False, ``"auto"`` or ``"manual"``; `large` are LFS objects
    by sha256.
    """

    type: str
    id: str
    private: bool
    sdk: str | None
    gated: bool | str = False
    commits: list[Commit] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.id.partition("/")[0]

    @property
    def prefix(self) -> str:
        """The part before the id in addresses of pages and files."""
        return "" if self.type == "model" else f"{self.type}s/"

    def commit(self, revision: str = "main") -> Commit:
        """The commit of a branch or an oid."""
        if revision in ("main", "refs/heads/main"):
            return self.commits[-1]
        for commit in self.commits:
            if commit.oid == revision:
                return commit
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def add_commit(self, title: str, changed: dict[str, File | None]) -> Commit:
        """Adds a commit that writes files, and deletes those that are None."""
        tree = (self.commits[-1].tree if self.commits else {}) | changed
        tree = {path: file for path, file in sorted(tree.items()) if file is not None}
        listing = "".join(f"{path} {file.oid}\n" for path, file in tree.items())
        oid = hashlib.sha1(
            f"{self.type} {self.id} {len(self.commits)} {listing}".encode()
        ).hexdigest()
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.commits.append(Commit(oid, title, tuple(sorted(changed)), tree, date))
        return self.commits[-1]


class Store:
    """All repositories, with the permissions of each request. The addresses are known once the Hub
    listens.
    """

    def __init__(self, users: dict[str, User]):
        self.users, self.lock = users, threading.RLock()
        self.url = self.storage = ""
        self.repositories: dict[tuple[str, str], Repository] = {}

    def user(self, headers: Any) -> User | None:
        """The user of a request, None for an anonymous one."""
        sent = headers.get("Authorization")
        if sent is None:
            return None
        user = self.users.get(sent.removeprefix("Bearer "))
        if user is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return user

    def writer(self, headers: Any, namespace: str) -> User:
        user = self.user(headers)
        if user is None:
            raise Refused(401, "Invalid username or password.", mistake=True)
        if user.role != "write":
            raise Refused(
                403,
                "Forbidden: you must use a write token to upload to a repository.",
                mistake=True,
            )
        if namespace not in user.namespaces:
            raise Refused(
                403,
                f'You don\'t have the rights to write in the namespace "{namespace}"',
                mistake=True,
            )
        return user

    def readable(
        self, headers: Any, repo_type: str, repo_id: str, contents: bool = False
    ) -> Repository:
        """A repository that the user of a request may see; with `contents`, whose files the user
        may read.
        """
        user = self.user(headers)
        repository = self.repositories.get((repo_type, repo_id))
        member = repository is not None and user is not None and repository.owner in user.namespaces
        if repository is None or (repository.private and not member):
            # The Hub does not reveal to anonymous users whether a repository exists.
            status, message = (
                (404, "Repository not found") if user else (401, "Invalid username or password.")
            )
            raise Refused(status, message, "RepoNotFound")
        if contents and repository.gated and not member:
            message = (
                f"Access to {repo_type} {repo_id} is restricted. Visit "
                f"{self.page(repository)} to ask for access."
            )
            raise Refused(403 if user else 401, message, "GatedRepo")
        return repository

    def writable(self, headers: Any, repo_type: str, repo_id: str) -> Repository:
        repository = self.readable(headers, repo_type, repo_id)
        self.writer(headers, repository.owner)
        return repository

    def create(self, repo_type: str, repo_id: str, private: bool, sdk: str | None) -> Repository:
        if (existing := self.repositories.get((repo_type, repo_id))) is not None:
            raise Refused(
                409, f"You already created this {repo_type} repo", url=self.page(existing)
            )
        if "--" in repo_id or not all(_NAME.fullmatch(part) for part in repo_id.split("/")):
            raise Refused(400, f'Invalid repository name: "{repo_id}"', mistake=True)
        repository = Repository(repo_type, repo_id, private, sdk)
        self.repositories[repo_type, repo_id] = repository
        return repository

    def page(self, repository: Repository) -> str:
        """The address at which people see a repository."""
        return f"{self.url}/{repository.prefix}{repository.id}"
