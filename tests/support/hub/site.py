"""What all endpoints of the loopback Hub share: the store, who asks, what they may see and write."""

import hmac
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

from .answers import Refused
from .request import Request
from .store import Commit, Repository, Store


@dataclass(frozen=True)
class Person:
    """Whoever a token belongs to; `role` is ``"write"`` or ``"read"``."""

    name: str
    role: str
    organizations: tuple[str, ...] = ()

    def belongs_to(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.organizations


@dataclass
class Site:
    """One loopback Hub; `url` and `storage_url` are known once it listens.

    Args:
        people: by token.
        page_size: of lists that come in pages.
        part_size: bytes from which a file is uploaded in parts of that size.
    """

    folder: Path
    people: dict[str, Person]
    page_size: int = 1000
    part_size: int = 5 * 2**30
    url: str = ""
    storage_url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self):
        self.store = Store(self.folder)
        self._secret = secrets.token_bytes(32)

    def who(self, request: Request) -> Person | None:
        """None for the anonymous.

        Raises:
            Refused: the token is nobody's, which the Hub minds even where none is needed.
        """
        sent = request.headers.get("Authorization")
        if sent is None:
            return None
        person = self.people.get(sent.removeprefix("Bearer ")) if sent.startswith("Bearer ") else None
        if person is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return person

    def writer(self, request: Request) -> Person:
        person = self.who(request)
        if person is None:
            raise Refused(401, "Invalid username or password.", mistake=True)
        if person.role != "write":
            raise Refused(403, "Forbidden: you must use a write token to upload to a repository.", mistake=True)
        return person

    def readable(self, request: Request, repo_type: str, repo_id: str, contents: bool = False) -> Repository:
        """A repository that whoever asks may see; with `contents`, whose files they may have."""
        person, repository = self.who(request), self.store.find(repo_type, repo_id)
        member = repository is not None and person is not None and person.belongs_to(repository.owner)
        if repository is None or (repository.private and not member):
            # To the anonymous, a repository that does not exist is one that they may not see.
            if person is None:
                raise Refused(401, "Invalid username or password.", "RepoNotFound")
            raise Refused(404, "Repository not found", "RepoNotFound")
        if contents and repository.gated and not member:
            place = f"{self.page(repository)} to ask for access."
            if person is None:
                raise Refused(401, f"Access to {repo_type} {repo_id} is restricted. Visit {place}", "GatedRepo")
            raise Refused(403, f"Access to {repo_type} {repo_id} is restricted. Visit {place}", "GatedRepo")
        return repository

    def writable(self, request: Request, repo_type: str, repo_id: str) -> tuple[Person, Repository]:
        person = self.writer(request)
        repository = self.readable(request, repo_type, repo_id)
        if not person.belongs_to(repository.owner):
            message = "Forbidden: you have read access but not the required permissions for this operation"
            raise Refused(403, message, mistake=True)
        return person, repository

    def commit(self, repository: Repository, revision: str) -> Commit:
        oid = repository.resolve(revision)
        if oid is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.store.commit(repository, oid)

    def page(self, repository: Repository) -> str:
        """The address at which people see a repository."""
        prefix = "" if repository.type == "model" else f"{repository.type}s/"
        return f"{self.url}/{prefix}{repository.id}"

    def sign(self, target: str) -> str:
        """An address of the storage: whoever has it needs no token, and can ask for nothing else with it."""
        return f"{self.storage_url}{target}{'&' if '?' in target else '?'}signature={self._signature(target)}"

    def is_signed(self, target: str) -> bool:
        signed, _, signature = target.rpartition("signature=")
        return hmac.compare_digest(self._signature(signed.rstrip("?&")), signature)

    def _signature(self, target: str) -> str:
        return hmac.new(self._secret, target.encode(), "sha256").hexdigest()
