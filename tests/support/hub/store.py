"""The repositories of the loopback Hub on disk: contents by sha256, commits and branches as JSON.

```
blobs/<sha256>
repositories/models/<owner>/<name>/repository.json    branches, tags, who may see it
                                   commits/<oid>.json
                                   large/<sha256>     empty: Git LFS objects that were uploaded to it
incoming/                                             uploads under way
```
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import git
from .git import Entry
from .names import is_repository


@dataclass(frozen=True)
class Commit:
    """`files` are all files of the repository at this commit, `changed` the paths that it wrote or deleted."""

    oid: str
    parent: str | None
    title: str
    description: str
    author: str
    seconds: int
    files: dict[str, Entry]
    changed: tuple[str, ...]

    @property
    def date(self) -> str:
        return timestamp(self.seconds)


@dataclass
class Repository:
    """`sdk` is of Spaces; `gated` is False, ``"auto"`` or ``"manual"``; branches and tags name commits."""

    type: str
    id: str
    visibility: str
    seconds: int
    folder: Path
    gated: bool | str = False
    sdk: str | None = None
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.id.partition("/")[0]

    @property
    def private(self) -> bool:
        return self.visibility == "private"

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, a tag or an oid names."""
        named = self.branches.get(revision.removeprefix("refs/heads/")) or self.tags.get(revision)
        if named:
            return named
        is_oid = len(revision) == 40 and set(revision) <= set("0123456789abcdef")
        return revision if is_oid and (self.folder / "commits" / f"{revision}.json").exists() else None


class Store:
    """What is below `folder`. Not safe for threads: the site that owns it holds a lock."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.incoming = folder / "incoming"
        self._commits: dict[Path, Commit] = {}
        for name in ("blobs", "repositories", "incoming"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def blob(self, sha256: str) -> Path:
        return self.folder / "blobs" / sha256

    def keep(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.blob(sha256).exists():
            self._write(self.blob(sha256), content)
        return sha256

    def take(self, uploaded: Path, sha256: str) -> None:
        """Makes an uploaded file the blob that it was found to be."""
        os.replace(uploaded, self.blob(sha256))

    def has_large(self, repository: Repository, sha256: str) -> bool:
        return (repository.folder / "large" / sha256).exists()

    def add_large(self, repository: Repository, sha256: str) -> None:
        (repository.folder / "large").mkdir(exist_ok=True)
        (repository.folder / "large" / sha256).touch()

    def find(self, repo_type: str, repo_id: str) -> Repository | None:
        if not is_repository(repo_id):  # the name of some other folder, perhaps
            return None
        folder = self._folder(repo_type, repo_id)
        try:
            content = json.loads((folder / "repository.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Repository(**content, type=repo_type, id=repo_id, folder=folder)

    def all(self, repo_type: str) -> list[Repository]:
        root = self.folder / "repositories" / f"{repo_type}s"
        ids = sorted(file.parent.relative_to(root).as_posix() for file in root.glob("*/*/repository.json"))
        return [self.find(repo_type, repo_id) for repo_id in ids]

    def create(self, repo_type: str, repo_id: str, visibility: str, sdk: str | None) -> Repository:
        folder = self._folder(repo_type, repo_id)
        (folder / "commits").mkdir(parents=True)
        return Repository(repo_type, repo_id, visibility, int(time.time()), folder, sdk=sdk)

    def save(self, repository: Repository) -> None:
        content = asdict(repository)
        for key in ("type", "id", "folder"):
            del content[key]
        self._write(repository.folder / "repository.json", json.dumps(content, indent=1).encode())

    def delete(self, repository: Repository) -> None:
        shutil.rmtree(repository.folder)
        self._commits.clear()

    def move(self, repository: Repository, repo_id: str) -> None:
        target = self._folder(repository.type, repo_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(repository.folder, target)
        self._commits.clear()

    def commit(self, repository: Repository, oid: str) -> Commit:
        path = repository.folder / "commits" / f"{oid}.json"
        if path not in self._commits:
            content = json.loads(path.read_text(encoding="utf-8"))
            files = {name: Entry(**entry) for name, entry in content.pop("files").items()}
            self._commits[path] = Commit(**content | {"changed": tuple(content["changed"])}, files=files)
        return self._commits[path]

    def history(self, repository: Repository, oid: str) -> list[Commit]:
        """A commit and those before it, newest first."""
        commits = []
        following: str | None = oid
        while following:
            commits.append(self.commit(repository, following))
            following = commits[-1].parent
        return commits

    def add_commit(
        self,
        repository: Repository,
        branch: str,
        files: Mapping[str, Entry],
        changed: set[str],
        *,
        author: str,
        title: str,
        description: str = "",
    ) -> Commit:
        """Puts a commit on top of a branch."""
        parent, seconds = repository.branches.get(branch), int(time.time())
        files = dict(sorted(files.items()))
        message = f"{title}\n\n{description}" if description else title
        oid = git.commit_oid(git.tree_oids(files)[""], parent, author, seconds, message)
        while (repository.folder / "commits" / f"{oid}.json").exists():  # the same again, within a second
            seconds += 1
            oid = git.commit_oid(git.tree_oids(files)[""], parent, author, seconds, message)
        commit = Commit(oid, parent, title, description, author, seconds, files, tuple(sorted(changed)))
        self._write(repository.folder / "commits" / f"{oid}.json", json.dumps(asdict(commit), indent=1).encode())
        repository.branches[branch] = oid
        self.save(repository)
        return commit

    def _folder(self, repo_type: str, repo_id: str) -> Path:
        return self.folder / "repositories" / f"{repo_type}s" / repo_id

    def _write(self, path: Path, content: bytes) -> None:
        """Beside, then renamed: whoever reads finds all of it."""
        handle, temporary = tempfile.mkstemp(dir=self.incoming)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)


def timestamp(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def public(repository: Repository) -> dict[str, Any]:
    """What every answer about a repository says of it."""
    return {
        "_id": hashlib.md5(f"{repository.type}s/{repository.id}".encode()).hexdigest()[:24],
        "id": repository.id,
        "author": repository.owner,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "createdAt": timestamp(repository.seconds),
    }
